"""Refusals without a brake, and with one through the whole client."""

from __future__ import annotations

import asyncio

import pytest

from fal_async import AsyncFal, Billing, InputError, RetryPolicy, TooManyRequestsError
from fal_async.protocol.failures import concurrency_limit_reached
from fal_async.protocol.messages import HttpResponse
from fal_async.transport.base import Call
from fal_async.transport.limiting import Unlimited, check_limit
from tests.support.fakes import FakeTransport, VirtualClock, post, respond
from tests.support.scripted_server import MODEL, Script, answer
from tests.support.virtual_time import in_virtual_time, turns

REFUSED = concurrency_limit_reached(None)


# --- without a brake ------------------------------------------------------------------------------------


async def unlimited(*outcomes: HttpResponse, policy: RetryPolicy | None = None) -> VirtualClock:
    clock = VirtualClock(chance=1.0)
    call = Call(policy or RetryPolicy())
    await Unlimited(FakeTransport(outcomes), clock).send(post(), call)
    assert call.attempts == 1
    assert call.started == 0.0
    return clock


async def test_without_a_brake_a_refused_call_waits_as_fal_advises() -> None:
    clock = await unlimited(*[REFUSED] * 6, respond())
    assert clock.slept == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


async def test_without_a_brake_the_waits_are_spread() -> None:
    clock = VirtualClock(chance=0.0)
    await Unlimited(FakeTransport([REFUSED, REFUSED, respond()]), clock).send(
        post(), Call(RetryPolicy())
    )
    assert clock.slept == [0.5, 1.0]


async def test_without_a_brake_a_retry_after_is_what_is_waited() -> None:
    asked = concurrency_limit_reached(2, retry_after=7)
    assert (await unlimited(asked, asked, respond())).slept == [7.0, 7.0]


async def test_without_a_brake_never_is_never_too() -> None:
    assert (await unlimited(REFUSED, policy=RetryPolicy.never())).slept == []


# --- through the whole client ---------------------------------------------------------------------------


@in_virtual_time
async def test_a_429_is_waited_out_at_the_head_of_the_queue_and_uses_up_no_attempt() -> None:
    named = answer(429, {"detail": "x", "data": {"limit": 2}}, request_id=None)
    unnamed = answer(429, {"detail": "Reached concurrent requests limit"}, request_id=None)
    asked = answer(429, {"detail": "x"}, headers={"Retry-After": "3"}, request_id=None)
    async with (
        Script(named, unnamed, asked, answer()) as server,
        AsyncFal(hosts=server.hosts, retry=RetryPolicy(sends=1)) as fal,
    ):
        result = await fal.run_detailed(MODEL, {})
        assert server.begun == 4
        assert result.attempts == 1
        assert fal.limits is not None
        assert fal.limits.refused == 3


async def test_never_makes_a_429_the_caller_s() -> None:
    body = concurrency_limit_reached(7).body
    for limit in ("auto", 3, None):
        async with (
            Script(answer(429, body=body)) as server,
            AsyncFal(hosts=server.hosts, limit=limit) as fal,
        ):
            with pytest.raises(TooManyRequestsError) as raised:
                await fal.run(MODEL, {}, retry=RetryPolicy.never())
            assert server.begun == 1
        error = raised.value
        assert (error.limit, error.attempts, error.status) == (7, 1, 429)
        assert error.billing is Billing.NOT_BILLED
        assert error.retryable


async def test_an_int_is_a_ceiling_that_holds_from_the_first_call() -> None:
    go = asyncio.Event()
    async with Script(answer(go=go)) as server, AsyncFal(hosts=server.hosts, limit=2) as fal:
        calls = [asyncio.create_task(fal.run(MODEL, {})) for _ in range(5)]
        await server.arrival(2)
        await turns(100)
        assert server.begun == 2
        assert fal.limits is not None
        assert (fal.limits.in_flight, fal.limits.waiting) == (2, 3)
        go.set()
        await asyncio.gather(*calls)


async def test_without_a_limit_there_are_no_limits_to_tell_of() -> None:
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts, limit=None) as fal:
        await fal.run(MODEL, {})
        assert fal.limits is None


@pytest.mark.parametrize("value", [0, -3, True, False, 1.0, "2", "AUTO", [], object()])
def test_what_is_no_limit_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="limit is"):
        check_limit(value)


@pytest.mark.parametrize("value", [None, "auto", 1, 10**9])
def test_what_is_a_limit_is_taken_as_it_is(value: object) -> None:
    assert check_limit(value) == value
