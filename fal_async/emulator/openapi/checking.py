"""Reading a value by its shape, as Pydantic does for fal's framework (PROTOCOL 5.1): all wrongs at once.

Pure. What comes out is not what went in: strings may have become numbers, defaults stand where nothing was
given, fields that nobody asked for are gone. The words are Pydantic's (2.14, as FastAPI 0.165 passes them
on).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fal_async.emulator.openapi.scalars import Wrong, read_flag, read_number, read_text, words
from fal_async.emulator.openapi.shapes import (
    Anything,
    Choice,
    Field,
    Flag,
    Listing,
    Null,
    Number,
    Record,
    Shape,
    Text,
    Values,
    resolve,
)
from fal_async.emulator.raising import InvalidInputError
from fal_async.errors import ErrorDetail
from fal_async.unset import UNSET

__all__ = ["fits", "read"]

_Place = tuple[str | int, ...]
_NO_OBJECT: Final = "Input should be a valid dictionary or object to extract fields from"


def read(shape: Shape, value: Any) -> Any:
    """The value as the application sees it.

    :raises InvalidInputError: with everything that is wrong with it.
    """
    reader = _Reader(strict=False)
    found = reader.read(shape, value, ("body",))
    if reader.wrong:
        raise InvalidInputError(reader.wrong)
    return found


def fits(shape: Shape, value: Any) -> bool:
    """Whether a value is of a shape as it is, nothing read into it."""
    reader = _Reader(strict=True)
    reader.read(shape, value, ())
    return not reader.wrong


class _Reader:
    def __init__(self, *, strict: bool) -> None:
        self.wrong: list[tuple[ErrorDetail, Any]] = []
        self._strict = strict

    def read(self, shape: Shape, value: Any, place: _Place) -> Any:
        try:
            return self._read(resolve(shape), value, place)
        except Wrong as wrong:
            self._tell(wrong, value, place)
            return None

    def _tell(self, wrong: Wrong, value: Any, place: _Place) -> None:
        detail = ErrorDetail(loc=place, msg=wrong.msg, type=wrong.type, ctx=wrong.ctx)
        self.wrong.append((detail, value))

    def _read(self, shape: Shape, value: Any, place: _Place) -> Any:
        match shape:
            case Text():
                return read_text(shape, value)
            case Number():
                return read_number(shape, value, strict=self._strict)
            case Flag():
                return read_flag(value, strict=self._strict)
            case Null():
                if value is not None:
                    raise Wrong("none_required", "Input should be None")
                return None
            case Values():
                return self._one_of(shape, value)
            case Listing():
                return self._list(shape, value, place)
            case Record():
                return self._object(shape, value, place)
            case Choice():
                return self._choice(shape, value, place)
            case _:
                return value

    def _one_of(self, shape: Values, value: Any) -> Any:
        for known in shape.values:
            if known == value and (not self._strict or _alike(known, value)):
                return known
        expected = words(shape.values)
        kind = "enum" if shape.name else "literal_error"
        raise Wrong(kind, f"Input should be {expected}", {"expected": expected})

    # --- what holds others --------------------------------------------------------------------------

    def _list(self, shape: Listing, value: Any, place: _Place) -> list[Any]:
        kind = "tuple" if shape.first else "set" if shape.unique else "list"
        if not isinstance(value, list):
            raise Wrong(f"{kind}_type", f"Input should be a valid {kind}")
        if shape.most is not None and len(value) > shape.most:
            raise _too_long(kind.title(), shape.most, len(value))
        before = len(self.wrong)
        found = [
            self.read(self._of(shape, index), each, (*place, index))
            for index, each in enumerate(value)
        ]
        for index in range(len(value), min(len(shape.first), shape.fewest)):
            self._tell(Wrong("missing", "Field required"), value, (*place, index))
        if shape.unique:
            found = self._once(found)
        if len(found) < shape.fewest and len(self.wrong) == before:
            raise _too_short(kind.title(), shape.fewest, len(found))
        return found

    @staticmethod
    def _of(shape: Listing, index: int) -> Shape:
        if index < len(shape.first):
            return shape.first[index]
        return shape.items or _ANYTHING

    def _once(self, found: list[Any]) -> list[Any]:
        once: list[Any] = []
        for each in found:
            if not any(each == other and _alike(each, other) for other in once):
                once.append(each)
        if self._strict and len(once) < len(found):
            raise Wrong("set_type", "Input should be a valid set")
        return once

    def _object(self, shape: Record, value: Any, place: _Place) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            if shape.fields:
                raise Wrong("model_attributes_type", _NO_OBJECT)
            raise Wrong("dict_type", "Input should be a valid dictionary")
        found: dict[str, Any] = {}
        for name, field in shape.fields.items():
            self._field(name, field, value, found, place)
        for name in (name for name in value if name not in shape.fields):
            if shape.more is None:
                wrong = Wrong("extra_forbidden", "Extra inputs are not permitted")
                self._tell(wrong, value[name], (*place, name))
            elif not shape.ignores:
                found[name] = self.read(shape.more, value[name], (*place, name))
        if len(value) < shape.fewest:
            raise _too_short("Dictionary", shape.fewest, len(value))
        if shape.most is not None and len(value) > shape.most:
            raise _too_long("Dictionary", shape.most, len(value))
        return found

    def _field(
        self,
        name: str,
        field: Field,
        value: Mapping[str, Any],
        found: dict[str, Any],
        place: _Place,
    ) -> None:
        shape = resolve(field.shape)
        nothing = field.ignores_null and not self._strict and name in value and value[name] is None
        if name in value and not (nothing and not fits(shape, None)):
            found[name] = self.read(shape, value[name], (*place, name))
        elif name not in value and field.required and (self._strict or shape.default is UNSET):
            self._tell(Wrong("missing", "Field required"), value, (*place, name))
        elif shape.default is not UNSET:
            found[name] = shape.default

    # --- one of several -----------------------------------------------------------------------------

    def _choice(self, shape: Choice, value: Any, place: _Place) -> Any:
        if shape.by and not self._strict:
            return self._tagged(shape, value, place)
        options = [resolve(option) for option in shape.options]
        exact = [option for option in options if fits(option, value)]
        if self._strict:
            if not exact or (shape.one and len(exact) > 1):
                raise Wrong("union", "Input should be one of several")
            return value
        wrong: list[tuple[ErrorDetail, Any]] = []
        labelled = [option for option in options if not isinstance(option, Null)]
        for option in _by_fields(exact, value) or options:
            label = (_label(option),) if len(labelled) > 1 else ()
            attempt = _Reader(strict=False)
            found = attempt.read(option, value, (*place, *label))
            if not attempt.wrong:
                return found
            if option in labelled:
                wrong += attempt.wrong
        self.wrong += wrong
        return None

    def _tagged(self, shape: Choice, value: Any, place: _Place) -> Any:
        if not isinstance(value, Mapping):
            raise Wrong("model_attributes_type", _NO_OBJECT)
        by = repr(shape.by)
        if shape.by not in value:
            sentence = f"Unable to extract tag using discriminator {by}"
            raise Wrong("union_tag_not_found", sentence, {"discriminator": by})
        tag = value[shape.by]
        if not isinstance(tag, str) or tag not in shape.tags:
            expected = ", ".join(repr(each) for each in shape.tags)
            sentence = f"Input tag '{tag}' found using {by} does not match any of the expected tags"
            sentence = f"{sentence}: {expected}"
            told = {"discriminator": by, "tag": str(tag), "expected_tags": expected}
            raise Wrong("union_tag_invalid", sentence, told)
        return self.read(shape.tags[tag], value, (*place, tag))


_ANYTHING: Final = Anything()


def _alike(one: Any, other: Any) -> bool:
    """True is not 1, for JSON."""
    return isinstance(one, bool) == isinstance(other, bool)


def _by_fields(options: list[Shape], value: Any) -> list[Shape]:
    """Of several that fit, first the one that knows most of the fields."""

    def known(option: Shape) -> int:
        if not isinstance(option, Record) or not isinstance(value, Mapping):
            return 0
        return sum(name in option.fields for name in value)

    return sorted(options, key=known, reverse=True)


def _too_short(kind: str, fewest: int, actual: int) -> Wrong:
    items = "item" if fewest == 1 else "items"
    return Wrong(
        "too_short",
        f"{kind} should have at least {fewest} {items} after validation, not {actual}",
        {"field_type": kind, "min_length": fewest, "actual_length": actual},
    )


def _too_long(kind: str, most: int, actual: int) -> Wrong:
    items = "item" if most == 1 else "items"
    return Wrong(
        "too_long",
        f"{kind} should have at most {most} {items} after validation, not {actual}",
        {"field_type": kind, "max_length": most, "actual_length": actual},
    )


def _label(shape: Shape) -> str:
    """What stands in the place of an error for the option it is about."""
    shape = resolve(shape)
    match shape:
        case Record() if shape.fields:
            return shape.name or "Model"
        case Record():
            return f"dict[str,{_label(shape.more or _ANYTHING)}]"
        case Values() if shape.name:
            kind = "str" if isinstance(shape.values[0], str) else "int"
            return f"{kind}-enum[{shape.name}]"
        case Values():
            return f"literal[{','.join(repr(value) for value in shape.values)}]"
        case Listing(first=(_, *_)):
            return f"tuple[{','.join(_label(each) for each in shape.first)}]"
        case Listing():
            return f"{'set' if shape.unique else 'list'}[{_label(shape.items or _ANYTHING)}]"
        case Text() | Number():
            return _label_of_scalar(shape)
        case Choice():
            return f"union[{','.join(_label(option) for option in shape.options)}]"
        case _:
            return {Flag: "bool", Null: "none"}.get(type(shape), "any")


def _label_of_scalar(shape: Text | Number) -> str:
    if isinstance(shape, Text):
        if shape.format in {"uri", "url"}:
            return "url"
        plain = shape.longest is None and not shape.shortest and shape.pattern is None
        return "str" if plain else "constrained-str"
    bounds = (shape.lowest, shape.highest, shape.above, shape.below, shape.multiple)
    kind = "int" if shape.whole else "float"
    return kind if all(bound is None for bound in bounds) else f"constrained-{kind}"
