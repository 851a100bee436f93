"""Where the rows come from: a file, a pipe, stdin. Reading a pipe never holds up the calls."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, Generic, Self, TypeVar

import attrs
import click

from fal_async.batch.rows import BadRow, Row, RowFormat, format_of, read_rows, sniff_format
from fal_async.errors import InputError

__all__ = ["Arriving", "RowSource"]

T = TypeVar("T")

_CHUNK: Final = 64 * 1024
#: Rows read ahead from a pipe.
_AHEAD: Final = 500


@attrs.frozen
class RowSource:
    """A file of rows.

    :ivar path: where it is; None is stdin.
    :ivar format: what it holds; None: as its name, or else its first line, tells.
    """

    path: Path | None
    format: RowFormat | None = None

    @property
    def name(self) -> str:
        """What to call it."""
        return "stdin" if self.path is None else str(self.path)

    @property
    def is_regular(self) -> bool:
        """Whether it may be read more than once, and never keeps anybody waiting."""
        return self.path is not None and self.path.is_file()

    @contextmanager
    def rows(self) -> Iterator[Iterator[Row | BadRow]]:
        """Its rows, while the block lasts. Blocks where the next line is not there yet.

        :raises click.UsageError: if it cannot be read, or its table has no columns.
        """
        with self._lines() as lines:
            yield self._told(lines)

    @contextmanager
    def _lines(self) -> Iterator[Iterator[bytes]]:
        if self.path is None:
            yield _lines_of(sys.stdin.buffer)
            return
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise click.UsageError(f"{self.name}: {error.strerror}") from None
        with file:
            yield iter(file) if self.is_regular else _lines_of(file)

    def _parsed(self, lines: Iterator[bytes]) -> Iterator[Row | BadRow]:
        known = self.format or format_of(self.name)
        if known is not None:
            return read_rows(lines, known)
        blank: list[bytes] = []
        for line in lines:
            if line.strip():
                return read_rows(chain(blank, [line], lines), sniff_format(line))
            blank.append(line)  # lines keep their numbers
        return iter(())

    def _told(self, lines: Iterator[bytes]) -> Iterator[Row | BadRow]:
        try:
            yield from self._parsed(lines)
        except InputError as error:
            raise click.UsageError(f"{self.name}: {error.what}") from None
        except OSError as error:
            raise click.UsageError(f"{self.name}: {error.strerror}") from None


def _lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """Lines as they arrive, read past Python's buffer: its lock would outlive a thread that waits in it."""
    try:
        descriptor = file.fileno()
    except OSError:  # no file at all
        return iter(file)
    return _cut(lambda: os.read(descriptor, _CHUNK))


def _cut(read: Callable[[], bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []
    while chunk := read():
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield b"".join((*parts, line, b"\n"))
            parts.clear()
        parts += [rest] if rest else []
    if parts:
        yield b"".join(parts)


class Arriving(Generic[T]):
    """What a generator yields that may block, for an event loop: the generator runs in a thread.

    The thread may be left behind where it waits for a pipe; it holds up neither the loop nor the process.

    :param make: called in the thread; closed there, too.
    """

    def __init__(self, make: Callable[[], Iterator[T]]) -> None:
        self._make = make
        self._here: deque[T] = deque()
        self._news = asyncio.Event()
        self._room = threading.Semaphore(_AHEAD)
        self._left = False
        self._ended = False
        self._failed: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, name="fal_async rows", daemon=True).start()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._here:
            if self._failed is not None:
                raise self._failed
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        self._room.release()
        return self._here.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left = True
        self._room.release()

    def _work(self) -> None:
        failed: BaseException | None = None
        try:
            with closing(self._make()) as items:  # type: ignore[type-var]
                for item in items:
                    self._room.acquire()
                    if self._left:
                        return
                    self._tell(self._arrived, item)
        except Exception as error:  # it is raised where the rows are waited for
            failed = error
        self._tell(self._end, failed)

    def _tell(self, what: Callable[[Any], None], value: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(what, value)

    def _arrived(self, item: T) -> None:
        self._here.append(item)
        self._news.set()

    def _end(self, failed: BaseException | None) -> None:
        self._ended, self._failed = True, failed
        self._news.set()
