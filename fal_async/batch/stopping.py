"""What a stop does to the calls of a map: those that were not sent yet are ended, the others land.

Whether one was sent is not guessed: the transports say so in its :class:`Call`, and from the stop on they
send nothing for it any more.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, cast

from fal_async.errors import Billing, FalError, TooManyRequestsError, Verdict
from fal_async.policy.retry import Resend
from fal_async.transport.base import Call

__all__ = ["Stopping", "UnsentError"]


class UnsentError(Exception):
    """The map was stopped before this call was sent. It never leaves the map."""


class Stopping:
    """The stop of one map.

    :ivar stopped: whether nothing more is to be sent.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._stretches: dict[asyncio.Task[Any], Call | None] = {}
        self._ended: set[asyncio.Task[Any]] = set()

    def stop(self) -> None:
        """Send nothing more. Idempotent."""
        if self.stopped:
            return
        self.stopped = True
        for task, call in self._stretches.items():
            if call is not None:
                call.stopped = True
            if call is None or not call.under_way:
                self._ended.add(task)
                task.cancel()

    @property
    def ending(self) -> int:
        """How many calls are being ended."""
        return len(self._ended)

    def until_sent(
        self, call: Call | None = None, *, billing: Billing = Billing.NOT_BILLED
    ) -> _Stretch:
        """A stretch of a call's way in which the stop ends it, unless it has been sent by then.

        :param call: what is sent in it; None: this stretch is before that.
        :param billing: what the call may have cost before it.
        :returns: to be entered; raises :class:`UnsentError` where the stop comes before the call is sent.
        """
        return _Stretch(self, call, billing)

    def enter(self, call: Call | None) -> asyncio.Task[Any]:
        """A stretch begins.

        :raises UnsentError: after the stop.
        """
        if self.stopped:
            raise UnsentError
        task = cast("asyncio.Task[Any]", asyncio.current_task())  # the map's own: never None
        self._stretches[task] = call
        return task

    def leave(self, task: asyncio.Task[Any]) -> bool:
        """It has ended: whether by the stop, and by nothing else."""
        del self._stretches[task]
        if task not in self._ended:
            return False
        self._ended.discard(task)
        return not task.uncancel()


class _Stretch:
    """One task in it, once."""

    __slots__ = ("_billing", "_call", "_stopping", "_task")

    def __init__(self, stopping: Stopping, call: Call | None, billing: Billing) -> None:
        self._billing = billing
        self._stopping = stopping
        self._call = call
        self._task: asyncio.Task[Any]

    def __enter__(self) -> None:
        self._task = self._stopping.enter(self._call)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended, call = self._stopping.leave(self._task), self._call
        if isinstance(exc, asyncio.CancelledError):
            if ended:
                raise _end_of(call) from None
            if call is None:  # whatever was sent here, such as a file, it was not the call
                exc.verdict = Verdict(billing=self._billing)  # type: ignore[attr-defined]
        elif call is not None and call.stopped and _was_refused(exc, call):
            raise _end_of(call) from None


def _was_refused(error: BaseException | None, call: Call) -> bool:
    """Whether it would have been sent again until it is let in."""
    return isinstance(error, TooManyRequestsError) and Resend.REFUSED in call.policy.resend


def _end_of(call: Call | None) -> Exception:
    """What becomes of a call that is not sent, or not sent again."""
    failure: FalError | None = None if call is None else call.first
    if call is None or failure is None or call.billing is Billing.NOT_BILLED:
        return UnsentError()
    # An earlier send may have cost something: that is not to be forgotten.
    failure.billing, failure.attempts = call.billing, call.attempts
    return failure
