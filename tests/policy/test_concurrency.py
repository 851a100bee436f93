"""The brake, call by call: who may send, who waits, and who is woken."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import pairwise

import pytest

from fal_async.policy.concurrency import LANES_KEPT, ApplicationLimits, Brake, Limits, Ticket

FLUX, SDXL = "fal-ai/flux", "fal-ai/fast-sdxl"


def settled(limit: int, *, application: str = FLUX) -> tuple[Brake, list[Ticket]]:
    """A brake that has learned this limit; all of it in use, by calls sent since; nobody waiting."""
    brake = Brake()
    brake.round_trip(0.08)
    tickets = [brake.ask(application, 0.0) for _ in range(limit + 1)]
    now = 0.0
    while (wake := brake.next_wake()) is not None:
        now = wake
        brake.wake(now)
    assert all(ticket.granted for ticket in tickets)
    assert brake.refused(tickets[limit], now) == ()
    brake.abandoned(tickets.pop(), now)
    for ticket in tickets:
        brake.finished(ticket, now)
    tickets = [brake.ask(application, now) for _ in range(limit)]
    assert brake.snapshot().learned == brake.snapshot().in_flight == limit
    return brake, tickets


def numbers(tickets: Sequence[Ticket], among: Sequence[Ticket]) -> list[int]:
    return [among.index(ticket) for ticket in tickets]


# -- a slot, or a place in the queue ---------------------------------------------------------------------


def test_the_first_calls_go_at_once_and_the_next_one_waits() -> None:
    brake = Brake()
    tickets = [brake.ask(FLUX, 0.0) for _ in range(3)]
    assert [ticket.granted for ticket in tickets] == [True, True, False]
    assert tickets[0].application == FLUX
    assert tickets[0].waiter is None


def test_each_slot_that_is_freed_wakes_one_first_come_first_served() -> None:
    brake, flying = settled(10)
    waiting = [brake.ask(FLUX, 1.0) for _ in range(5)]
    assert not any(ticket.granted for ticket in waiting)
    woken = [numbers(brake.finished(ticket, 1.0), waiting) for ticket in flying[:6]]
    assert woken == [[0], [1], [2], [3], [4], []]


def test_finishing_with_nobody_waiting_allocates_nothing() -> None:
    brake = Brake()
    first, second = brake.ask(FLUX, 0.0), brake.ask(FLUX, 0.0)
    assert brake.finished(first, 1.0) is brake.finished(second, 1.0)


def test_a_refused_call_is_the_next_to_go() -> None:
    brake, flying = settled(10)
    waiting = [brake.ask(FLUX, 1.0) for _ in range(3)]
    assert brake.refused(flying[9], 1.0) == ()
    assert not flying[9].granted
    assert brake.finished(flying[0], 1.0) == [flying[9]]
    assert brake.finished(flying[9], 1.5) == waiting[:1]


def test_several_refused_calls_keep_their_order() -> None:
    brake = Brake()
    brake.round_trip(0.08)
    tickets = [brake.ask(FLUX, 0.0) for _ in range(20)]
    while (wake := brake.next_wake()) is not None and wake < 0.55:
        brake.wake(wake)
    assert [ticket.granted for ticket in tickets] == [True] * 15 + [False] * 5
    woken = []
    for refused in (13, 12, 14):
        woken += numbers(brake.refused(tickets[refused], 0.55), tickets)
    for ticket in tickets[:8]:
        woken += numbers(brake.finished(ticket, 0.6), tickets)
    assert woken[:5] == [12, 13, 14, 15, 16]


def test_the_rest_of_a_burst_changes_nothing_more() -> None:
    brake = Brake()
    brake.round_trip(0.08)
    tickets = [brake.ask(FLUX, 0.0) for _ in range(15)]
    while (wake := brake.next_wake()) is not None:
        brake.wake(wake)
    for ticket in tickets[11:]:
        brake.refused(ticket, 0.6)
    assert brake.snapshot().window == 11
    assert brake.snapshot().refused == 4


def test_a_named_limit_tells_that_answers_have_overtaken_the_refusal() -> None:
    brake, flying = settled(10)
    brake.finished(flying[0], 1.0)
    late = brake.ask(FLUX, 1.0)
    brake.finished(
        flying[1], 1.1
    )  # the server still had it when it refused, and its answer was faster
    brake.refused(late, 1.1, named=9)
    assert brake.snapshot().learned == 9


def test_a_ceiling_is_never_exceeded_and_learning_goes_on_below_it() -> None:
    brake = Brake(ceiling=4)
    brake.round_trip(0.08)
    tickets = [brake.ask(FLUX, 0.0) for _ in range(20)]
    while (wake := brake.next_wake()) is not None:
        brake.wake(wake)
    assert sum(ticket.granted for ticket in tickets) == 4
    brake.refused(tickets[3], 5.0)
    assert brake.snapshot().learned == 3


@pytest.mark.parametrize("ceiling", [0, -1])
def test_a_ceiling_that_lets_nothing_through_is_refused(ceiling: int) -> None:
    with pytest.raises(ValueError, match=f"a limit of {ceiling} calls lets nothing through"):
        Brake(ceiling=ceiling)


def test_after_a_deep_fall_no_refusals_are_owed() -> None:
    brake, flying = settled(40)
    waiting = [brake.ask(FLUX, 1.0) for _ in range(200)]
    for done, ticket in enumerate(flying + waiting[:-40]):
        assert brake.finished(ticket, 1.0) == waiting[done : done + 1]
    for _ in range(20):
        brake._credit.spend()
    brake.ask(FLUX, 1.0)
    brake.refused(waiting[-1], 1.1, named=10)
    assert brake._credit.left == 0


# -- apart -------------------------------------------------------------------------------------------


def used(turns: int) -> tuple[Brake, list[tuple[float, Ticket]]]:
    """A limit of 10, and after so many turns of calls that take a second each, and began together.

    Returns when each was sent that is in flight now; some wait.
    """
    brake, flying = settled(10)
    brake._account.ceiling = 10  # nothing is tried out
    for _ in range(10 * turns + 20):
        brake.ask(FLUX, 0.0)
    sent = [(0.0, ticket) for ticket in flying]
    for turn in range(turns):
        ending, sent, now = sent, [], turn + 1.0
        for _, ticket in ending:
            sent += [(now, other) for other in brake.finished(ticket, now)]
        while len(sent) < 10:
            now = brake.next_wake() or now
            sent += [(now, other) for other in brake.wake(now)]
    return brake, sent


def test_calls_that_ended_together_are_not_for_ever_followed_by_others_together() -> None:
    _, sent = used(turns=1)
    assert sent[-1][0] - sent[0][0] < 0.01
    _, sent = used(turns=20)
    times = [now for now, _ in sent]
    assert min(later - sooner for sooner, later in pairwise(times)) > 0.005
    assert times[-1] - times[0] < 1 / 16


def test_who_asks_too_soon_after_another_was_sent_waits_for_a_moment() -> None:
    brake, sent = used(turns=20)
    while sent:
        now, ticket = sent.pop()
        now = max(now, brake.next_wake() or now)
        sent += [(now, other) for other in brake.abandoned(ticket, now)]
    assert (brake.snapshot().in_flight, brake.snapshot().waiting) == (0, 0)
    assert brake.ask(FLUX, 30.0).granted
    late = brake.ask(FLUX, 30.0)
    assert not late.granted
    wake = brake.next_wake()
    assert wake is not None
    assert wake == pytest.approx(30.005, abs=0.002)
    brake.round_trip(0.08)
    assert brake.next_wake() == wake
    assert brake.wake(30.001) == ()
    assert brake.wake(wake) == [late]


def test_what_is_tried_out_is_tried_out_at_once() -> None:
    brake, sent = used(turns=20)
    brake._account.ceiling = 20
    assert len(brake.finished(sent[0][1], 30.0)) == 2
    assert brake.snapshot().in_flight == 11


# -- giving up ---------------------------------------------------------------------------------------


def test_a_call_that_is_given_up_in_flight_frees_its_slot_and_teaches_nothing() -> None:
    brake, flying = settled(10)
    waiting = brake.ask(FLUX, 1.0)
    assert brake.abandoned(flying[3], 1.0) == [waiting]
    assert brake.snapshot().learned == 10


def test_a_call_that_is_given_up_while_it_waits_is_passed_over() -> None:
    brake, flying = settled(10)
    waiting = [brake.ask(FLUX, 1.0) for _ in range(3)]
    assert brake.abandoned(waiting[0], 1.0) == ()
    assert brake.snapshot().waiting == 2
    assert brake.finished(flying[0], 1.0) == [waiting[1]]


def test_giving_up_a_call_that_has_ended_does_nothing() -> None:
    brake = Brake()
    ticket = brake.ask(FLUX, 0.0)
    brake.finished(ticket, 1.0)
    assert brake.abandoned(ticket, 1.0) == ()
    assert brake.snapshot().in_flight == 0


def test_a_scout_that_is_given_up_is_followed_by_another() -> None:
    brake, flying = settled(10)
    waiting = [brake.ask(FLUX, 1.0) for _ in range(3)]
    brake.refused(flying[9], 1.0)
    for ticket in flying[:3]:
        brake.finished(ticket, 1.0)
    assert flying[9].granted
    assert not any(ticket.granted for ticket in waiting)
    assert brake.abandoned(flying[9], 1.0) == waiting[:1]


def test_ten_thousand_that_wait_are_given_up_in_any_order_without_a_trace() -> None:
    brake, flying = settled(10)
    waiting = [brake.ask(FLUX, 1.0) for _ in range(10_000)]
    for ticket in waiting[::2] + waiting[:0:-2]:
        brake.abandoned(ticket, 1.0)
    assert brake.snapshot().waiting == 0
    assert brake.next_wake() is None
    assert brake.finished(flying[0], 1.0) == ()


# -- time ----------------------------------------------------------------------------------------------


def test_nobody_waits_for_time_when_nobody_waits() -> None:
    assert Brake().next_wake() is None
    assert settled(10)[0].next_wake() is None


def test_a_measured_round_trip_brings_the_next_step_forward() -> None:
    brake = Brake()
    waiting = [brake.ask(FLUX, 0.0) for _ in range(3)][2]
    assert brake.next_wake() == pytest.approx(0.125)
    brake.round_trip(0.02)
    assert brake.next_wake() == pytest.approx(0.025)
    assert brake.wake(0.024) == ()
    assert brake.wake(0.025) == [waiting]


def test_with_retry_after_nothing_is_sent_until_then() -> None:
    brake, flying = settled(10)
    waiting = brake.ask(FLUX, 1.0)
    brake.refused(flying[9], 1.0, retry_after=3.0)
    for ticket in flying[:9]:
        assert brake.finished(ticket, 2.0) == ()
    late = brake.ask(FLUX, 2.0)
    assert brake.next_wake() == 4.0
    assert brake.wake(3.9) == ()
    assert brake.wake(4.0) == [flying[9]]  # one at first, and the others once it is accepted
    granted = list(brake.finished(flying[9], 4.5))
    wake = brake.next_wake()
    assert wake is not None
    assert wake < 4.51  # not all at once
    assert [*granted, *brake.wake(wake)] == [waiting, late]


def test_a_call_that_asks_when_the_time_has_come_goes_at_once() -> None:
    brake = Brake()
    ticket = brake.ask(FLUX, 0.0)
    brake.refused(ticket, 0.1, retry_after=3.0)
    brake.abandoned(ticket, 0.1)
    assert brake.next_wake() is None
    assert brake.ask(FLUX, 3.1).granted


def test_who_is_let_in_by_somebody_elses_asking_is_told_at_the_next_wake() -> None:
    brake = Brake()
    waiting = [brake.ask(FLUX, 0.0) for _ in range(4)][2:]
    late = brake.ask(FLUX, 0.2)
    assert waiting[0].granted
    assert not late.granted
    assert brake.next_wake() == 0.2
    brake.round_trip(0.08)
    assert brake.next_wake() == 0.2
    assert brake.wake(0.2) == [waiting[0]]


def test_who_gave_up_before_being_told_is_not_told() -> None:
    brake = Brake()
    waiting = [brake.ask(FLUX, 0.0) for _ in range(4)][2:]
    brake.ask(FLUX, 0.2)
    assert brake.abandoned(waiting[0], 0.2) == [waiting[1]]
    assert brake.wake(0.2) == ()


# -- several applications --------------------------------------------------------------------------------


def test_an_application_whose_own_limit_is_named_is_braked_and_does_not_block_others() -> None:
    brake, flying = settled(10)
    for ticket in flying[:8]:
        brake.finished(ticket, 1.0)
    hot = [brake.ask(SDXL, 1.0) for _ in range(4)]
    brake.refused(hot[2], 1.1, named=2)
    brake.refused(hot[3], 1.1, named=2)
    assert brake.snapshot().applications == {
        SDXL: ApplicationLimits(in_flight=2, waiting=2, window=2, learned=2, refused=2)
    }
    assert brake.ask(FLUX, 1.2).granted
    assert not brake.ask(SDXL, 1.2).granted


def test_with_retry_after_only_the_braked_application_waits() -> None:
    brake, flying = settled(10)
    for ticket in flying[:8]:
        brake.finished(ticket, 1.0)
    hot = [brake.ask(SDXL, 1.0) for _ in range(3)]
    brake.refused(hot[2], 1.1, named=2, retry_after=5.0)
    brake.finished(hot[0], 1.2)
    assert not hot[2].granted
    assert brake.ask(FLUX, 1.2).granted
    assert brake.next_wake() == 6.1
    assert brake.wake(6.1) == [hot[2]]


def test_applications_that_are_idle_are_forgotten() -> None:
    brake = Brake()
    kept = brake.ask(FLUX, 0.0)
    for number in range(10 * LANES_KEPT):
        brake.finished(brake.ask(f"somebody/app-{number}", 0.0), 0.0)
    assert len(brake._lanes) <= LANES_KEPT
    assert brake._lanes[FLUX] is kept.lane


# -- what is told -------------------------------------------------------------------------------------------


def test_a_snapshot_tells_what_is_known() -> None:
    brake, flying = settled(10)
    brake.ask(FLUX, 1.0)
    brake.finished(flying[0], 1.0)
    assert brake.snapshot() == Limits(
        in_flight=10, waiting=0, window=10, learned=10, refused=1, applications={}
    )


def test_a_snapshot_before_anything_happened_knows_no_limit() -> None:
    limits = Brake(ceiling=1).snapshot()
    assert limits == Limits(
        in_flight=0, waiting=0, window=1, learned=None, refused=0, applications={}
    )
    assert pickle.loads(pickle.dumps(limits)) == limits


def test_answers_count_though_nobody_waits_when_they_come() -> None:
    """A map waits with one call at a time: most answers find the line empty."""
    brake = Brake()
    answered = 0
    for _ in range(100):
        ticket = brake.ask("a/a", 0.0)
        brake.finished(ticket, 0.0)
        answered += 1
    assert brake._account._falls._answers == answered
