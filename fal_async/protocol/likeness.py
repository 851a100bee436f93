"""Whether two inputs are the same, or might be: JSON compared as values, exactly and with allowances.

Pure. What follows from it for a call whose end is unknown is told by ``reconciling``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Final

from fal_async.protocol import codec
from fal_async.protocol.history import HistoryItem

__all__ = ["Lookalikes", "exact_form"]

_Number = Callable[[float], Hashable]


def exact_form(text: bytes | None) -> Hashable | None:
    """Something that two JSON texts have in common exactly if their values are equal.

    1, 1.0 and true are three values; integers of any size count to the last digit; the order of members does
    not count. None if this one cannot be compared.
    """
    return None if text is None else _form(_decoded(text), _exact)


class _Undecodable:
    """Stands for a text that is no JSON."""


def _decoded(text: bytes) -> Any:
    try:
        return codec.decode_json(text)
    except codec.Undecodable:
        return _Undecodable


def _form(value: Any, number: _Number) -> Hashable | None:
    try:
        return None if value is _Undecodable else _shape(value, number)
    except RecursionError:
        return None


def _shape(value: Any, number: _Number) -> Hashable:
    if isinstance(value, bool):
        return ("truth", value)
    if isinstance(value, (int, float)):
        return ("number", number(value))
    if isinstance(value, list):
        return ("list", tuple(_shape(item, number) for item in value))
    if isinstance(value, dict):
        return ("object", frozenset((name, _shape(item, number)) for name, item in value.items()))
    return ("text", value)  # or null


def _exact(value: float) -> Hashable:
    return (type(value).__name__, repr(value) if isinstance(value, float) else value)


def _about(value: float) -> Hashable:
    """As a program sees it that knows doubles only."""
    try:
        return float(value) + 0.0  # no minus before a zero
    except OverflowError:
        return math.inf if value > 0 else -math.inf


#: Longer texts may be kept as something else, as files by value may.
_LONG: Final = 2_000


def _is_lasting(value: Any) -> bool:
    """Whether a value is sure to be kept as it was sent, but for the spelling of its numbers."""
    if isinstance(value, str):
        return len(value) <= _LONG and not value.startswith("data:")
    if isinstance(value, list):
        return all(map(_is_lasting, value))
    if isinstance(value, dict):
        return all(map(_is_lasting, value.values()))
    return value is not None


class Lookalikes:
    """Requests, to be asked for those that an input might have become.

    One resembles an input if it has all of its members: numbers of about the same size are equal, and what
    may be kept in another form is passed over (nulls, files by value, long texts). It may have more members.
    """

    def __init__(self, items: Iterable[HistoryItem]) -> None:
        self._blind: list[HistoryItem] = []
        self._seen: dict[int, HistoryItem] = {}
        self._with: defaultdict[Hashable, dict[int, HistoryItem]] = defaultdict(dict)
        for n, item in enumerate(items):
            members = None if item.input is None else _members(_decoded(item.input))
            if members is None:
                self._blind.append(item)
                continue
            self._seen[n] = item
            for member in members:
                self._with[member][n] = item

    def of(self, text: bytes) -> Iterator[HistoryItem]:
        """Those that resemble an input, and those of which nothing is known."""
        yield from self._blind
        wanted = [self._with.get(member, {}) for member in _members(_decoded(text)) or ()]
        first, *others = sorted(wanted, key=len) or [self._seen]
        for n, item in first.items():
            if all(n in other for other in others):
                yield item


def _members(value: Any) -> list[Hashable] | None:
    """What is asked of a lookalike; None for an input that has no members, or cannot be compared."""
    if not isinstance(value, dict):
        return None
    try:
        return [(k, _shape(v, _about)) for k, v in value.items() if _is_lasting(v)]
    except RecursionError:
        return None
