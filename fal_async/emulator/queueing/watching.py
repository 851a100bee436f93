"""Who wants to know what becomes of a job: status streams, each woken when there is something to tell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from fal_async.emulator.clock import Clock, Timer
from fal_async.emulator.queueing.job import Job
from fal_async.protocol import wire

__all__ = ["Watch", "Watches"]

#: A long line moves often: its streams are not woken for that more often than this, in seconds.
#: fal's own rhythm is not known.
_POSITIONS_EVERY: Final = 1.0


class Watch:
    """One stream's eye on its job."""

    def __init__(self, job: Job, clock: Clock) -> None:
        self.job = job
        self._clock = clock
        self._event = asyncio.Event()
        self._quiet_until = 0.0
        self._timer: Timer | None = None

    def wake(self) -> None:
        """There is something to tell."""
        self._event.set()

    def move(self) -> None:
        """The line has moved: to be told, but not at once every time."""
        if self._timer is None and not self._event.is_set():
            now = self._clock.now()
            if now >= self._quiet_until:
                self._quiet_until = now + _POSITIONS_EVERY
                self._event.set()
            else:
                self._timer = self._clock.call_at(self._quiet_until, self._moved)

    def _moved(self) -> None:
        self._timer = None
        self.move()

    async def wait(self, until: float) -> bool:
        """Return when there is something to tell since the last time; False if ``until`` came first."""
        timer = self._clock.call_at(until, self._event.set)
        try:
            await self._event.wait()
        finally:
            timer.cancel()
        self._event.clear()
        return self._clock.now() < until

    def close(self) -> None:
        """Nobody listens any more."""
        if self._timer is not None:
            self._timer.cancel()


class Watches:
    """All streams that are open."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_application: dict[str, set[Watch]] = {}

    @contextmanager
    def open(self, job: Job) -> Iterator[Watch]:
        """Watch a job."""
        watch = Watch(job, self._clock)
        watches = self._by_application.setdefault(job.application, set())
        watches.add(watch)
        try:
            yield watch
        finally:
            watches.discard(watch)
            watch.close()

    def tell(self, job: Job) -> None:
        """A job has something to say, and stays where it is."""
        for watch in self._by_application.get(job.application, ()):
            if watch.job is job:
                watch.wake()

    def wake(self, jobs: Iterable[Job]) -> None:
        """Something has happened to these jobs, and so their lines have moved."""
        changed = set(jobs)
        for application in {job.application for job in changed}:
            for watch in self._by_application.get(application, ()):
                if watch.job in changed:
                    watch.wake()
                elif watch.job.state == wire.IN_QUEUE:
                    watch.move()
