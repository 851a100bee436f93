"""A stream holds a place of the account's limit and a connection, and lets go of both, however it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fal_async import (
    AsyncFal,
    Billing,
    ConnectError,
    InputError,
    RetryPolicy,
    SessionError,
    StreamLostError,
    TooManyRequestsError,
    Verdict,
)
from fal_async.emulator import Call, Emulator
from tests.support.scripted_server import (
    MODEL,
    REQUEST_ID,
    Script,
    Wire,
    answer,
    head,
    in_pieces,
    say_and,
)
from tests.support.virtual_time import in_virtual_time, turns

HEAD = head(200, {"Content-Type": "text/event-stream", "x-fal-request-id": REQUEST_ID})
ONE = b"data: 1\n\n"
TOO_MANY = answer(
    429,
    {
        "detail": "Reached concurrent requests limit of 2",
        "type": "concurrent_requests_limit",
        "data": {"limit": 2},
    },
    headers={"X-Fal-Needs-Retry": "1"},
)


class Held:
    """Says a head and an event, then waits; notes when the caller has left."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def act(self, wire: Wire) -> None:
        await wire.request()
        await wire.say(HEAD + ONE)
        await wire.hold()
        self.left.set()


async def test_leaving_closes_the_connection_at_once() -> None:
    held = Held()
    async with Script(held.act) as server, AsyncFal(hosts=server.hosts, limit=1) as fal:
        async with fal.stream(MODEL, {}) as events:
            async for event in events:
                assert event == 1
                break
            assert fal.limits is not None
            assert fal.limits.in_flight == 1
        async with asyncio.timeout(5):
            await held.left.wait()
        assert fal.limits.in_flight == 0
        assert [event async for event in events] == []


async def test_an_error_of_the_consumers_own_closes_it_too() -> None:
    held = Held()
    async with Script(held.act) as server, AsyncFal(hosts=server.hosts) as fal:

        async def consume() -> None:
            async with fal.stream(MODEL, {}) as events:
                async for event in events:
                    _ = 1 / (event - 1)

        with pytest.raises(ZeroDivisionError):
            await consume()
        async with asyncio.timeout(5):
            await held.left.wait()


async def test_a_connection_whose_stream_was_read_to_its_end_is_used_again() -> None:
    whole = head(200, {"Content-Type": "text/event-stream", "Content-Length": str(len(ONE))})
    async with Script(say_and(whole + ONE, "go_on")) as server, AsyncFal(hosts=server.hosts) as fal:
        for _ in range(3):
            async with fal.stream(MODEL, {}) as events:
                assert [event async for event in events] == [1]
    assert server.connections == 1


# --- the account's limit --------------------------------------------------------------------------------


async def test_a_stream_holds_its_place_until_its_end() -> None:
    over = asyncio.Event()
    async with Emulator(limit=1) as emulator, AsyncFal(hosts=emulator.hosts, limit=1) as fal:

        @emulator.model("test/held")
        async def held(content: Any) -> Any:
            yield 1
            await over.wait()
            yield 2

        async with fal.stream("test/held", {}) as events:
            assert await anext(events) == 1
            other = asyncio.ensure_future(fal.run("emulator/echo", {"a": 1}))
            await turns(50)
            assert not other.done()
            assert (fal.limits.in_flight, fal.limits.waiting) == (1, 1) if fal.limits else None
            over.set()
            assert await anext(events) == 2
            with pytest.raises(StopAsyncIteration):
                await anext(events)
            assert await other == {"a": 1}  # at its end, though the block goes on
        assert emulator.refused == 0


@in_virtual_time
async def test_a_refusal_before_the_first_event_is_waited_out() -> None:
    stream = in_pieces(HEAD, ONE, then="finish")
    async with Script(TOO_MANY, TOO_MANY, stream) as server, AsyncFal(hosts=server.hosts) as fal:
        async with fal.stream(MODEL, {}) as events:
            assert [event async for event in events] == [1]
        assert fal.limits is not None
        assert (fal.limits.refused, fal.limits.in_flight) == (2, 0)
    assert len(server.requests) == 3


@in_virtual_time
async def test_without_a_brake_it_is_waited_out_too_unless_nothing_may_be_sent_again() -> None:
    stream = in_pieces(HEAD, ONE, then="finish")
    async with (
        Script(TOO_MANY, stream, TOO_MANY) as server,
        AsyncFal(hosts=server.hosts, limit=None) as fal,
    ):
        async with fal.stream(MODEL, {}) as events:
            assert [event async for event in events] == [1]
        with pytest.raises(TooManyRequestsError):
            async with fal.stream(MODEL, {}, retry=RetryPolicy.never()):
                pass


async def test_many_more_streams_than_the_limit_all_get_their_turn() -> None:
    async with Emulator(limit=5) as emulator, AsyncFal(hosts=emulator.hosts) as fal:

        async def words() -> str:
            async with fal.stream("fal-ai/any-llm", {"prompt": "a cat"}) as events:
                async for _ in events:
                    pass
            return str(events.final["output"])

        async with asyncio.timeout(30):
            assert len(set(await asyncio.gather(*(words() for _ in range(60))))) == 1
        assert emulator.peak_in_flight <= 5
        assert emulator.ledger.billed() == 60
        assert fal.limits is not None
        assert fal.limits.in_flight == 0


