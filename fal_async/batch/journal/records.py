"""What a journal remembers of a call, as plain data: no SQL, no JSON, no I/O."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NewType

import attrs

from fal_async.batch.outcome import SavedFile
from fal_async.errors import Billing

__all__ = ["Answer", "InDoubt", "Record", "State", "Ticket"]

Ticket = NewType("Ticket", int)
"""What a journal knows one call by, from its claim to its end."""


class State(enum.IntEnum):
    """How far a call came, as far as the disk knows."""

    INTENDED = 0
    """It was about to be sent. If its run has ended, it is in doubt: it may have been sent, and billed."""
    QUEUED = 1
    """fal took it into its queue, and its request id is known."""
    SUCCEEDED = 2
    FAILED = 3


@attrs.frozen(kw_only=True)
class Answer:
    """How a call ended: enough to give it to the caller again in another process.

    :ivar succeeded: whether fal answered with a success, whatever was made of it here.
    :ivar status: the HTTP status, where there was an answer.
    :ivar headers: the answer's headers. Leave them and the body out where ``error`` holds them.
    :ivar body: the answer's raw bytes.
    :ivar request_id: fal's id of the request.
    :ivar attempts: how many times it was sent, refusals (429) not counted.
    :ivar elapsed: seconds from its first slot to its end.
    :ivar billing: what it may have cost.
    :ivar billable_units: what fal counts it as, in fal's own digits.
    :ivar error: the facts of the error it ended with (see ``freeze_error``); None if there is none.
    :ivar files: what was saved of it.
    """

    succeeded: bool
    status: int | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    request_id: str | None = None
    attempts: int = 0
    elapsed: float = 0.0
    billing: Billing = Billing.UNKNOWN
    billable_units: str | None = None
    error: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    files: tuple[SavedFile, ...] = ()


@attrs.frozen(kw_only=True)
class Record:
    """A call that an earlier run knew, claimed by this one.

    :ivar ticket: what to name it by from here on.
    :ivar state: how far it came.
    :ivar index: its place in the run that intended it last.
    :ivar handle: the facts of its :class:`RequestHandle`, while it is ``QUEUED``.
    :ivar answer: how it ended, once it has.
    :ivar intended_at: when it was intended last, in Unix seconds.
    :ivar left_by: when it was first found in doubt, in Unix seconds: it was not sent any more after that. Of
        a call that is not in doubt it says nothing.
    :ivar in_doubt_times: how many of its intents were left in doubt; the last one among them if it is
        ``INTENDED``.
    """

    ticket: Ticket
    state: State
    index: int
    handle: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    answer: Answer | None = None
    intended_at: float
    left_by: float
    in_doubt_times: int = 0


@attrs.frozen(kw_only=True)
class InDoubt:
    """A call of an earlier run that may have been sent, and that no input of this run has claimed.

    :ivar key: the digest it is known by.
    :ivar index: its place in the run that intended it last.
    :ivar intended_at: when, in Unix seconds.
    :ivar times: how many of its intents were left in doubt, this one included.
    """

    key: bytes
    index: int
    intended_at: float
    times: int
