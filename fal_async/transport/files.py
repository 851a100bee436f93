"""Files on disk: one in the making, and the name it gets at the end. Blocking, but for ``in_thread``.

It decides nothing about names, and knows nothing of where the bytes come from.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

__all__ = ["PartFile", "give_name", "in_thread", "write_new"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: As long as a name may be, in bytes.
_NAME_MAX: Final = 255
_numbers: Final = itertools.count(1)
#: How a file system says that it knows no hard links.
_NO_LINKS: Final = frozenset(
    getattr(errno, name)
    for name in ("EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EINVAL")
    if hasattr(errno, name)
)


async def in_thread(do: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Do it in a thread, and stay until it is done, cancelled or not: what it works on is then nobody's."""
    work = asyncio.get_running_loop().run_in_executor(None, partial(do, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((work,))
        if not work.cancelled():
            work.exception()  # looked at: the cancellation is what is told
        raise


class PartFile:
    """A file that is being written beside where it will be, under a name of its own.

    Either :meth:`publish` or :meth:`discard` must end it; all methods raise ``OSError``.

    :param folder: where it will be.
    :param make_folder: whether to make that, and what it lies in, if it is not there.
    """

    def __init__(self, folder: Path, *, make_folder: bool = False) -> None:
        self._folder = folder
        self._make_folder = make_folder
        self._path: Path | None = None
        self._file = -1

    def append(self, data: bytes) -> None:
        """Write on."""
        if self._path is None:
            self._open()
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def restart(self) -> None:
        """Forget what was written."""
        if self._path is not None:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)

    def publish(self, name: str, last: bytes = b"") -> Path:
        """Write the ``last`` of it, see it safely on disk, and give it its name, all at once.

        :return: where it is: ``cat (2).png`` and so on if there was a ``cat.png`` already.
        """
        self.append(last)
        assert self._path is not None  # noqa: S101
        os.fsync(self._file)
        self._close()
        taken = _publish(self._path, self._folder, name)
        self._path.unlink(missing_ok=True)
        self._path = None
        return taken

    def discard(self) -> None:
        """Leave nothing behind. Idempotent; does nothing after :meth:`publish`."""
        self._close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _open(self) -> None:
        if self._make_folder:
            self._folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        while True:
            path = self._folder / f".{os.getpid()}-{next(_numbers)}.part"
            # One of a process that had this number before us is left alone: it may be of use to somebody.
            with contextlib.suppress(FileExistsError):
                self._file = os.open(path, flags, 0o666)
                self._path = path
                return

    def _close(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)


def write_new(folder: Path, name: str, content: bytes, *, make_folder: bool = False) -> Path:
    """Write a file that was not there before, whole or not at all; numbered if ``name`` is taken.

    :raises OSError: if it cannot be written.
    """
    part = PartFile(folder, make_folder=make_folder)
    try:
        return part.publish(name, content)
    finally:
        part.discard()


def _publish(part: Path, folder: Path, name: str) -> Path:
    number = 1
    while True:
        path = folder / _numbered(name, number)
        try:
            give_name(part, path)
        except FileExistsError:
            number = _free_number(folder, name, number)
        else:
            return path


def give_name(part: Path, path: Path, link: Callable[[Path, Path], None] = os.link) -> None:
    """Like a rename, but never over what is there (``FileExistsError``). ``part`` may stay as well.

    :param link: how a hard link is made; not every file system knows them.
    """
    try:
        link(part, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Nobody else gets the name while an empty file holds it.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            part.replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise


def _free_number(folder: Path, name: str, taken: int) -> int:
    """A number after ``taken`` under which nothing is there now: found in few steps even among thousands."""
    step = 1
    while os.path.lexists(folder / _numbered(name, taken + step)):
        taken, step = taken + step, step * 2
    free = taken + step
    while free - taken > 1:
        middle = (free + taken) // 2
        if os.path.lexists(folder / _numbered(name, middle)):
            taken = middle
        else:
            free = middle
    return free


def _numbered(name: str, number: int) -> str:
    if number == 1:
        return name
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending) > 16:
        stem, dot, ending = name, "", ""
    tail = f" ({number}){dot}{ending}"
    room = _NAME_MAX - len(os.fsencode(tail))
    encoding = sys.getfilesystemencoding()
    return os.fsencode(stem)[:room].decode(encoding, "ignore") + tail
