"""What became of one input of a batch: plain data, no I/O."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import attrs

from fal_async.errors import Billing, FalError

__all__ = ["Failed", "Outcome", "SavedFile", "Succeeded"]

T_co = TypeVar("T_co", covariant=True)


@attrs.frozen(kw_only=True)
class SavedFile:
    """A file of an output, and where it was saved.

    :ivar url: where fal keeps it; a ``data:`` URI where the output holds it by value.
    :ivar path: where it is now; None if it could not be saved, for the reason in ``error``.
    :ivar size: its length in bytes; None if it was not saved.
    :ivar content_type: its media type, such as ``image/png``; None if nothing told.
    :ivar error: why it was not saved. The call itself succeeded, and was billed, all the same.
    """

    url: str = attrs.field(repr=False)  # may hold the file itself
    path: Path | None = None
    size: int | None = None
    content_type: str | None = None
    error: FalError | None = None


@attrs.frozen(kw_only=True, eq=False)
class Succeeded(Generic[T_co]):
    """An input whose answer came.

    :ivar index: the input's place, from 0.
    :ivar input: the input as it was given, without its :class:`Call`.
    :ivar output: what ``run`` would have given.
    :ivar request_id: fal's id of the request.
    :ivar attempts: how many times it was sent, refusals (429) not counted; 0 if it was not sent by this map.
    :ivar elapsed: seconds from its first slot to its answer.
    :ivar billable_units: what fal counts the call as; None if the answer does not say.
    :ivar billing: ``billed``; ``not_billed`` if it shares the call of an equal input.
    :ivar files: what was saved of it.
    :ivar replayed: whether it was not called for now: it came from the journal, or from an equal input.
    """

    index: int
    input: Any = attrs.field(repr=False)
    output: T_co = attrs.field(repr=False)
    request_id: str | None = None
    attempts: int = 0
    elapsed: float = 0.0
    billable_units: Decimal | None = None
    billing: Billing = Billing.BILLED
    files: tuple[SavedFile, ...] = ()
    replayed: bool = False

    @property
    def ok(self) -> Literal[True]:
        """True: there is an output."""
        return True


@attrs.frozen(kw_only=True, eq=False)
class Failed:
    """An input whose call failed.

    :ivar index: the input's place, from 0.
    :ivar input: the input as it was given, without its :class:`Call`.
    :ivar error: what happened; its ``billing`` is this one's.
    :ivar request_id: fal's id of the request, where it is known.
    :ivar attempts: how many times it was sent, refusals (429) not counted.
    :ivar elapsed: seconds from its first slot to its end.
    :ivar billable_units: what fal counts the call as, where the answer says.
    :ivar billing: what it may have cost.
    :ivar files: always empty.
    :ivar replayed: whether it was not called for now: it came from the journal, or from an equal input.
    """

    index: int
    input: Any = attrs.field(repr=False)
    error: FalError
    request_id: str | None = None
    attempts: int = 0
    elapsed: float = 0.0
    billable_units: Decimal | None = None
    billing: Billing = Billing.NOT_BILLED
    files: tuple[SavedFile, ...] = ()
    replayed: bool = False

    @property
    def ok(self) -> Literal[False]:
        """False: there is an error instead of an output."""
        return False


Outcome = Succeeded[T_co] | Failed
"""What became of one input: ``match`` on it, or ask for ``.ok``."""
