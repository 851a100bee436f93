"""What a value may be, as a tree: a schema that was read once, so that values can be checked and made by it.

Pure values. ``compiling`` makes them of JSON Schema; they know neither JSON Schema nor any document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from fal_async.unset import UNSET

__all__ = [
    "OUT_OF_REACH",
    "Anything",
    "Choice",
    "Field",
    "Flag",
    "Listing",
    "Null",
    "Number",
    "Record",
    "Reference",
    "Shape",
    "Text",
    "Values",
    "heights",
    "is_circular",
    "resolve",
]

OUT_OF_REACH: Final = float("inf")


@attrs.frozen(kw_only=True, eq=False)
class Shape:
    """What is told of any kind of value.

    :ivar name: of the class it was written as, where it was; else empty.
    :ivar default: what stands where nothing is given; UNSET if something has to be.
    """

    name: str = ""
    default: Any = UNSET
    examples: tuple[Any, ...] = ()


@attrs.frozen(kw_only=True, eq=False)
class Anything(Shape):
    """Whatever JSON can say."""


@attrs.frozen(kw_only=True, eq=False)
class Null(Shape):
    """Null alone."""


@attrs.frozen(kw_only=True, eq=False)
class Flag(Shape):
    """True or false."""


@attrs.frozen(kw_only=True, eq=False)
class Text(Shape):
    """A string. A pattern that Python cannot read is not kept."""

    shortest: int = 0
    longest: int | None = None
    pattern: re.Pattern[str] | None = None
    format: str = ""


@attrs.frozen(kw_only=True, eq=False)
class Number(Shape):
    """A number, or a whole one, from ``lowest`` to ``highest``, ``above`` one and ``below`` another."""

    whole: bool = False
    lowest: float | None = None
    highest: float | None = None
    above: float | None = None
    below: float | None = None
    multiple: float | None = None


@attrs.frozen(kw_only=True, eq=False)
class Values(Shape):
    """One of these."""

    values: tuple[Any, ...]


@attrs.frozen(kw_only=True, eq=False)
class Listing(Shape):
    """A list: first those of ``first``, each of its own shape, then any number of ``items``.

    :ivar items: None if nothing may follow.
    """

    first: tuple[Shape, ...] = ()
    items: Shape | None
    fewest: int = 0
    most: int | None = None
    unique: bool = False


@attrs.frozen(kw_only=True, eq=False)
class Field:
    """A field of a record.

    :ivar ignores_null: whether null is as good as leaving it out.
    """

    shape: Shape
    required: bool
    ignores_null: bool = False


@attrs.frozen(kw_only=True, eq=False)
class Record(Shape):
    """An object.

    :ivar fields: in the order they are shown in.
    :ivar more: the shape of fields that are not among them; None if there may be none.
    :ivar ignores: whether such fields are no part of the value, as a class ignores them.
    """

    fields: Mapping[str, Field] = attrs.field(factory=dict)
    more: Shape | None
    ignores: bool = False
    fewest: int = 0
    most: int | None = None


@attrs.frozen(kw_only=True, eq=False)
class Choice(Shape):
    """A value of one of several shapes.

    :ivar by: the field whose value says which, and ``tags`` what each of its values says; empty if none does.
    :ivar one: whether it has to be of no second one.
    """

    options: tuple[Shape, ...]
    by: str = ""
    tags: Mapping[str, Shape] = attrs.field(factory=dict)
    one: bool = False


@attrs.frozen(kw_only=True, eq=False)
class Reference(Shape):
    """A shape within itself: the one in ``target``, as soon as that is known, is what it stands for."""

    target: list[Shape] = attrs.field(factory=list)


def resolve(shape: Shape) -> Shape:
    """The shape, or the one that a reference stands for."""
    while isinstance(shape, Reference):
        [shape] = shape.target
    return shape


def heights(root: Shape) -> dict[int, float]:
    """How deep the flattest value of each shape within ``root`` is, by the ``id`` of the shape.

    :data:`OUT_OF_REACH` for one that contains itself and has no end.
    """
    found = {id(shape): shape for shape in _all(root)}
    known = dict.fromkeys(found, OUT_OF_REACH)
    changed = True
    while changed:
        changed = False
        for key, shape in found.items():
            height = _height(shape, known)
            changed = changed or height < known[key]
            known[key] = height
    return known


def is_circular(root: Shape) -> bool:
    """Whether a choice within ``root`` is one of its own options, so that there is no end to choosing."""
    return any(shape in _chosen(shape) for shape in _all(root) if isinstance(shape, Choice))


def _chosen(shape: Choice) -> list[Shape]:
    """What choosing leads to, step by step."""
    found: list[Shape] = []
    waiting: list[Shape] = [shape]
    while waiting:
        for option in map(resolve, _parts(waiting.pop())):
            if isinstance(option, Choice) and option not in found:
                found.append(option)
                waiting.append(option)
    return found


def _all(root: Shape) -> Iterator[Shape]:
    seen: set[int] = set()
    waiting = [resolve(root)]
    while waiting:
        shape = waiting.pop()
        if id(shape) not in seen:
            seen.add(id(shape))
            yield shape
            waiting += [resolve(part) for part in _parts(shape)]


def _parts(shape: Shape) -> list[Shape]:
    match shape:
        case Listing():
            return [*shape.first, *([shape.items] if shape.items else [])]
        case Record():
            fields = [field.shape for field in shape.fields.values()]
            return [*fields, *([shape.more] if shape.more else [])]
        case Choice():
            return list(shape.options)
        case _:
            return []


def _height(shape: Shape, known: Mapping[int, float]) -> float:
    match shape:
        case Choice():
            return min(known[id(resolve(option))] for option in shape.options)
        case Listing():
            needed = list(shape.first[: shape.fewest])
            if shape.items and shape.fewest > len(shape.first):
                needed.append(shape.items)
        case Record():
            needed = [field.shape for field in shape.fields.values() if field.required]
            if shape.more and shape.fewest > len(shape.fields):
                needed.append(shape.more)
        case _:
            return 0
    return 1 + max((known[id(resolve(part))] for part in needed), default=0)
