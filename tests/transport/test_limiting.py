"""Slots: who gets one, when; what a refusal, a failure, a cancellation and a close do to them."""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - seeded by Hypothesis

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fal_async import Billing, RetryPolicy
from fal_async.errors import ConnectError
from fal_async.policy.concurrency import Brake
from fal_async.protocol.failures import concurrency_limit_reached
from fal_async.protocol.messages import HttpResponse
from fal_async.transport.base import Call
from fal_async.transport.clock import LoopClock
from fal_async.transport.limiting import Limiting, Unlimited
from tests.support.fakes import FakeTransport, post
from tests.support.limited_service import ROUND_TRIP, Calls, Service, numbered
from tests.support.virtual_time import (
    VirtualTimeLoop,
    in_virtual_time_without_a_network,
    turns,
)

REFUSED = concurrency_limit_reached(None)


def now() -> float:
    return asyncio.get_running_loop().time()


# --- who gets a slot ------------------------------------------------------------------------------------


@in_virtual_time_without_a_network
async def test_never_more_than_the_ceiling_are_in_flight_and_everybody_is_served_in_order() -> None:
    calls = Calls(Service(), ceiling=3)
    answers = await asyncio.gather(*calls.start(*numbered(20)))
    assert {response.status for response in answers} == {200}
    assert calls.service.peak == 3
    assert calls.service.order == numbered(20)
    calls.assert_idle()


@pytest.mark.parametrize("named", [False, True])
@in_virtual_time_without_a_network
async def test_an_untold_limit_is_found_and_everybody_is_served(named: bool) -> None:
    calls = Calls(Service(10, named=named))
    begun = now()
    await asyncio.gather(*calls.start(*numbered(300)))
    assert calls.service.peak == 10
    assert calls.service.refused <= 6
    assert now() - begun < 1.2 * 300 / 10 * (0.5 + ROUND_TRIP)
    assert {call.attempts for call in calls.made} == {1}
    limits = calls.limiting.snapshot()
    assert limits is not None
    assert limits.learned == 10
    assert limits.refused == calls.service.refused
    calls.assert_idle()


@in_virtual_time_without_a_network
async def test_a_ceiling_above_the_limit_still_learns_it() -> None:
    calls = Calls(Service(4), ceiling=50)
    await asyncio.gather(*calls.start(*numbered(60)))
    assert calls.service.peak == 4
    assert calls.service.refused <= 5


@in_virtual_time_without_a_network
async def test_a_refused_call_is_next_and_does_not_go_to_the_end() -> None:
    calls = Calls(Service(2))
    await asyncio.gather(*calls.start(*numbered(40)))
    places = {name: place for place, name in enumerate(calls.service.order)}
    assert calls.service.refused
    assert all(abs(places[name] - n) <= 3 for n, name in enumerate(numbered(40)))


@in_virtual_time_without_a_network
async def test_two_keys_have_a_brake_each() -> None:
    calls = Calls(Service(job=60), ceiling=1)
    tasks = calls.start("a1", "a2", account="a") + calls.start("b1", "b2", account="b")
    await turns()
    await asyncio.sleep(1)  # noqa: TID251 - virtual
    assert calls.service.order == ["a1", "b1"]
    await asyncio.gather(*tasks)
    calls.assert_idle()


