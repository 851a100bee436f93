"""What did not fit, and where: cattrs' errors, said in a line.

The line names places, types and the values a type allows; never what the answer held.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from cattrs.errors import (
    ClassValidationError,
    IterableValidationError,
    IterableValidationNote,
)

__all__ = ["KindError", "Misfit", "explain_misfit", "name_of"]


class Misfit(ValueError):
    """A value that does not fit a type. Internal: translated where the facts are known.

    :ivar path: where, as in ``images[0].url``; empty for the value as a whole.
    :ivar reason: what code of the caller's raised, if any did: a validator, a hook.
    """

    def __init__(self, what: str, path: str, reason: BaseException | None) -> None:
        super().__init__(what)
        self.path = path
        self.reason = reason


class KindError(TypeError):
    """A value of another kind than expected; raised by our own hooks."""

    def __init__(self, expected: str, got: object) -> None:
        super().__init__(f"expected {expected}, got {_kind(got)}")

    @classmethod
    def none_of(cls, choices: Iterable[object], got: object) -> KindError:
        """For a value that is none of those a type allows."""
        words = " or ".join(repr(choice) for choice in choices)
        return cls(words if len(words) <= _WORDS_MAX else f"{words[:_WORDS_MAX]}…", got)


_WORDS_MAX: Final = 100


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def explain_misfit(error: BaseException, value: object, wanted: Any, *, ours: bool) -> Misfit:
    """The first place that did not fit, from the errors cattrs collected.

    :param ours: the converter has no hooks but our own, so only a class can hold code of the caller's.
    """
    path, shown = "", ""
    by_class = False
    while isinstance(error, (ClassValidationError, IterableValidationError)):
        noted, plain = error.group_exceptions()
        if not noted:  # raised by a class as it was made, by its validator perhaps
            by_class = isinstance(error, ClassValidationError)
            error = plain[0]
            break
        error, note = noted[0]
        step: object = note.index if isinstance(note, IterableValidationNote) else note.name
        path += _step(step, path, exact=True)
        shown += _step(step, shown, exact=False)
        wanted = note.type
        value = _step_into(value, step)
    problem = _problem(error, wanted, value, by_class=by_class)
    reason = error if by_class or not ours else None
    return Misfit(f"{shown}: {problem}" if shown else problem, path, reason)


_NAME: Final = re.compile(r"[\w-]{1,40}")


def _step(step: object, path: str, *, exact: bool) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    name = str(step)
    if _NAME.fullmatch(name):
        return f".{name}" if path else name
    # A key of the answer's own: a prompt, perhaps.
    return f"[{step!r}]" if exact else "[…]"


_ABSENT: Final = object()


def _step_into(value: object, step: object) -> object:
    try:
        return value[step]  # type: ignore[index]  # whatever it is, it was indexed before
    except (TypeError, KeyError, IndexError):
        return _ABSENT


def _problem(error: BaseException, wanted: Any, value: object, *, by_class: bool) -> str:
    if isinstance(error, KindError):
        return str(error)
    name = name_of(wanted)
    if by_class:
        return f"{name} raised {type(error).__name__}"
    if value is _ABSENT:
        return "missing" if isinstance(error, KeyError) else f"expected {name}"
    got = f"array of {len(value)}" if isinstance(value, list) else _kind(value)
    return f"expected {name}, got {got}"


def name_of(kind: Any) -> str:
    """A type as people write it: ``ImageOutput``, ``list[int]``."""
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
