"""Slots: never more than allowed, free at once."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fal_async.emulator.concurrency import Concurrency, OverLimit


def test_calls_enter_until_the_limit_and_again_when_one_has_left() -> None:
    slots = Concurrency(2)
    assert slots.enter("a/b") is None
    assert slots.enter("a/b") is None
    assert slots.enter("a/b") == OverLimit(2)
    slots.leave("a/b")
    assert slots.enter("a/b") is None
    assert (slots.in_flight, slots.peak, slots.refused) == (2, 2, 1)


def test_a_hot_application_runs_into_its_own_cap_first() -> None:
    slots = Concurrency(10, {"hot/app": 1})
    assert slots.enter("hot/app") is None
    assert slots.enter("hot/app") == OverLimit(1)
    assert slots.enter("cold/app") is None
    assert slots.in_flight_of("hot/app") == 1
    assert slots.in_flight_of("unheard/of") == 0


def test_the_callers_own_applications_are_exempt_from_the_accounts_limit() -> None:
    slots = Concurrency(1)
    assert slots.enter("me/mine", exempt=True) is None
    assert slots.enter("fal-ai/flux") is None
    assert slots.enter("me/mine", exempt=True) is None
    assert slots.enter("fal-ai/flux") == OverLimit(1)
    slots.leave("me/mine", exempt=True)
    assert slots.enter("fal-ai/flux") == OverLimit(1)


def test_a_fallen_limit_ends_no_call_and_a_risen_one_holds_at_once() -> None:
    slots = Concurrency()
    for _ in range(3):
        assert slots.enter("a/b") is None
    slots.limit = 1
    slots.leave("a/b")
    assert slots.enter("a/b") == OverLimit(1)
    slots.limit = 3
    assert slots.enter("a/b") is None


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from("abc"), st.integers(0, 3) | st.none()),
        max_size=60,
    )
)
def test_nobody_is_counted_twice_or_forgotten(steps: list[tuple[bool, str, int | None]]) -> None:
    slots, inside = Concurrency(), Counter[str]()
    for enters, application, limit in steps:
        slots.limit = limit
        if enters:
            allowed = limit is None or inside.total() < limit
            assert (slots.enter(application) is None) == allowed
            inside[application] += allowed
        elif inside[application]:
            slots.leave(application)
            inside[application] -= 1
        assert slots.in_flight == inside.total() <= slots.peak
        assert all(slots.in_flight_of(a) == n for a, n in inside.items())
