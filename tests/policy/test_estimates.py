"""How long a refusal takes, and how many of them may be caused."""

from __future__ import annotations

import pytest

from fal_async.policy.estimates import Credit, RoundTrip


@pytest.mark.parametrize(
    ("connections", "refusals", "patience"),
    [
        pytest.param([], [], 0.125, id="nothing is known"),
        pytest.param([0.08], [], 0.1, id="a connection"),
        pytest.param([0.08, 0.16], [], 0.1125, id="connections, smoothed"),
        pytest.param([0.0001], [], 0.00625, id="loopback"),
        pytest.param([30.0], [], 1.25, id="a connection that took for ever"),
        pytest.param([], [0.08], 0.1, id="a refusal"),
        pytest.param([], [0.08, 0.04], 0.075, id="refusals, of which the last counts half"),
        pytest.param([0.001], [0.08], 0.1, id="through a proxy nearby"),
        pytest.param([0.08], [0.02], 0.1, id="a warm connection"),
        pytest.param([0.0], [0.0], 0.00625, id="a clock that stands still"),
    ],
)
def test_patience_is_a_round_trip_and_a_quarter(
    connections: list[float], refusals: list[float], patience: float
) -> None:
    trip = RoundTrip()
    for seconds in connections:
        trip.connected(seconds)
    for seconds in refusals:
        trip.refused(seconds)
    assert trip.patience == pytest.approx(patience)


def test_answers_earn_what_refusals_cost() -> None:
    credit = Credit()
    assert credit.left == 6
    for _ in range(7):
        credit.spend()
    assert credit.left == -1
    for _ in range(400):
        credit.answered()
    assert credit.left == pytest.approx(1)


def test_credit_has_a_top_and_a_bottom() -> None:
    credit = Credit()
    for _ in range(100):
        credit.spend()
    assert credit.left == -10
    for _ in range(100_000):
        credit.answered()
    assert credit.left == 12


def test_a_debt_can_be_forgiven_and_a_fortune_is_kept() -> None:
    credit = Credit()
    credit.forgive()
    assert credit.left == 6
    for _ in range(20):
        credit.spend()
    credit.forgive()
    assert credit.left == 0
