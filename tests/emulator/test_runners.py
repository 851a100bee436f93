"""Runners: who starts when, on which, and who is given up on."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fal_async.emulator.runners import GaveUp, RunnerPool, RunnerSettings, Started


def started(pool: RunnerPool, now: float) -> list[tuple[Hashable, float]]:
    return [(e.job, e.at) for e in pool.advance(now) if isinstance(e, Started)]


def test_without_a_count_every_job_starts_at_once() -> None:
    pool = RunnerPool(RunnerSettings())
    for job in range(3):
        pool.enqueue(job, 1.0)
    assert pool.advance(1.0) == [Started(0, 1.0, 1), Started(1, 1.0, 2), Started(2, 1.0, 3)]
    assert pool.wakes_at() is None


def test_a_runner_that_is_idle_is_used_again() -> None:
    pool = RunnerPool(RunnerSettings())
    pool.enqueue("a", 0.0)
    pool.advance(0.0)
    pool.release("a", 1.0)
    pool.enqueue("b", 2.0)
    assert pool.advance(2.0) == [Started("b", 2.0, 1)]
    assert pool.size == 1


def test_with_a_count_the_others_wait_in_line() -> None:
    pool = RunnerPool(RunnerSettings(count=1))
    for job in "abc":
        pool.enqueue(job, 0.0)
    assert started(pool, 0.0) == [("a", 0.0)]
    assert (pool.waiting, pool.busy) == (2, 1)
    pool.release("a", 3.0)
    assert started(pool, 3.0) == [("b", 3.0)]
    assert pool.withdraw("c")
    assert not pool.withdraw("c")
    pool.release("b", 4.0)
    assert pool.advance(1e6) == []


def test_a_cold_start_is_waited_for_and_a_warm_runner_is_not() -> None:
    pool = RunnerPool(RunnerSettings(cold_start=5.0))
    pool.enqueue("a", 0.0)
    assert pool.wakes_at() == 5.0
    assert started(pool, 4.9) == []
    assert started(pool, 20.0) == [("a", 5.0)]  # asked late, told the true time
    pool.release("a", 21.0)
    pool.enqueue("b", 22.0)
    assert started(pool, 22.0) == [("b", 22.0)]


def test_a_runner_that_is_starting_for_one_job_may_take_another() -> None:
    pool = RunnerPool(RunnerSettings(cold_start=5.0, count=1))
    pool.enqueue("impatient", 0.0, start_by=1.0)
    pool.enqueue("patient", 0.0)
    assert pool.advance(10.0) == [
        GaveUp("impatient", 1.0, "start_timeout"),
        Started("patient", 5.0, 1),
    ]


def test_a_runner_that_nobody_wants_when_it_is_ready_is_idle() -> None:
    pool = RunnerPool(RunnerSettings(cold_start=5.0))
    pool.enqueue("gone", 0.0)
    pool.withdraw("gone")
    pool.advance(5.0)
    pool.enqueue("next", 6.0)
    assert started(pool, 6.0) == [("next", 6.0)]


def test_an_idle_runner_goes_after_its_time_and_the_last_one_used_is_used_first() -> None:
    pool = RunnerPool(RunnerSettings(cold_start=1.0, keep_warm=10.0))
    for job in "ab":
        pool.enqueue(job, 0.0)
    pool.advance(1.0)
    pool.release("a", 2.0)
    pool.release("b", 3.0)
    pool.enqueue("c", 4.0)
    assert pool.advance(4.0) == [Started("c", 4.0, 2)]
    assert pool.wakes_at() == 12.0
    pool.advance(12.0)
    assert pool.size == 1
    pool.release("c", 12.0)
    pool.advance(22.0)
    assert pool.size == 0
    pool.enqueue("d", 23.0)
    assert started(pool, 24.0) == [("d", 24.0)]  # cold again


def test_a_runner_that_was_lost_is_replaced_cold() -> None:
    pool = RunnerPool(RunnerSettings(count=1, cold_start=2.0))
    for job in "ab":
        pool.enqueue(job, 0.0)
    pool.advance(2.0)
    pool.release("a", 3.0, healthy=False)
    assert started(pool, 10.0) == [("b", 5.0)]


@pytest.mark.parametrize(
    ("start_by", "at", "reason"),
    [(None, 7.0, "patience"), (3.0, 3.0, "start_timeout"), (9.0, 7.0, "patience")],
)
def test_a_job_that_no_runner_takes_is_given_up_on(
    start_by: float | None, at: float, reason: str
) -> None:
    pool = RunnerPool(RunnerSettings(count=0, patience=7.0))
    pool.enqueue("a", 0.0, start_by=start_by)
    assert pool.wakes_at() == at
    assert pool.advance(100.0) == [GaveUp("a", at, reason)]  # type: ignore[arg-type]
    assert pool.waiting == 0


def test_a_runner_that_is_ready_at_the_last_instant_is_in_time() -> None:
    pool = RunnerPool(RunnerSettings(cold_start=2.0))
    pool.enqueue("a", 0.0, start_by=2.0)
    assert started(pool, 2.0) == [("a", 2.0)]


def test_jobs_of_one_hint_go_to_one_runner_while_it_is_idle() -> None:
    pool = RunnerPool(RunnerSettings())
    for job, hint in (("a", "x"), ("b", "y")):
        pool.enqueue(job, 0.0, hint=hint)
    runners = {e.job: e.runner for e in pool.advance(0.0) if isinstance(e, Started)}
    pool.release("a", 1.0)
    pool.release("b", 1.0)
    pool.enqueue("a2", 2.0, hint="x")
    pool.enqueue("a3", 2.0, hint="x")  # its runner is busy: another one
    again = {e.job: e.runner for e in pool.advance(2.0) if isinstance(e, Started)}
    assert again == {"a2": runners["a"], "a3": runners["b"]}


def test_a_hint_forgets_a_runner_that_was_lost() -> None:
    pool = RunnerPool(RunnerSettings())
    pool.enqueue("a", 0.0, hint="x")
    pool.advance(0.0)
    pool.release("a", 1.0, healthy=False)
    pool.enqueue("b", 2.0, hint="x")
    assert pool.advance(2.0) == [Started("b", 2.0, 2)]


@pytest.mark.parametrize("wrong", [{"count": -1}, {"cold_start": -1.0}, {"patience": -1.0}])
def test_settings_are_not_negative(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be >= 0"):
        RunnerSettings(**wrong)  # type: ignore[arg-type]


settings = st.builds(
    RunnerSettings,
    count=st.none() | st.integers(0, 3),
    cold_start=st.sampled_from((0.0, 1.0, 2.5)),
    keep_warm=st.none() | st.sampled_from((0.0, 1.0, 4.0)),
    patience=st.sampled_from((0.0, 3.0, 100.0)),
)


class AnyPool(RuleBasedStateMachine):
    """Jobs come, leave and end in any order: each starts at most once, or is given up on, or waits."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: RunnerPool | None = None
        self.now = 0.0
        self.jobs = 0
        self.waiting: dict[int, float] = {}
        self.running: dict[int, int] = {}

    def events(self) -> None:
        assert self.pool is not None
        last = 0.0
        for event in self.pool.advance(self.now):
            assert last <= event.at <= self.now
            last = event.at
            assert isinstance(event.job, int)
            entered = self.waiting.pop(event.job)
            assert entered <= event.at
            if isinstance(event, Started):
                assert event.runner not in self.running.values()
                self.running[event.job] = event.runner

    @precondition(lambda self: self.pool is None)
    @rule(chosen=settings)
    def open(self, chosen: RunnerSettings) -> None:
        self.pool = RunnerPool(chosen)

    @precondition(lambda self: self.pool is not None)
    @rule(
        hint=st.none() | st.sampled_from("xy"),
        patience=st.none() | st.sampled_from((0.0, 1.0, 2.5)),
    )
    def arrive(self, hint: str | None, patience: float | None) -> None:
        assert self.pool is not None
        self.jobs += 1
        self.waiting[self.jobs] = self.now
        start_by = None if patience is None else self.now + patience
        self.pool.enqueue(self.jobs, self.now, start_by=start_by, hint=hint)
        self.events()

    @precondition(lambda self: self.running)
    @rule(healthy=st.booleans(), choice=st.integers(0, 100))
    def end(self, healthy: bool, choice: int) -> None:
        assert self.pool is not None
        job = list(self.running)[choice % len(self.running)]
        del self.running[job]
        self.pool.release(job, self.now, healthy=healthy)
        self.events()

    @precondition(lambda self: self.waiting)
    @rule(choice=st.integers(0, 100))
    def give_up(self, choice: int) -> None:
        assert self.pool is not None
        job = list(self.waiting)[choice % len(self.waiting)]
        del self.waiting[job]
        assert self.pool.withdraw(job)

    @precondition(lambda self: self.pool is not None)
    @rule(seconds=st.sampled_from((0.0, 0.5, 1.0, 3.0, 50.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.events()

    @invariant()
    def counts_agree(self) -> None:
        if self.pool is None:
            return
        assert self.pool.waiting == len(self.waiting)
        assert self.pool.busy == len(self.running)
        if self.pool.settings.count is not None:
            assert self.pool.size <= self.pool.settings.count
        wakes_at = self.pool.wakes_at()
        assert wakes_at is None or wakes_at >= self.now
        if self.waiting:
            assert wakes_at is not None


TestAnyPool = AnyPool.TestCase


@given(settings, st.lists(st.floats(0, 5), min_size=1, max_size=8))
def test_who_looks_late_learns_the_same_as_who_looks_in_time(
    chosen: RunnerSettings, waits: list[float]
) -> None:
    watched, left_alone = RunnerPool(chosen), RunnerPool(chosen)
    seen, now = [], 0.0
    for job, wait in enumerate(waits):
        for pool in (watched, left_alone):
            pool.enqueue(job, now)
        now += wait
        seen += watched.advance(now)
    assert left_alone.advance(now) == seen
