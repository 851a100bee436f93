"""Pictures made of arithmetic: the same for the same key, another for every other. Pure.

A picture is a landscape of layered paper: the sum of four waves, along x, along y and along both
diagonals, cut into bands of one colour each. Whole rows are added at once, as numbers of two bytes per
pixel of which none runs over into the next: a megapixel takes milliseconds.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from math import cos, pi
from typing import Final

import attrs

__all__ = ["Picture", "SoftPicture", "paint", "paint_softly"]

_LEVELS: Final = 256
_PEAK: Final = 16_383  # of one wave: four of them fit into two bytes
#: The sum of four waves is seldom near its ends: these are the heights that get the palette.
_LOWEST, _HIGHEST = 0.18, 0.82


@attrs.frozen
class Picture:
    """Colours, and rows of indexes into them."""

    width: int
    height: int
    palette: bytes
    rows: tuple[bytes, ...]


@attrs.frozen
class SoftPicture:
    """A picture without edges: means of blocks, as ``jpeg`` has them."""

    width: int
    height: int
    luma: tuple[bytes, ...]
    blue: tuple[bytes, ...]
    red: tuple[bytes, ...]


class _Dice:
    """Numbers drawn from a key, one after the other."""

    def __init__(self, key: bytes) -> None:
        self._bytes = iter(hashlib.shake_128(key).digest(256))

    def between(self, low: float, high: float) -> float:
        number = next(self._bytes) << 8 | next(self._bytes)
        return low + (high - low) * number / 65535


def paint(key: bytes, width: int, height: int) -> Picture:
    """The picture that belongs to ``key``."""
    dice = _Dice(key)
    palette, index_of = _colours(dice)
    heights = _heights(dice, width, height, max(width, height))
    return Picture(width, height, palette, tuple(row.translate(index_of) for row in heights))


def paint_softly(key: bytes, width: int, height: int) -> SoftPicture:
    """The landscape that belongs to ``key`` without its layers: hills in mist."""
    dice = _Dice(key)
    luma_of, blue_of, red_of = _soft_colours(dice)
    # Pairs of blocks, so that those of the colours come out even, and one more all around.
    columns, rows = 2 * -(-width // 16) + 4, 2 * -(-height // 16) + 4
    heights = tuple(_heights(dice, columns, rows, max(width, height) / 8))
    return SoftPicture(
        width,
        height,
        tuple(row[1:-1].translate(luma_of) for row in heights[1:-1]),
        _halved(heights, blue_of),
        _halved(heights, red_of),
    )


def _halved(heights: tuple[bytes, ...], level_of: bytes) -> tuple[bytes, ...]:
    """One block for each four."""
    rows = [row.translate(level_of) for row in heights]
    return tuple(
        bytes(
            (a + b + c + d + 2) // 4
            for a, b, c, d in zip(above[::2], above[1::2], below[::2], below[1::2], strict=True)
        )
        for above, below in zip(rows[::2], rows[1::2], strict=True)
    )


def _heights(dice: _Dice, width: int, height: int, size: float) -> Iterator[bytes]:
    """Rows of heights, 0 to 255; ``size`` points are the picture's breadth."""
    across = _number(_wave(dice, width, size))
    down = _wave(dice, height, size)
    falling = _packed(_wave(dice, width + height, 2 * size))
    rising = _packed(_wave(dice, width + height, 2 * size))
    everywhere = _number([1] * width)
    for y in range(height):
        down_left = falling[2 * y : 2 * (y + width)]
        down_right = rising[2 * (height - y) : 2 * (height - y + width)]
        heights = across + everywhere * down[y]
        heights += int.from_bytes(down_left, "big") + int.from_bytes(down_right, "big")
        yield heights.to_bytes(2 * width, "big")[::2]


def _wave(dice: _Dice, length: int, size: float) -> list[int]:
    """Two cosines on top of each other, 0 to ``_PEAK``; ``size`` points are the picture's breadth."""
    slow, fast = dice.between(0.3, 1.3) * 2 * pi / size, dice.between(1.2, 2.8) * 2 * pi / size
    here, there = dice.between(0, 2 * pi), dice.between(0, 2 * pi)
    weight = dice.between(0.1, 0.45)
    strong, weak, middle = (1 - weight) * _PEAK / 2, weight * _PEAK / 2, _PEAK / 2
    return [
        int(middle + strong * cos(slow * i + here) + weak * cos(fast * i + there))
        for i in range(length)
    ]


def _packed(wave: list[int]) -> bytes:
    return struct.pack(f">{len(wave)}H", *wave)


def _number(wave: list[int]) -> int:
    return int.from_bytes(_packed(wave), "big")


def _colours(dice: _Dice) -> tuple[bytes, bytes]:
    """A palette, and for each of 256 heights the index of its colour in it.

    Bands of paper, each with the shadow of the next higher one along its upper edge.
    """
    bands = int(dice.between(7, 12))
    hue, turn, depth = dice.between(0, 1), dice.between(-0.5, 0.5), dice.between(0.2, 0.4)
    found: dict[bytes, int] = {}
    index_of = bytearray()
    for level in range(_LEVELS):
        height = (level / _LEVELS - _LOWEST) / (_HIGHEST - _LOWEST)
        band, within = divmod(min(max(height, 0.0), 0.999) * bands, 1)
        shadow = 1 - 0.35 * max(0.0, 1 - (1 - within) / 0.3) ** 1.5 if 0 < height < 0.999 else 1.0
        place = band / (bands - 1)
        colour = _tinted(hue + turn * place, (depth + (1 - depth) * place) * shadow)
        index_of.append(found.setdefault(colour, len(found)))
    return b"".join(found), bytes(index_of)


def _soft_colours(dice: _Dice) -> tuple[bytes, bytes, bytes]:
    """For each of 256 heights its luma and its differences in blue and red (JFIF's YCbCr)."""
    hue, turn, depth = dice.between(0, 1), dice.between(-0.6, 0.6), dice.between(0.15, 0.35)
    planes = bytearray(), bytearray(), bytearray()
    for level in range(_LEVELS):
        place = min(max((level / _LEVELS - _LOWEST) / (_HIGHEST - _LOWEST), 0.0), 1.0)
        red, green, blue = _tinted(hue + turn * place, depth + (1 - depth) * place)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        planes[0].append(round(luma))
        planes[1].append(round(128 + (blue - luma) * 0.5 / (1 - 0.114)))
        planes[2].append(round(128 + (red - luma) * 0.5 / (1 - 0.299)))
    return bytes(planes[0]), bytes(planes[1]), bytes(planes[2])


def _tinted(hue: float, light: float) -> bytes:
    tints = (0.5 + 0.5 * cos(2 * pi * (hue + phase)) for phase in (0.0, 1 / 3, 2 / 3))
    return bytes(int(255 * light * (0.4 + 0.6 * tint)) for tint in tints)
