"""What a size is measured against, and what a deep fall is worth."""

from __future__ import annotations

import pytest

from fal_async.policy.falls import Falls


def held(*sizes: int, rounds: int = 2) -> Falls:
    falls = Falls()
    for size in sizes:
        falls.measured(size)
        for _ in range(rounds * size):
            falls.answered()
    return falls


@pytest.mark.parametrize(("size", "deep"), [(39, False), (31, False), (30, True), (1, True)])
def test_a_fall_to_three_quarters_is_deep(size: int, deep: bool) -> None:
    falls = held(40)
    falls.measured(size)
    assert falls.is_deep(size) is deep


def test_a_size_that_was_not_held_for_two_rounds_is_no_measure() -> None:
    falls = held(40, rounds=1)
    falls.measured(10)
    assert not falls.is_deep(10)


def test_a_size_counts_as_held_while_it_varies_a_little() -> None:
    falls = held(38, 40, 39, rounds=1)
    falls.measured(10)
    assert falls.is_deep(29)
    assert not falls.is_deep(30)


def test_a_deep_fall_in_small_steps_is_a_deep_fall() -> None:
    falls = held(40)
    for size in (39, 37, 33, 25):
        falls.measured(size)
    assert falls.is_deep(25)


def test_a_size_that_was_reached_again_is_no_fall() -> None:
    falls = held(40, 10)
    falls.resized(31)
    assert not falls.is_deep(31)


def waited(falls: Falls, size: int, probes: int) -> list[int]:
    """The answers before each of so many probes, all refused."""
    found = []
    for _ in range(probes):
        falls.reached()
        answers = 0
        while not falls.is_due(size):
            falls.answered()
            answers += 1
        found.append(answers)
        falls.spend(size)
    return found


def test_a_probe_is_due_after_two_rounds_for_the_longer_the_more_is_missing() -> None:
    for size, soon in [(10, 22), (20, 8), (30, 3)]:
        falls = held(40)
        falls.measured(size)
        answers = waited(falls, size, soon + 2)
        assert answers[: soon + 1] == [2 * size] * (soon + 1)
        assert answers[soon + 1] > 2 * size


def test_then_probes_are_ever_rarer_down_to_the_share_that_any_probe_may_cost() -> None:
    falls = held(40)
    falls.measured(10)
    assert waited(falls, 10, 60)[23::4] == [23, 41, 71, 124] + [200] * 6
    for _ in range(10_000):
        falls.spend(10)
    assert waited(falls, 10, 1) == [200]


def test_of_a_great_size_two_rounds_are_rare_enough() -> None:
    falls = held(1_000)
    falls.measured(500)
    assert set(waited(falls, 500, 60)) == {1_000}


def test_over_a_long_time_probes_are_less_than_one_in_a_hundred_answers() -> None:
    falls = held(40)
    falls.measured(10)
    assert sum(waited(falls, 10, 80)) > 8_000


def test_a_fall_from_where_it_had_fallen_to_is_a_new_one() -> None:
    falls = held(40, 20)
    waited(falls, 20, 20)
    falls.measured(19)
    assert waited(falls, 19, 1) == [200]
    falls.measured(10)
    assert waited(falls, 10, 12) == [20] * 12


def test_probes_that_come_soon_are_earned_by_answers() -> None:
    """A limit that falls again and again is not looked for as eagerly each time."""
    falls = held(40)
    soon = []
    for _ in range(4):
        falls.measured(10)
        soon.append(waited(falls, 10, 25).count(20) - 1)
        falls.measured(40)
        for _ in range(500):
            falls.answered()
    assert soon[0] == 22
    assert all(8 <= probes <= 16 for probes in soon[1:])
