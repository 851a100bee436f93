"""Reading PNG with nothing but zlib: what the writer's tests hold its files against."""

from __future__ import annotations

import struct
import zlib

import attrs


@attrs.frozen
class Png:
    """Its pixels as red, green and blue."""

    width: int
    height: int
    rows: list[bytes]


def read_png(data: bytes) -> Png:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        (crc,) = struct.unpack_from(">I", data, at + 8 + size)
        assert crc == zlib.crc32(kind + content)
        chunks[kind] = chunks.get(kind, b"") + content
        at += 12 + size
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colour, rest) == (8, 3, [0, 0, 0])
    raw, palette = zlib.decompress(chunks[b"IDAT"]), chunks[b"PLTE"]
    assert len(raw) == (width + 1) * height
    rows = []
    for y in range(height):
        line = raw[y * (width + 1) : (y + 1) * (width + 1)]
        assert line[0] == 0  # not filtered
        rows.append(b"".join(palette[3 * i : 3 * i + 3] for i in line[1:]))
    assert all(len(row) == 3 * width for row in rows)  # every index has its colour
    return Png(width, height, rows)
