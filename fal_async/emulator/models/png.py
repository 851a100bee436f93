"""Writing PNG: pictures of at most 256 colours. Pure: rows of bytes in, a file out."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Final

__all__ = ["encode_png"]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PALETTE_IMAGE: Final = 3


def encode_png(width: int, height: int, palette: bytes, rows: Iterable[bytes]) -> bytes:
    """A PNG of indexed colours.

    :param palette: red, green, blue of up to 256 colours.
    :param rows: ``height`` rows of ``width`` indexes each.
    """
    compressor = zlib.compressobj(1)  # six times faster than the default, a third larger
    head = struct.pack(">IIBBBBB", width, height, 8, _PALETTE_IMAGE, 0, 0, 0)
    raw = b"".join(b"\0" + row for row in rows)  # each row says it is not filtered
    data = compressor.compress(raw) + compressor.flush()
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", head),
            _chunk(b"PLTE", palette),
            _chunk(b"IDAT", data),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
