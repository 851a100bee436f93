"""A sign of life on stderr while a model thinks, if a person is looking."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

from fal_async.cli.progress import log_lines, state_of
from fal_async.cli.saying import printable, say
from fal_async.protocol.queue import QueueStatus

__all__ = ["Waiting"]


class Waiting:
    """Shown from ``with`` to its end; what is said meanwhile stands above it.

    :param console: where to; None is stderr.
    :ivar is_seen: whether stderr is a terminal. If not, nothing is shown.
    """

    def __init__(self, model: str, console: Console | None = None) -> None:
        self._model = model
        self._console = console or Console(stderr=True)
        self._sign: Status | None = None
        self.is_seen = self._console.is_terminal

    def __enter__(self) -> Self:
        if self.is_seen:
            sign = self._sign = self._console.status(Text(f"waiting for {self._model}"))
            sign.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._sign is not None:
            self._sign.stop()

    def say(self, text: str, *, head: str = "") -> None:
        """A sentence for a person, as :func:`~fal_async.cli.saying.say` says it."""
        if self._sign is None:
            say(text, head=head)
        else:
            self._print(f"{head} {printable(text)}" if head else printable(text), red=len(head))

    def show(self, update: QueueStatus) -> None:
        """How a queued request gets on, and what its runner wrote."""
        if self._sign is None:
            return
        for line in log_lines(update):
            self._print(line)
        self._sign.update(Text(f"{self._model}: {state_of(update)}"))

    def _print(self, line: str, *, red: int = 0) -> None:
        text = Text(line)
        text.stylize("red", 0, red)
        self._console.print(text, soft_wrap=True)
