"""Which call meets which fault."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.emulator.chance import Chance
from fal_async.emulator.faults import KINDS, Fault, FaultBook
from fal_async.protocol import wire


def draws(book: FaultBook, calls: int, model: str = "fal-ai/fast-sdxl") -> list[str | None]:
    found = (book.draw(model) for _ in range(calls))
    return [None if fault is None else fault.kind for fault in found]


def test_without_rules_nothing_breaks() -> None:
    assert draws(FaultBook(Chance()), 3) == [None] * 3


@pytest.mark.parametrize(
    ("nth", "broken"), [(2, {2}), ((1, 3), {1, 3}), (range(2, 5), {2, 3, 4}), (None, {1, 2, 3, 4})]
)
def test_a_rule_names_calls_by_their_number(
    nth: int | Collection[int] | None, broken: set[int]
) -> None:
    book = FaultBook(Chance())
    book.add(Fault("reset", nth=nth))  # type: ignore[arg-type]  # attrs' converter takes one number
    assert {i for i, kind in enumerate(draws(book, 4), 1) if kind} == broken


def test_a_rule_counts_only_the_calls_it_covers_from_when_it_was_added() -> None:
    book = FaultBook(Chance())
    draws(book, 3)
    book.add("reset", model="fal-ai/flux", nth=2)
    assert draws(book, 5, "fal-ai/fast-sdxl") == [None] * 5
    assert draws(book, 3, "fal-ai/flux/dev") == [None, "reset", None]


def test_a_rule_applies_so_many_times_at_most() -> None:
    book = FaultBook(Chance())
    fault = book.add("close", times=2)
    assert draws(book, 4) == ["close", "close", None, None]
    assert book.fired(fault) == book.fired() == 2


def test_of_several_rules_the_first_one_added_applies_and_all_count() -> None:
    book = FaultBook(Chance())
    book.add("reset", nth=2)
    book.add("close", nth=(2, 3))
    assert draws(book, 3) == [None, "reset", "close"]


@given(st.integers(), st.floats(0, 1))
def test_a_probability_is_drawn_from_the_seed(seed: int, probability: float) -> None:
    books = FaultBook(Chance(seed)), FaultBook(Chance(seed))
    for book in books:
        book.add("stall", probability=probability)
    first, second = (draws(book, 30) for book in books)
    assert first == second
    assert probability > 0 or set(first) == {None}
    assert probability < 1 or set(first) == {"stall"}


def test_a_probability_is_what_it_says() -> None:
    book = FaultBook(Chance(7))
    book.add("stall", probability=0.25)
    assert 200 < sum(kind is not None for kind in draws(book, 1000)) < 300


def test_two_rules_of_one_probability_draw_apart() -> None:
    book = FaultBook(Chance())
    book.add("stall", model="a/*", probability=0.5)
    book.add("stall", model="b/*", probability=0.5)
    assert draws(book, 50, "a/a") != draws(book, 50, "b/b")


def test_rules_can_be_taken_out_of_force() -> None:
    book = FaultBook(Chance())
    first, second = book.add("reset"), book.add("close")
    assert list(book) == [first, second]
    book.remove(first)
    assert draws(book, 1) == ["close"]
    book.clear()
    assert draws(book, 1) == [None]
    assert len(book) == 0


def test_a_fault_that_could_not_happen_is_not_counted() -> None:
    book = FaultBook(Chance())
    book.add("reset", model="other/model")
    fault = book.add("reset", times=1)
    assert draws(book, 1) == ["reset"]
    book.take_back(fault)
    assert book.fired() == 0
    assert draws(book, 2) == ["reset", None]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_says_whether_its_model_has_run_and_was_charged_for(kind: str) -> None:
    fault = Fault(kind)
    assert fault.ran is KINDS[kind].ran
    assert fault.ran or not fault.billed
    if KINDS[kind].choice:
        assert Fault(kind, ran=not fault.ran).ran is not fault.ran
    else:
        with pytest.raises(ValueError, match="the model has"):
            Fault(kind, ran=not fault.ran)


@pytest.mark.parametrize("error_type", wire.REQUEST_ERROR_STATUS)
def test_every_error_of_the_platform_is_a_kind_and_its_5xx_are_free(error_type: str) -> None:
    assert error_type in KINDS
    if wire.REQUEST_ERROR_STATUS[error_type] >= 500:
        assert not Fault(error_type).billed


def test_what_is_charged_can_be_said_otherwise() -> None:
    assert Fault("reset").billed
    assert not Fault("reset", billed=False).billed
    assert not Fault("reset", ran=False).billed
    assert Fault("runner_disconnected", billed=True).billed


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"'rest' is no kind of fault; there are: answer, .*reset"):
        Fault("rest")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"nth": 0}, "nth is counted from 1"),
        ({"nth": range(3)}, "nth is counted from 1"),
        ({"nth": "2"}, "nth is counted from 1"),
        ({"probability": 10}, "a probability is from 0 to 1, not 10"),
        ({"probability": float("nan")}, "a probability is from 0 to 1"),
    ],
)
def test_a_rule_that_could_not_mean_what_it_says_is_refused(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Fault("reset", **settings)
