"""Strings, numbers and flags read as Pydantic reads them from JSON, with its words for what is wrong. Pure.

It is lenient (``"5"`` is a whole number, ``"yes"`` is true) unless told to be strict, as it is where several
shapes are possible and one fits exactly.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

import attrs

from fal_async.emulator.openapi.shapes import Number, Text

__all__ = ["Wrong", "read_flag", "read_number", "read_text", "words"]


@attrs.frozen
class Wrong(Exception):  # noqa: N818  # one thing that is wrong; what is raised in the end holds all of them
    """What is wrong with one value."""

    type: str
    msg: str
    ctx: dict[str, Any] = attrs.field(factory=dict)


_TRUE: Final = frozenset(("1", "on", "t", "true", "y", "yes"))
_FALSE: Final = frozenset(("0", "f", "false", "n", "no", "off"))
_WHOLE: Final = re.compile(r"\s*[+-]?\d+(_\d+)*(\.0*)?\s*")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def words(values: tuple[Any, ...]) -> str:
    """``'a', 'b' or 'c'``."""
    *most, last = (repr(value) for value in values)
    return f"{', '.join(most)} or {last}" if most else last


def read_flag(value: Any, *, strict: bool) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not strict and isinstance(value, (str, int)):
        word = value.lower() if isinstance(value, str) else str(value)
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        sentence = "Input should be a valid boolean, unable to interpret input"
        raise Wrong("bool_parsing", sentence)
    raise Wrong("bool_type", "Input should be a valid boolean")


def read_text(shape: Text, value: Any) -> str:
    """A string. Of formats, only that of a URL is looked at."""
    url = shape.format in {"uri", "url"}
    if not isinstance(value, str):
        if url:
            raise Wrong("url_type", "URL input should be a string or URL")
        raise Wrong("string_type", "Input should be a valid string")
    length = len(value)
    if url:
        _check_url(value)
    if shape.longest is not None and length > shape.longest:
        sentence = f"String should have at most {_counted(shape.longest, 'character')}"
        raise Wrong("string_too_long", sentence, {"max_length": shape.longest})
    if length < shape.shortest:
        sentence = f"String should have at least {_counted(shape.shortest, 'character')}"
        raise Wrong("string_too_short", sentence, {"min_length": shape.shortest})
    if shape.pattern is not None and not shape.pattern.search(value):
        pattern = shape.pattern.pattern
        sentence = f"String should match pattern '{pattern}'"
        raise Wrong("string_pattern_mismatch", sentence, {"pattern": pattern})
    return value


def _check_url(value: str) -> None:
    if not value:
        error = "input is empty"
    elif not _SCHEME.match(value):
        error = "relative URL without a base"
    elif re.fullmatch(r"(https?|wss?):/*", value, re.IGNORECASE):
        error = "empty host"
    else:
        return
    raise Wrong("url_parsing", f"Input should be a valid URL, {error}", {"error": error})


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def read_number(shape: Number, value: Any, *, strict: bool) -> float:
    """A number within the shape's bounds; an int if it is whole."""
    number = _whole(value, strict=strict) if shape.whole else _real(value, strict=strict)
    for wrong in _out_of_bounds(shape, number):
        raise wrong
    return number


def _whole(value: Any, *, strict: bool) -> int:
    if isinstance(value, int) and not (strict and isinstance(value, bool)):
        return int(value)
    if isinstance(value, float):  # JSON knows one kind of number, so 1.0 is whole for it
        if value.is_integer():
            return int(value)
        sentence = "Input should be a valid integer, got a number with a fractional part"
        raise Wrong("int_from_float", sentence)
    if isinstance(value, str) and not strict:
        if _WHOLE.fullmatch(value) and len(value) <= _MOST_DIGITS:
            return int(value.partition(".")[0])
        sentence = "Input should be a valid integer, unable to parse string as an integer"
        raise Wrong("int_parsing", sentence)
    raise Wrong("int_type", "Input should be a valid integer")


_MOST_DIGITS: Final = 4300  # Python reads no more


def _real(value: Any, *, strict: bool) -> float:
    if isinstance(value, (int, float)) and not (strict and isinstance(value, bool)):
        return float(value) if isinstance(value, bool) else value
    if isinstance(value, str) and not strict:
        try:
            return float(value)
        except ValueError:
            sentence = "Input should be a valid number, unable to parse string as a number"
            raise Wrong("float_parsing", sentence) from None
    raise Wrong("float_type", "Input should be a valid number")


def _out_of_bounds(shape: Number, number: float) -> Iterator[Wrong]:
    multiple, highest, below = shape.multiple, shape.highest, shape.below
    lowest, above = shape.lowest, shape.above
    if multiple is not None and not _is_multiple(number, multiple, whole=shape.whole):
        sentence = f"Input should be a multiple of {_plain(multiple)}"
        yield Wrong("multiple_of", sentence, {"multiple_of": multiple})
    if highest is not None and not number <= highest:
        sentence = f"Input should be less than or equal to {_plain(highest)}"
        yield Wrong("less_than_equal", sentence, {"le": highest})
    if below is not None and not number < below:
        yield Wrong("less_than", f"Input should be less than {_plain(below)}", {"lt": below})
    if lowest is not None and not number >= lowest:
        sentence = f"Input should be greater than or equal to {_plain(lowest)}"
        yield Wrong("greater_than_equal", sentence, {"ge": lowest})
    if above is not None and not number > above:
        yield Wrong("greater_than", f"Input should be greater than {_plain(above)}", {"gt": above})


def _is_multiple(number: float, multiple: float, *, whole: bool) -> bool:
    if whole and isinstance(multiple, int):
        return number % multiple == 0
    if not abs(number) < sys.float_info.max:
        return True
    rest = math.fmod(number, multiple)
    near = abs(number) / 1e9  # as far as Pydantic lets it be
    return abs(rest) <= near or abs(abs(rest) - abs(multiple)) <= near


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)
