"""``@pytest.mark.fal(...)``: what a test wants its emulator to be; a mistake fails the test in a sentence.

The emulator itself is not imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, Final, NoReturn

import pytest

__all__ = ["EMULATOR_SETTINGS", "MARKER", "allows_network", "check_names", "told", "wrong"]

MARKER: Final = (
    "fal(limit=None, latency=0, run_time=0, faults=(), models=None, ..., allow_network=False): "
    "how the emulator of this test is set up, with the arguments of fal_async.emulator.Emulator; "
    "allow_network: whether it may call fal itself, where calls are billed"
)
_ALLOW: Final = "allow_network"

#: Those of ``Emulator`` but for where and how it listens.
EMULATOR_SETTINGS: Final = frozenset(
    (
        "keys",
        "locked",
        "limit",
        "name_limit",
        "latency",
        "run_time",
        "runners",
        "models",
        "faults",
        "clock",
        "requeue",
        "history",
        "storage",
        "seed",
    )
)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_seconds(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < 1e9


#: setting → what it must be, in code and in words; what is not listed the emulator looks at itself
_RULES: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "limit": (lambda v: v is None or _is_count(v), "how many calls may be in progress, or None"),
    "latency": (_is_seconds, "seconds of a round trip"),
    "run_time": (lambda v: _is_seconds(v) or callable(v), "seconds, or a function of the input"),
    "name_limit": (lambda v: isinstance(v, bool), "True or False"),
    "locked": (
        lambda v: v is None or isinstance(v, Mapping),
        "a key's reason by the key: {key: reason}",
    ),
    "clock": (lambda v: v in ["real", "virtual"], '"real" or "virtual"'),
    "seed": (lambda v: isinstance(v, int), "a number"),
    _ALLOW: (lambda v: isinstance(v, bool), "True or False"),
}


def check_names(item: pytest.Item) -> None:
    """Fail a test whose markers say what cannot be said; needs no emulator for it."""
    known = EMULATOR_SETTINGS | {_ALLOW}
    for mark in item.iter_markers("fal"):
        if mark.args:
            wrong("it takes settings by name, such as limit=2")
        for name in mark.kwargs:
            if name not in known:
                from difflib import get_close_matches

                near = get_close_matches(name, known, 1)
                meant = f"; {near[0]!r}, perhaps" if near else ""
                wrong(f"there is no setting {name!r}{meant}. There are {', '.join(sorted(known))}")
        for name, (holds, words) in _RULES.items():
            if name in mark.kwargs and not holds(mark.kwargs[name]):
                wrong(f"{name} is {words}, not {mark.kwargs[name]!r}")


def allows_network(item: pytest.Item) -> bool:
    """Whether a test may call fal itself."""
    return bool(_merged(item).get(_ALLOW, item.config.getini("fal_allow_network")))


def told(item: pytest.Item) -> dict[str, Any]:
    """What the markers of a test tell of its emulator: of several, the closest one."""
    return {name: value for name, value in _merged(item).items() if name != _ALLOW}


def _merged(item: pytest.Item) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for mark in item.iter_markers("fal"):
        merged = {**mark.kwargs, **merged}
    return merged


def wrong(sentence: str) -> NoReturn:
    """Fail the test for its marker."""
    raise pytest.fail.Exception(f"@pytest.mark.fal: {sentence}", pytrace=False) from None
