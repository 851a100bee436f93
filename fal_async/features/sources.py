"""What is uploaded: bytes, files on disk, streams; read off the event loop, whole only where it is small.

It knows nothing of fal: a source gives its bytes, as often as they are asked for, and notices a file that is
not what it was.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from collections.abc import AsyncGenerator, Callable, Hashable
from pathlib import Path
from typing import Any, Final, Protocol, Self

import attrs

from fal_async.errors import FalError, InputError, UploadError
from fal_async.transport.files import in_thread

__all__ = ["BLOCK", "Held", "OnDisk", "Slice", "Source", "readable_error"]

#: Bytes that are read at once.
BLOCK: Final = 1024 * 1024
#: Bytes that are given to the network at once: progress is seen, and stalls are noticed, as often.
_PIECE: Final = 256 * 1024
#: Files up to this size are read whole, in the same step in which they are opened.
_SMALL: Final = 256 * 1024

_ARGUMENT: Final = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file",
    errno.EISDIR: "is a folder, not a file",
    errno.EACCES: "may not be read",
    errno.EPERM: "may not be read",
    errno.ENAMETOOLONG: "has too long a name",
    errno.ELOOP: "is a link to itself",
}
_O_FLAGS: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class Source(Protocol):
    """Bytes of a known number, that can be read from any place, again and again.

    To be entered, and left when nothing more is read.

    :ivar size: how many bytes.
    :ivar identity: equal for what is the same file, unchanged; None if that cannot be told.
    """

    size: int
    identity: Hashable | None

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    def chunks(self, start: int, stop: int) -> AsyncGenerator[bytes | memoryview]:
        """The bytes from ``start`` to ``stop``, in pieces.

        :raises UploadError: if they can no longer be had.
        """
        ...

    async def check(self) -> None:
        """Whether it still is what it was.

        :raises UploadError: if not.
        """
        ...


@attrs.frozen
class Slice:
    """A part of a source, as the body of a request."""

    source: Source
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def chunks(self) -> AsyncGenerator[bytes | memoryview]:
        return self.source.chunks(self.start, self.stop)


class Held:
    """Bytes in memory, which nobody may change meanwhile."""

    def __init__(self, content: bytes | bytearray | memoryview) -> None:
        view = memoryview(content)
        self._view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        self.size = self._view.nbytes
        self.identity: Hashable | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """There is nothing to close."""

    async def chunks(self, start: int, stop: int) -> AsyncGenerator[memoryview]:
        for at in range(start, stop, _PIECE):
            yield self._view[at : min(at + _PIECE, stop)]

    async def check(self) -> None:
        """It is what it was."""


class OnDisk:
    """A regular file.

    :param opened: opens it, in a thread: a descriptor that is then this object's, and where in it to begin.
    :param name: what errors call it.
    """

    def __init__(self, opened: Callable[[], tuple[int, int]], name: str) -> None:
        self._opened = opened
        self._name = name
        self._file = -1
        self._offset = 0
        self._state: tuple[int, ...] = ()
        self._content: bytes | None = None
        self._buffers: list[bytearray] = []
        self._reading = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.size = 0
        self.identity: Hashable | None = None

    @classmethod
    def at(cls, path: Path) -> OnDisk:
        """The file at a path."""

        def opened() -> tuple[int, int]:
            found = path.stat()  # before it is opened: a named pipe waits for its other end
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, "")
            if not stat.S_ISREG(found.st_mode):
                raise InputError(f"{path.name!r} is no regular file: give an open file object")
            return os.open(path, _O_FLAGS), 0

        return cls(opened, path.name)

    async def __aenter__(self) -> Self:
        try:
            await in_thread(self._open)
        except BaseException:
            await in_thread(self._close)
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._file >= 0:
            await self._idle.wait()  # a send that was given up may still be reading
            await in_thread(self._close)

    def _open(self) -> None:
        try:
            self._file, self._offset = self._opened()
            self._state = self._look()
            self.size = max(0, self._state[0] - self._offset)
            self.identity = (*self._state, self._offset)
            if self.size <= _SMALL:
                content = bytearray(self.size)
                self._read_into(memoryview(content), 0, last=True)
                self._content = bytes(content)
                self._close()
        except FalError:
            raise
        except (OSError, ValueError) as error:
            raise readable_error(self._name, error) from error

    def _close(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _look(self) -> tuple[int, ...]:
        found = os.fstat(self._file)
        return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev

    def _compare(self) -> None:
        if self._look() != self._state:
            raise self._changed()

    def _changed(self) -> UploadError:
        return UploadError(f"{self._name!r} changed while it was read")

    def _read_into(self, block: memoryview, at: int, *, last: bool) -> None:
        """All of a block that begins there; ``last`` is the last of the file."""
        try:
            done = 0
            while done < len(block):
                count = _preadv(self._file, block[done:], self._offset + at + done)
                if not count:
                    raise self._changed()
                done += count
            if last:
                self._compare()
        except OSError as error:
            raise readable_error(self._name, error, within=True) from error

    async def chunks(self, start: int, stop: int) -> AsyncGenerator[memoryview]:
        if self._content is not None:
            yield memoryview(self._content)[start:stop]
            return
        # New memory costs more than what is done with it here: the kernel has to blank it.
        buffer = self._buffers.pop() if self._buffers else bytearray(BLOCK)
        for at in range(start, stop, BLOCK):
            size = min(BLOCK, stop - at)
            block = memoryview(buffer)[:size]
            # The end is only given away when the file was the same to its end: what broke off is no file.
            await self._busy(self._read_into, block, at, last=at + size == self.size)
            for piece in range(0, size, _PIECE):
                yield block[piece : piece + _PIECE]
        # Only here: where a send was given up, somebody may still look at what was to be sent.
        self._buffers.append(buffer)

    async def check(self) -> None:
        if self._content is None:
            await self._busy(self._check)

    def _check(self) -> None:
        try:
            self._compare()
        except OSError as error:
            raise readable_error(self._name, error, within=True) from error

    async def _busy(self, do: Callable[..., Any], *args: Any, **more: Any) -> Any:
        if self._file < 0:
            raise UploadError(f"{self._name!r} was closed while it was read")
        self._reading += 1
        self._idle.clear()
        try:
            return await in_thread(do, *args, **more)
        finally:
            self._reading -= 1
            if not self._reading:
                self._idle.set()


def _preadv(file: int, into: memoryview, at: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(file, [into], at)
    return _read_at(file, into, at)  # pragma: no cover - Windows


def _read_at(file: int, into: memoryview, at: int) -> int:  # pragma: no cover - as above
    with _seeking:  # the place is the file's, and all read the same file
        os.lseek(file, at, os.SEEK_SET)
        data = os.read(file, len(into))
    into[: len(data)] = data
    return len(data)


_seeking: Final = threading.Lock()


def readable_error(name: str, error: Exception, *, within: bool = False) -> FalError:
    """What the disk said.

    :param within: whether it could be read until now.
    """
    number = error.errno if isinstance(error, OSError) else None
    reason = _ARGUMENT.get(number or 0)
    if within or (reason is None and isinstance(error, OSError)):
        said = getattr(error, "strerror", None) or type(error).__name__
        return UploadError(f"{name!r} could not be read: {said}")
    return InputError(f"{name!r}: {reason or 'is no path'}")
