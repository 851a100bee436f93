"""Numbers drawn within a shape's bounds. Pure: the draw is passed in."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from fractions import Fraction

from fal_async.emulator.openapi.checking import fits
from fal_async.emulator.openapi.shapes import Number

__all__ = ["draw_number"]

#: How far a number is from its one bound, or from zero, where there is no other.
_SPAN = 100
_MOST_TRIES = 100
_LARGEST = sys.float_info.max


def draw_number(shape: Number, draw: Callable[[int], int]) -> float:
    """A number of that shape.

    :param draw: gives a number below the one given.
    """
    if shape.whole:
        step = Fraction(str(shape.multiple or 1)).numerator
        return step * _multiplier(shape, Fraction(step), draw)
    if shape.multiple:
        return _multiple(shape, Fraction(str(shape.multiple)), draw)
    low, high = _range(shape, 10.0)
    value = low + (high - low) * (0.05 + 0.9 * draw(1 << 20) / (1 << 20))
    value = next((v for v in (round(value, 3), value) if low < v < high), value)
    return _inside(shape, value)


def _inside(shape: Number, value: float) -> float:
    """Where bounds are nearer to each other than the digits of a number can say."""
    if shape.above is not None and value <= shape.above:
        return math.nextafter(shape.above, math.inf)
    if shape.below is not None and value >= shape.below:
        return math.nextafter(shape.below, -math.inf)
    return value


def _range(shape: Number, span: float) -> tuple[float, float]:
    low = max((b for b in (shape.lowest, shape.above) if b is not None), default=None)
    high = min((b for b in (shape.highest, shape.below) if b is not None), default=None)
    if low is None:
        low = 0.0 if high is None or high > 0 else max(high - span, -_LARGEST)
    return low, min(low + span if high is None else min(high, low + max(span, 1e6)), _LARGEST)


def _multiplier(shape: Number, step: Fraction, draw: Callable[[int], int]) -> int:
    """How many steps: any number of which the product is within the bounds."""
    low, high = _range(shape, float(min(_SPAN * step, Fraction(_LARGEST))))
    first, last = math.ceil(Fraction(low) / step), math.floor(Fraction(high) / step)
    if shape.above is not None and first * step <= shape.above:
        first += 1
    if shape.below is not None and last * step >= shape.below:
        last -= 1
    return first + draw(max(1, last - first + 1))


def _multiple(shape: Number, step: Fraction, draw: Callable[[int], int]) -> float:
    """One that is a multiple for those, too, who divide in floating point."""
    multiple = shape.multiple or 1.0
    value: float = 0.0
    for _ in range(_MOST_TRIES):
        value = float(_multiplier(shape, step, draw) * step)
        if (value / multiple).is_integer() and fits(shape, value):
            break
    return int(value) if value.is_integer() else value
