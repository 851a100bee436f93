"""What an application prints while it works on a request: lines of its log, as at fal (PROTOCOL 6.2).

``sys.stdout`` and ``sys.stderr`` belong to the whole process, so they are replaced for models that ask for it
only; which call it is that prints is told by the context, which threads of frameworks take over.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final, TextIO, cast

__all__ = ["Listener", "listen", "overhear", "stop_overhearing"]


class Listener:
    """Makes lines of what one call prints.

    :param log: gets each line, and "STDOUT" or "STDERR".
    """

    def __init__(self, log: Callable[[str, str], None]) -> None:
        self._log = log
        self._begun = {level: "" for _, level in _STREAMS}

    def hear(self, text: str, level: str) -> None:
        """Take in what was printed, which need not be a whole line."""
        *lines, self._begun[level] = (self._begun[level] + text).split("\n")
        for line in lines:
            self._log(line, level)


_STREAMS: Final = (("stdout", "STDOUT"), ("stderr", "STDERR"))
_LISTENER: Final[ContextVar[Listener | None]] = ContextVar("fal_emulator_listener", default=None)


def listen(listener: Listener | None) -> None:
    """From here on, and in this context, what is printed is heard by this one."""
    _LISTENER.set(listener)


class _Overheard:
    """A stream that passes on all that it is told, and tells the listener."""

    def __init__(self, stream: TextIO, level: str) -> None:
        self.stream = stream
        self._level = level

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        written = self.stream.write(text)
        listener = _LISTENER.get()
        if listener is not None:
            listener.hear(text, self._level)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)


def overhear() -> None:
    """Put streams that are heard in the place of the process's own, unless it has been done."""
    for name, level in _STREAMS:
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Overheard):
            setattr(sys, name, cast("TextIO", _Overheard(stream, level)))


def stop_overhearing() -> None:
    """Put them back, unless somebody has put others there."""
    for name, _ in _STREAMS:
        stream = getattr(sys, name)
        if isinstance(stream, _Overheard):
            setattr(sys, name, stream.stream)
