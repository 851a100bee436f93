"""Sentences for a person, on stderr: failures, interruptions, and what they may have cost."""

from __future__ import annotations

from typing import Final

import click

from fal_async.errors import Billing, FalError, Verdict

__all__ = ["say", "say_failure", "say_interrupted"]

_INTERRUPTED: Final = {
    Billing.NOT_BILLED: "nothing had been sent: not billed",
    Billing.UNKNOWN: "the call had been sent: it may have been billed, and its answer is lost",
    Billing.BILLED: "the call was billed, and its answer is lost",
}


def say(text: str, *, head: str = "") -> None:
    """One line on stderr, its head in red. A server's words are in it: a terminal gets nothing to obey."""
    plain = "".join(c if c.isprintable() else "\ufffd" for c in text)
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


def say_interrupted(verdict: Verdict | None) -> None:
    """What is known of the cost of a call that was cut short; None: it had not begun."""
    billing = Billing.NOT_BILLED if verdict is None else verdict.billing
    request = f" Request {verdict.request_id}." if verdict and verdict.request_id else ""
    say(f"{_INTERRUPTED[billing]}.{request}", head="interrupted:")
