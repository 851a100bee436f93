"""How far apart calls are sent, so that they do not end together for ever."""

from __future__ import annotations

import pytest

from fal_async.policy.spacing import FEW, LEAST, MANY, Spacing


def used(turn: float, *, answers: int = 1_000) -> Spacing:
    """After so many answers to calls that took so long."""
    spacing = Spacing()
    for _ in range(answers):
        spacing.answered(turn)
    return spacing


def distance(spacing: Spacing, size: int, patience: float = 0.00625) -> float:
    spacing.sent(10.0, size, patience)
    assert spacing.next_at == 10.0 + spacing.distance
    return spacing.distance


@pytest.mark.parametrize(
    ("turn", "size", "patience", "apart"),
    [
        pytest.param(0.5, 40, 0.00625, 0.5 / 40 / 16, id="all of them within a part of a turn"),
        pytest.param(60.0, 40, 0.00625, 0.00625 / 4, id="or a few while a refusal is under way"),
        pytest.param(60.0, 40, 0.1, 0.025, id="which may take long"),
        pytest.param(0.5, 10, 0.1, 0.5 / 10 / 16, id="but never longer than the calls allow"),
    ],
)
def test_calls_are_kept_apart_by_a_part_of_a_round_trip_or_of_a_turn(
    turn: float, size: int, patience: float, apart: float
) -> None:
    assert distance(used(turn), size, patience) == pytest.approx(apart)


@pytest.mark.parametrize(
    ("turn", "size"),
    [
        pytest.param(60.0, FEW - 1, id="there are few"),
        pytest.param(60.0, MANY + 1, id="there are very many"),
        pytest.param(0.2, 40, id="no timer is so fine"),
        pytest.param(0.0, 40, id="they take no time"),
    ],
)
def test_calls_are_sent_as_they_come_if(turn: float, size: int) -> None:
    assert distance(used(turn), size) == 0


def test_a_first_round_of_calls_is_sent_as_it_comes() -> None:
    assert distance(used(0.5, answers=40), 40) == 0
    assert distance(used(0.5, answers=120), 40) >= LEAST
