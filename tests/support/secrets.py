"""All that an exception could tell somebody, for the tests that look for what it must not."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator

KEY = "an-id:the-secret-of-the-key"
PROMPT = "a prompt nobody else shall read"


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """The error and all that hangs on it, suppressed or not."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        current = waiting.pop()
        if any(current is other for other in seen):
            continue
        seen.append(current)
        yield current
        hanging = (current.__cause__, current.__context__, getattr(current, "first", None))
        waiting += [other for other in hanging if other is not None]


def said_by(error: BaseException) -> str:
    """Texts, arguments and attributes of the whole chain, the traceback as printed, the pickle."""
    parts = ["".join(traceback.format_exception(error)), repr(pickle.dumps(error))]
    for each in chain_of(error):
        parts += [str(each), repr(each), repr(each.args), repr(vars(each))]
    return "\n".join(parts)


def assert_discreet(error: BaseException) -> None:
    said = said_by(error)
    for secret in (KEY, *KEY.split(":"), PROMPT):
        assert secret not in said
