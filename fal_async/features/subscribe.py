"""From submit to result in one call, and what becomes of the request when its caller leaves early.

Whoever is cancelled, runs out of time or closes the session has the request cancelled, too, unless it was to
stay; every error from here carries the handle to collect the result with.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Mapping
from typing import Any, Final, TypedDict

import attrs

from fal_async.errors import (
    AnswerError,
    Billing,
    CallTimeoutError,
    FalError,
    SessionError,
    StatusError,
    Verdict,
)
from fal_async.features.handle import RequestHandle
from fal_async.features.queue import Queue, Submit
from fal_async.features.run import Callback
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.lifecycle import Expire
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.queue import CancelOutcome, Completed
from fal_async.protocol.submitting import Priority, SubmitOptions
from fal_async.transport.base import Call
from fal_async.unset import Unset

__all__ = ["SubmitKeywords", "Subscriber", "Waiting", "split_keywords"]

#: How long a cancel may hold up the one who leaves, in seconds.
_CANCEL_GRACE: Final = 5.0

#: What a request has cost, by what its cancel found.
_COST: Final[dict[CancelOutcome | None, Billing]] = {
    CancelOutcome.REMOVED: Billing.NOT_BILLED,
    CancelOutcome.TOO_LATE: Billing.BILLED,
}


@attrs.frozen(kw_only=True)
class Waiting:
    """How the caller wants to wait.

    :param on_submitted: called with the handle before the first wait.
    :param on_update: called with every change of the status.
    :param logs: whether updates bring log lines.
    :param cancel_on_exit: whether leaving early cancels the request.
    """

    on_submitted: Callback | None = None
    on_update: Callback | None = None
    logs: bool = False
    cancel_on_exit: bool = True


class SubmitKeywords(TypedDict, total=False):
    """The keyword arguments of ``AsyncFal.submit`` and ``subscribe``."""

    expire: Expire | None
    start_timeout: float | None
    timeout: float | Unset | None
    hint: str | None
    store_io: bool | None
    disable_fallback: bool | None
    tags: Mapping[str, str] | None
    headers: Mapping[str, str] | None
    key: str | None
    retry: RetryPolicy | None
    priority: Priority | None
    webhook_url: str | None
    max_queue_length: int | None
    no_retry: bool
    retry_config: Mapping[str, int] | None
    on_submitted: Callback | None
    on_update: Callback | None
    logs: bool
    cancel_on_exit: bool


def split_keywords(options: SubmitKeywords) -> tuple[SubmitOptions, Waiting, dict[str, Any]]:
    """The queue's own options, how to wait, and what is left: the options of every call."""
    rest: dict[str, Any] = dict(options)
    queue = {f.name: rest.pop(f.name) for f in attrs.fields(SubmitOptions) if f.name in rest}
    waiting = {f.name: rest.pop(f.name) for f in attrs.fields(Waiting) if f.name in rest}
    return SubmitOptions(**queue), Waiting(**waiting), rest


