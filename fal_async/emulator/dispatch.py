"""Waiting for a runner: the pool's decisions, made to happen on the emulator's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from fal_async.emulator.clock import Clock, Timer
from fal_async.emulator.runners import Event, RunnerPool

__all__ = ["Dispatcher"]


class Dispatcher:
    """Runs one pool: lets its time pass, and wakes whoever waits for what happened.

    :param changed: called when a runner may have become free for others than those who wait here.
    """

    def __init__(
        self, pool: RunnerPool, clock: Clock, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.pool = pool
        self._changed = changed
        self._clock = clock
        self._futures: dict[Hashable, asyncio.Future[Event]] = {}
        self._timer: Timer | None = None
        self._timer_at: float | None = None

    async def acquire(
        self, job: Hashable, *, start_by: float | None = None, hint: str | None = None
    ) -> Event:
        """Wait until the job starts or the pool gives up on it.

        A job that started must be given back by :meth:`release`.
        """
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._futures[job] = future
        self.pool.enqueue(job, self._clock.now(), start_by=start_by, hint=hint)
        self.pump()
        if future.done():
            return future.result()
        try:
            return await future
        finally:
            self._futures.pop(job, None)
            self.pool.withdraw(job)

    def release(self, job: Hashable, *, healthy: bool = True) -> None:
        """The job is over; its runner may take the next."""
        self.pool.release(job, self._clock.now(), healthy=healthy)
        self.pump()

    def close(self) -> None:
        """Set no more timers."""
        if self._timer is not None:
            self._timer.cancel()

    def pump(self) -> None:
        """Tell what has happened in the pool; to be called when somebody else has let its time pass."""
        for event in self.pool.advance(self._clock.now()):
            future = self._futures.pop(event.job, None)
            if future is not None and not future.done():
                future.set_result(event)
        wakes_at = self.pool.wakes_at()
        if wakes_at != self._timer_at:
            self.close()
            self._timer_at = wakes_at
            self._timer = None if wakes_at is None else self._clock.call_at(wakes_at, self._ring)
        self._changed()

    def _ring(self) -> None:
        self._timer = self._timer_at = None
        self.pump()
