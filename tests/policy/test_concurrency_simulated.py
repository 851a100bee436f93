"""The brake against a server that tells no limit: how close to a client that was told, how often refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fal_async.policy.concurrency import Brake
from tests.support.brake_simulation import GOLDEN, UNLIMITED, World, against_told, run, spread

CALLS = 2_000
LAN, OVERSEAS = 0.005, 0.08
NAMED = pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])


def between(start: float, end: float, there: int, elsewhere: int) -> Callable[[float], int]:
    return lambda now: there if start <= now < end else elsewhere


# -- one application, one limit ------------------------------------------------------------------------------


@NAMED
@pytest.mark.parametrize(
    ("limit", "round_trip", "job", "share"),
    [
        (2, LAN, 0.5, 0.995),
        (10, LAN, 0.5, 0.995),
        (40, LAN, 0.5, 0.995),
        (400, LAN, 0.5, 0.93),  # five rounds of calls, of which the ramp takes a third of one
        (2, LAN, 5.0, 0.995),
        (10, LAN, 5.0, 0.995),
        (40, LAN, 5.0, 0.995),
        (400, LAN, 5.0, 0.99),
        (2, OVERSEAS, 0.5, 0.995),
        (10, OVERSEAS, 0.5, 0.99),
        (40, OVERSEAS, 0.5, 0.97),
        (400, OVERSEAS, 0.5, 0.57),  # over before the ramp has ended
        (2, OVERSEAS, 5.0, 0.995),
        (10, OVERSEAS, 5.0, 0.995),
        (40, OVERSEAS, 5.0, 0.995),
        (400, OVERSEAS, 5.0, 0.89),
    ],
)
def test_an_untold_limit_is_used_almost_as_well_as_a_told_one(
    *, limit: int, round_trip: float, job: float, share: float, named: bool
) -> None:
    world = World(limit=limit, named=named, round_trip=round_trip, job=job)
    ratio, result = against_told(world, ["a/a"] * CALLS)
    assert ratio >= share
    assert result.share_refused < 0.01
    assert result.brake.snapshot().learned == limit


@pytest.mark.parametrize("limit", [3, 7, 17, 25, 64, 100, 250])
def test_a_limit_that_nobody_thought_of_is_found_as_well(limit: int) -> None:
    ratio, result = against_told(World(limit=limit, job=spread(0.5, 0.2)), ["a/a"] * CALLS)
    assert ratio >= 0.97
    assert result.share_refused < 0.01
    assert result.brake.snapshot().learned == limit


@pytest.mark.parametrize(("round_trip", "seconds"), [(0.0001, 0.5), (LAN, 0.5), (OVERSEAS, 6.0)])
def test_without_a_limit_ten_thousand_calls_are_soon_in_flight(
    round_trip: float, seconds: float
) -> None:
    world = World(limit=UNLIMITED, round_trip=round_trip, job=10.0)
    result = run(world, ["a/a"] * 10_000)
    assert result.most_in_flight == 10_000
    assert result.seconds < 10.0 + round_trip + seconds + 2.0
    assert result.refused == 0


def test_calls_that_take_no_time_open_the_window_by_their_answers() -> None:
    result = run(World(limit=UNLIMITED, round_trip=0.001, job=0.0), ["a/a"] * 10_000)
    assert result.seconds < 0.06


@pytest.mark.parametrize(("limit", "share"), [(2, 0.99), (10, 0.99), (40, 0.95)])
@pytest.mark.parametrize("round_trip", [LAN, OVERSEAS])
def test_the_limit_is_found_where_no_connection_was_ever_measured(
    limit: int, share: float, round_trip: float
) -> None:
    world = World(limit=limit, round_trip=round_trip, measured=False)
    ratio, result = against_told(world, ["a/a"] * CALLS)
    assert ratio >= share
    assert result.share_refused < 0.01


@pytest.mark.parametrize("limit", [10, 40, 400])
def test_the_limit_is_found_though_requests_overtake_one_another(limit: int) -> None:
    world = World(limit=limit, jitter=0.5, job=spread(0.5, 0.2))
    ratio, result = against_told(world, ["a/a"] * CALLS)
    assert ratio >= 0.91
    assert result.share_refused < 0.015


def test_a_ceiling_above_the_limit_learns_the_limit() -> None:
    result = run(World(limit=10), ["a/a"] * 500, Brake(ceiling=20))
    assert result.brake.snapshot().learned == 10


def test_a_ceiling_below_the_limit_is_never_refused() -> None:
    result = run(World(limit=40), ["a/a"] * 500, Brake(ceiling=20))
    assert result.most_in_flight == 20
    assert result.refused == 0


# -- a limit that changes ----------------------------------------------------------------------------------


@NAMED
@pytest.mark.parametrize(("start", "end"), [(13.0, 19.0), (13.0, 32.0), (19.0, 38.0), (10.0, 40.0)])
def test_a_limit_that_falls_and_rises_again_is_followed(
    *, start: float, end: float, named: bool
) -> None:
    world = World(limit=between(start, end, 10, 40), named=named, changes=(start, end))
    ratio, result = against_told(world, ["a/a"] * 5_000)
    assert ratio >= 0.97
    assert result.share_refused < 0.01


@pytest.mark.parametrize("phase", range(10))
@pytest.mark.parametrize(
    ("round_trip", "lots"),
    [
        pytest.param(0.002, 0.0, id="loopback"),
        pytest.param(0.002, 0.01, id="jobs end in lots"),
        pytest.param(LAN, 0.02, id="in great lots"),
        pytest.param(0.02, 0.0, id="a network"),
    ],
)
def test_whenever_a_limit_of_40_falls_to_10_and_rises_again_hardly_a_slot_is_idle_and_few_are_refused(
    round_trip: float, lots: float, phase: int
) -> None:
    """What was sent together ends together: it matters when, between two such ends, the limit falls."""
    start, end = 15.4 + 0.5 * (phase * GOLDEN % 1), 37.0 + phase / 10
    world = World(
        limit=between(start, end, 10, 40), round_trip=round_trip, lots=lots, changes=(start, end)
    )
    ratio, result = against_told(world, ["a/a"] * 5_000)
    assert ratio >= 0.982
    assert result.refused / (5_000 + result.refused) <= 0.0095


@pytest.mark.parametrize("lots", [0.0, 0.02])
def test_a_fall_of_a_limit_under_which_jobs_end_together_costs_a_dozen_refusals_at_most(
    lots: float,
) -> None:
    for phase in range(5):
        start = 15.4 + phase / 10
        world = World(limit=between(start, 30.0, 10, 40), round_trip=0.003, lots=lots)
        result = run(world, ["a/a"] * 1_000)
        assert sum(start <= when < start + 1 for when in result.refusals) <= 12


def test_a_limit_that_stays_low_for_long_is_hardly_asked_for_more() -> None:
    world = World(limit=between(15, 10_000, 10, 40))
    result = run(world, ["a/a"] * 15_000)
    low = [when for when in result.refusals if when > 16]
    assert len(low) < 0.01 * result.done_between(16, result.seconds)
    late = [when for when in low if when > 100]
    assert len(late) <= 0.0051 * result.done_between(100, result.seconds)


@pytest.mark.parametrize("job", [0.02, 5.0, 60.0])
@pytest.mark.parametrize(("low", "high"), [(2, 10), (2, 40), (10, 40), (100, 1_000)])
def test_however_long_calls_take_a_rise_is_found_within_a_few_turns_of_them(
    low: int, high: int, job: float
) -> None:
    start, end = 20 * job, 40 * job
    world = World(limit=between(start, end, low, high), job=spread(job, 0.2), changes=(start, end))
    result = run(world, ["a/a"] * (40 * high + 20 * low))
    full = min(when for when, _, in_flight in result.sent if when > end and in_flight >= high)
    assert full < end + max(3.5 * job, 1.5)
    asked_for_more = [when for when in result.refusals if start + 2 * job < when < end]
    assert len(asked_for_more) <= 10


def test_a_limit_that_falls_again_and_again_is_not_looked_for_as_eagerly_each_time() -> None:
    world = World(limit=lambda now: 40 if now % 20 < 10 else 10, job=spread(0.5, 0.2))
    result = run(world, ["a/a"] * 10_000)
    assert result.share_refused < 0.02


@NAMED
def test_a_fall_is_found_by_a_handful_of_refusals_and_the_rise_within_seconds(
    *, named: bool
) -> None:
    world = World(limit=between(10, 20, 10, 40), named=named, job=spread(0.5, 0.2))
    result = run(world, ["a/a"] * 1_500)
    in_fall = [in_flight for when, _, in_flight in result.sent if 11 <= when < 20]
    assert max(in_fall) <= 12
    assert sum(10 <= when < 11 for when in result.refusals) <= 8
    assert sum(11 <= when < 20 for when in result.refusals) <= 10  # about one a second
    assert min(when for when, _, in_flight in result.sent if when > 20 and in_flight >= 40) < 21.5


def test_a_rise_without_a_fall_is_found() -> None:
    world = World(limit=between(0, 50, 10, 40), changes=(50,))
    ratio, result = against_told(world, ["a/a"] * 5_000)
    assert ratio >= 0.94
    assert result.share_refused < 0.01


@pytest.mark.parametrize("round_trip", [LAN, OVERSEAS])
def test_a_fall_to_the_least_and_back_is_survived(round_trip: float) -> None:
    world = World(limit=between(8, 16, 2, 40), changes=(8, 16), round_trip=round_trip)
    ratio, _ = against_told(world, ["a/a"] * CALLS)
    assert ratio >= 0.93


@NAMED
@pytest.mark.parametrize(("start", "end"), [(0.0, 5.0), (5.0, 15.0)])
def test_a_time_in_which_everything_is_refused_is_waited_out_with_few_calls(
    *, start: float, end: float, named: bool
) -> None:
    world = World(limit=between(start, end, 0, 40), named=named)
    result = run(world, ["a/a"] * CALLS)
    assert sum(start <= when <= end for when in result.refusals) <= 20
    assert min(when for when, _ in result.ended if when > end + 1) < end + 3
    assert result.done_between(end + 4, end + 10) >= 0.9 * 6 * 40 / 0.505


# -- a stranger on the same account ---------------------------------------------------------


@NAMED
@pytest.mark.parametrize(
    ("taken", "share"),
    [
        pytest.param(between(5, 15, 30, 0), 0.97, id="takes most and gives it back"),
        pytest.param(between(5, 99, 10, 0), 0.98, id="takes some for good"),
        pytest.param(between(0, 10, 10, 0), 0.95, id="was there first"),
        pytest.param(lambda now: 5 * (int(now / 3) % 2), 0.93, id="comes and goes"),
    ],
)
def test_slots_are_shared_with_a_stranger(
    *, taken: Callable[[float], int], share: float, named: bool
) -> None:
    world = World(
        limit=40,
        named=named,
        strangers=taken,
        job=spread(0.5, 0.2),
        changes=[float(second) for second in range(100)],
    )
    ratio, result = against_told(world, ["a/a"] * CALLS)
    assert ratio >= share
    assert result.share_refused < 0.015


# -- an application with a limit of its own ---------------------------------------------------------


@NAMED
@pytest.mark.parametrize("round_trip", [LAN, OVERSEAS])
@pytest.mark.parametrize("varies", [0.0, 0.2])
def test_a_hot_application_uses_its_own_limit_and_the_others_all_the_rest(
    *, varies: float, round_trip: float, named: bool
) -> None:
    world = World(
        limit=10, hot={"a/hot": 2}, named=named, round_trip=round_trip, job=spread(0.5, varies)
    )
    result = run(world, ["a/hot", "b/b"] * 1_000)
    hot, other = result.rate("a/hot", 5, 60), result.rate("b/b", 5, 60)
    assert hot >= 0.94 * 2 / (0.5 + round_trip)
    assert other >= 0.97 * 8 / (0.5 + round_trip)
    assert result.share_refused < 0.01
    own = result.brake.snapshot().applications
    assert own["a/hot"].learned == 2


@NAMED
def test_a_long_line_of_the_hot_application_blocks_nobody(*, named: bool) -> None:
    world = World(limit=10, hot={"a/hot": 2}, named=named)
    result = run(world, ["a/hot"] * 400 + ["b/b"] * 1_600)
    assert result.rate("b/b", 5, 60) >= 0.9 * 8 / 0.505


@NAMED
def test_an_application_that_comes_later_is_not_held_to_the_first_ones_own_limit(
    *, named: bool
) -> None:
    world = World(limit=10, hot={"a/hot": 2}, named=named)
    calls = [(0.0, "a/hot")] * 200 + [(20.0, "b/b")] * 400
    result = run(world, calls)
    assert result.rate("b/b", 22, 40) >= 0.95 * 8 / 0.505


def test_what_was_learned_of_the_account_from_a_hot_application_is_forgotten() -> None:
    world = World(limit=UNLIMITED, hot={"a/hot": 2})
    result = run(world, [(0.0, "a/hot")] * 100 + [(10.0, "b/b")] * 100)
    limits = result.brake.snapshot()
    assert limits.learned is None
    assert limits.applications["a/hot"].learned == 2
    assert result.most_by["b/b"] == 100


@NAMED
def test_two_hot_applications_are_told_from_the_account(*, named: bool) -> None:
    world = World(limit=10, hot={"a/hot": 2, "c/hot": 3}, named=named, job=spread(0.5, 0.2))
    result = run(world, ["a/hot", "b/b", "c/hot", "b/b"] * 500)
    assert result.rate("a/hot", 10, 80) >= 0.95 * 2 / 0.505
    assert result.rate("b/b", 10, 80) >= 0.9 * 5 / 0.505
    assert result.share_refused < 0.01


@NAMED
def test_a_mix_of_innocent_applications_shares_the_account_as_one_would(*, named: bool) -> None:
    world = World(limit=40, named=named, job=spread(0.5, 0.2))
    mix = [f"app/{letter}" for letter in "abcde"] * 400
    ratio, result = against_told(world, mix)
    assert ratio >= 0.99
    assert result.share_refused < 0.01


@NAMED
def test_an_application_whose_own_limit_rises_is_let_go(*, named: bool) -> None:
    world = World(
        limit=10,
        hot={"a/hot": lambda now: 2 if now < 20 else UNLIMITED},
        named=named,
        job=spread(0.5, 0.2),
    )
    result = run(world, ["a/hot", "b/b"] * 600)
    assert result.rate("a/hot", 2, 20) == pytest.approx(2 / 0.505, rel=0.05)
    assert result.rate("a/hot", 35, 50) >= 0.95 * 5 / 0.505
    assert result.done_between(35, 50) >= 0.98 * 15 * 10 / 0.505
    assert not result.brake.snapshot().applications


@NAMED
def test_the_accounts_fall_is_told_from_an_applications_own(*, named: bool) -> None:
    world = World(limit=between(10, 20, 10, 40), named=named, changes=(10, 20))
    ratio, result = against_told(world, ["a/a", "b/b"] * 1_000)
    assert ratio >= 0.95
    assert result.share_refused < 0.015
    assert not result.brake.snapshot().applications
