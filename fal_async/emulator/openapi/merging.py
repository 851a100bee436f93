"""Several schemas of one value, as ``allOf`` and ``$ref`` give them, put into one. Pure: JSON in and out."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, Final

__all__ = ["ANNOTATIONS", "CLASS", "ContradictionError", "merge"]

#: Where the name of the component stands that a schema is. No keyword begins so.
CLASS: Final = "\0class"

#: Keywords that say nothing of what a value may be, but for their being shown.
ANNOTATIONS: Final = frozenset(
    (
        CLASS,
        "$comment",
        "default",
        "deprecated",
        "description",
        "example",
        "examples",
        "externalDocs",
        "readOnly",
        "title",
        "writeOnly",
        "xml",
    )
)


class ContradictionError(ValueError):
    """No value fits both."""


def merge(schemas: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One schema for what fits all of them; of what is only shown, the last one's.

    :raises ContradictionError: if plainly nothing fits.
    """
    whole: dict[str, Any] = {}
    for schema in schemas:
        for word, value in schema.items():
            if word not in whole or word in ANNOTATIONS:
                whole[word] = value
            elif whole[word] != value:
                join = _JOINED.get(word)
                whole[word] = value if join is None else join(whole[word], value)
    return whole


def _both(one: Any, other: Any) -> Any:
    return {"allOf": [one, other]}


def _properties(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    common = {name: _both(one[name], other[name]) for name in one if name in other}
    return {**one, **other, **common}


def _each(one: list[Any], other: list[Any]) -> list[Any]:
    return [_both(left, right) for left in one for right in other]


def _united(one: list[Any], other: list[Any]) -> list[Any]:
    return [*one, *(name for name in other if name not in one)]


def _common(one: list[Any], other: list[Any]) -> list[Any]:
    common = [value for value in one if value in other]
    if not common:
        raise ContradictionError(f"nothing is one of {one} and one of {other}")
    return common


def _types(one: Any, other: Any) -> Any:
    left, right = (kind if isinstance(kind, list) else [kind] for kind in (one, other))
    common = [kind for mine in left for yours in right if (kind := _narrower(mine, yours))]
    if not common:
        raise ContradictionError(f"nothing is {' or '.join(left)} and {' or '.join(right)}")
    return common[0] if len(common) == 1 else list(dict.fromkeys(common))


def _narrower(one: str, other: str) -> str:
    if one == other:
        return one
    return "integer" if {one, other} == {"integer", "number"} else ""


def _same(one: Any, other: Any) -> Any:
    raise ContradictionError(f"nothing is {one!r} and {other!r}")


def _least_common_multiple(one: float, other: float) -> float:
    left, right = Fraction(str(one)), Fraction(str(other))
    below = math.lcm(left.denominator, right.denominator)
    above = math.lcm(int(left * below), int(right * below))
    found = Fraction(above, below)
    if found > sys.float_info.max:
        raise ContradictionError(f"nothing fits: no number is a multiple of {one} and of {other}")
    return int(found) if found.denominator == 1 else float(found)


_JOINED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "additionalProperties": lambda one, other: (
        False if one is False or other is False else (other if one is True else _both(one, other))
    ),
    "anyOf": _each,
    "const": _same,
    "enum": _common,
    "exclusiveMaximum": min,
    "exclusiveMinimum": max,
    "items": _both,
    "maxItems": min,
    "maxLength": min,
    "maxProperties": min,
    "maximum": min,
    "minItems": max,
    "minLength": max,
    "minProperties": max,
    "minimum": max,
    "multipleOf": _least_common_multiple,
    "nullable": lambda one, other: one and other,
    "oneOf": _each,
    "properties": _properties,
    "required": _united,
    "type": _types,
    "uniqueItems": lambda one, other: one or other,
}
