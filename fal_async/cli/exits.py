"""Exit statuses: one for each thing that a script may want to do next."""

from __future__ import annotations

import enum
from typing import Final

from fal_async.errors import (
    AccessDeniedError,
    AuthenticationError,
    BadRequestError,
    Billing,
    FalError,
    InputError,
    MissingKeyError,
    ModelError,
    NotFoundError,
)

__all__ = ["MEANINGS", "Exit", "exit_of", "statuses"]


class Exit(enum.IntEnum):
    """What the process ends with. 1 is left to what nobody foresaw, as Python has it."""

    OK = 0
    USAGE = 2
    KEY = 3
    REFUSED = 4
    NOT_BILLED = 5
    UNKNOWN = 6
    BILLED = 7
    NOT_SAVED = 8
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: Final = {
    Exit.OK: "it worked",
    Exit.USAGE: "a bad option, argument, setting or input: nothing was sent",
    Exit.KEY: "no key, or the key or the account may not do this: not billed",
    Exit.REFUSED: "the model or the platform refuses the call: the same call will fail again",
    Exit.NOT_BILLED: "it failed, and was not billed: safe to send again",
    Exit.UNKNOWN: "it failed, and may have been billed: sending it again may pay twice",
    Exit.BILLED: "it was billed, and its answer is damaged or cannot be printed: what came of it is kept",
    Exit.NOT_SAVED: "it worked, but not every file could be saved: the answer was printed",
    Exit.INTERRUPTED: "ended by Ctrl-C: stderr says what may have been billed",
    Exit.TERMINATED: "ended by SIGTERM, or because its terminal was closed: likewise",
}

#: By class where the class says more than the cost does; the first match counts.
_BY_CLASS: Final[tuple[tuple[type[FalError], Exit], ...]] = (
    (InputError, Exit.USAGE),
    (MissingKeyError, Exit.KEY),
    (AuthenticationError, Exit.KEY),
    (AccessDeniedError, Exit.KEY),
    (NotFoundError, Exit.REFUSED),
    (BadRequestError, Exit.REFUSED),
    (ModelError, Exit.REFUSED),
)

_BY_COST: Final = {
    Billing.NOT_BILLED: Exit.NOT_BILLED,
    Billing.UNKNOWN: Exit.UNKNOWN,
    Billing.BILLED: Exit.BILLED,
}


def exit_of(error: FalError) -> Exit:
    """The status that tells this failure from others."""
    for kind, status in _BY_CLASS:
        if isinstance(error, kind):
            return status
    return _BY_COST[error.billing]


def statuses() -> str:
    """All of them, as click shows them under a command's options."""
    lines = (f"  {status:>3}  {meaning}" for status, meaning in MEANINGS.items())
    return "\b\nExit status:\n" + "\n".join(lines)
