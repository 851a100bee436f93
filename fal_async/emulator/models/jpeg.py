"""Writing JPEG: soft pictures, of which each block is told by its mean and its slopes. Pure.

A picture without edges needs no transform of its pixels: of a block of 8 by 8 that is a slanted plane, the
cosine transform is known beforehand. What is left is baseline JPEG (ITU T.81) with colour at half the
resolution: a megapixel takes some tens of milliseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from math import cos, pi, sqrt
from typing import Final

__all__ = ["Plane", "encode_jpeg"]

Plane = Sequence[bytes]
"""Means of blocks, 0 to 255, row by row, with one more all around for the slopes."""

_STEP: Final = 2  # of quantisation, the same for all coefficients
#: The first cosine of a ramp that rises by one with each pixel.
_RAMP: Final = sqrt(2) * sum((x - 3.5) * cos((2 * x + 1) * pi / 16) for x in range(8))
#: From the difference of the blocks on both sides, sixteen pixels apart, to that coefficient.
_SLOPE: Final = _RAMP / 16 / _STEP

# Codes of our own, since few symbols occur: sizes of 0 to 11 for means; for slopes the end of the block,
# and sizes of 1 to 10 after no or one coefficient that is zero.
_MEAN_SIZES: Final = bytes(range(12))
_END: Final = 0x00
_SLOPE_SYMBOLS: Final = bytes(range(0x01, 0x0B)) + bytes(range(0x11, 0x1B))
_MEAN_CODES: Final = {symbol: f"{code:04b}" for code, symbol in enumerate(_MEAN_SIZES)}
_SLOPE_CODES: Final = {_END: "00"} | {
    symbol: f"{code:05b}" for code, symbol in enumerate(_SLOPE_SYMBOLS, 0b01000)
}


def encode_jpeg(width: int, height: int, luma: Plane, blue: Plane, red: Plane) -> bytes:
    """A JPEG of a soft picture.

    :param luma: means of 8 by 8 pixels, an even number of them each way.
    :param blue: the difference in blue, means of 16 by 16 pixels.
    :param red: the difference in red, likewise.
    """
    bits = "".join(_blocks(luma, blue, red))
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
            _segment(0xDB, b"\0" + bytes([_STEP]) * 64),
            _segment(
                0xC0,
                struct.pack(">BHHB", 8, height, width, 3)
                + bytes((1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0)),
            ),
            _segment(0xC4, b"\x00" + _counts({4: 12}) + _MEAN_SIZES),
            _segment(0xC4, b"\x10" + _counts({2: 1, 5: 20}) + bytes([_END]) + _SLOPE_SYMBOLS),
            _segment(0xDA, bytes((3, 1, 0, 2, 0, 3, 0, 0, 63, 0))),
            data.replace(b"\xff", b"\xff\0"),
            b"\xff\xd9",
        )
    )


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _counts(by_length: dict[int, int]) -> bytes:
    """How many codes there are of each length from 1 to 16."""
    return bytes(by_length.get(length, 0) for length in range(1, 17))


def _blocks(luma: Plane, blue: Plane, red: Plane) -> Iterator[str]:
    """The bits of all blocks: four of luma, then one of each colour, as they are interleaved."""
    last_luma = last_blue = last_red = 4 * 128  # the middle counts as zero
    for y in range(1, len(blue) - 1):
        for x in range(1, len(blue[0]) - 1):
            for row in (2 * y - 1, 2 * y):
                for column in (2 * x - 1, 2 * x):
                    mean = 4 * luma[row][column]
                    yield _mean(mean - last_luma) + _slopes_at(luma, row, column)
                    last_luma = mean
            mean = 4 * blue[y][x]
            yield _mean(mean - last_blue) + _slopes_at(blue, y, x)
            last_blue = mean
            mean = 4 * red[y][x]
            yield _mean(mean - last_red) + _slopes_at(red, y, x)
            last_red = mean


def _slopes_at(plane: Plane, y: int, x: int) -> str:
    row = plane[y]
    return _slopes(row[x + 1] - row[x - 1], plane[y + 1][x] - plane[y - 1][x])


@cache  # 2,041 at most
def _mean(difference: int) -> str:
    size = abs(difference).bit_length()
    return _MEAN_CODES[size] + _magnitude(difference, size)


@lru_cache(maxsize=16_384)
def _slopes(across: int, down: int) -> str:
    bits, zeros = "", 0
    for slope in (across, down):
        value = round(slope * _SLOPE)
        if value:
            size = abs(value).bit_length()
            bits += _SLOPE_CODES[zeros << 4 | size] + _magnitude(value, size)
        zeros = 0 if value else 1
    return bits + _SLOPE_CODES[_END]


def _magnitude(value: int, size: int) -> str:
    if not size:
        return ""
    return f"{value if value > 0 else value + (1 << size) - 1:0{size}b}"
