"""Plain JSON values to the caller's own types and back, by cattrs.

Scalars are strict: a paid answer is given as it came, or refused with the place that does not fit; never
bent (``'None'`` for None, True for ``'false'``). Unknown fields never fail, models grow.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, Union, get_origin, is_typeddict

import attrs
import cattrs
from cattrs.cols import is_any_set, is_mapping, is_sequence
from cattrs.errors import (
    ClassValidationError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_unstructure_fn, override
from cattrs.strategies import configure_union_passthrough

from fal_async.errors import InputError

__all__ = ["Misfit", "check_result_type", "default_converter", "explain_misfit", "structure"]


class Misfit(ValueError):
    """A value that does not fit a type: where, and why. Internal: translated where the facts are known."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path


class _WrongKind(TypeError):
    def __init__(self, expected: str, got: object) -> None:
        super().__init__(f"expected {expected}, got {_kind(got)}")


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def structure(value: object, wanted: Any, converter: cattrs.BaseConverter | None) -> Any:
    """The value as an instance of ``wanted``.

    :param converter: the caller's own, or None for the strict default.
    :raises Misfit: with the place that does not fit, if there is one.
    """
    chosen = _fast() if converter is None else converter
    try:
        return chosen.structure(value, wanted)
    except (
        Exception
    ) as error:  # a hook of the caller's may raise anything, and the answer is paid for
        if converter is None:
            error = _detailed_error(value, wanted) or error
        raise explain_misfit(error, value) from error


def check_result_type(wanted: Any, converter: cattrs.BaseConverter | None) -> None:
    """Find out before anything is paid for that a type cannot be structured at all.

    :raises InputError: with cattrs' own words.
    """
    if wanted is bytes:
        return
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


def explain_misfit(error: BaseException, value: object) -> Misfit:
    """The first place that did not fit, from the errors cattrs collected."""
    path = ""
    wanted: object = None
    while isinstance(error, (ClassValidationError, IterableValidationError)):
        noted, plain = error.group_exceptions()
        if not noted:
            error = plain[0] if plain else error.exceptions[0]
            continue
        error, note = noted[0]
        step: object = note.index if isinstance(note, IterableValidationNote) else note.name
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
        wanted = note.type
        value = _step_into(value, step)
    return Misfit(path, _problem(error, wanted, value))


_ABSENT: Final = object()


def _step_into(value: object, step: object) -> object:
    try:
        return value[step]  # type: ignore[index]  # whatever it is, it was indexed before
    except (TypeError, KeyError, IndexError):
        return _ABSENT


def _problem(error: BaseException, wanted: object, value: object) -> str:
    if isinstance(error, _WrongKind):
        return str(error)
    if value is _ABSENT:
        return "missing"
    if wanted is None:
        return f"{_kind(value)} does not fit"
    return f"expected {getattr(wanted, '__name__', wanted)}, got {_kind(value)}"


# --- the default converter ------------------------------------------------------------------------------


def default_converter() -> cattrs.Converter:
    """A new converter with this package's rules, for the caller to add hooks to.

    Scalars structure strictly, arrays from arrays and objects from objects only; unions of JSON scalars and
    one class work; an attrs field that is None and defaults to None is left out when unstructured.
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
    for scalar, accepted in _SCALARS:
        converter.register_structure_hook(scalar, _strict(scalar, accepted))
    for moment in (datetime.date, datetime.datetime):
        converter.register_structure_hook(moment, _from_iso(moment))
        converter.register_unstructure_hook(moment, moment.isoformat)
    _accept_only(converter, list, "array", _is_array)
    _accept_only(converter, Mapping, "object", _is_object)
    converter.register_unstructure_hook_factory(attrs.has, _leaving_out_none(converter))
    configure_union_passthrough(Union[str, bool, int, float, None], converter)  # noqa: UP007
    return converter


_SCALARS: Final[tuple[tuple[type, type | tuple[type, ...]], ...]] = (
    (str, str),
    (int, int),
    (float, (int, float)),
    (bool, bool),
    (bytes, bytes),
    (type(None), type(None)),
)


def _strict(scalar: type, accepted: type | tuple[type, ...]) -> Callable[[Any, Any], Any]:
    name = "None" if scalar is type(None) else scalar.__name__

    def hook(value: Any, _: Any) -> Any:
        kind = type(value)
        if kind is scalar:
            return value
        if kind is bool or not isinstance(value, accepted):
            raise _WrongKind(name, value)
        return scalar(value)

    return hook


def _from_iso(moment: type[datetime.date]) -> Callable[[Any, Any], datetime.date]:
    def hook(value: Any, _: Any) -> datetime.date:
        if not isinstance(value, str):
            raise _WrongKind(moment.__name__, value)
        return moment.fromisoformat(value)

    return hook


def _is_array(wanted: Any) -> bool:
    return (
        is_sequence(wanted) or is_any_set(wanted) or wanted is tuple or get_origin(wanted) is tuple
    )


def _is_object(wanted: Any) -> bool:
    origin = get_origin(wanted) or wanted
    return (
        attrs.has(origin)
        or dataclasses.is_dataclass(origin)
        or is_mapping(wanted)
        or is_typeddict(wanted)
    )


def _accept_only(
    converter: cattrs.Converter, accepted: type, name: str, applies: Callable[[Any], bool]
) -> None:
    """Before cattrs' own hook for a type runs, look at the value: a str is iterable, and no array."""
    under_way: set[Any] = set()
    passing: list[Any] = []  # the one look-up that is to reach cattrs' own hook

    def predicate(wanted: Any) -> bool:
        if passing and passing[-1] is wanted:
            passing.pop()
            return False
        return applies(wanted)

    def factory(wanted: Any) -> Callable[[Any, Any], Any]:
        if wanted in under_way:  # a type that holds itself
            return lambda value, _: converter.structure(value, wanted)
        under_way.add(wanted)
        passing.append(wanted)
        try:
            inner = converter.get_structure_hook(wanted, cache_result=False)
        finally:
            under_way.discard(wanted)

        def hook(value: Any, kind: Any) -> Any:
            if not isinstance(value, accepted):
                raise _WrongKind(name, value)
            return inner(value, kind)

        return hook

    converter.register_structure_hook_factory(predicate, factory)


def _leaving_out_none(converter: cattrs.Converter) -> Callable[[Any], Callable[[Any], Any]]:
    def factory(wanted: Any) -> Callable[[Any], Any]:
        # None that is also the default says "not given"; any other value was chosen and is sent.
        silent: dict[str, Any] = {
            field.name: override(omit_if_default=True)
            for field in attrs.fields(get_origin(wanted) or wanted)
            if field.default is None
        }
        return make_dict_unstructure_fn(wanted, converter, **silent)

    return factory
