"""The queue's state: who waits, runs, has ended, comes back or is forgotten (PROTOCOL 6).

Pure, and advanced by a given time; nothing here waits. What a runner makes of a job is told from outside,
by :meth:`QueueState.finish`. Times never go back from one call to the next.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count

import attrs

from fal_async.emulator.concurrency import Concurrency
from fal_async.emulator.queueing.job import Job, keeping_time, result_of
from fal_async.emulator.queueing.line import Line
from fal_async.emulator.queueing.requeueing import RequeueSettings, condition_of, may_retry
from fal_async.emulator.runners import RunnerPool
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.queue import CancelOutcome

__all__ = ["Begun", "Ended", "Enqueued", "QueueEvent", "QueueState"]


@attrs.frozen
class Enqueued:
    """A job is in line: for the first time, or again after a failure."""

    job: Job


@attrs.frozen
class Begun:
    """A runner has taken a job: somebody must run it and say :meth:`QueueState.finish`."""

    job: Job


@attrs.frozen
class Ended:
    """A job is completed: done, failed or cancelled."""

    job: Job


QueueEvent = Enqueued | Begun | Ended


class QueueState:
    """All queued requests of one emulator.

    :param concurrency: the slots, shared with direct calls. A job takes one while it is in progress; without
        one it waits.
    :param pool_of: application → its runners, shared with direct calls.
    """

    def __init__(
        self,
        concurrency: Concurrency,
        pool_of: Callable[[str], RunnerPool],
        settings: RequeueSettings | None = None,
    ) -> None:
        self.settings = settings or RequeueSettings()
        self._concurrency = concurrency
        self._pool_of = pool_of
        self._jobs: dict[str, Job] = {}
        self._lines: dict[str, Line] = {}
        self._deadlines: list[tuple[float, int, Job]] = []
        self._expiries: list[tuple[float, int, Job]] = []
        self._events: list[QueueEvent] = []
        self._numbers = count(1)
        self._entries = count()

    # --- asked ------------------------------------------------------------------------------------------

    def find(self, request_id: str) -> Job | None:
        """The job of this id; expired ones are found here, too."""
        return self._jobs.get(request_id)

    def position(self, job: Job) -> int | None:
        """How many are ahead of a job; None if it is not in line."""
        if job.state != wire.IN_QUEUE:
            return None
        return self._lines[job.application].position(job)

    def waiting(self, application: str) -> list[Job]:
        """Those in line, in order."""
        return list(self._lines.get(application, ()))

    def length(self, application: str) -> int:
        """How many are in line."""
        line = self._lines.get(application)
        return 0 if line is None else len(line)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    # --- told -------------------------------------------------------------------------------------------

    def submit(self, job: Job, now: float) -> None:
        """Put a new job in line."""
        self._pass(now)
        job.number = next(self._numbers)
        self._jobs[job.request_id] = job
        self._line(job).add(job)
        if job.start_by is not None:
            heapq.heappush(self._deadlines, (job.start_by, next(self._entries), job))
        self._events.append(Enqueued(job))
        self._dispatch(now)

    def finish(self, job: Job, now: float, response: HttpResponse, *, healthy: bool = True) -> None:
        """An attempt is over: the job is completed, or put in line again if its runner failed.

        :param healthy: whether its runner survived.
        """
        self._pass(now)
        line = self._lines[job.application]
        line.pool.release(job.request_id, now, healthy=healthy)
        self._concurrency.leave(job.application, exempt=line.exempt)
        condition = condition_of(response)
        if condition is not None:
            job.failures[condition] += 1
        again = condition is not None and may_retry(
            condition, job.failures, self.settings, job.budget
        )
        if job.cancel_requested or not again:
            self._complete(job, now, response)
        elif job.start_by is not None and job.start_by <= now:
            self._complete(job, now, failures.start_timed_out())
        else:
            job.state = wire.IN_QUEUE
            line.rest(job, now + self.settings.pause_after(job.attempts))
            self._events.append(Enqueued(job))
        self._dispatch(now)

    def cancel(self, job: Job, now: float) -> CancelOutcome:
        """Ask for a job to be stopped (PROTOCOL 6.5). One in progress has yet to be told of it."""
        self._pass(now)
        if job.expired:
            return CancelOutcome.UNKNOWN
        if job.state == wire.COMPLETED:
            return CancelOutcome.TOO_LATE
        if job.state == wire.IN_PROGRESS:
            job.cancel_requested = True
            return CancelOutcome.SIGNALLED
        self._lines[job.application].remove(job)
        self._complete(job, now, failures.request_error(wire.CLIENT_CANCELLED))
        self._dispatch(now)
        return CancelOutcome.REMOVED

    # --- time -------------------------------------------------------------------------------------------

    def advance(self, now: float) -> list[QueueEvent]:
        """Let time pass up to ``now``; what happened since the last call, in order.

        To be called, too, when slots or runners were freed by others.
        """
        self._pass(now)
        self._dispatch(now)
        events, self._events = self._events, []
        return events

    def wakes_at(self) -> float | None:
        """When something will happen next if nothing is done from outside."""
        while self._deadlines and self._deadlines[0][2].state == wire.COMPLETED:
            heapq.heappop(self._deadlines)
        times = [self._deadlines[0][0] if self._deadlines else None]
        for line in self._lines.values():
            times += [line.wakes_at(), line.pool.wakes_at() if line.ready else None]
        return min((time for time in times if time is not None), default=None)

    def _pass(self, now: float) -> None:
        while (at := self.wakes_at()) is not None and at <= now:
            # A runner that gets ready comes before a deadline of the same time.
            self._dispatch(at)
            self._time_out(at)
        self._forget(now)

    def _time_out(self, at: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= at:
            _, _, job = heapq.heappop(self._deadlines)
            if job.state == wire.IN_QUEUE:
                self._lines[job.application].remove(job)
                self._complete(job, at, failures.start_timed_out())

    def _forget(self, now: float) -> None:
        # Nobody is woken for it: it is seen only by those who ask.
        while self._expiries and self._expiries[0][0] <= now:
            _, _, job = heapq.heappop(self._expiries)
            job.result, job.payload, job.expired = None, None, True

    # --- decisions --------------------------------------------------------------------------------------

    def _line(self, job: Job) -> Line:
        line = self._lines.get(job.application)
        if line is None:
            line = Line(self._pool_of(job.application), exempt=job.exempt)
            self._lines[job.application] = line
        return line

    def _dispatch(self, at: float) -> None:
        """Start whatever may start: of all applications, the one that came first before the others."""
        heads: list[tuple[bool, int, Job]] = []
        for line in self._lines.values():
            line.wake(at)
            _see_head(line, heads)
        while heads:
            job = heapq.heappop(heads)[2]
            line = self._lines[job.application]
            if self._begin(line, job, at):
                _see_head(line, heads)
        for application, line in self._lines.items():
            room = self._concurrency.room(application, exempt=line.exempt)
            line.pool.want(int(min(line.ready, room)), at)

    def _begin(self, line: Line, job: Job, at: float) -> bool:
        if not self._concurrency.room(job.application, exempt=line.exempt):
            return False
        runner = line.pool.take(job.request_id, at, hint=job.hint)
        if runner is None:
            return False
        self._concurrency.enter(job.application, exempt=line.exempt)
        line.remove(job)
        job.state, job.runner, job.started = wire.IN_PROGRESS, runner, at
        job.attempts += 1
        self._events.append(Begun(job))
        return True

    def _complete(self, job: Job, at: float, response: HttpResponse) -> None:
        job.state, job.ended = wire.COMPLETED, at
        job.result = result_of(response)
        kept = keeping_time(response, stored=job.stored)
        heapq.heappush(self._expiries, (at + kept, next(self._entries), job))
        self._events.append(Ended(job))


def _see_head(line: Line, heads: list[tuple[bool, int, Job]]) -> None:
    job = line.first()
    if job is not None:
        heapq.heappush(heads, (*job.key, job))
