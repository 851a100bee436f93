"""What moves at the foot of a terminal, if a person is looking, and what is said above it meanwhile."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.live import Live
from rich.text import Text

from fal_async.cli.saying import printable, say

__all__ = ["Footer"]


class Footer:
    """Shown from ``with`` to its end, if its console is a terminal.

    :param live: what is shown, and where.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._shown = False

    def __enter__(self) -> Self:
        if self._live.console.is_terminal:
            self._live.start(refresh=True)
            self._shown = True
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            self._shown = False
            self._live.stop()

    def say(self, text: str, *, head: str = "") -> None:
        """A sentence for a person, as :func:`~fal_async.cli.saying.say` says it."""
        if not self._shown:
            say(text, head=head)
            return
        line = Text(printable(f"{head} {text}" if head else text))
        line.stylize("red", 0, len(head))
        self._live.console.print(line, soft_wrap=True)
