"""The runners of one application: which job starts when, and on which (PROTOCOL 3, 6.6).

Pure state, advanced by a given time; nothing here waits. Direct calls wait in its own line; the queue's
have a line elsewhere, and take what is left. A job is any hashable value. What a runner does with its
job, and when it is done, is told from outside.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Hashable
from itertools import count
from math import inf
from typing import Literal

import attrs

__all__ = ["Event", "GaveUp", "RunnerPool", "RunnerSettings", "Started"]


@attrs.frozen(kw_only=True)
class RunnerSettings:
    """How an application is served.

    :param count: most runners at once; None is as many as there are jobs.
    :param cold_start: seconds from a runner's start until it can take its first job.
    :param keep_warm: seconds an idle runner is kept; None is for ever.
    :param patience: seconds a job waits for a runner before the platform gives up
        (``runner_scheduling_failure``; the platform's own number is not known).
    """

    count: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(0))
    )
    cold_start: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    keep_warm: float | None = None
    patience: float = attrs.field(default=600.0, validator=attrs.validators.ge(0))


@attrs.frozen
class Started:
    """A runner took a job."""

    job: Hashable
    at: float
    runner: int


@attrs.frozen
class GaveUp:
    """A job that no runner took in time: the caller's ``start_timeout``, or the platform's patience."""

    job: Hashable
    at: float
    reason: Literal["start_timeout", "patience"]


Event = Started | GaveUp


@attrs.define
class _Waiting:
    hint: str | None
    reason: Literal["start_timeout", "patience"]


class RunnerPool:
    """Jobs wait in line; whoever runs one gives its runner back with :meth:`release`.

    Times never go back from one call to the next.
    """

    def __init__(self, settings: RunnerSettings) -> None:
        self.settings = settings
        self._events: list[Event] = []
        self._waiting: OrderedDict[Hashable, _Waiting] = OrderedDict()
        self._deadlines: list[tuple[float, int, Hashable, _Waiting]] = []
        self._starting: deque[tuple[float, int]] = deque()  # all take equally long: oldest first
        self._idle: OrderedDict[int, float] = OrderedDict()  # runner → since when; oldest first
        self._busy: dict[Hashable, tuple[int, str | None]] = {}
        self._served: dict[str, int] = {}  # hint → the runner that served it last
        self._wanted = 0  # jobs that wait elsewhere
        self._runners = count(1)
        self._entries = count()

    @property
    def waiting(self) -> int:
        """Jobs in line."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """Jobs on runners."""
        return len(self._busy)

    @property
    def size(self) -> int:
        """Runners that exist: starting, idle or busy."""
        return len(self._starting) + len(self._idle) + len(self._busy)

    def enqueue(
        self, job: Hashable, now: float, *, start_by: float | None = None, hint: str | None = None
    ) -> None:
        """Put a job in line; :meth:`advance` tells when it starts, which may be at once.

        :param start_by: the time at which the caller's start timeout passes.
        :param hint: jobs of one hint go to one runner if it is idle (PROTOCOL 4).
        """
        self._pass(now)
        deadline = now + self.settings.patience
        entry = _Waiting(hint, "patience")
        if start_by is not None and start_by <= deadline:
            deadline, entry.reason = start_by, "start_timeout"
        self._waiting[job] = entry
        self._assign(now)
        if job in self._waiting:
            heapq.heappush(self._deadlines, (deadline, next(self._entries), job, entry))

    def withdraw(self, job: Hashable) -> bool:
        """Take a job out of the line; False if it was not waiting."""
        return self._waiting.pop(job, None) is not None

    def want(self, jobs: int, now: float) -> None:
        """Say how many jobs wait elsewhere and would :meth:`take` a runner: runners are started for them."""
        self._pass(now)
        self._wanted = jobs
        self._assign(now)

    def take(self, job: Hashable, now: float, *, hint: str | None = None) -> int | None:
        """Start a job that waited elsewhere: the runner it is on, or None if none is free.

        Those in line here come first: a runner that is idle is one that none of them waits for.
        """
        self._pass(now)
        if not self._idle and not self._grow_at_once(now):
            return None
        return self._occupy(job, hint)

    def release(self, job: Hashable, now: float, *, healthy: bool = True) -> None:
        """The job has left its runner, which is idle now, or gone if it was not healthy."""
        self._pass(now)
        runner, hint = self._busy.pop(job)
        if healthy:
            self._idle[runner] = now
        elif hint is not None:
            self._served.pop(hint, None)
        self._assign(now)

    def advance(self, now: float) -> list[Event]:
        """Let time pass up to ``now``; what happened since the last call, in order of time."""
        self._pass(now)
        events, self._events = self._events, []
        return events

    def wakes_at(self) -> float | None:
        """When something will happen next if nothing is done from outside."""
        while self._deadlines and self._is_stale(self._deadlines[0]):
            heapq.heappop(self._deadlines)
        soonest = min(
            self._starting[0][0] if self._starting else inf,
            self._deadlines[0][0] if self._deadlines else inf,
            self._first_expiry(),
        )
        return None if soonest == inf else soonest

    def _first_expiry(self) -> float:
        if self.settings.keep_warm is None or not self._idle:
            return inf
        return next(iter(self._idle.values())) + self.settings.keep_warm

    def _is_stale(self, deadline: tuple[float, int, Hashable, _Waiting]) -> bool:
        return self._waiting.get(deadline[2]) is not deadline[3]

    def _pass(self, now: float) -> None:
        while True:
            at = self.wakes_at()
            if at is None or at > now:
                return
            self._happen(at)

    def _happen(self, at: float) -> None:
        """What is due at ``at``: a runner that gets ready comes before a deadline of the same time."""
        if self._starting and self._starting[0][0] <= at:
            self._idle[self._starting.popleft()[1]] = at
            self._assign(at)
        elif self._deadlines and self._deadlines[0][0] <= at:
            _, _, job, entry = heapq.heappop(self._deadlines)
            del self._waiting[job]
            self._events.append(GaveUp(job, at, entry.reason))
        else:
            self._idle.popitem(last=False)

    def _assign(self, at: float) -> None:
        """Give idle runners to waiting jobs, and start runners for the jobs that are left."""
        while self._waiting and (self._idle or self._grow_at_once(at)):
            self._start_first(at)
        while len(self._waiting) + self._wanted > len(self._starting) and self._may_grow():
            self._starting.append((at + self.settings.cold_start, next(self._runners)))

    def _may_grow(self) -> bool:
        return self.settings.count is None or self.size < self.settings.count

    def _grow_at_once(self, at: float) -> bool:
        if self.settings.cold_start or not self._may_grow():
            return False
        self._idle[next(self._runners)] = at
        return True

    def _start_first(self, at: float) -> None:
        job, entry = self._waiting.popitem(last=False)
        self._events.append(Started(job, at, self._occupy(job, entry.hint)))

    def _occupy(self, job: Hashable, hint: str | None) -> int:
        runner = self._served.get(hint) if hint is not None else None
        if runner is None or runner not in self._idle:
            runner = next(reversed(self._idle))  # the last one used, so that the others may go
        del self._idle[runner]
        if hint is not None:
            self._served[hint] = runner
        self._busy[job] = (runner, hint)
        return runner
