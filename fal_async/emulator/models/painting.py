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

__all__ = ["Picture", "paint"]

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
    return Picture(width, height, palette, tuple(_rows(dice, width, height, index_of)))


def _rows(dice: _Dice, width: int, height: int, index_of: bytes) -> Iterator[bytes]:
    size = max(width, height)
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
        yield heights.to_bytes(2 * width, "big")[::2].translate(index_of)


def _wave(dice: _Dice, length: int, size: int) -> list[int]:
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


def _tinted(hue: float, light: float) -> bytes:
    tints = (0.5 + 0.5 * cos(2 * pi * (hue + phase)) for phase in (0.0, 1 / 3, 2 / 3))
    return bytes(int(255 * light * (0.4 + 0.6 * tint)) for tint in tints)
