"""From submit to result in one call, and what becomes of the request when its caller leaves early.

Whoever is cancelled, runs out of time or closes the session has the request cancelled, too, unless it was to
stay; every error from here carries the handle to collect the result with.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

import attrs

from fal_async.errors import Billing, FalError, Verdict
from fal_async.features.handle import RequestHandle
from fal_async.features.keywords import Callback, Waiting
from fal_async.features.queue import Queue, Submit, out_of_time, verdict_of
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.queue import Completed
from fal_async.transport.base import Call

__all__ = ["Subscriber"]

#: How long a cancel may hold up the one who leaves, in seconds.
_GRACE: Final = 5.0
#: How long it is tried to be sent after that, and how long the id of a request is waited for.
_LATEST: Final = 60.0
#: What those who are sent away need beside their grace.
_SLACK: Final = 0.5

_T = TypeVar("_T")


class Subscriber:
    """Waits for requests on behalf of callers.

    :param grace: seconds for which a cancel may hold up the one who leaves.
    """

    def __init__(self, queue: Queue, *, grace: float = _GRACE) -> None:
        self._queue = queue
        self._grace = grace
        self._tasks: set[asyncio.Task[Any]] = set()
        self._awaited: dict[Call, tuple[object, Callable[[], Coroutine[Any, Any, Verdict]]]] = {}

    async def subscribe(
        self, submit: Submit, call: Call, waiting: Waiting, result_type: Any
    ) -> tuple[Any, HttpResponse]:
        """Submit, wait, fetch. Whoever leaves early has the request cancelled, unless told otherwise.

        :raises FalError: with the handle, once there is one, so that a paid result can be collected.
        """
        call.started = self._queue.now()
        timer = asyncio.timeout(call.timeout)
        try:
            async with timer:
                with self._queue.room.inside():
                    handle = await self._submitted(submit, call, waiting)
                    call.request_id = handle.request_id
                    leave = partial(self._withdraw, handle, call, waiting)
                    return await self._minded(
                        self._collect(handle, submit, waiting, result_type), handle, call, leave
                    )
        except TimeoutError as error:
            if isinstance(error, FalError) or not timer.expired():
                raise
            raise out_of_time("no result", call, verdict_of(error)) from None

    async def _submitted(self, submit: Submit, call: Call, waiting: Waiting) -> RequestHandle:
        """Submit in a task of its own: who is cancelled meanwhile waits for the id, to cancel that, too."""
        task = self._own(self._queue.enqueue(submit, call))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as cancelled:

            def verdict() -> Verdict:
                # What is under way lands; what is not will never be. Without this a submit that has just got
                # its connection were told as free, and written a moment later.
                call.stopped = True
                known = self._queue.verdict(submit, call)
                error = _failure(task)
                if error is None:
                    return known
                cost = error.billing if isinstance(error, FalError) else Billing.UNKNOWN
                return attrs.evolve(known, billing=cost)

            await self._see_off(
                self._withdraw_unnamed(task, verdict, call, waiting), cancelled, verdict
            )
            raise

    async def _minded(
        self,
        wait: Coroutine[Any, Any, tuple[Any, HttpResponse]],
        handle: RequestHandle,
        call: Call,
        leave: Callable[[], Coroutine[Any, Any, Verdict]],
    ) -> tuple[Any, HttpResponse]:
        """The outcome of ``wait``; ended by anything but the request itself, the request is left, too."""
        self._awaited[call] = asyncio.current_task(), leave
        verdict = partial(_verdict, Billing.UNKNOWN, handle, call)
        try:
            return await wait
        except asyncio.CancelledError as cancelled:
            await self._see_off(leave(), cancelled, verdict)
            raise
        except _CallbackFailedError as failed:
            theirs = failed.error
        except FalError as error:
            error.attempts = call.attempts
            raise
        finally:
            del self._awaited[call]
        await self._see_off(leave(), None, verdict)
        raise theirs

    async def _collect(
        self, handle: RequestHandle, submit: Submit, waiting: Waiting, result_type: Any
    ) -> tuple[Any, HttpResponse]:
        await _tell(waiting.on_submitted, handle)
        ended: Completed | None = None
        async with self._queue.updates(handle, logs=waiting.logs) as updates:
            async for update in updates:
                await _tell(waiting.on_update, update)
                ended = update if isinstance(update, Completed) else None
        return await self._queue.fetch(handle, ended, result_type, submit.body)

    # --- leaving ----------------------------------------------------------------------------------------

    async def _see_off(
        self,
        leave: Coroutine[Any, Any, Verdict],
        cancelled: asyncio.CancelledError | None,
        otherwise: Callable[[], Verdict],
    ) -> None:
        """Wait for what comes of leaving, but not for long; it goes on by itself if need be.

        :param cancelled: gets the verdict; who is cancelled once more gets the one known by then, and goes.
        """
        task = self._own(leave)
        try:
            await asyncio.wait({task}, timeout=self._grace)
        except asyncio.CancelledError as again:
            again.verdict = otherwise()  # type: ignore[attr-defined]
            raise
        if cancelled is not None:
            told = task.done() and not task.cancelled()
            cancelled.verdict = task.result() if told else otherwise()  # type: ignore[attr-defined]

    async def _withdraw_unnamed(
        self,
        submitting: asyncio.Task[RequestHandle],
        verdict: Callable[[], Verdict],
        call: Call,
        waiting: Waiting,
    ) -> Verdict:
        handle: RequestHandle | None = verdict().handle  # the head of the answer may have named it
        if handle is None and call.current is Billing.NOT_BILLED:
            submitting.cancel()  # nothing is on its way: it looks for a connection, or waits for one
        if handle is None:
            await asyncio.wait({submitting}, timeout=_LATEST)
            if not submitting.done() or submitting.cancelled():
                handle = verdict().handle
            elif _failure(submitting) is not None:
                return verdict()
            else:
                handle = submitting.result()
        unnamed = verdict()
        submitting.cancel()
        return unnamed if handle is None else await self._withdraw(handle, call, waiting)

    async def _withdraw(self, handle: RequestHandle, call: Call, waiting: Waiting) -> Verdict:
        billing = Billing.UNKNOWN
        if waiting.cancel_on_exit:
            try:
                async with asyncio.timeout(_LATEST):
                    billing = await self._queue.withdraw(handle)
            except (FalError, TimeoutError):
                pass  # nobody waits for it any more, or it cannot be helped
        return _verdict(billing, handle, call)

    def _own(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Send away all who wait, each with a cancel, and see the cancels to their end, bounded in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._grace
        this = asyncio.current_task()
        for task, leave in tuple(self._awaited.values()):
            if task is this:  # closed by a callback of the one who waits, who cannot be sent away
                self._own(leave())
        await self._queue.room.clear(self._grace + _SLACK)
        tasks = {task for task in self._tasks if task.get_loop() is loop}
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, until - loop.time()))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _CallbackFailedError(Exception):
    """A callback of the caller's has raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


async def _tell(callback: Callback | None, value: Any) -> None:
    if callback is None:
        return
    try:
        told = callback(value)
        if inspect.isawaitable(told):
            await told
    except Exception as error:
        raise _CallbackFailedError(error) from None


def _failure(task: asyncio.Task[Any]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


def _verdict(billing: Billing, handle: RequestHandle, call: Call) -> Verdict:
    return Verdict(
        billing=billing,
        attempts=call.attempts,
        request_id=handle.request_id,
        handle=handle,
    )
