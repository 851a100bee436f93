"""A call that is stopped: nothing more is written for it, and what is under way lands."""

from __future__ import annotations

import asyncio

import pytest

from fal_async.errors import Billing, ConnectError, FalError
from fal_async.policy.retry import RetryPolicy
from fal_async.transport.base import Call
from fal_async.transport.clock import LoopClock
from fal_async.transport.http import Http
from fal_async.transport.limiting import Limiting, Unlimited
from fal_async.transport.pool import Pool
from fal_async.transport.proxies import ProxyRouter
from fal_async.transport.retrying import Retrying
from tests.support.fakes import FakeTransport, Outcome, VirtualClock, post, respond
from tests.support.scripted_server import Script, answer, silence
from tests.support.virtual_time import in_virtual_time_without_a_network


def stopped() -> Call:
    call = Call(RetryPolicy())
    call.stopped = True
    return call


INVITED = respond(503, {"x-fal-request-id": "r-1", "X-Fal-Needs-Retry": "1"}, b"{}")


@pytest.mark.parametrize("outcome", [ConnectError("refused", retryable=True), INVITED])
async def test_a_failure_is_not_sent_again(outcome: Outcome) -> None:
    inner = FakeTransport([outcome])
    clock = VirtualClock()
    with pytest.raises(FalError) as raised:
        await Retrying(inner, clock).send(post("https://fal.run/owner/app"), stopped())
    assert (len(inner.sent), clock.slept) == (1, [])
    assert raised.value.billing is Billing.NOT_BILLED


@pytest.mark.parametrize("brake", [True, False])
@in_virtual_time_without_a_network
async def test_a_refusal_comes_back_at_once_and_frees_its_slot(brake: bool) -> None:
    inner, clock = FakeTransport([respond(429)]), LoopClock()
    limiting = Limiting(inner, clock, 1) if brake else Unlimited(inner, clock)
    for _ in range(3):
        response = await limiting.send(post(), stopped())
        assert response.status == 429
    assert len(inner.sent) == 3


async def test_what_is_not_written_yet_is_not_written() -> None:
    async with Script(answer()) as server:
        pool = Pool(None)
        sends = Http(pool, LoopClock(), ProxyRouter(None), max_answer_bytes=1000)
        call = stopped()
        with pytest.raises(ConnectError):
            await sends.send(post(f"{server.url}/a"), call)
        assert (call.current, call.under_way) == (Billing.NOT_BILLED, False)
        call.stopped = False
        assert (await sends.send(post(f"{server.url}/b"), call)).status == 200
        assert [request.line for request in server.requests] == ["POST /b HTTP/1.1"]
        await pool.close()


async def test_it_is_under_way_from_its_first_byte_until_it_is_judged() -> None:
    async with Script(silence()) as server:
        pool = Pool(None)
        sends = Http(pool, LoopClock(), ProxyRouter(None), max_answer_bytes=1000)
        call = Call(RetryPolicy())
        assert not call.under_way
        sending = asyncio.create_task(sends.send(post(server.url), call))
        await server.arrival()
        assert (call.current, call.under_way) == (Billing.UNKNOWN, True)
        sending.cancel()
        await asyncio.wait([sending])
        call.settle()
        assert not call.under_way
        await pool.close()
