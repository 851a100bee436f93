"""When a queued request is asked after: few polls, and the end noticed soon."""

from __future__ import annotations

from itertools import pairwise
from math import inf, nan

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import InputError
from fal_async.policy.pacing import Durations, Pace, RateLine, check_rate, next_poll


def polls_until(end: float, durations: Durations, chance: float = 0.5) -> list[float]:
    """The times at which a job that runs from 0 to ``end`` is asked after."""
    pace, times = Pace(since=0.0, running=True), []
    while not times or times[-1] < end:
        times.append(next_poll(pace, durations, chance))
        pace = attrs.evolve(pace, polled=times[-1])
    return times


@pytest.mark.parametrize(("seconds", "most"), [(1, 2), (10, 8), (60, 14), (600, 70)])
def test_without_experience_a_job_is_asked_after_a_few_times(seconds: float, most: int) -> None:
    assert len(polls_until(seconds, Durations())) <= most


@given(st.floats(0.1, 1000), st.floats(0, 1, exclude_max=True))
def test_with_experience_a_usual_job_is_asked_after_once_when_it_is_due(
    usual: float, chance: float
) -> None:
    durations = Durations()
    durations.observe(usual)
    *early, last = polls_until(usual, durations, chance)
    assert last == pytest.approx(usual)
    assert early == [60.0 * n for n in range(1, len(early) + 1)]


@given(st.floats(0.1, 100), st.floats(1.01, 3), st.floats(0, 1, exclude_max=True))
def test_a_late_job_is_noticed_within_a_part_of_its_lateness(
    usual: float, factor: float, chance: float
) -> None:
    durations = Durations()
    durations.observe(usual)
    end = usual * factor
    noticed = polls_until(end, durations, chance)[-1]
    assert noticed - end <= max(0.5, 0.2 * usual, 0.6 * (end - usual))


@given(
    st.builds(
        Pace,
        since=st.floats(0, 100),
        running=st.booleans(),
        position=st.none() | st.integers(0, 1000),
        polled=st.none() | st.floats(100, 200),
    ),
    st.lists(st.floats(0, 50), max_size=5),
    st.floats(0, 1, exclude_max=True),
)
def test_a_poll_always_lies_ahead_and_never_beyond_reason(
    pace: Pace, past: list[float], chance: float
) -> None:
    durations = Durations()
    for seconds in past:
        durations.observe(seconds)
    last = pace.since if pace.polled is None else pace.polled
    assert last < next_poll(pace, durations, chance) <= last + 60


def test_a_job_far_back_in_the_queue_is_left_alone_for_longer_than_one_at_its_head() -> None:
    durations = Durations()
    durations.observe(4.0)
    far = next_poll(Pace(since=0, position=9, polled=10), durations, 0.5)
    near = next_poll(Pace(since=0, position=0, polled=10), durations, 0.5)
    assert far > near


def test_news_is_told_when_the_usual_time_moves_and_not_with_every_job() -> None:
    durations = Durations()
    assert durations.observe(10.0)
    assert not any(durations.observe(10.0 + i / 10) for i in range(5))
    assert [durations.observe(30.0) for _ in range(40)].count(True) <= 3
    assert durations.usual == 30.0


@pytest.mark.parametrize("seconds", [nan, inf, -inf])
def test_a_time_that_is_none_teaches_nothing(seconds: float) -> None:
    durations = Durations()
    assert not durations.observe(seconds)
    assert durations.usual is None


def test_a_time_below_nothing_is_nothing() -> None:
    durations = Durations()
    assert durations.observe(-1.0)
    assert durations.usual == 0.0


def test_requests_without_experience_stay_as_far_apart_as_they_began() -> None:
    times = {chance: polls_until(100.0, Durations(), chance) for chance in (0.0, 0.5, 0.99)}
    for early, late in zip(times[0.0], times[0.99], strict=False):
        assert late - early > 0.3


def test_a_poll_rate_is_a_number_above_nothing() -> None:
    assert check_rate(1) == 1.0
    assert type(check_rate(1)) is float


@pytest.mark.parametrize("value", [0, -1, inf, nan, "5", None, True])
def test_nothing_else_is_a_poll_rate(value: object) -> None:
    with pytest.raises(InputError, match="poll_rate is a number of requests a second, above 0"):
        check_rate(value)


@given(st.floats(1, 1000), st.lists(st.floats(0, 5), min_size=2, max_size=50))
def test_all_together_never_exceed_the_rate(rate: float, gaps: list[float]) -> None:
    line, now, times = RateLine(rate), 0.0, []
    for gap in gaps:
        now += gap
        times.append(line.take(now))
        assert times[-1] >= now
    assert all(b - a >= 1 / rate - 1e-9 for a, b in pairwise(times))
