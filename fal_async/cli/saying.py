"""Sentences for a person, on stderr: failures, interruptions, and what they may have cost."""

from __future__ import annotations

from typing import Final

import click

from fal_async.errors import Billing, FalError, GatewayError, StatusError, Verdict
from fal_async.features.handle import RequestHandle

__all__ = ["printable", "say", "say_failure", "say_interrupted", "typed"]

_INTERRUPTED: Final = {
    Billing.NOT_BILLED: "nothing had been sent: not billed",
    Billing.UNKNOWN: "the call had been sent: it may have been billed, and its answer is lost",
    Billing.BILLED: "the call was billed, and its answer is lost",
}

#: The same of a queued request that was to be cancelled, and the command to go on with.
_LEFT: Final = {
    Billing.NOT_BILLED: ("the request was still in the queue and is out of it: not billed", ""),
    Billing.UNKNOWN: ("the request may still be running, and be billed", "status"),
    Billing.BILLED: ("the request had ended and was billed", "result"),
}


def printable(text: str) -> str:
    """The text with nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def typed(command: str, handle: RequestHandle) -> str:
    """What a person types to go on with a queued request."""
    return f"fal-async {command} {handle.model} {handle.request_id}"


def say(text: str, *, head: str = "") -> None:
    """One line on stderr, its head in red. A server's words are in it: a terminal gets nothing to obey."""
    plain = printable(text)
    click.echo(f"{click.style(head, fg='red')} {plain}" if head else plain, err=True)


def say_failure(error: FalError) -> None:
    """What happened, what it may have cost and what to do; more lines for more facts."""
    say(str(error), head="error:")
    for detail in error.details[1:]:  # the first one is in the text
        say(f"  also {detail.path or 'the input'}: {detail.type or 'refused'}")
    if any(detail.type == "string_type" for detail in error.details):
        say("""  a text that looks like JSON is sent as text in JSON's quotes: 'name="42"'""")
    if error.attempts > 1:
        say(f"  sent {error.attempts} times")
    if error.first is not None:
        say(f"  at first: {error.first.what}")
    if _has_a_result(error):
        say(f"  if it has a result, fetching that costs nothing: {typed('result', error.handle)}")


def _has_a_result(error: FalError) -> bool:
    """Whether a queued request may have one all the same: what failed was not the request."""
    if error.handle is None or error.billing is Billing.NOT_BILLED:
        return False
    return isinstance(error, GatewayError) or not isinstance(error, StatusError)


def say_interrupted(verdict: Verdict | None) -> None:
    """What is known of the cost of a call that was cut short; None: it had not begun."""
    if verdict is not None and verdict.handle is not None:
        fate, command = _LEFT[verdict.billing]
        say(f"{fate}. Request {verdict.request_id}.", head="interrupted:")
        if command:
            say(f"  {typed(command, verdict.handle)}")
        return
    billing = Billing.NOT_BILLED if verdict is None else verdict.billing
    request = f" Request {verdict.request_id}." if verdict and verdict.request_id else ""
    say(f"{_INTERRUPTED[billing]}.{request}", head="interrupted:")
