"""What a shape is like, for making a value of it. Pure; what is made of it stands in ``making``."""

from __future__ import annotations

from typing import Any

from fal_async.emulator.openapi.shapes import (
    Choice,
    Flag,
    Null,
    Number,
    Record,
    Shape,
    Text,
    Values,
    resolve,
)

__all__ = [
    "all_of",
    "is_content",
    "is_nullable",
    "is_plain",
    "is_scalar",
    "kind_by_fields",
    "texts_in",
    "types_named",
]


def is_plain(value: Any) -> bool:
    """Whether a value is a string, a number or a flag."""
    return value is not None and isinstance(value, (str, int, float))


def is_scalar(shape: Shape) -> bool:
    """Whether its values hold no others."""
    shape = resolve(shape)
    if isinstance(shape, Choice):
        return all(is_scalar(option) for option in shape.options)
    return isinstance(shape, (Text, Number, Flag, Values, Null))


def all_of(shape: Shape | None) -> tuple[Any, ...]:
    """Every value of a shape, if they are few."""
    match None if shape is None else resolve(shape):
        case Flag():
            return (False, True)
        case Values(values=values):
            return values
        case _:
            return ()


def is_nullable(shape: Choice) -> bool:
    """Whether it may be null."""
    return any(isinstance(resolve(option), Null) for option in shape.options)


def is_content(shape: Shape, name: str) -> bool:
    """Whether a field is a file's own bytes, which normal answers do not hold (PROTOCOL 16)."""
    return name == "file_data" or getattr(shape, "format", "") == "binary"


def texts_in(shape: Shape) -> list[Text]:
    """The strings that it may be."""
    shape = resolve(shape)
    if isinstance(shape, Choice):
        return [text for option in shape.options for text in texts_in(option)]
    return [shape] if isinstance(shape, Text) else []


def kind_by_fields(shape: Record) -> str:
    """What the fields of a file say of its kind; empty if nothing."""
    for kind, names in (
        ("video", {"fps", "num_frames"}),
        ("audio", {"sample_rate", "channels"}),
        ("image", {"width", "height"}),
    ):
        if names & shape.fields.keys():
            return kind
    return ""


def types_named(shape: Record) -> list[str]:
    """The content types that the schema of a file names."""
    field = shape.fields.get("content_type")
    if field is None:
        return []
    told = resolve(field.shape)
    named = [told.default, *told.examples, *(told.values if isinstance(told, Values) else ())]
    return [each for each in named if isinstance(each, str)]
