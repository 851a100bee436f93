"""Inputs by combination: every value of one field with every value of the others. Pure."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, overload

from fal_async.errors import InputError

__all__ = ["Grid", "grid"]

#: What comes from an iterator is read to its end, so there has to be one. Ranges and lists may be longer.
_READ_MAX: Final = 1_000_000


class Grid(Sequence[dict[str, Any]]):
    """The inputs that :func:`grid` makes: each one a new dict, made when it is asked for."""

    def __init__(self, axes: Mapping[str, Sequence[Any]]) -> None:
        self._axes = dict(axes)

    @property
    def names(self) -> frozenset[str]:
        """The fields that every input has."""
        return frozenset(self._axes)

    def __len__(self) -> int:
        return math.prod(map(len, self._axes.values()))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not all(self._axes.values()):  # nothing is read for nothing
            return
        # As itertools.product, which would first make a tuple of every range.
        yield from _combined(tuple(self._axes.items()))

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self._at(place) for place in range(*index.indices(len(self)))]
        place = operator.index(index)
        length = len(self)
        if not -length <= place < length:
            raise IndexError("the grid has no such input")
        return self._at(place % length)

    def _at(self, place: int) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        for name, values in reversed(self._axes.items()):
            place, offset = divmod(place, len(values))
            chosen[name] = values[offset]
        return {name: chosen[name] for name in self._axes}

    def __repr__(self) -> str:  # what is in it is nobody's business
        return f"<Grid {' x '.join(f'{name}:{len(v)}' for name, v in self._axes.items())}>"


def _combined(axes: tuple[tuple[str, Sequence[Any]], ...]) -> Iterator[dict[str, Any]]:
    if not axes:
        yield {}
        return
    *slower, (fastest, values) = axes
    for chosen in _combined(tuple(slower)):
        for value in values:
            yield {**chosen, fastest: value}


def grid(**fields: Any) -> Grid:
    """Inputs for :meth:`AsyncFal.map <fal_async.AsyncFal.map>`: every combination of the values given.

    >>> inputs = grid(prompt=["a cat", "a dog"], seed=range(2), num_images=1)
    >>> len(inputs)
    4
    >>> inputs[1]
    {'prompt': 'a cat', 'seed': 1, 'num_images': 1}

    The field that is named last varies fastest. Nothing is made before it is asked for, and the same grid may
    be gone through again.

    :param fields: the values of each field: a list, a tuple, a range, any iterable that ends. A text, bytes,
        a mapping and whatever else cannot be iterated over is a single value that all inputs have; so is what
        a list holds alone: ``sizes=[[512, 512]]``. A field without any value leaves no input at all.
    :raises InputError: for an iterator of more than a million values, which may be endless.
    """
    return Grid({name: _axis(name, values) for name, values in fields.items()})


def _axis(name: str, values: Any) -> Sequence[Any]:
    if isinstance(values, (str, bytes, bytearray, memoryview, Mapping)):
        return (values,)
    if isinstance(values, (range, Grid)):
        return values
    if not isinstance(values, Iterable):
        return (values,)
    if isinstance(values, (list, tuple, set, frozenset)):
        return tuple(values)
    read = tuple(islice(values, _READ_MAX + 1))
    if len(read) > _READ_MAX:
        raise InputError(
            f"{name} has more than {_READ_MAX:,} values, and may have no end: give a list or a range"
        )
    return read