@pytest.mark.parametrize("how", ["broken", "refused", "cancelled"])
async def test_a_place_is_given_back_however_it_ends(how: str) -> None:
    act = {
        "broken": say_and(HEAD + ONE, "reset"),
        "refused": answer(422, {"detail": []}),
        "cancelled": say_and(b"", "hold"),
    }[how]
    async with Script(act) as server, AsyncFal(hosts=server.hosts, limit=1) as fal:

        async def attempt() -> None:
            async with fal.stream(MODEL, {}) as events:
                async for _ in events:
                    pass

        task = asyncio.ensure_future(attempt())
        await server.arrival()
        if how == "cancelled":
            task.cancel()
        [ended] = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, BaseException)
        assert fal.limits is not None
        assert fal.limits.in_flight == 0


# --- cancelled, closed ----------------------------------------------------------------------------------


async def test_a_cancelled_wait_tells_what_it_cost_and_the_stream_goes_on() -> None:
    go = asyncio.Event()

    async def act(wire: Wire) -> None:
        await wire.request()
        await wire.say(HEAD + ONE)
        await go.wait()
        await wire.say(b"data: 2\n\n")
        await wire.finish()

    async with (
        Script(act) as server,
        AsyncFal(hosts=server.hosts) as fal,
        fal.stream(MODEL, {}) as events,
    ):
        assert await anext(events) == 1
        waiting = asyncio.ensure_future(anext(events))
        await turns()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await waiting
        cancelled: Any = raised.value
        assert cancelled.verdict == Verdict(
            billing=Billing.UNKNOWN, attempts=1, request_id=REQUEST_ID
        )
        go.set()
        assert [event async for event in events] == [2]


async def test_closing_the_session_ends_a_wait_for_an_event() -> None:
    async with Script(say_and(HEAD, "hold")) as server:
        fal = AsyncFal(hosts=server.hosts)
        async with fal.stream(MODEL, {}) as events:
            waiting = asyncio.ensure_future(anext(events))
            await turns()
            await fal.close()
            with pytest.raises(SessionError) as raised:
                await waiting
            assert raised.value.billing is Billing.UNKNOWN
            assert raised.value.request_id == REQUEST_ID


async def test_closing_the_session_leaves_what_has_come() -> None:
    async with Script(say_and(HEAD + ONE + ONE, "hold")) as server:
        fal = AsyncFal(hosts=server.hosts)
        async with fal.stream(MODEL, {}) as events:
            assert await anext(events) == 1
            await fal.close()
            assert await anext(events) == 1
            with pytest.raises(SessionError) as raised:
                await anext(events)
            assert raised.value.billing is Billing.UNKNOWN


async def test_no_stream_begins_in_a_closed_session() -> None:
    async with Script(say_and(HEAD, "hold")) as server:
        fal = AsyncFal(hosts=server.hosts)
        await fal.close()
        with pytest.raises(SessionError):
            async with fal.stream(MODEL, {}):
                pass
    assert server.begun == 0


async def test_a_stream_may_be_read_in_another_task_than_it_is_closed_in() -> None:
    async with (
        Script(in_pieces(HEAD, ONE, ONE, then="finish")) as server,
        AsyncFal(hosts=server.hosts) as fal,
        fal.stream(MODEL, {}) as events,
    ):

        async def next_one() -> Any:
            return await anext(events)

        assert [await asyncio.create_task(next_one()) for _ in range(2)] == [1, 1]


async def test_no_connection_at_all_is_tried_again_as_for_any_call() -> None:
    async with Script(say_and(HEAD, "finish")) as server:
        hosts = server.hosts
    async with AsyncFal(hosts=hosts, retry=RetryPolicy(sends=2, backoff=0.001)) as fal:
        with pytest.raises(ConnectError) as raised:
            async with fal.stream(MODEL, {}):
                pass
    assert (raised.value.attempts, raised.value.billing) == (2, Billing.NOT_BILLED)


async def test_a_model_that_runs_on_after_its_caller_left_is_told_and_charged_for() -> None:
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:

        @emulator.model("test/endless")
        async def endless(content: Any, call: Call) -> Any:
            while not call.cancelled:
                yield "x" * 1000

        async with fal.stream("test/endless", {}) as events:
            await anext(events)
        await emulator.until(lambda: emulator.in_flight == 0)
        assert emulator.ledger.billed() == 1


async def test_errors_pass_the_stream_by_where_they_are_not_its_own() -> None:
    with pytest.raises(InputError):
        async with AsyncFal(hosts=Emulator().hosts).stream(MODEL, {"a": float("nan")}):
            pass


async def test_a_lost_stream_is_lost_once() -> None:
    async with (
        Script(say_and(HEAD + ONE, "reset")) as server,
        AsyncFal(hosts=server.hosts) as fal,
        fal.stream(MODEL, {}) as events,
    ):
        with pytest.raises(StreamLostError):
            _ = [event async for event in events]
        assert [event async for event in events] == []
