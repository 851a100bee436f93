"""What a size is measured against, and what a deep fall is worth."""

from __future__ import annotations

import pytest

from fal_async.policy.falls import PROBES, Falls


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


def test_the_probes_of_a_fall_end() -> None:
    falls = held(40)
    falls.measured(10)
    for _ in range(PROBES):
        assert falls.is_deep(10)
        falls.spend()
    assert not falls.is_deep(10)


def test_a_fall_from_where_it_had_fallen_to_is_a_new_one() -> None:
    falls = held(40, 20)
    for _ in range(PROBES):
        falls.spend()
    falls.measured(19)
    assert not falls.is_deep(19)
    falls.measured(10)
    assert falls.is_deep(10)


def test_a_probe_is_due_after_rounds_of_answers_that_grow() -> None:
    falls = held(40)
    falls.measured(10)
    waited = []
    for _ in range(8):
        falls.reached()
        falls.spend()
        answers = 0
        while not falls.is_due(10):
            falls.answered()
            answers += 1
        waited.append(answers)
    assert waited == [22, 23, 25, 27, 29, 31, 33, 35]
