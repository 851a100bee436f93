"""The outermost transport: who may come in, and that everybody leaves when the session is closed.

It knows the pool's event loop and the tasks whose calls are inside; not what they do there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fal_async.errors import FalError, SessionError
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.transport.base import Call, Transport
from fal_async.transport.pool import Pool

__all__ = ["Gate"]

T = TypeVar("T")


class Gate:
    """Calls enter only while the session is open, and only in its event loop.

    Closing ends them wherever they are: waiting for a slot, a key, a connection, an answer or the time to
    send again. Left to itself aiohttp would let some of them wait for ever.
    """

    def __init__(self, inner: Transport, pool: Pool) -> None:
        self._inner = inner
        self._pool = pool
        self._inside: set[asyncio.Task[object]] = set()
        self._sent_away: set[asyncio.Task[object]] = set()

    # Not a coroutine of its own: with many calls in flight, each one more is felt.
    def send(self, request: HttpRequest, call: Call) -> Coroutine[Any, Any, HttpResponse]:
        """The inner transport's answer; raises like :meth:`inside`."""
        return self.inside(call, self._inner.send(request, call))

    async def inside(self, call: Call, work: Coroutine[Any, Any, T]) -> T:
        """What comes of ``work``, which ends with the session.

        :raises SessionError: if the session is closed, now or meanwhile; its ``billing`` is the call's.
        :raises asyncio.CancelledError: the one that came, with the verdict as its attribute ``verdict``.
        """
        try:
            call.loop = asyncio.get_running_loop()
            self._pool.session(call.loop)
            task = asyncio.current_task(call.loop)
            if task is None:
                raise SessionError("a call is made in a task; this code runs outside of any")
        except BaseException as error:
            work.close()
            if isinstance(error, FalError):
                # Part of the call may have been made before: a payload sent ahead, a stream that has begun.
                error.billing = error.billing.worse(call.billing)
                error.attempts, error.request_id = call.attempts, call.request_id
            raise
        cancellations = task.cancelling()
        outermost = task not in self._inside  # a map's inputs may be made by calls
        self._inside.add(task)
        try:
            return await work
        except asyncio.CancelledError as cancelled:
            if task not in self._sent_away or task.cancelling() > cancellations + 1:
                # Somebody else wants the task itself to end. It must pass as it is.
                cancelled.verdict = call.verdict()  # type: ignore[attr-defined]
                raise
            raise SessionError(
                "the AsyncFal was closed while the call was in flight",
                billing=call.billing,
                attempts=call.attempts,
                request_id=call.request_id,
            ) from None
        finally:
            if outermost:
                self._inside.discard(task)
            if task in self._sent_away:
                self._sent_away.discard(task)
                task.uncancel()

    def send_away(self) -> None:
        """End all calls that are inside: the pool closes. From its event loop; idempotent."""
        loop, this = asyncio.get_running_loop(), asyncio.current_task()
        for task in tuple(self._inside):
            if task.get_loop() is loop and task is not this and task not in self._sent_away:
                self._sent_away.add(task)
                task.cancel()
