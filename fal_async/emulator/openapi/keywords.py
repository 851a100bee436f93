"""The keywords of one schema: whether they are as they should be, and what they say of plain values. Pure."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from fal_async.emulator.openapi.merging import ANNOTATIONS, CLASS
from fal_async.emulator.openapi.shapes import Number, Text
from fal_async.protocol import wire
from fal_async.unset import UNSET

__all__ = [
    "DocumentError",
    "ImpossibleError",
    "bounds",
    "check",
    "constraints",
    "escaped",
    "number_shape",
    "of_this_dialect",
    "shown",
    "text_shape",
    "told",
]

_WANTED: Final[Mapping[str, type | tuple[type, ...]]] = {
    "additionalProperties": (dict, bool),
    "allOf": list,
    "anyOf": list,
    "enum": list,
    "exclusiveMaximum": (int, float),
    "exclusiveMinimum": (int, float),
    "format": str,
    "items": (dict, bool),
    "maxItems": (int, float),
    "maxLength": (int, float),
    "maxProperties": (int, float),
    "maximum": (int, float),
    "minItems": (int, float),
    "minLength": (int, float),
    "minProperties": (int, float),
    "minimum": (int, float),
    "multipleOf": (int, float),
    "oneOf": list,
    "pattern": str,
    "prefixItems": list,
    "properties": dict,
    "required": list,
    "type": (str, list),
    wire.OPENAPI_ORDER: (list, type(None)),
}
#: Where these are lists, their items are names.
_NAMES: Final = ("required", "type", wire.OPENAPI_ORDER)
#: They are flags in OpenAPI 3.0.
_FLAGS: Final = ("exclusiveMaximum", "exclusiveMinimum")


class DocumentError(ValueError):
    """A document that no model can be made of.

    :param place: where in it: a JSON pointer behind ``#``.
    """

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}")


class ImpossibleError(DocumentError):
    """A schema that nothing fits; as one of several options, it is none."""


def told(flat: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of any kind of shape."""
    shown = flat.get("examples")
    examples = tuple(shown) if isinstance(shown, list) else ()
    if "example" in flat:
        examples = (flat["example"], *examples)
    return {
        "name": flat.get(CLASS, ""),
        "default": flat.get("default", UNSET),
        "examples": examples,
    }


def constraints(flat: Mapping[str, Any]) -> dict[str, Any]:
    """What says which values fit."""
    return {
        word: value
        for word, value in flat.items()
        if word not in ANNOTATIONS and not word.startswith("x-")
    }


def of_this_dialect(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Bounds as numbers: in OpenAPI 3.0 it is a flag that makes one exclusive."""
    out = dict(schema)
    for bound, word in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        flag = out.get(word)
        if isinstance(flag, bool):
            del out[word]
            if flag and bound in out:
                out[word] = out.pop(bound)
    return out


def check(schema: Mapping[str, Any], place: str) -> None:
    """Keywords have values of the right type: what is read below relies on it."""
    for word, wanted in _WANTED.items():
        value = schema.get(word)
        right = word not in schema or isinstance(value, wanted)
        if right and word in schema and wanted == (int, float):
            right = _is_finite(value) or (word in _FLAGS and isinstance(value, bool))
        if right and word in _NAMES and isinstance(value, list):
            right = all(isinstance(name, str) for name in value)
        if not right:
            raise DocumentError(f"{place}/{word}", f"this cannot be {shown(value)}")


def _is_finite(value: Any) -> bool:
    """Whether it is a number that can be reckoned with."""
    return not isinstance(value, bool) and abs(value) <= sys.float_info.max


def bounds(flat: Mapping[str, Any], of: str, place: str) -> tuple[int, int | None]:
    """From how many to how many ``of`` something there are, such as ``Items``."""
    fewest, most = flat.get(f"min{of}", 0), flat.get(f"max{of}")
    if most is not None and fewest > most:
        raise ImpossibleError(place, f"nothing fits: min{of} is {fewest}, max{of} is {most}")
    return int(fewest), None if most is None else int(most)


def text_shape(flat: Mapping[str, Any], place: str, told: dict[str, Any]) -> Text:
    """A string, as the keywords say."""
    shortest, longest = bounds(flat, "Length", place)
    pattern = flat.get("pattern")
    return Text(
        shortest=shortest,
        longest=longest,
        pattern=None if pattern is None else _compiled(pattern),
        format=flat.get("format", ""),
        **told,
    )


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:  # another language's; fal's framework takes those of Rust
        return None


def number_shape(flat: Mapping[str, Any], place: str, told: dict[str, Any]) -> Number:
    """A number, as the keywords say."""
    whole = flat.get("type") == "integer"
    lowest, highest, above, below, multiple = (
        _as_written(flat.get(word), whole)
        for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    )
    number = Number(
        whole=whole,
        lowest=lowest,
        highest=highest,
        above=above,
        below=below,
        multiple=abs(multiple or 0) or None,
        **told,
    )
    low = max((bound for bound in (lowest, above) if bound is not None), default=-float("inf"))
    high = min((bound for bound in (highest, below) if bound is not None), default=float("inf"))
    if low > high or (low == high and not lowest == highest == low):
        raise ImpossibleError(place, f"nothing fits: no number is from {low} to {high}")
    if (whole or multiple) and not _has_a_multiple(number, low, high):
        kind = f"multiple of {multiple}" if multiple else "whole number"
        raise ImpossibleError(place, f"nothing fits: no {kind} is from {low} to {high}")
    return number


def _has_a_multiple(number: Number, low: float, high: float) -> bool:
    """Whether one that a float can hold is within the bounds; they are taken as they are written."""
    step = Fraction(str(number.multiple or 1))
    if number.whole:
        step = Fraction(step.numerator)
    most = sys.float_info.max
    first = math.ceil(Fraction(str(max(low, -most))) / step) * step
    if number.above is not None and first <= Fraction(str(number.above)):
        first += step
    last = Fraction(str(min(high, most)))
    return first <= last and (number.below is None or first < Fraction(str(number.below)))


def _as_written(bound: float | None, whole: bool) -> float | None:  # noqa: FBT001  # from a table
    """A whole number's bounds are whole, though FastAPI writes them as ``1.0``."""
    return int(bound) if whole and bound is not None and bound == int(bound) else bound


def shown(value: Any) -> str:
    """A value in a sentence."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


def escaped(name: str) -> str:
    """A name as JSON pointers write it."""
    return name.replace("~", "~0").replace("/", "~1")
