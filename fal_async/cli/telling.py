"""How a stream's events are printed as they come: lines of JSON for programs, growing text for a person."""

from __future__ import annotations

import sys
from typing import Any, Final, Protocol

import click
from rich.console import Console

from fal_async.cli.render import show_value, to_json
from fal_async.cli.saying import say
from fal_async.protocol.workflow import (
    WorkflowCompletion,
    WorkflowFailure,
    WorkflowOutput,
    WorkflowSubmit,
    build_workflow_event,
)

__all__ = ["Lines", "Teller", "Told", "say_error", "text_of"]

_OF_A_WORKFLOW: Final = (WorkflowSubmit, WorkflowCompletion, WorkflowOutput, WorkflowFailure)

#: What a terminal obeys, all of it but the end of a line and the tab.
_CONTROL: Final = {
    code: "\ufffd" for code in (*range(32), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\n\t"
}


class Teller(Protocol):
    """Prints events."""

    def tell(self, value: Any, raw: bytes) -> None:
        """The next event: what it says, and its bytes."""
        ...

    def end(self) -> None:
        """There are no more."""
        ...


class Lines:
    """Each event on a line of its own, as JSON; what is no JSON, as a JSON string."""

    def tell(self, value: Any, raw: bytes) -> None:
        if isinstance(value, bytes):
            line = to_json(value.decode("utf-8", "replace"))
        else:
            # As fal wrote it, if that is a line: nothing is lost on the way through our own types.
            line = raw if b"\n" not in raw else to_json(_plain(value))
        click.echo(line)

    def end(self) -> None:
        sys.stdout.flush()


class Told:
    """A text as it grows; anything else one event after the other."""

    def __init__(self) -> None:
        self._said = ""
        self._grows = True
        """Whether each event holds all of the text so far, rather than what is new."""
        self._in_line = False

    def tell(self, value: Any, raw: bytes) -> None:  # noqa: ARG002
        text, is_new = text_of(value)
        if text is None:
            self._break_line()
            show_value(Console(), _plain(value))
            return
        self._grows = self._grows and not is_new and text.startswith(self._said)
        self._print(text.removeprefix(self._said) if self._grows else text)
        self._said = text

    def end(self) -> None:
        self._break_line()

    def _print(self, text: str) -> None:
        click.echo(text.translate(_CONTROL), nl=False)
        sys.stdout.flush()
        if text:
            self._in_line = not text.endswith("\n")

    def _break_line(self) -> None:
        if self._in_line:
            self._print("\n")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return build_workflow_event(value) if isinstance(value, _OF_A_WORKFLOW) else value


def text_of(value: Any) -> tuple[str | None, bool]:
    """The text of a language model's event, None if it has none; and whether it surely is only what is new.

    Known are fal's own shape, ``{"output": …}``, that of OpenAI, and plain strings.
    """
    if isinstance(value, str):
        return value, False
    if not isinstance(value, dict):
        return None, False
    if isinstance(value.get("output"), str):
        return value["output"], False
    match value:
        case {"choices": [{"delta": {"content": str(text)}}, *_]}:
            return text, True
        case {"choices": [{"delta": {}}, *_]}:  # the first and the last say other things
            return "", True
    return None, False


def say_error(value: Any) -> bool:
    """Whether the event is a model's word that it has failed; it is said on stderr."""
    error = value.get("error") if isinstance(value, dict) else None
    if not error:
        return False
    said = error if isinstance(error, str) else to_json(error).decode()
    say(f"the model says: {said}", head="error:")
    return True