class Subscriber:
    """Waits for requests on behalf of callers."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._tasks: set[asyncio.Task[Any]] = set()
        self._awaited: dict[str, RequestHandle] = {}
        self._closing = False

    async def subscribe(
        self, submit: Submit, call: Call, waiting: Waiting, result_type: Any
    ) -> tuple[Any, HttpResponse]:
        """Submit, wait, fetch. Whoever leaves early has the request cancelled, unless told otherwise.

        :raises FalError: with the handle, once there is one, so that a paid result can be collected.
        """
        call.started = self._queue.now()
        try:
            async with asyncio.timeout(call.timeout):
                handle = await self._submitted(submit, call, waiting)
                return await self._minded(handle, call, waiting, result_type)
        except TimeoutError as error:
            if isinstance(error, FalError):
                raise
            cut = error.__cause__  # the CancelledError it was made from
            verdict = getattr(cut, "verdict", None) or call.verdict()
            failure = CallTimeoutError(
                f"no result within the call's timeout of {call.timeout:g} s",
                billing=verdict.billing,
                request_id=verdict.request_id,
                attempts=call.attempts,
                retryable=True,
            )
            failure.handle = verdict.handle
            raise failure from None

    async def _submitted(self, submit: Submit, call: Call, waiting: Waiting) -> RequestHandle:
        """Submit in a task of its own: who is cancelled meanwhile waits for the id, to cancel that, too."""
        task = self._own(self._queue.submit(submit, call))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as cancelled:
            await asyncio.wait({task}, timeout=_CANCEL_GRACE)
            if not task.done():
                task.cancel()
                cancelled.verdict = call.verdict()  # type: ignore[attr-defined]
            elif task.cancelled() or task.exception() is not None:
                cancelled.verdict = call.verdict()  # type: ignore[attr-defined]
            else:
                await self._leave(task.result(), waiting, cancelled)
            raise

    async def _minded(
        self, handle: RequestHandle, call: Call, waiting: Waiting, result_type: Any
    ) -> tuple[Any, HttpResponse]:
        call.request_id = handle.request_id
        if waiting.cancel_on_exit:
            self._awaited[handle.request_id] = handle
        try:
            await _tell(waiting.on_submitted, handle)
            return await self._collect(handle, waiting, result_type)
        except asyncio.CancelledError as cancelled:
            await self._leave(handle, waiting, cancelled)
            raise
        except FalError as error:
            self._account(error, handle)
            raise
        except Exception:  # a callback of the caller's: nobody waits for the request any more
            await self._leave(handle, waiting, None)
            raise
        finally:
            self._awaited.pop(handle.request_id, None)

    async def _collect(
        self, handle: RequestHandle, waiting: Waiting, result_type: Any
    ) -> tuple[Any, HttpResponse]:
        ended: Completed | None = None
        async for update in self._queue.updates(handle, logs=waiting.logs):
            await _tell(waiting.on_update, update)
            if isinstance(update, Completed):
                ended = update
        return await self._queue.fetch(handle, ended, result_type)

    def _account(self, error: FalError, handle: RequestHandle) -> None:
        """Complete an error that ends the wait for a request that fal has."""
        error.handle = handle
        error.request_id = error.request_id or handle.request_id
        if not isinstance(error, (StatusError, AnswerError)):
            error.billing = Billing.UNKNOWN  # whatever became of our asking, the request runs

    async def _leave(
        self,
        handle: RequestHandle,
        waiting: Waiting,
        cancelled: asyncio.CancelledError | None,
    ) -> None:
        outcome = await self._cancel_bounded(handle) if waiting.cancel_on_exit else None
        if cancelled is not None:
            cancelled.verdict = Verdict(  # type: ignore[attr-defined]
                billing=_COST.get(outcome, Billing.UNKNOWN),
                attempts=1,
                request_id=handle.request_id,
                handle=handle,
            )

    async def _cancel_bounded(self, handle: RequestHandle) -> CancelOutcome | None:
        task = self._own(self._queue.cancel(handle))
        # Cancelled a second time, the one who waits goes; the cancel itself goes on to its own end.
        await asyncio.wait({task}, timeout=_CANCEL_GRACE)
        if not task.done() or task.cancelled() or task.exception() is not None:
            return None
        outcome: CancelOutcome = task.result()
        return outcome

    def _own(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        if self._closing:
            work.close()
            raise SessionError("this AsyncFal is closed: make a new one")
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Cancel what is still waited for, and see the tasks under way to their end, bounded in time."""
        for handle in tuple(self._awaited.values()):
            self._own(self._queue.cancel(handle))
        self._closing = True
        tasks = tuple(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCEL_GRACE)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _tell(callback: Callback | None, value: Any) -> None:
    if callback is not None:
        told = callback(value)
        if inspect.isawaitable(told):
            await told
