"""Bytes in the pieces in which they came: kept as they are, and never copied into one. Pure.

A file of a gigabyte is then held once, and its parts become the file by being put in a row. A temporary file
would spare memory and cost the disk; whoever uploads so much to an emulator measures, or looks at it once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

__all__ = ["Pieces"]


class Pieces:
    """A file, or a part of one. Grows until nobody adds to it any more.

    :ivar size: in bytes.
    """

    __slots__ = ("_mark", "_pieces", "size")

    def __init__(self, pieces: Iterable[bytes] = ()) -> None:
        self._pieces: list[bytes] = []
        self._mark = 0
        self.size = 0
        for piece in pieces:
            self.add(piece)

    def add(self, piece: bytes) -> None:
        """Take what has come."""
        self._pieces.append(piece)
        self._mark = zlib.crc32(piece, self._mark)
        self.size += len(piece)

    @classmethod
    def in_a_row(cls, parts: Iterable[Pieces]) -> Pieces:
        """One file of several parts, whose bytes are shared and not looked at again."""
        whole = cls()
        for part in parts:
            whole._pieces += part._pieces  # noqa: SLF001  # of the same class
            whole._mark = zlib.crc32(part.etag.encode(), whole._mark)
            whole.size += part.size
        return whole

    @property
    def etag(self) -> str:
        """A strong one, with its quotes: other bytes have another. Other parts do, too, as with S3."""
        return f'"{self._mark:08x}-{self.size:x}"'

    def within(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from ``start`` up to ``stop``, in pieces, not copied."""
        at = 0
        for piece in self._pieces:
            if at >= stop:
                return
            first, last = max(0, start - at), stop - at
            if first < min(last, len(piece)):
                yield memoryview(piece)[first:last]
            at += len(piece)

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces)
