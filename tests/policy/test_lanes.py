"""Who waits, in which order."""

from __future__ import annotations

from fal_async.policy.lanes import SWEEP_ABOVE, Lane, Ticket
from fal_async.policy.window import Window


def lane_with(*arrivals: int) -> tuple[Lane, dict[int, Ticket]]:
    lane = Lane("fal-ai/flux")
    tickets = {arrival: Ticket(lane, arrival, 0.0) for arrival in arrivals}
    for ticket in tickets.values():
        lane.join(ticket)
    return lane, tickets


def leave_one_by_one(lane: Lane) -> list[int]:
    order = []
    while lane.first() is not None:
        order.append(lane.advance().arrival)
    return order


def test_a_ticket_knows_its_application() -> None:
    assert Ticket(Lane("fal-ai/flux"), 1, 0.0).application == "fal-ai/flux"


def test_a_lane_is_in_order_of_arrival_whenever_somebody_comes_back() -> None:
    lane, _ = lane_with(5, 6, 7, 2, 1)
    assert lane.waiting == 5
    assert leave_one_by_one(lane) == [1, 2, 5, 6, 7]
    assert lane.waiting == 0


def test_who_gives_up_is_passed_over() -> None:
    lane, tickets = lane_with(1, 2, 3, 4)
    lane.give_up(tickets[1])
    lane.give_up(tickets[3])
    assert lane.waiting == 2
    assert leave_one_by_one(lane) == [2, 4]


def test_many_that_gave_up_are_not_kept() -> None:
    lane, tickets = lane_with(*range(10_000))
    for arrival in range(1, 10_000):
        lane.give_up(tickets[arrival])
    assert lane.waiting == 1
    assert len(lane._line) <= SWEEP_ABOVE + 2
    assert leave_one_by_one(lane) == [0]


def test_a_lane_has_room_unless_a_window_of_its_own_is_full() -> None:
    lane, _ = lane_with(1)
    lane.in_flight = 2
    assert lane.has_room
    assert not lane.is_full
    lane.window = Window()
    assert not lane.has_room
    assert lane.is_full
    lane.in_flight = 1
    assert lane.has_room
    assert not lane.is_full


def test_a_lane_is_idle_when_nothing_would_be_forgotten_with_it() -> None:
    lane, tickets = lane_with(1)
    assert not lane.is_idle
    lane.give_up(tickets[1])
    assert lane.is_idle
    lane.in_flight = 1
    assert not lane.is_idle
    lane.in_flight = 0
    lane.window = Window()
    assert not lane.is_idle
