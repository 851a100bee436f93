"""``AsyncFal`` from its first call to its last: loops, threads, and what closing does to whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from fal_async import AsyncFal, Billing, FalError, Hosts, SessionError
from tests.support.scripted_server import (
    MODEL,
    REQUEST_ID,
    Script,
    answer,
    say_and,
    silence,
    unread_and,
)
from tests.support.secrets import KEY, assert_discreet
from tests.support.virtual_time import in_virtual_time, turns

INPUT = {"prompt": "a cat"}
OK = {"ok": True}
NOT, MAYBE, YES = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED


async def test_it_opens_with_its_first_call_and_closes_when_told() -> None:
    async with Script(answer()) as server:
        fal = AsyncFal(hosts=server.hosts)
        assert fal._pool._session is None
        assert await fal.run(MODEL, INPUT) == OK
        session = fal._pool.session()
        await fal.close()
        assert session.closed
        await fal.close()
        assert repr(fal).endswith("closed>")


async def test_once_closed_it_says_so() -> None:
    async with Script(answer()) as server:
        fal = AsyncFal(hosts=server.hosts)
        await fal.close()
        with pytest.raises(SessionError, match="this AsyncFal is closed: make a new one") as raised:
            await fal.run(MODEL, INPUT)
        assert isinstance(raised.value, RuntimeError)
        with pytest.raises(SessionError, match="is closed"):
            async with fal:
                pass
        assert server.connections == 0


async def test_leaving_by_an_exception_closes_it_and_lets_the_exception_pass() -> None:
    async with Script(answer()) as server:
        fal = AsyncFal(hosts=server.hosts)

        async def main() -> None:
            async with fal:
                await fal.run(MODEL, INPUT)
                raise LookupError

        with pytest.raises(LookupError):
            await main()
        assert fal._pool.closed


def test_one_object_serves_one_event_loop_after_the_other() -> None:
    fal: AsyncFal | None = None

    async def main(port: int) -> int:
        nonlocal fal
        async with Script(answer(), port=port) as server:
            fal = fal or AsyncFal(hosts=server.hosts)
            assert await fal.run(MODEL, INPUT) == OK
            assert server.connections == 1
            return server.port

    port = asyncio.run(main(0))
    for _ in range(2):
        assert asyncio.run(main(port)) == port
    assert fal is not None
    asyncio.run(fal.close())


def test_in_another_event_loop_meanwhile_it_says_what_to_do() -> None:
    """And neither the calls of the first loop nor what its brake has learned are harmed."""

    async def elsewhere(fal: AsyncFal) -> None:
        for use in (lambda: fal.run(MODEL, INPUT), fal.close, fal.__aenter__):
            with pytest.raises(SessionError, match="another event loop") as raised:
                await use()
            assert raised.value.billing is NOT

    async def at_home() -> None:
        go = asyncio.Event()
        async with (
            Script(answer(429), answer(go=go)) as server,
            AsyncFal(hosts=server.hosts, limit=1) as fal,
        ):
            calls = [asyncio.create_task(fal.run(MODEL, INPUT)) for _ in range(2)]
            await server.arrival(2)
            learned = fal.limits
            thread = threading.Thread(target=asyncio.run, args=[elsewhere(fal)])
            thread.start()
            await asyncio.to_thread(thread.join)
            assert fal.limits == learned
            go.set()
            assert await asyncio.gather(*calls) == [OK, OK]

    asyncio.run(at_home())


async def close_while(fal: AsyncFal, ready: Callable[[], Awaitable[object]]) -> FalError:
    """Close it while a call is under way; the call ends at once, and its task is not cancelled."""
    task = asyncio.create_task(fal.run(MODEL, INPUT, timeout=86_400))
    await ready()
    await turns()
    begun = asyncio.get_running_loop().time()
    await fal.close()
    with pytest.raises(SessionError, match="closed") as raised:
        await task
    assert asyncio.get_running_loop().time() == begun
    assert task.cancelling() == 0
    assert_discreet(raised.value)
    return raised.value


@in_virtual_time
async def test_closing_ends_a_call_that_waits_for_its_answer() -> None:
    async with Script(silence()) as server:
        error = await close_while(AsyncFal(KEY, hosts=server.hosts), server.arrival)
    assert (error.billing, error.attempts) == (MAYBE, 1)


@pytest.mark.parametrize("framing", ["Content-Length: 99", "Transfer-Encoding: chunked"])
@in_virtual_time
async def test_closing_ends_a_call_that_reads_its_answer(framing: str) -> None:
    top = f"HTTP/1.1 200 OK\r\nx-fal-request-id: {REQUEST_ID}\r\n{framing}\r\n\r\n5\r\n[1,2,\r\n"
    async with Script(say_and(top.encode(), "hold")) as server:
        error = await close_while(AsyncFal(hosts=server.hosts), server.arrival)
    assert (error.billing, error.attempts, error.request_id) == (YES, 1, REQUEST_ID)


@in_virtual_time
async def test_closing_ends_a_call_that_connects() -> None:
    async with Script(unread_and("hold")) as server:
        hosts = Hosts.local(server.url.replace("http:", "https:"))
        error = await close_while(AsyncFal(KEY, hosts=hosts), turns)
        assert server.begun == 1
    assert (error.billing, error.attempts) == (NOT, 1)


@in_virtual_time
async def test_closing_ends_a_call_that_waits_to_be_sent_again() -> None:
    again = answer(503, headers={"X-Fal-Needs-Retry": "1", "Retry-After": "15"})
    async with Script(again) as server:
        error = await close_while(AsyncFal(hosts=server.hosts), server.arrival)
        assert server.begun == 1
    assert (error.billing, error.attempts) == (NOT, 1)


@pytest.mark.parametrize("limit", ["auto", None])
@in_virtual_time
async def test_closing_ends_a_call_that_was_refused(limit: object) -> None:
    async with Script(answer(429, headers={"Retry-After": "600"})) as server:
        error = await close_while(AsyncFal(hosts=server.hosts, limit=limit), server.arrival)
        assert server.begun == 1
    assert (error.billing, error.attempts) == (NOT, 0)


@in_virtual_time
async def test_closing_ends_a_call_that_waits_for_its_key() -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async with Script(answer()) as server:
        error = await close_while(AsyncFal(never, hosts=server.hosts), turns)
        assert server.begun == 0
    assert (error.billing, error.attempts) == (NOT, 0)


@in_virtual_time
async def test_closing_ends_those_in_flight_and_those_that_wait_for_a_slot_each_with_its_verdict() -> (
    None
):
    async with Script(silence()) as server:
        fal = AsyncFal(hosts=server.hosts, limit=2)
        calls = [asyncio.create_task(fal.run(MODEL, {"n": n})) for n in range(10)]
        await server.arrival(2)
        await fal.close()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert server.begun == 2
    assert all(type(error) is SessionError for error in ended)
    assert [error.billing for error in ended] == [MAYBE] * 2 + [NOT] * 8
    assert [error.attempts for error in ended] == [1] * 2 + [0] * 8
    loop = asyncio.get_running_loop()
    await turns()
    assert [t for t in loop._scheduled if not t.cancelled()] == []


async def test_closing_twice_at_the_same_time_is_closing_once() -> None:
    async with Script(silence()) as server:
        fal = AsyncFal(hosts=server.hosts)
        task = asyncio.create_task(fal.run(MODEL, INPUT))
        await server.arrival()
        await asyncio.gather(fal.close(), fal.close())
        with pytest.raises(SessionError):
            await task


async def test_a_cancellation_that_comes_with_the_closing_is_a_cancellation() -> None:
    async with Script(silence()) as server:
        fal = AsyncFal(hosts=server.hosts)
        task = asyncio.create_task(fal.run(MODEL, INPUT))
        await server.arrival()
        task.cancel()
        await fal.close()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
    assert task.cancelled()
    assert raised.value.verdict.billing is MAYBE


async def test_what_is_left_of_a_task_group_survives_the_closing() -> None:
    """A call that is sent away does not look cancelled to the group that its task belongs to."""
    async with Script(silence()) as server:
        fal = AsyncFal(hosts=server.hosts)
        ended: list[FalError] = []

        async def one() -> None:
            try:
                await fal.run(MODEL, INPUT)
            except SessionError as error:
                ended.append(error)
            await asyncio.wait_for(turns(1), 5)  # which a task half cancelled could not

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(one())
            await server.arrival(2)
            await fal.close()
    assert len(ended) == 3


async def test_a_key_callable_that_closes_the_session_ends_its_own_call_too() -> None:
    fal: AsyncFal
    went_on: list[bool] = []

    async def key() -> str:
        await fal.close()
        went_on.append(True)
        return KEY

    async with Script(answer()) as server:
        fal = AsyncFal(key, hosts=server.hosts)
        with pytest.raises(SessionError, match="closed"):
            await fal.run(MODEL, INPUT)
        assert server.begun == 0
    assert went_on


async def test_calls_leave_nothing_behind_that_grows() -> None:
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        for _ in range(5):
            await fal.run(MODEL, INPUT, timeout=5)
        gate = fal._stack.direct
        assert not gate._inside
        assert not gate._sent_away


async def test_a_call_outside_of_any_task_says_so() -> None:
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        loop = asyncio.get_running_loop()
        raised: list[BaseException] = []

        def step() -> None:
            try:
                fal.run(MODEL, INPUT).send(None)
            except SessionError as error:
                raised.append(error)

        loop.call_soon(step)
        await turns()
        assert "made in a task" in str(raised[0])
