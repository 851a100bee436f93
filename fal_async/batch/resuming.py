"""What to do with a call that an earlier run left in the journal. Decided here, done in ``keeping``."""

from __future__ import annotations

import enum
from typing import Final, Literal, get_args

from fal_async.batch.journal.records import Record, State
from fal_async.errors import Billing, InputError

__all__ = ["InDoubt", "Step", "check_in_doubt", "next_step"]

InDoubt = Literal["report", "retry", "reconcile"]
"""What becomes of calls that were about to be sent when their program was killed; ``"reconcile"`` may also be
a :class:`Reconcile`, which says how."""
_WORDS: Final = get_args(InDoubt)


class Step(enum.Enum):
    """What to do with a call that is known."""

    REPLAY = "give out what is known"
    COLLECT = "fetch the result from fal, which keeps it"
    CALL = "make the call"
    REPORT = "say that nobody knows"
    RECONCILE = "look for it in fal's history"


def check_in_doubt(value: object) -> InDoubt:
    """The caller's ``in_doubt``.

    :raises InputError: for anything else.
    """
    for word in _WORDS:
        if value == word:
            return word  # type: ignore[no-any-return]
    raise InputError(f"in_doubt is one of {', '.join(_WORDS)}")


def next_step(record: Record, in_doubt: InDoubt) -> Step:
    """What to do with a call, so that nothing is paid for twice."""
    if record.state is State.SUCCEEDED:
        return Step.REPLAY
    if record.state is State.FAILED:
        free = record.answer is not None and record.answer.billing is Billing.NOT_BILLED
        return Step.CALL if free else Step.REPLAY
    if record.state is State.QUEUED:
        return Step.COLLECT
    return {"report": Step.REPORT, "retry": Step.CALL, "reconcile": Step.RECONCILE}[in_doubt]
