"""The brake in simulated worlds, beside a client that is told the limit, and its laws for any sequence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fal_async.policy.concurrency import LANES_KEPT, Brake, Ticket
from fal_async.policy.lanes import SWEEP_ABOVE
from tests.support.brake_simulation import UNLIMITED, Simulation, World, against_told, run, spread

APP, OTHER = "fal-ai/fast-sdxl", "me/other"
CALLS = [APP] * 2000

# --- how well it finds what it is not told ---------------------------------------------------------------


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
@pytest.mark.parametrize("job", [0.5, 5.0])
@pytest.mark.parametrize("round_trip", [0.005, 0.08])
@pytest.mark.parametrize(("limit", "least"), [(2, 0.995), (10, 0.99), (40, 0.97)])
def test_a_limit_of_fals_is_found_at_next_to_no_cost(
    limit: int, least: float, round_trip: float, job: float, named: bool
) -> None:
    world = World(limit=limit, named=named, round_trip=round_trip, job=job)

    ratio, result = against_told(world, CALLS)

    assert ratio >= least
    assert result.share_refused < 0.01
    assert result.brake.snapshot().learned == limit


@pytest.mark.parametrize(("job", "least"), [(0.5, 0.92), (5.0, 0.985)])
def test_a_limit_beyond_any_documented_is_found_within_a_few_rounds(
    job: float, least: float
) -> None:
    ratio, result = against_told(World(limit=400, job=job), CALLS)

    assert ratio >= least
    assert result.share_refused < 0.01


def test_without_a_limit_everything_is_in_flight_after_a_few_rounds() -> None:
    result = run(World(limit=UNLIMITED, job=30.0), CALLS)

    assert result.refused == 0
    assert result.seconds < 30.0 * 1.1
    assert result.brake.snapshot().learned is None


@pytest.mark.parametrize("jitter", [0.3, 1.0])
def test_jobs_and_ways_of_uneven_length_confuse_it_little(jitter: float) -> None:
    world = World(limit=40, round_trip=0.02, job=spread(0.5, 0.5), jitter=jitter)

    ratio, result = against_told(world, CALLS)

    assert ratio >= 0.93
    assert result.share_refused < 0.03


def between(start: float, end: float, inside: int, outside: int) -> Callable[[float], int]:
    return lambda now: inside if start <= now < end else outside


def test_a_limit_that_falls_and_rises_again_is_followed() -> None:
    world = World(limit=between(10, 30, 10, 40), changes=(10, 30))

    ratio, result = against_told(world, [APP] * 5000)

    assert ratio >= 0.97
    assert result.share_refused < 0.01


def test_slots_that_a_stranger_takes_and_gives_back_are_followed() -> None:
    world = World(limit=20, strangers=between(10, 40, 15, 0), changes=(10, 40))

    ratio, result = against_told(world, [APP] * 3000)

    assert ratio >= 0.93
    assert result.share_refused < 0.02


def test_while_strangers_hold_every_slot_it_only_asks_now_and_then() -> None:
    world = World(limit=5, strangers=between(0, 60, 5, 0), changes=(60,))

    result = run(world, [APP] * 100)

    assert result.refused < 60
    assert result.seconds < 60 + 8 + 100 / 5 * 0.5 + 5


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
def test_a_hot_application_is_braked_on_its_own(named: bool) -> None:
    world = World(limit=10, named=named, hot={"hot/app": 2})

    result = run(world, ["hot/app", OTHER] * 1000)

    # The others have the eight slots that the hot one cannot use.
    assert max(when for when, name in result.ended if name == OTHER) < 1000 / 8 * 0.5 * 1.1
    assert result.brake.snapshot().applications["hot/app"].learned == 2
    assert result.most_by["hot/app"] <= 4
    assert result.share_refused < 0.02


def test_a_hot_application_at_the_head_of_the_queue_holds_nobody_up() -> None:
    world = World(limit=10, named=True, hot={"hot/app": 1}, job=1.0)

    result = run(world, ["hot/app"] * 50 + [OTHER] * 200)

    last_other = max(when for when, name in result.ended if name == OTHER)
    assert last_other < 200 / 9 * 1.0 * 1.25


def test_a_ceiling_is_never_passed_and_a_lower_limit_is_still_learned() -> None:
    assert run(World(limit=40), CALLS, Brake(ceiling=7)).most_in_flight == 7
    below = run(World(limit=4), CALLS, Brake(ceiling=7))
    assert below.brake.snapshot().learned == 4
    assert below.share_refused < 0.01


def test_calls_go_in_the_order_in_which_they_came_but_for_those_refused() -> None:
    brake = Brake(ceiling=1)
    first, second, third = (brake.ask(APP, 0.0) for _ in range(3))
    assert first.granted

    assert list(brake.refused(first, 0.1)) == []  # a pause: nothing of ours is in flight
    assert list(brake.wake(1.0)) == [first]
    assert list(brake.finished(first, 1.1)) == [second]
    assert list(brake.finished(second, 1.2)) == [third]


def test_nothing_is_sent_before_retry_after_has_passed() -> None:
    brake = Brake()
    ticket = brake.ask(APP, 0.0)

    assert list(brake.refused(ticket, 0.1, None, 30.0)) == []
    assert not brake.ask(APP, 1.0).granted
    wake = brake.next_wake()
    assert wake is not None
    assert wake >= 30.1
    assert ticket in brake.wake(wake)


def test_a_named_limit_counts_answers_that_overtook_the_refusal() -> None:
    brake = Brake()
    flying = [brake.ask(APP, 0.0), brake.ask(APP, 0.0)]
    waiting = [brake.ask(APP, 0.0) for _ in range(20)]
    granted = list(brake.finished(flying[0], 0.5))
    while len(granted) < 3:
        granted += brake.wake(brake.next_wake() or 1.0)
    third = granted[-1]
    before = len([t for t in (*flying[1:], *granted) if t.granted]) - 1
    brake.finished(granted[0], 0.9)  # the server still had it when it refused the third

    brake.refused(third, 0.9, before)

    assert brake.snapshot().learned == before
    assert waiting


@pytest.mark.parametrize("ceiling", [0, -1])
def test_a_ceiling_that_lets_nothing_through_is_refused(ceiling: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Brake(ceiling=ceiling)


def test_applications_that_are_done_are_forgotten() -> None:
    brake = Brake(ceiling=10_000)
    for n in range(4 * LANES_KEPT):
        brake.finished(brake.ask(f"me/app-{n}", 0.0), 0.0)
    assert len(brake._lanes) <= LANES_KEPT + 1


def test_those_who_give_up_in_the_queue_cost_nothing_to_those_behind() -> None:
    brake = Brake(ceiling=1)
    holder = brake.ask(APP, 0.0)
    waiting = [brake.ask(APP, 0.0) for _ in range(10 * SWEEP_ABOVE)]
    for ticket in reversed(waiting[1:]):
        assert not brake.abandoned(ticket, 0.1)
    assert brake.snapshot().waiting == 1
    assert len(holder.lane._line) < 2 * SWEEP_ABOVE + 2
    assert list(brake.abandoned(holder, 0.2)) == [waiting[0]]
    assert not brake.abandoned(holder, 0.3)  # it had ended before


def test_limits_are_none_until_a_refusal_has_taught_one() -> None:
    limits = Brake().snapshot()
    assert (limits.learned, limits.in_flight, limits.waiting, limits.refused) == (None, 0, 0, 0)
    assert limits.applications == {}


# --- laws that hold whatever happens ---------------------------------------------------------------------


class AnySequence(RuleBasedStateMachine):
    """Calls, answers, refusals and cancellations in any order, at any times."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ceiling = 5
        self.brake = Brake(ceiling=self.ceiling)
        self.waiting: list[Ticket] = []
        self.flying: list[Ticket] = []

    def take(self, granted: object) -> None:
        for ticket in granted:  # type: ignore[attr-defined]
            assert ticket.granted
            self.waiting.remove(ticket)
            self.flying.append(ticket)

    @rule(application=st.sampled_from([APP, OTHER, "x/y"]), later=st.floats(0, 1))
    def ask(self, application: str, later: float) -> None:
        self.now += later
        ticket = self.brake.ask(application, self.now)
        (self.flying if ticket.granted else self.waiting).append(ticket)
        wake = self.brake.next_wake()
        if wake is not None and wake <= self.now:  # asking may have let others in, too
            self.take(self.brake.wake(self.now))

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), later=st.floats(0, 1))
    def finish(self, data: st.DataObject, later: float) -> None:
        self.now += later
        ticket = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        self.take(self.brake.finished(ticket, self.now))

    @precondition(lambda self: self.flying)
    @rule(
        data=st.data(),
        named=st.none() | st.integers(1, 8),
        after=st.none() | st.floats(0, 3),
        later=st.floats(0, 1),
    )
    def refuse(
        self, data: st.DataObject, named: int | None, after: float | None, later: float
    ) -> None:
        self.now += later
        ticket = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        self.waiting.append(ticket)
        self.take(self.brake.refused(ticket, self.now, named, after))

    @precondition(lambda self: self.waiting or self.flying)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        everybody = self.waiting + self.flying
        ticket = everybody[data.draw(st.integers(0, len(everybody) - 1))]
        (self.waiting if ticket in self.waiting else self.flying).remove(ticket)
        self.take(self.brake.abandoned(ticket, self.now))

    @rule(seconds=st.floats(0, 5))
    def round_trip(self, seconds: float) -> None:
        self.brake.round_trip(seconds)

    @rule(later=st.floats(0, 10))
    def wake(self, later: float) -> None:
        self.now += later
        self.take(self.brake.wake(self.now))

    @invariant()
    def counts_agree(self) -> None:
        limits = self.brake.snapshot()
        assert limits.in_flight == len(self.flying) <= self.ceiling
        assert limits.waiting == len(self.waiting)
        assert all(ticket.granted for ticket in self.flying)
        assert not any(ticket.granted for ticket in self.waiting)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        if self.waiting and not self.flying:
            assert self.brake.next_wake() is not None

    def teardown(self) -> None:
        """Left to itself, with every call answered, everybody gets through."""
        for _ in range(10_000):
            if not self.waiting and not self.flying:
                return
            if self.flying:
                self.take(self.brake.finished(self.flying.pop(0), self.now))
            else:
                self.now = max(self.now, self.brake.next_wake() or self.now)
                self.take(self.brake.wake(self.now))
        raise AssertionError("somebody waits for ever")


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@settings(max_examples=40, deadline=None)
@given(
    limit=st.integers(1, 60),
    round_trip=st.floats(0.001, 0.2),
    job=st.floats(0.01, 3),
    named=st.booleans(),
    hot=st.none() | st.integers(1, 5),
)
@example(limit=52, round_trip=0.163, job=0.98, named=False, hot=4)  # the worst of 40,000
def test_in_any_world_every_call_is_answered_and_few_are_refused(
    limit: int, round_trip: float, job: float, named: bool, hot: int | None
) -> None:
    world = World(
        limit=limit,
        named=named,
        round_trip=round_trip,
        job=job,
        hot={} if hot is None else {OTHER: hot},
    )

    result = Simulation(world, Brake()).run([APP, OTHER] * 150)

    assert len(result.ended) == 300
    assert result.refused <= 60  # more than 40 in one world of ten thousand
