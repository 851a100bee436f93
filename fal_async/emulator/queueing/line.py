"""The line of one application: who waits, who of them may start now, who is ahead of whom. Pure."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator

from fal_async.emulator.queueing.job import Job
from fal_async.emulator.runners import RunnerPool

__all__ = ["Line"]

_Place = tuple[bool, int, Job]


class Line:
    """Jobs in the order of their keys. One that failed comes back to its old place, and rests there first.

    :param pool: the application's runners.
    :param exempt: whether the account's limit does not apply: the application is the caller's own.
    """

    def __init__(self, pool: RunnerPool, *, exempt: bool = False) -> None:
        self.pool = pool
        self.exempt = exempt
        self._waiting: list[_Place] = []
        self._ready: list[_Place] = []
        self._resting: list[tuple[float, _Place]] = []

    def add(self, job: Job) -> None:
        """Put a job in line; it may start at once."""
        insort(self._waiting, _place(job))
        insort(self._ready, _place(job))

    def rest(self, job: Job, until: float) -> None:
        """Put a job in line that must not start before ``until``."""
        insort(self._waiting, _place(job))
        heapq.heappush(self._resting, (until, _place(job)))

    def remove(self, job: Job) -> None:
        """Take a job out of the line."""
        _drop(self._waiting, job)
        if not _drop(self._ready, job):
            self._resting = [entry for entry in self._resting if entry[1][2] is not job]
            heapq.heapify(self._resting)

    def wake(self, now: float) -> None:
        """Those who have rested long enough may start."""
        while self._resting and self._resting[0][0] <= now:
            insort(self._ready, heapq.heappop(self._resting)[1])

    def wakes_at(self) -> float | None:
        """When the next one has rested long enough."""
        return self._resting[0][0] if self._resting else None

    def first(self) -> Job | None:
        """The next one that may start."""
        return self._ready[0][2] if self._ready else None

    def position(self, job: Job) -> int:
        """How many are ahead of a job in line."""
        return bisect_left(self._waiting, job.key, key=_key)

    @property
    def ready(self) -> int:
        """How many may start now."""
        return len(self._ready)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Job]:
        return (job for _, _, job in self._waiting)


def _place(job: Job) -> _Place:
    # No two have the same number: jobs themselves are never compared.
    return (*job.key, job)


def _key(place: _Place) -> tuple[bool, int]:
    return place[:2]


def _drop(places: list[_Place], job: Job) -> bool:
    index = bisect_left(places, job.key, key=_key)
    found = index < len(places) and places[index][2] is job
    if found:
        del places[index]
    return found
