"""Where fetched bytes land: in a file, written in a thread block by block, or in memory."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from fal_async.errors import DownloadError
from fal_async.transport.files import PartFile, in_thread

__all__ = ["BLOCK", "InMemory", "IntoStream", "OnDisk", "Place", "Sink", "disk_error", "too_large"]

#: Bytes that are written at once.
BLOCK: Final = 256 * 1024
_DISK: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EFBIG: "the disk takes no file that large",
    errno.ENOENT: "there is no such folder",
    errno.ENOTDIR: "what should be a folder is a file",
    errno.EEXIST: "what should be a folder is a file",
    errno.EACCES: "the folder may not be written to",
    errno.EPERM: "the folder may not be written to",
    errno.EROFS: "the disk is read-only",
    errno.ENAMETOOLONG: "the name is too long",
}

Place = Path | Callable[[str | None], Path]
"""Where a file goes, or a function that says so when told the media type that the server names."""


class Sink(Protocol):
    """Takes the pieces of one file, in order."""

    async def restart(self, content_type: str | None, total: int | None) -> None:
        """The file comes from its start, whatever came before."""
        ...

    async def write(self, data: bytes) -> None:
        """The next piece."""
        ...


class OnDisk:
    """To a file that appears when it is published; small ones in one go.

    :param make_folder: whether to make the folder it goes to.
    :ivar content_type: its media type, as its server says.
    """

    def __init__(self, to: Place, *, make_folder: bool) -> None:
        self._to = to
        self._make_folder = make_folder
        self._target: Path | None = None
        self._part: PartFile | None = None
        self._waiting: list[bytes] = []
        self._size = 0
        self.content_type: str | None = None

    async def restart(self, content_type: str | None, total: int | None) -> None:  # noqa: ARG002
        self._waiting, self._size = [], 0
        if self._part is not None:
            await in_thread(self._part.restart)
            return
        self.content_type = (content_type or "").partition(";")[0].strip().lower() or None
        self._target = self._to(self.content_type) if callable(self._to) else self._to
        self._part = PartFile(self._target.parent, make_folder=self._make_folder)

    async def write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= BLOCK:
            assert self._part is not None  # noqa: S101 - there is no body before a head
            block = self._take()
            await in_thread(self._part.append, block)

    async def publish(self) -> Path:
        """It is whole: give it its name."""
        assert self._part is not None  # noqa: S101
        assert self._target is not None  # noqa: S101
        part, self._part = self._part, None
        return await in_thread(_publish, part, self._target.name, self._take())

    async def discard(self) -> None:
        """Leave nothing behind, unless it was published."""
        if self._part is not None:
            await in_thread(self._part.discard)

    def _take(self) -> bytes:
        block = b"".join(self._waiting)
        self._waiting, self._size = [], 0
        return block


class InMemory:
    """To a list, up to so many bytes.

    :ivar chunks: what came.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self.chunks: list[bytes] = []

    async def restart(self, content_type: str | None, total: int | None) -> None:  # noqa: ARG002
        if total is not None and total > self._most:
            raise too_large(self._most)
        self.chunks, self._size = [], 0

    async def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._most:
            raise too_large(self._most)
        self.chunks.append(data)


class IntoStream:
    """To whatever has a ``write`` for bytes, plain (in a thread) or async; it is not closed.

    :param file: if the file must be fetched from its start again, it must know how to ``seek``.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._is_async = inspect.iscoroutinefunction(file.write)
        self._written = 0

    async def restart(self, content_type: str | None, total: int | None) -> None:  # noqa: ARG002
        if not self._written:
            return
        try:
            await in_thread(self._back)
        except (AttributeError, OSError, ValueError) as error:
            raise DownloadError(
                "the file broke off, and what was written to the stream cannot be taken back"
            ) from error
        self._written = 0

    def _back(self) -> None:
        at = self._file.tell() - self._written
        self._file.seek(at)
        self._file.truncate()

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            took = (
                self._file.write(rest)
                if self._is_async
                else await in_thread(self._file.write, rest)
            )
            if inspect.isawaitable(took):
                took = await took
            # A raw file says how much it took; others take it all.
            count = took if isinstance(took, int) and 0 <= took <= len(rest) else len(rest)
            self._written += count
            rest = rest[count:]


def _publish(part: PartFile, name: str, last: bytes) -> Path:
    try:
        return part.publish(name, last)
    finally:
        part.discard()


def too_large(most: int) -> DownloadError:
    """The error of a file with more than that many bytes."""
    return DownloadError(f"the file is larger than {most} bytes")


def disk_error(error: OSError) -> DownloadError:
    """What the disk said, without the name: it may be made of a prompt."""
    said = _DISK.get(error.errno or 0) or error.strerror or type(error).__name__
    return DownloadError(f"a file could not be written: {said}")