@in_virtual_time_without_a_network
async def test_keys_that_are_used_once_are_forgotten_and_those_in_use_are_not() -> None:
    calls = Calls(Service(job=1), ceiling=1)
    begun = now()
    kept = calls.start("first", "second", account="kept")
    for n in range(500):
        (task,) = calls.start("x", account=f"key-{n}")
        await turns(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert 1 < len(calls.limiting._lanes) <= 65
    await asyncio.gather(*kept, *calls.start("third", account="kept"))
    assert now() - begun >= 3  # one after the other: the third found the same brake
    assert calls.service.order == ["first", "second", "third"]


class Listening:
    """A brake that notes what it is told of the network."""

    def __init__(self, brake: Brake) -> None:
        self._brake = brake
        self.heard: list[float] = []

    def round_trip(self, seconds: float) -> None:
        self.heard.append(seconds)
        self._brake.round_trip(seconds)

    def __getattr__(self, name: str) -> object:
        return getattr(self._brake, name)


@in_virtual_time_without_a_network
async def test_the_brake_is_told_how_long_connecting_took() -> None:
    calls = Calls(Service())
    await asyncio.gather(*calls.start("a"))
    (lane,) = calls.limiting._lanes.values()
    lane.brake = listening = Listening(lane.brake)
    await asyncio.gather(*calls.start("b", "c"))
    assert listening.heard == [ROUND_TRIP, ROUND_TRIP]


@in_virtual_time_without_a_network
async def test_once_connecting_was_measured_those_who_wait_are_let_in_as_soon_as_that_allows() -> (
    None
):
    service = Service(job=3600)
    calls = Calls(service)
    tasks = calls.start(*numbered(10))
    await asyncio.sleep(3 * ROUND_TRIP)  # noqa: TID251 - virtual
    assert service.working > 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    calls.assert_idle()


def test_before_the_first_call_nothing_is_known() -> None:
    assert Limiting(Service(), LoopClock(), None).snapshot() is None
    assert Unlimited(Service(), LoopClock()).snapshot() is None


# --- refusals -------------------------------------------------------------------------------------------


@in_virtual_time_without_a_network
async def test_after_a_retry_after_nobody_is_sent_before_it_has_passed() -> None:
    service = Service(0)
    service.retry_after = 30.0
    calls = Calls(service)
    tasks = calls.start(*numbered(5))
    begun = now()
    await asyncio.sleep(29)  # noqa: TID251 - virtual
    assert service.refused <= 2
    service.limit = 100
    await asyncio.gather(*tasks)
    assert 30 <= now() - begun < 35


@in_virtual_time_without_a_network
async def test_a_call_that_is_never_sent_again_has_its_refusal_at_once_and_frees_its_slot() -> None:
    calls = Calls(Service(0), ceiling=1)
    for _ in range(3):
        (task,) = calls.start("a", policy=RetryPolicy.never())
        assert (await task).status == 429
        assert calls.made[-1].attempts == 1
    calls.assert_idle()


@in_virtual_time_without_a_network
async def test_a_refusal_that_was_billed_is_an_answer() -> None:
    paid = HttpResponse(429, {"x-fal-billable-units": "1"}, b"{}")
    for limiting in (
        Limiting(FakeTransport([paid]), LoopClock(), None),
        Unlimited(FakeTransport([paid]), LoopClock()),
    ):
        call = Call(RetryPolicy())
        assert await limiting.send(post(), call) is paid
        assert call.attempts == 1
        assert call.billing is Billing.BILLED


# --- failures and cancellations -------------------------------------------------------------------------


@in_virtual_time_without_a_network
async def test_a_call_that_fails_frees_its_slot() -> None:
    service = Service()
    service.fail = {"0000": ConnectError("x"), "0001": RuntimeError("a bug")}
    calls = Calls(service, ceiling=1)
    ended = await asyncio.gather(*calls.start(*numbered(4)), return_exceptions=True)
    assert [type(end) for end in ended] == [ConnectError, RuntimeError, HttpResponse, HttpResponse]
    calls.assert_idle()


@in_virtual_time_without_a_network
async def test_a_cancelled_call_frees_its_slot() -> None:
    calls = Calls(Service(), ceiling=1)
    first, second = calls.start("a", "b")
    await turns()
    first.cancel()
    assert (await second).status == 200
    assert calls.service.order in (["b"], ["a", "b"])
    calls.assert_idle()


@in_virtual_time_without_a_network
async def test_those_who_give_up_waiting_are_passed_over() -> None:
    calls = Calls(Service(), ceiling=1)
    tasks = calls.start(*numbered(10))
    await turns()
    for task in tasks[1:9]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert calls.service.order == ["0000", "0009"]
    calls.assert_idle()


@in_virtual_time_without_a_network
async def test_a_slot_given_to_one_who_is_cancelled_in_the_same_moment_goes_to_the_next() -> None:
    service = Service()
    service.hold = asyncio.Event()
    service.job = 0
    calls = Calls(service, ceiling=1)
    first, second, third = calls.start("a", "b", "c")
    await asyncio.sleep(1)  # noqa: TID251 - virtual
    (lane,) = calls.limiting._lanes.values()
    granted = min(lane._waiting, key=lambda ticket: ticket.arrival)
    granted.waiter.add_done_callback(lambda _: second.cancel())  # after the grant, before it wakes
    service.hold.set()
    ended = await asyncio.gather(first, second, third, return_exceptions=True)
    assert [type(end) for end in ended] == [HttpResponse, asyncio.CancelledError, HttpResponse]
    assert service.order == ["a", "c"]
    calls.assert_idle()


@in_virtual_time_without_a_network
async def test_when_all_are_gone_no_timer_is_left_once_it_is_closed() -> None:
    calls = Calls(Service(0))
    tasks = calls.start(*numbered(5))
    await asyncio.sleep(0.1)  # noqa: TID251 - virtual
    for task in tasks:
        task.cancel()
    calls.limiting.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [t for t in asyncio.get_running_loop()._scheduled if not t.cancelled()] == []
    calls.assert_idle()


async def a_day_at_the_service(seed: int, limit: int, ceiling: int | None) -> None:
    """Whatever comes together, everybody who stays is served, and no slot is lost."""
    chance = random.Random(seed)
    service = Service(limit, job=chance.choice([0.0, 0.01, 0.5]), named=chance.random() < 0.5)
    service.fail = {f"{n:04}": ConnectError("x") for n in chance.sample(range(60), 6)}
    calls = Calls(service, ceiling)
    tasks: list[asyncio.Task[HttpResponse]] = []
    for name in numbered(60):
        application = chance.choice(["a/b", "a/b", "c/d"])
        policy = RetryPolicy.never() if chance.random() < 0.1 else RetryPolicy()
        tasks += calls.start(name, application=application, policy=policy)
        if chance.random() < 0.3:
            await asyncio.sleep(chance.choice([0.0, 0.005, 0.3]))  # noqa: TID251 - virtual
        if chance.random() < 0.2:
            chance.choice(tasks).cancel()
        if chance.random() < 0.05:
            service.limit = chance.randint(1, 20)
    async with asyncio.timeout(3600):
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    kinds = {type(end) for end in ended}
    assert kinds <= {HttpResponse, ConnectError, asyncio.CancelledError}
    calls.assert_idle()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.integers(1, 12), st.one_of(st.none(), st.integers(1, 8)))
def test_no_slot_is_lost_and_no_wakeup_either(seed: int, limit: int, ceiling: int | None) -> None:
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(grace=0)) as runner:
        runner.run(a_day_at_the_service(seed, limit, ceiling))
