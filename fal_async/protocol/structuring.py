"""Plain JSON values to the caller's own types and back, by cattrs.

Scalars are strict: a paid answer is given as it came, or refused with the place that does not fit; never
bent (``'None'`` for None, True for ``'false'``). Unknown fields never fail, models grow.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import attrs
import cattrs
from cattrs.cols import (
    is_any_set,
    is_defaultdict,
    is_mapping,
    is_namedtuple,
    is_sequence,
    mapping_structure_factory,
    namedtuple_dict_structure_factory,
)
from cattrs.gen import make_dict_unstructure_fn, override
from cattrs.strategies import configure_union_passthrough

from fal_async.errors import InputError
from fal_async.protocol.misfit import KindError, explain_misfit
from fal_async.types import File

__all__ = ["check_result_type", "default_converter", "structure"]

_Hook = Callable[[Any, Any], Any]


def structure(value: object, wanted: Any, converter: cattrs.BaseConverter | None) -> Any:
    """The value as an instance of ``wanted``.

    :param converter: the caller's own, or None for the strict default.
    :raises Misfit: with the place that does not fit, if there is one.
    """
    chosen = _fast() if converter is None else converter
    try:
        return chosen.structure(value, wanted)
    except Exception as error:  # hooks and classes of the caller's raise what they like
        misfit = explain_misfit(
            error if converter is not None else _detailed_error(value, wanted) or error,
            value,
            wanted,
            ours=converter is None,
        )
        raise misfit from misfit.reason


def check_result_type(wanted: Any, converter: cattrs.BaseConverter | None) -> None:
    """Find out before anything is paid for that a type cannot be structured at all.

    :raises InputError: with cattrs' own words.
    """
    try:
        (_fast() if converter is None else converter).get_structure_hook(wanted)
    except Exception as error:  # cattrs and the caller's hook factories raise what they like
        raise InputError(f"result_type cannot be structured: {error}") from error


def _detailed_error(value: object, wanted: Any) -> Exception | None:
    # The fast converter does not track where it is; the slow one is only asked once something is wrong.
    try:
        _detailed().structure(value, wanted)
    except Exception as error:  # as above
        return error
    return None


# --- the default converter ------------------------------------------------------------------------------


def default_converter() -> cattrs.Converter:
    """A new converter with this package's rules, for the caller to add hooks to.

    Scalars, enums and literals structure strictly, arrays from arrays and objects from objects only; unions
    of JSON scalars and one class work. A field that is None and defaults to None is left out when
    unstructured.
    """
    return _make(detailed=True)


@lru_cache(maxsize=1)
def _fast() -> cattrs.Converter:
    return _make(detailed=False)


@lru_cache(maxsize=1)
def _detailed() -> cattrs.Converter:
    return _make(detailed=True)


def _make(*, detailed: bool) -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=detailed)
    for scalar, hook in _SCALARS.items():
        converter.register_structure_hook(scalar, hook)
    converter.register_structure_hook(type(None), _to_none)
    converter.register_structure_hook_func(lambda wanted: wanted is object, lambda value, _: value)
    for moment in (datetime.date, datetime.datetime):
        converter.register_structure_hook(moment, _from_iso(moment))
        converter.register_unstructure_hook(moment, moment.isoformat)
    # bool is not among them: cattrs would let it pass for an int.
    configure_union_passthrough(Union[str, int, float, None], converter)  # noqa: UP007
    converter.register_structure_hook_factory(_is_optional, _optional_hook)
    converter.register_structure_hook_factory(_is_literal, _literal_hook)
    converter.register_structure_hook(enum.Enum, _to_enum)
    _register_around(converter, _is_array, _from_array)
    converter.register_structure_hook_factory(_is_plain_mapping, _mapping_hook)
    _register_around(converter, _is_object, _from_object)
    _register_around(converter, is_namedtuple, _from_array_or_object)
    converter.register_unstructure_hook_factory(_has_fields, _leaving_out_none)
    converter.register_unstructure_hook(File, str)  # and what is derived from it: inputs take URLs
    return converter


# --- scalars --------------------------------------------------------------------------------------------


def _only(scalar: type) -> _Hook:
    name = scalar.__name__

    def hook(value: Any, kind: Any) -> Any:
        if type(value) is scalar and kind is scalar:
            return value
        # cattrs asks for subclasses here too: IntEnum, StrEnum.
        if isinstance(kind, type) and kind is not scalar:
            return _to_enum(value, kind) if _is_enum(kind) else kind(hook(value, scalar))
        raise KindError(name, value)

    return hook


def _to_float(value: Any, _: Any) -> float:
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]
    if kind is int:  # JSON has one kind of number
        return float(value)
    raise KindError("float", value)


_SCALARS: Final[dict[type, _Hook]] = {
    **{scalar: _only(scalar) for scalar in (str, int, bool, bytes)},
    float: _to_float,
}


def _to_none(value: Any, _: Any) -> None:
    if value is not None:
        raise KindError("None", value)


def _from_iso(moment: type[datetime.date]) -> _Hook:
    def hook(value: Any, _: Any) -> datetime.date:
        if not isinstance(value, str):
            raise KindError(moment.__name__, value)
        return moment.fromisoformat(value)

    return hook


def _is_optional(wanted: Any) -> bool:
    args = get_args(wanted)
    return get_origin(wanted) in {Union, UnionType} and len(args) == 2 and type(None) in args


def _optional_hook(wanted: Any, converter: cattrs.BaseConverter) -> _Hook:
    # Most fields of an output are optional, and cattrs looks their types up for every value.
    one, other = get_args(wanted)
    kind = other if one is type(None) else one
    inner = converter.get_structure_hook(kind, cache_result=False)
    if inner is _SCALARS.get(kind):

        def scalar_hook(value: Any, _: Any) -> Any:
            return value if value is None or type(value) is kind else inner(value, kind)

        return scalar_hook
    return lambda value, _: None if value is None else inner(value, kind)


def _is_literal(wanted: Any) -> bool:
    return get_origin(wanted) is Literal


def _literal_hook(wanted: Any) -> _Hook:
    # By type too: to Python, True is 1.
    words = {
        _typed(word.value if isinstance(word, enum.Enum) else word): word
        for word in get_args(wanted)
    }

    def hook(value: Any, _: Any) -> Any:
        try:
            return words[_typed(value)]
        except (KeyError, TypeError):  # a list is no word, and has no hash
            raise KindError.none_of((word for _, word in words), value) from None

    return hook


def _typed(value: object) -> tuple[type, object]:
    return type(value), value


def _is_enum(wanted: Any) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, enum.Enum)


def _to_enum(value: Any, wanted: type[enum.Enum]) -> enum.Enum:
    try:
        member = wanted(value)
    except ValueError:
        member = None
    if member is None or (member.value == value and not _is_same_kind(value, member.value)):
        raise KindError.none_of((member.value for member in wanted), value)
    return member


def _is_same_kind(value: object, of: object) -> bool:
    return type(value) is type(of) or (type(value) is int and type(of) is float)


# --- arrays and objects ---------------------------------------------------------------------------------


def _is_array(wanted: Any) -> bool:
    return (
        is_sequence(wanted) or is_any_set(wanted) or wanted is tuple or get_origin(wanted) is tuple
    )


def _is_object(wanted: Any) -> bool:
    return _has_fields(wanted) or is_typeddict(wanted)


def _is_plain_mapping(wanted: Any) -> bool:
    special = is_typeddict(get_origin(wanted) or wanted) or is_defaultdict(wanted)
    return is_mapping(wanted) and not special and (get_origin(wanted) or wanted) is not Counter


def _mapping_hook(wanted: Any, converter: cattrs.BaseConverter) -> _Hook:
    # Made here rather than by cattrs, which would also register it, and find it before ours.
    origin = get_origin(wanted) or wanted
    made = dict if inspect.isabstract(origin) else origin
    return _from_object(wanted, mapping_structure_factory(wanted, converter, made), converter)


def _has_fields(wanted: Any) -> bool:
    origin = get_origin(wanted) or wanted
    return attrs.has(origin) or dataclasses.is_dataclass(origin)


def _from_array(_: Any, inner: _Hook, __: cattrs.BaseConverter) -> _Hook:
    def hook(value: Any, kind: Any) -> Any:
        if type(value) is list or isinstance(value, list):
            return inner(value, kind)
        raise KindError("array", value)

    return hook


def _from_object(_: Any, inner: _Hook, __: cattrs.BaseConverter) -> _Hook:
    def hook(value: Any, kind: Any) -> Any:
        if type(value) is dict or isinstance(value, Mapping):
            return inner(value, kind)
        raise KindError("object", value)

    return hook


def _from_array_or_object(wanted: Any, inner: _Hook, converter: cattrs.BaseConverter) -> _Hook:
    from_object = namedtuple_dict_structure_factory(wanted, converter)

    def hook(value: Any, kind: Any) -> Any:
        return from_object(value, kind) if isinstance(value, Mapping) else inner(value, kind)

    return hook


#: Rules and types whose look-up is under way, and those that the next look-up is to pass by.
_UNDER_WAY: ContextVar[tuple[tuple[object, Any], ...]] = ContextVar("_UNDER_WAY", default=())
_PASSED_BY: ContextVar[tuple[tuple[object, Any], ...]] = ContextVar("_PASSED_BY", default=())


def _register_around(
    converter: cattrs.Converter,
    applies: Callable[[Any], bool],
    wrap: Callable[[Any, _Hook, cattrs.BaseConverter], _Hook],
) -> None:
    """Put a hook of ours around the one that cattrs itself has for a type.

    To get at that one, the type is looked up again, with this rule standing aside.
    """
    rule = object()

    def predicate(wanted: Any) -> bool:
        passed_by = _PASSED_BY.get()
        if passed_by and passed_by[-1] == (rule, wanted):
            _PASSED_BY.set(passed_by[:-1])
            return False
        return applies(wanted)

    def factory(wanted: Any, converter: cattrs.BaseConverter) -> _Hook:
        mark = (rule, wanted)
        if mark in _UNDER_WAY.get():  # a type that holds itself
            return lambda value, _: converter.structure(value, wanted)
        _resolve(get_origin(wanted) or wanted)
        under_way = _UNDER_WAY.set((*_UNDER_WAY.get(), mark))
        passed_by = _PASSED_BY.set((*_PASSED_BY.get(), mark))
        try:
            inner = converter.get_structure_hook(wanted, cache_result=False)
        finally:
            _UNDER_WAY.reset(under_way)
            _PASSED_BY.reset(passed_by)
        return wrap(wanted, inner, converter)

    converter.register_structure_hook_factory(predicate, factory)


def _resolve(kind: Any) -> None:
    # cattrs does not look into list["Node"], nor into the strings of a named tuple.
    if attrs.has(kind):
        attrs.resolve_types(kind)
    elif is_namedtuple(kind):
        kind.__annotations__ = get_type_hints(kind, include_extras=True)


# --- out ------------------------------------------------------------------------------------------------


def _leaving_out_none(wanted: Any, converter: cattrs.BaseConverter) -> Callable[[Any], Any]:
    # None that is also the default says "not given"; any other value was chosen and is sent.
    origin: Any = get_origin(wanted) or wanted
    fields = attrs.fields(origin) if attrs.has(origin) else dataclasses.fields(origin)
    silent: dict[str, Any] = {
        field.name: override(omit_if_default=True) for field in fields if field.default is None
    }
    return make_dict_unstructure_fn(wanted, converter, **silent)
