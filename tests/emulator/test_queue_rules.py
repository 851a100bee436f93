"""The queue's state under any sequence of events: nothing lost, nothing run twice, nothing out of turn."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fal_async.emulator.concurrency import Concurrency
from fal_async.emulator.queueing.job import Job
from fal_async.emulator.queueing.requeueing import RequeueSettings
from fal_async.emulator.queueing.state import Begun, Ended, QueueState
from fal_async.emulator.runners import GaveUp, RunnerPool, RunnerSettings, Started
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.queue import CancelOutcome

APPLICATIONS = {
    "owner/plain": RunnerSettings(count=2),
    "owner/cold": RunnerSettings(count=1, cold_start=2, keep_warm=1),
    "owner/wide": RunnerSettings(),
    "own/app": RunnerSettings(count=1),
}
ANSWERS = {
    "done": HttpResponse(200, Headers(), b"{}"),
    "refused": failures.app_error(422, "no"),
    "broken": failures.app_error(503, "broken"),
    "lost": failures.request_error(wire.RUNNER_DISCONNECTED),
}
REQUEUE = RequeueSettings(attempts=3, pause=1)


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.concurrency = Concurrency(2)
        self.pools = {name: RunnerPool(kind) for name, kind in APPLICATIONS.items()}
        self.state = QueueState(self.concurrency, self.pools.__getitem__, REQUEUE)
        self.jobs: list[Job] = []
        self.running: list[Job] = []
        self.rests_until: dict[Job, float] = {}
        self.begun: dict[Job, int] = {}
        self.removed: set[Job] = set()
        self.called = 0  # direct calls that hold a slot
        self.direct: list[str] = []  # those on a runner
        self.names = iter(range(10**6))

    # --- what may happen

    @rule(
        application=st.sampled_from(sorted(APPLICATIONS)),
        low=st.booleans(),
        patience=st.none() | st.integers(1, 6),
        hint=st.none() | st.sampled_from("xy"),
    )
    def submit(self, application: str, low: bool, patience: int | None, hint: str | None) -> None:
        job = Job(
            request_id=f"job {next(self.names)}",
            model=application,
            application=application,
            submitted=self.now,
            low=low,
            start_by=None if patience is None else self.now + patience,
            hint=hint,
            exempt=application == "own/app",
        )
        self.jobs.append(job)
        self.state.submit(job, self.now)
        self.look()

    @rule(seconds=st.sampled_from([0, 0.5, 1, 2, 7, 400]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.look()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), answer=st.sampled_from(sorted(ANSWERS)), healthy=st.booleans())
    def an_attempt_ends(self, data: Any, answer: str, healthy: bool) -> None:
        job = data.draw(st.sampled_from(self.running))
        self.finish(job, answer, healthy=healthy)

    def finish(self, job: Job, answer: str, *, healthy: bool = True) -> None:
        self.running.remove(job)
        self.rests_until[job] = self.now + REQUEUE.pause_after(job.attempts)
        self.state.finish(job, self.now, ANSWERS[answer], healthy=healthy)
        self.look()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def somebody_cancels(self, data: Any) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        before = job.state
        outcome = self.state.cancel(job, self.now)
        assert (
            outcome
            in {
                wire.IN_QUEUE: {CancelOutcome.REMOVED},
                wire.IN_PROGRESS: {CancelOutcome.SIGNALLED},
                wire.COMPLETED: {CancelOutcome.TOO_LATE, CancelOutcome.UNKNOWN},
            }[before]
        )
        if outcome is CancelOutcome.REMOVED:
            self.removed.add(job)
        self.look()

    @rule(limit=st.none() | st.integers(0, 3))
    def the_limit_changes(self, limit: int | None) -> None:
        self.concurrency.limit = limit
        self.look()

    @rule(application=st.sampled_from(["owner/plain", "owner/cold"]))
    def a_direct_call_comes(self, application: str) -> None:
        if self.concurrency.enter(application) is None:
            self.called += 1
            name = f"{application} {next(self.names)}"
            self.pools[application].enqueue(name, self.now, start_by=self.now + 3)
        self.look()

    @precondition(lambda self: self.direct)
    @rule()
    def a_direct_call_ends(self) -> None:
        self.hang_up()
        self.look()

    def hang_up(self) -> None:
        name = self.direct.pop(0)
        application, _, _ = name.partition(" ")
        self.pools[application].release(name, self.now)
        self.concurrency.leave(application)
        self.called -= 1

    # --- what is seen of it

    def look(self) -> None:
        for event in self.state.advance(self.now):
            if isinstance(event, Begun):
                self.has_begun(event.job)
            elif isinstance(event, Ended):
                assert event.job not in self.running
        self.see_direct_calls()

    def has_begun(self, job: Job) -> None:
        assert job not in self.running
        assert job not in self.removed
        assert not job.cancel_requested
        assert job.started is not None
        assert job.started >= self.rests_until.get(job, 0)
        assert job.start_by is None or job.started <= job.start_by
        self.running.append(job)
        self.begun[job] = self.begun.get(job, 0) + 1
        if job.low:
            for other in self.state.waiting(job.application):
                ready = self.rests_until.get(other, other.submitted) <= job.started
                assert other.low or not ready, "a low one went before a normal one"
        if job.application != "own/app" and self.concurrency.limit is not None:
            counted = sum(other.application != "own/app" for other in self.running)
            assert counted + self.called <= self.concurrency.limit

    def see_direct_calls(self) -> None:
        for name, pool in self.pools.items():
            for event in pool.advance(self.now):
                if isinstance(event, Started):
                    self.direct.append(str(event.job))
                else:
                    assert isinstance(event, GaveUp)
                    self.concurrency.leave(name)
                    self.called -= 1
        # As the platform does whenever a slot has become free.
        for event in self.state.advance(self.now):
            if isinstance(event, Begun):
                self.has_begun(event.job)

    # --- what always holds

    @invariant()
    def no_request_is_lost(self) -> None:
        assert list(self.state) == self.jobs
        for job in self.jobs:
            waiting = job in self.state.waiting(job.application)
            assert (job.state == wire.IN_QUEUE) is waiting
            assert (job.state == wire.IN_PROGRESS) is (job in self.running)
            if job.state == wire.COMPLETED:
                assert job.expired or job.result is not None

    @invariant()
    def nothing_runs_again_after_it_has_ended(self) -> None:
        for job in self.jobs:
            assert job.attempts == self.begun.get(job, 0) <= REQUEUE.attempts

    @invariant()
    def positions_are_dense(self) -> None:
        for application in APPLICATIONS:
            waiting = self.state.waiting(application)
            assert [self.state.position(job) for job in waiting] == list(range(len(waiting)))
            assert [job.low for job in waiting] == sorted(job.low for job in waiting)

    @invariant()
    def every_slot_belongs_to_somebody(self) -> None:
        assert self.concurrency.in_flight == len(self.running) + self.called

    @invariant()
    def no_runner_has_two_jobs(self) -> None:
        for application, kind in APPLICATIONS.items():
            runners = [job.runner for job in self.running if job.application == application]
            assert len(set(runners)) == len(runners)
            assert kind.count is None or self.pools[application].size <= kind.count

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        wakes_at = self.state.wakes_at()
        assert wakes_at is None or wakes_at > self.now
        for application in APPLICATIONS:
            waiting = self.state.waiting(application)
            ready = [job for job in waiting if self.rests_until.get(job, 0) <= self.now]
            if ready and self.concurrency.room(application, exempt=application == "own/app"):
                assert self.pools[application].take("nobody", self.now) is None

    def teardown(self) -> None:
        """In the end, everything ends."""
        self.concurrency.limit = None
        while any(job.state != wire.COMPLETED for job in self.jobs):
            self.look()
            for job in list(self.running):
                self.finish(job, "done")
            while self.direct:
                self.hang_up()
            self.now += 1


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
