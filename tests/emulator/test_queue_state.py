"""The queue's state, one decision at a time; all of it is arithmetic on given times (PROTOCOL 6)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fal_async.emulator.concurrency import Concurrency
from fal_async.emulator.queueing.job import Job
from fal_async.emulator.queueing.requeueing import RequeueSettings
from fal_async.emulator.queueing.state import Begun, Ended, Enqueued, QueueState
from fal_async.emulator.runners import RunnerPool, RunnerSettings, Started
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.queue import CancelOutcome, Completed, InProgress, InQueue

DONE = HttpResponse(200, Headers({"Content-Type": "application/json"}), b"{}")
LOST = failures.request_error(wire.RUNNER_DISCONNECTED)
APP, OTHER = "owner/app", "owner/other"


class Queue:
    """A queue with one pool for each application, and jobs by name."""

    def __init__(
        self,
        *,
        limit: int | None = None,
        settings: RequeueSettings | None = None,
        **runners: Any,
    ) -> None:
        self.concurrency = Concurrency(limit)
        self.pools: dict[str, RunnerPool] = {}
        self._runners = RunnerSettings(**{"count": 1} | runners)
        self.state = QueueState(
            self.concurrency, self._pool, settings or RequeueSettings(pause=1, longest_pause=4)
        )

    def _pool(self, application: str) -> RunnerPool:
        return self.pools.setdefault(application, RunnerPool(self._runners))

    def submit(self, name: str, now: float = 0, application: str = APP, **settings: Any) -> Job:
        job = Job(
            request_id=name, model=application, application=application, submitted=now, **settings
        )
        self.state.submit(job, now)
        return job

    def running(self) -> list[str]:
        return [job.request_id for job in self.state if job.state == wire.IN_PROGRESS]

    def line(self, application: str = APP) -> list[str]:
        return [job.request_id for job in self.state.waiting(application)]

    def result(self, job: Job) -> HttpResponse:
        assert job.result is not None
        return job.result.response


# --- lines


def test_a_job_starts_at_once_if_a_runner_is_free() -> None:
    queue = Queue()
    job = queue.submit("a")
    assert queue.state.advance(0) == [Enqueued(job), Begun(job)]
    assert (job.state, job.attempts, job.started) == (wire.IN_PROGRESS, 1, 0)
    assert queue.state.position(job) is None
    assert queue.line("unknown/app") == []
    assert queue.state.length("unknown/app") == queue.state.length(APP) == 0


def test_positions_count_those_ahead_and_low_ones_stand_behind_all_others() -> None:
    queue = Queue()
    queue.submit("running")
    low = queue.submit("low", low=True)
    queue.submit("first")
    queue.submit("second")
    assert queue.line() == ["first", "second", "low"]
    assert queue.state.position(low) == 2
    assert queue.state.length(APP) == 3
    assert len(queue.state) == 4


def test_each_application_has_runners_and_a_line_of_its_own() -> None:
    queue = Queue()
    for application in (APP, OTHER):
        for name in "ab":
            queue.submit(f"{application}:{name}", application=application)
    assert queue.running() == [f"{APP}:a", f"{OTHER}:a"]
    assert queue.line(OTHER) == [f"{OTHER}:b"]


def test_the_next_one_starts_when_a_runner_is_done() -> None:
    queue = Queue()
    first, second = queue.submit("a"), queue.submit("b")
    queue.state.advance(0)
    queue.state.finish(first, 3, DONE)
    assert queue.state.advance(3) == [Ended(first), Begun(second)]
    assert (first.ended, first.seconds, second.started) == (3, 3, 3)
    assert (queue.result(first), second.seconds) == (DONE, None)


def test_runners_are_started_for_those_who_wait_as_many_as_could_be_used() -> None:
    queue = Queue(count=3, cold_start=5, limit=2)
    for name in "abc":
        queue.submit(name)
    assert queue.running() == []
    assert queue.pools[APP].size == 2
    assert queue.state.wakes_at() == 5
    queue.state.advance(5)
    assert queue.running() == ["a", "b"]


def test_a_runner_that_nobody_waits_for_any_more_is_not_replaced() -> None:
    queue = Queue(count=3, cold_start=5)
    jobs = [queue.submit(name) for name in "ab"]
    for job in jobs:
        queue.state.cancel(job, 1)
    assert queue.pools[APP].size == 2  # on their way already
    queue.submit("c", 2)
    assert queue.pools[APP].size == 2


def test_a_hint_leads_to_the_runner_that_had_it_before() -> None:
    queue = Queue(count=2)
    first = queue.submit("a", hint="x")
    queue.state.finish(queue.submit("b"), 1, DONE)
    queue.state.finish(first, 2, DONE)
    queue.state.finish(queue.submit("c", 3), 4, DONE)
    assert queue.submit("d", 5, hint="x").runner == first.runner == 1


# --- slots


def test_without_a_slot_a_job_waits_and_is_not_refused() -> None:
    queue = Queue(count=None, limit=1)
    first, second = queue.submit("a"), queue.submit("b")
    assert queue.running() == ["a"]
    assert queue.concurrency.refused == 0
    assert queue.state.wakes_at() is None
    queue.state.finish(first, 1, DONE)
    assert second.state == wire.IN_PROGRESS
    assert queue.concurrency.peak == 1


def test_slots_are_shared_with_direct_calls() -> None:
    queue = Queue(count=None, limit=1)
    assert queue.concurrency.enter(OTHER) is None
    job = queue.submit("a")
    assert job.state == wire.IN_QUEUE
    queue.concurrency.leave(OTHER)
    assert queue.state.advance(4)[-1] == Begun(job)
    assert queue.concurrency.enter(OTHER) is not None


def test_a_slot_goes_to_whoever_came_first_whatever_the_application() -> None:
    queue = Queue(count=None, limit=1)
    running = queue.submit("running")
    for name, application in (("b", OTHER), ("a", APP), ("c", OTHER)):
        queue.submit(name, application=application)
    order = []
    for now in range(1, 4):
        queue.state.finish(running, now, DONE)
        running = next(job for job in queue.state if job.state == wire.IN_PROGRESS)
        order.append(running.request_id)
    assert order == ["b", "a", "c"]


def test_an_application_of_ones_own_needs_no_slot() -> None:
    queue = Queue(count=None, limit=0)
    queue.submit("a", exempt=True)
    queue.submit("b", application=OTHER)
    assert queue.running() == ["a"]
    assert queue.concurrency.room(APP, exempt=True) > 1000


def test_an_applications_own_cap_holds_for_queued_jobs() -> None:
    queue = Queue(count=None)
    queue.concurrency.caps[APP] = 1
    queue.submit("a")
    queue.submit("b")
    assert queue.running() == ["a"]
    queue.concurrency.caps.clear()
    queue.state.advance(0)
    assert queue.running() == ["a", "b"]


def test_direct_calls_in_line_have_a_runner_before_queued_ones() -> None:
    queue = Queue()
    job, _ = queue.submit("a"), queue.submit("b")
    pool = queue.pools[APP]
    pool.enqueue("direct", 1)
    queue.state.finish(job, 2, DONE)
    assert pool.advance(2) == [Started("direct", 2, 1)]
    assert queue.line() == ["b"]
    pool.release("direct", 3)
    queue.state.advance(3)
    assert queue.running() == ["b"]


# --- failures


@pytest.mark.parametrize("healthy", [True, False])
def test_a_runners_failure_puts_a_job_back_to_its_place_to_rest(healthy: bool) -> None:
    queue = Queue()
    job, other = queue.submit("a"), queue.submit("b")
    queue.state.advance(0)
    queue.state.finish(job, 2, LOST, healthy=healthy)
    assert queue.state.advance(2) == [Enqueued(job), Begun(other)]
    assert queue.state.position(job) == 0
    assert queue.state.wakes_at() == 3
    queue.submit("c", 2)
    assert queue.line() == ["a", "c"]
    queue.state.finish(other, 2.5, DONE)
    assert queue.running() == ["c"]  # a rests
    queue.state.finish(next(j for j in queue.state if j.request_id == "c"), 4, DONE)
    assert queue.running() == ["a"]
    assert (job.attempts, job.failures.total()) == (2, 1)


def test_after_ten_attempts_the_last_failure_is_the_result() -> None:
    queue = Queue()
    job = queue.submit("a")
    now, pauses = 0.0, []
    while job.state != wire.COMPLETED:
        queue.state.finish(job, now, LOST)
        wakes = queue.state.wakes_at()
        if wakes is not None:
            pauses.append(wakes - now)
            now = wakes
            queue.state.advance(now)
    assert pauses == [1, 2, 4, 4, 4, 4, 4, 4, 4]
    assert job.attempts == 10
    assert queue.result(job) is LOST
    assert job.status(None) == Completed(
        request_id="a",
        error="Runner disconnected",
        error_type=wire.RUNNER_DISCONNECTED,
        inference_time=0,
    )


def test_what_the_caller_allows_in_retries_is_the_end_of_it() -> None:
    queue = Queue()
    job = queue.submit("a", budget={"server_error": 1})
    queue.state.finish(job, 0, failures.gpu_fault())
    queue.state.finish(queue_next(queue, job), 1, failures.gpu_fault())
    assert (job.state, job.attempts) == (wire.COMPLETED, 2)


def queue_next(queue: Queue, job: Job) -> Job:
    queue.state.advance(queue.state.wakes_at() or 0)
    assert job.state == wire.IN_PROGRESS
    return job


@pytest.mark.parametrize("status", [400, 404, 422, 499, 500])
def test_what_an_application_says_is_no_reason_to_try_again(status: int) -> None:
    queue = Queue()
    job = queue.submit("a")
    queue.state.finish(job, 1, failures.app_error(status, "no", units=Decimal(0)))
    assert job.status(None) == Completed(
        request_id="a", error=f"Invalid status code: {status}", inference_time=1
    )


# --- start timeouts


def test_a_start_timeout_ends_a_job_that_no_runner_took() -> None:
    queue = Queue()
    queue.submit("running")
    job = queue.submit("a", start_by=5)
    assert queue.state.advance(4.9)[-1] == Enqueued(job)
    assert queue.state.wakes_at() == 5
    assert queue.state.advance(7) == [Ended(job)]
    assert job.ended == 5
    answer = queue.result(job)
    assert answer.status == 504
    assert answer.headers[wire.TIMEOUT_TYPE] == "user"
    said = job.status(None)
    assert isinstance(said, Completed)
    assert (said.error_type, said.inference_time) == (wire.REQUEST_TIMEOUT, None)
    assert queue.line() == []


def test_a_runner_that_is_ready_in_the_same_instant_comes_before_the_timeout() -> None:
    queue = Queue(cold_start=5)
    job = queue.submit("a", start_by=5)
    queue.state.advance(9)
    assert (job.state, job.started) == (wire.IN_PROGRESS, 5)


def test_the_start_timeout_does_not_limit_the_work() -> None:
    queue = Queue()
    job = queue.submit("a", start_by=5)
    queue.state.advance(100)
    queue.state.finish(job, 100, DONE)
    assert queue.result(job) is DONE
    assert queue.state.wakes_at() is None


def test_the_start_timeout_goes_on_over_all_attempts() -> None:
    queue = Queue()
    resting = queue.submit("a", start_by=3)
    queue.state.finish(resting, 2.5, LOST)
    queue.state.advance(3)
    assert resting.ended == 3
    late = queue.submit("b", 10, start_by=12)
    queue.state.finish(late, 12, LOST)
    assert (late.state, late.attempts) == (wire.COMPLETED, 1)
    assert queue.result(late).headers[wire.TIMEOUT_TYPE] == "user"


# --- cancels


def test_a_job_in_line_is_removed_and_never_runs() -> None:
    queue = Queue()
    running, job = queue.submit("running"), queue.submit("a", start_by=50)
    assert queue.state.cancel(job, 1) is CancelOutcome.REMOVED
    queue.state.finish(running, 2, DONE)
    assert (job.state, job.attempts) == (wire.COMPLETED, 0)
    answer = queue.result(job)
    assert (answer.status, answer.headers[wire.ERROR_TYPE]) == (499, wire.CLIENT_CANCELLED)
    said = job.status(None)
    assert isinstance(said, Completed)
    assert said.error_type == wire.CLIENT_CANCELLED
    assert queue.state.wakes_at() is None


def test_a_job_that_rests_can_be_cancelled() -> None:
    queue = Queue()
    jobs = [queue.submit(name) for name in "ab"]
    for job in jobs:
        queue.state.finish(job, 0, LOST)
    assert queue.state.cancel(jobs[0], 0.5) is CancelOutcome.REMOVED
    assert queue.line() == ["b"]
    queue.state.advance(1)
    assert queue.running() == ["b"]


def test_a_cancel_in_progress_is_a_wish_and_the_end_of_all_attempts() -> None:
    queue = Queue()
    job = queue.submit("a")
    assert queue.state.cancel(job, 1) is CancelOutcome.SIGNALLED
    assert queue.state.cancel(job, 1) is CancelOutcome.SIGNALLED
    assert job.cancel_requested
    assert job.status(None) == InProgress(request_id="a")
    queue.state.finish(job, 2, LOST)
    assert queue.result(job) is LOST
    assert queue.state.cancel(job, 3) is CancelOutcome.TOO_LATE


# --- keeping


@pytest.mark.parametrize(
    ("size", "stored", "seconds"),
    [
        (9_999, False, 3600),
        (10_000, False, 360),
        (1_000_000, True, 30 * 86_400),
        (1_000_001, True, 360),
    ],
)
def test_a_result_is_kept_by_its_size_and_whether_it_is_stored(
    size: int, stored: bool, seconds: float
) -> None:
    queue = Queue()
    job = queue.submit("a", stored=stored, payload="input")
    queue.state.finish(job, 10, HttpResponse(200, Headers(), b"x" * size))
    queue.state.advance(9 + seconds)
    assert job.result is not None
    assert queue.state.wakes_at() is None  # nobody is woken for it
    queue.state.advance(10 + seconds)
    assert (job.result, job.payload, job.expired) == (None, None, True)
    assert queue.state.find("a") is job
    assert queue.state.find("b") is None
    assert queue.state.cancel(job, 11 + seconds) is CancelOutcome.UNKNOWN
    assert job.status(None) == Completed(request_id="a", inference_time=10)


def test_a_status_in_line_tells_the_position_it_is_given() -> None:
    queue = Queue()
    queue.submit("running")
    job = queue.submit("a")
    assert job.status(queue.state.position(job)) == InQueue(request_id="a", queue_position=0)


def test_ten_thousand_jobs_take_no_time() -> None:
    queue = Queue(count=8, limit=4)
    jobs = [queue.submit(f"{n}", low=n % 3 == 0) for n in range(10_000)]
    now, running = 0.0, [event.job for event in queue.state.advance(0) if isinstance(event, Begun)]
    while running:
        now += 1
        for job in running:
            queue.state.finish(job, now, DONE)
        running = [event.job for event in queue.state.advance(now) if isinstance(event, Begun)]
    assert now == 2_500
    assert all(job.attempts == 1 and job.state == wire.COMPLETED for job in jobs)
