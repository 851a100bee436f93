"""Realtime connections: messages both ways, how they end, and what becomes of them when they break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import msgspec
import pytest

from fal_async import (
    AsyncFal,
    AuthenticationError,
    Billing,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    FalError,
    InputError,
    MissingKeyError,
    NotFoundError,
    RealtimeEvent,
    Reconnected,
    RetryPolicy,
    ServerError,
    SessionError,
    StructureError,
    Timings,
    TooManyRequestsError,
    UnknownControl,
)
from fal_async.emulator import Emulator, Model, Realtime, RefusedError
from tests.support.scripted_server import Script, answer
from tests.support.secrets import KEY, PROMPT, assert_discreet, said_by
from tests.support.virtual_time import in_virtual_time, seconds, turns

LIVE = "me/live"


@attrs.frozen
class Numbered:
    number: int


def serving(emu: Emulator, function: Any = None, **settings: Any) -> None:
    own = Realtime(function=function or (lambda given: given), **settings)
    emu.register(Model(id=LIVE, function=dict, realtime=own))


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        serving(emulator)
        yield emulator


@pytest.fixture
async def fal(emu: Emulator) -> AsyncIterator[AsyncFal]:
    async with AsyncFal(hosts=emu.hosts, retry=RetryPolicy(backoff=0)) as client:
        yield client


# --- messages -------------------------------------------------------------------------------------------


async def test_messages_go_both_ways_bytes_and_large_integers_too(
    emu: Emulator, fal: AsyncFal
) -> None:
    message = {"image": b"\x89PNG\r\n", "seed": 15860307465884635512, "nested": [{"a": None}]}
    async with fal.realtime(LIVE) as connection:
        await connection.send(message)
        assert await anext(connection) == message
    assert (emu.ledger.billed(LIVE), emu.requests["realtime"]) == (1, 1)


async def test_messages_may_be_classes(fal: AsyncFal) -> None:
    async with fal.realtime(LIVE, result_type=Numbered) as connection:
        await connection.send(Numbered(1))
        assert await anext(connection) == Numbered(1)


async def test_a_result_that_does_not_fit_is_told_and_the_connection_goes_on(fal: AsyncFal) -> None:
    async with fal.realtime(LIVE, result_type=Numbered) as connection:
        await connection.send({"number": "one"})
        with pytest.raises(StructureError) as caught:
            await anext(connection)
        assert caught.value.billing is Billing.BILLED
        assert caught.value.value == {"number": "one"}
        await connection.send({"number": 2})
        assert await anext(connection) == Numbered(2)


async def test_codecs_may_be_the_callers_own(fal: AsyncFal) -> None:
    async with fal.realtime(LIVE, encode=json.dumps, decode=json.loads) as connection:
        await connection.send({"a": 1})
        assert await anext(connection) == {"a": 1}
    async with fal.realtime(
        LIVE, encode=msgspec.msgpack.encode, decode=lambda frame: ("mine", len(frame))
    ) as connection:
        await connection.send({"a": 1})
        assert await anext(connection) == ("mine", 4)


async def test_a_decoder_that_fails_is_told_and_the_connection_goes_on(fal: AsyncFal) -> None:
    def picky(frame: str | bytes) -> Any:
        content = msgspec.msgpack.decode(frame)
        if content["a"] == 1:
            raise ZeroDivisionError
        return content

    async with fal.realtime(LIVE, decode=picky) as connection:
        await connection.send({"a": 1})
        await connection.send({"a": 2})
        with pytest.raises(DecodeError, match="ZeroDivisionError") as caught:
            await anext(connection)
        assert caught.value.body == msgspec.msgpack.encode({"a": 1})
        assert await anext(connection) == {"a": 2}


async def test_two_tasks_may_send_and_receive(fal: AsyncFal) -> None:
    async with fal.realtime(LIVE) as connection, asyncio.TaskGroup() as group:

        async def send() -> None:
            for i in range(1000):
                await connection.send({"i": i})

        group.create_task(send())
        for i in range(1000):
            assert await anext(connection) == {"i": i}


@pytest.mark.parametrize("message", [[], "text", None, {"a": object()}, {"a": 2**70}])
async def test_what_cannot_be_sent_is_refused(fal: AsyncFal, message: Any) -> None:
    async with fal.realtime(LIVE) as connection:
        with pytest.raises(InputError):
            await connection.send(message)
        await connection.send({"a": 1})
        assert await anext(connection) == {"a": 1}


WRONG: list[dict[str, Any]] = [
    {"max_buffering": 0},
    {"max_buffering": 61},
    {"path": "/a?b"},
    {"token": 3},
    {"token": ""},
    {"reconnect": -1},
    {"reconnect": "yes"},
    {"max_message_bytes": 0},
    {"max_message_bytes": 1.5},
    {"key": ""},
    {"result_type": 3},
]


@pytest.mark.parametrize("options", WRONG, ids=str)
async def test_what_no_connection_can_be_made_with_is_refused(
    emu: Emulator, fal: AsyncFal, options: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        fal.realtime(LIVE, **options)
    assert emu.requests["connect"] == 0


# --- buffering ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "kept"), [(None, 3), (2, 2)])
async def test_a_full_buffer_drops_the_oldest_inputs(
    emu: Emulator, fal: AsyncFal, asked: int | None, kept: int
) -> None:
    go = asyncio.Event()

    async def slow(input: Any) -> Any:
        await go.wait()
        return input

    serving(emu, slow, buffering=3)
    async with fal.realtime(LIVE, max_buffering=asked) as connection:
        await connection.send({"i": 0})
        await emu.until(lambda: emu.ledger.running() == 1)
        for i in range(1, 10):
            await connection.send({"i": i})
        await emu.until(lambda: emu.requests["realtime"] == 10)
        go.set()
        results = [(await anext(connection))["i"] for _ in range(kept + 1)]
    assert results == [0, *range(10 - kept, 10)]


async def test_inputs_that_wait_may_be_taken_together(emu: Emulator, fal: AsyncFal) -> None:
    sizes = []
    go = asyncio.Event()

    async def many(inputs: list[Any]) -> list[Any]:
        await go.wait()
        sizes.append(len(inputs))
        return inputs

    serving(emu, many, batch=4)
    async with fal.realtime(LIVE) as connection:
        await connection.send({"i": 0})
        await emu.until(lambda: emu.ledger.running() == 1)
        for i in range(1, 6):
            await connection.send({"i": i})
        await emu.until(lambda: emu.requests["realtime"] == 6)
        go.set()
        assert [(await anext(connection))["i"] for _ in range(6)] == list(range(6))
    assert sizes == [1, 4, 1]
    assert emu.ledger.units() == 6


async def test_while_nobody_receives_no_more_is_read_than_a_small_buffer_holds(
    emu: Emulator, fal: AsyncFal
) -> None:
    size, count = 100_000, 300
    serving(emu, lambda _: {"data": b"x" * size}, timings=False)
    async with fal.realtime(LIVE) as connection:
        for _ in range(count):
            await connection.send({})
        await emu.until(lambda: emu.requests["realtime"] == count)
        await turns(3000)
        held = connection._link._socket._inner._reader._size  # type: ignore[union-attr,attr-defined]
        assert held < 3_000_000
        assert len(emu.ledger) < count  # the model itself has to wait
        got = 0
        for _ in range(count):
            got += len((await anext(connection))["data"])
        assert got == size * count


async def test_a_message_beyond_the_limit_ends_the_connection(emu: Emulator, fal: AsyncFal) -> None:
    serving(emu, lambda given: {"data": b"x" * given["size"]})
    async with fal.realtime(LIVE, max_message_bytes=1000) as connection:
        await connection.send({"size": 10})
        assert len((await anext(connection))["data"]) == 10
        await connection.send({"size": 2000})
        with pytest.raises(ConnectionLostError, match="too big"):
            await anext(connection)


# --- control messages -----------------------------------------------------------------------------------


async def test_what_is_no_result_is_told_on_request(emu: Emulator, fal: AsyncFal) -> None:
    emu.faults.add("socket_unknown", operation="realtime", events=1)
    told: list[RealtimeEvent] = []
    async with fal.realtime(LIVE, on_event=told.append) as connection:
        for i in range(2):
            await connection.send({"i": i})
            assert await anext(connection) == {"i": i}
    assert [type(event) for event in told] == [Timings, UnknownControl]


async def test_garbage_is_told_and_the_connection_goes_on(emu: Emulator, fal: AsyncFal) -> None:
    emu.faults.add("socket_garbage", operation="realtime", events=0)
    async with fal.realtime(LIVE) as connection:
        with pytest.raises(DecodeError):
            await anext(connection)
        await connection.send({"i": 1})
        assert await anext(connection) == {"i": 1}


@in_virtual_time
async def test_a_session_that_is_idle_ends_as_iterations_do() -> None:
    async with Emulator() as emu, AsyncFal(hosts=emu.hosts) as fal:
        serving(emu, idle_timeout=60)
        async with fal.realtime(LIVE) as connection:
            await connection.send({"i": 1})
            assert [result async for result in connection] == [{"i": 1}]
            assert connection.ended == "no inputs, reconnect when needed!"
            assert [result async for result in connection] == []
            with pytest.raises(ConnectionLostError) as caught:
                await connection.send({"i": 2})
            assert caught.value.billing is Billing.NOT_BILLED
        await emu.until(lambda: emu.in_flight == 0)


@in_virtual_time
async def test_after_an_idle_end_the_next_message_connects_again_on_request() -> None:
    async with Emulator() as emu, AsyncFal(hosts=emu.hosts) as fal:
        serving(emu, idle_timeout=60)
        async with fal.realtime(LIVE, reconnect=True) as connection:
            for i in range(3):
                await connection.send({"i": i})
                assert [result async for result in connection] == [{"i": i}]
            assert connection.connections == 3


async def test_a_failure_of_the_application_is_raised_and_then_it_is_over(
    emu: Emulator, fal: AsyncFal
) -> None:
    def fail(input: Any) -> Any:
        raise RefusedError("no_media_generated")

    serving(emu, fail)
    async with fal.realtime(LIVE) as connection:
        await connection.send({"i": 1})
        with pytest.raises(ServerError, match="INTERNAL_ERROR: no_media") as caught:
            await anext(connection)
        assert caught.value.error_type == "INTERNAL_ERROR"
        assert caught.value.billing is Billing.UNKNOWN
        assert [result async for result in connection] == []
        assert "INTERNAL_ERROR" in connection.ended


async def test_words_of_the_application_do_not_repeat_the_input(emu: Emulator) -> None:
    def fail(input: Any) -> Any:
        raise RefusedError(f"cannot do {input['prompt']}")

    serving(emu, fail)
    async with (
        AsyncFal(hosts=emu.hosts, key=KEY) as fal,
        fal.realtime(LIVE, encode=json.dumps) as connection,
    ):
        await connection.send({"prompt": PROMPT})
        with pytest.raises(ServerError) as caught:
            await anext(connection)
    assert_discreet(caught.value)


# --- how it ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("socket_drop", {}, "was lost"),
        ("socket_close", {}, "1011"),
        ("socket_close", {"status": 4000, "body": b"go away"}, "the application's own.*go away"),
    ],
)
async def test_a_connection_that_breaks_is_explained(
    emu: Emulator, fal: AsyncFal, kind: str, settings: Any, said: str
) -> None:
    emu.faults.add(kind, operation="realtime", events=1, **settings)
    async with fal.realtime(LIVE) as connection:
        await connection.send({"i": 1})
        assert await anext(connection) == {"i": 1}
        with pytest.raises(ConnectionLostError, match=said) as caught:
            await anext(connection)
        assert caught.value.billing is Billing.UNKNOWN
        assert [result async for result in connection] == []


async def test_a_close_that_says_it_was_done_is_the_end(emu: Emulator, fal: AsyncFal) -> None:
    emu.faults.add("socket_close", operation="realtime", events=1, status=1000)
    async with fal.realtime(LIVE, reconnect=True) as connection:
        await connection.send({"i": 1})
        assert [result async for result in connection] == [{"i": 1}]
        assert "1000" in connection.ended


@in_virtual_time
async def test_a_lost_connection_is_made_again_on_request_and_nothing_is_sent_twice() -> None:
    async with Emulator() as emu, AsyncFal(hosts=emu.hosts) as fal:
        serving(emu)
        emu.faults.add("socket_drop", operation="realtime", events=1, nth=(1, 2))
        told: list[RealtimeEvent] = []
        async with fal.realtime(LIVE, reconnect=True, on_event=told.append) as connection:
            for i in range(3):
                await connection.send({"i": i})
                assert await anext(connection) == {"i": i}
                if i < 2:
                    again = asyncio.create_task(anext(connection))
                    await seconds(5)
                    await connection.send({"again": i})
                    assert await again == {"again": i}
                    # The second connection drops after its first result: that was this one.
        assert emu.ledger.billed() == len(emu.ledger)
        assert sum(isinstance(event, Reconnected) for event in told) >= 1


@in_virtual_time
async def test_trying_again_takes_longer_each_time_and_ends() -> None:
    emu = await Emulator().start()
    serving(emu)
    async with (
        AsyncFal(hosts=emu.hosts, retry=RetryPolicy.never()) as fal,
        fal.realtime(LIVE, reconnect=5) as connection,
    ):
        await emu.stop()
        begun = asyncio.get_running_loop().time()
        with pytest.raises(ConnectError):
            await anext(connection)
        # 0, then upper halves of 0.5, 1, 2 and 4 s
        assert 3.7 <= asyncio.get_running_loop().time() - begun <= 7.6


@in_virtual_time
async def test_a_server_that_comes_back_is_found_again() -> None:
    async with Emulator() as emu:
        serving(emu)
        async with (
            AsyncFal(hosts=emu.hosts) as fal,
            fal.realtime(LIVE, reconnect=True) as connection,
        ):
            emu.faults.add("ingress_503", operation="connect", times=3)
            emu.faults.add("socket_drop", operation="realtime", events=0, times=0)
            for open_one in emu._listener.http.connections:  # type: ignore[union-attr]
                open_one.transport.abort()  # type: ignore[union-attr]
            await turns()
            await connection.send({"i": 1})
            assert await anext(connection) == {"i": 1}
            assert connection.connections == 2


async def test_closing_the_session_ends_iteration_with_an_error(emu: Emulator) -> None:
    fal = AsyncFal(hosts=emu.hosts)
    async with fal.realtime(LIVE) as connection:
        await connection.send({"i": 1})
        assert await anext(connection) == {"i": 1}
        waiting = asyncio.ensure_future(anext(connection))
        await turns()
        await fal.close()
        with pytest.raises(SessionError):
            await waiting
        with pytest.raises(SessionError):
            await connection.send({"i": 2})


async def test_whoever_is_cancelled_while_he_receives_loses_nothing(
    emu: Emulator, fal: AsyncFal
) -> None:
    go = asyncio.Event()

    async def slow(input: Any) -> Any:
        await go.wait()
        return input

    serving(emu, slow)
    async with fal.realtime(LIVE) as connection:
        await connection.send({"i": 1})
        waiting = asyncio.ensure_future(anext(connection))
        await emu.until(lambda: emu.ledger.running() == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await waiting
        assert caught.value.verdict.billing is Billing.UNKNOWN  # type: ignore[attr-defined]
        go.set()
        assert await anext(connection) == {"i": 1}


async def test_a_connection_that_was_left_is_no_more(emu: Emulator, fal: AsyncFal) -> None:
    async with fal.realtime(LIVE, reconnect=True) as connection:
        pass
    with pytest.raises(SessionError):
        await connection.send({})
    with pytest.raises(SessionError):
        await anext(connection)
    await connection.close()
    await emu.until(lambda: emu.in_flight == 0)


# --- who is let in --------------------------------------------------------------------------------------


async def test_a_connection_holds_a_slot_while_it_lasts(emu: Emulator) -> None:
    emu.limit = 1
    async with AsyncFal(hosts=emu.hosts, limit=1) as fal:
        async with fal.realtime(LIVE) as connection:
            await connection.send({"i": 1})
            assert await anext(connection) == {"i": 1}
            other = asyncio.create_task(fal.run("emulator/echo", {"i": 2}))
            await turns()
            assert (emu.in_flight, emu.requests["run"]) == (1, 0)
        await emu.until(lambda: emu.in_flight == 0)
        assert await other == {"i": 2}
        assert fal.limits is not None
        assert fal.limits.in_flight == 0


@pytest.mark.parametrize("instant", range(6))
async def test_whoever_is_cancelled_while_he_leaves_holds_no_slot(
    emu: Emulator, fal: AsyncFal, instant: int
) -> None:
    leaves = asyncio.Event()

    async def use() -> None:
        async with fal.realtime(LIVE, token=True, reconnect=2):
            await leaves.wait()

    using = asyncio.create_task(use())
    await emu.until(lambda: emu.in_flight == 1)
    leaves.set()
    await turns(instant)
    using.cancel()
    await asyncio.wait([using])
    assert fal.limits is not None
    assert fal.limits.in_flight == 0
    await emu.until(lambda: emu.in_flight == 0)


@pytest.mark.parametrize("instant", range(6))
async def test_whoever_is_cancelled_again_while_he_leaves_is_told_what_it_may_have_cost(
    emu: Emulator, fal: AsyncFal, instant: int
) -> None:
    async def use() -> None:
        async with fal.realtime(LIVE, token=True, reconnect=2) as connection:
            await connection.send({"number": 1})
            async for _ in connection:
                pass

    using = asyncio.create_task(use())
    await emu.until(lambda: emu.ledger.billed(LIVE) == 1)
    using.cancel()
    await turns(instant)
    using.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await using
    assert caught.value.verdict.billing is Billing.UNKNOWN


async def test_a_refused_handshake_waits_for_a_slot(emu: Emulator, fal: AsyncFal) -> None:
    emu.limit = 0
    opening = asyncio.create_task(entered(fal))
    await emu.until(lambda: emu.refused >= 1)
    emu.limit = 1
    await opening


async def test_whoever_wants_no_waiting_is_told_of_it(emu: Emulator) -> None:
    emu.limit = 0
    async with AsyncFal(hosts=emu.hosts, retry=RetryPolicy.never()) as fal:
        with pytest.raises(TooManyRequestsError):
            await entered(fal)
        assert fal.limits is not None
        assert fal.limits.in_flight == 0


async def entered(fal: AsyncFal, app: str = LIVE, **options: Any) -> None:
    async with fal.realtime(app, **options):
        pass


@pytest.mark.parametrize(
    ("app", "error"), [("emulator/echo2", NotFoundError), ("emulator/refuse", NotFoundError)]
)
async def test_what_takes_no_connections_is_not_found(
    fal: AsyncFal, app: str, error: type[FalError]
) -> None:
    with pytest.raises(error):
        await entered(fal, app)


async def test_the_key_travels_in_the_header_and_a_token_in_its_place() -> None:
    async with Emulator(keys={KEY}) as emu, AsyncFal(hosts=emu.hosts, key=KEY) as fal:
        serving(emu)
        await entered(fal)
        await entered(fal, token=True)
        await entered(fal, token=await fal.token(LIVE))
        await entered(fal, token=await fal.token([LIVE, "other/app"], flavour="newer"))
        await entered(fal, token=lambda: fal.token(LIVE))
        with pytest.raises(AuthenticationError) as caught:
            await entered(fal, token=await fal.token("other/app"))
        assert_discreet(caught.value)
        assert emu.requests["browser_token"] == 5


async def test_without_a_key_a_token_is_enough() -> None:
    async with Emulator(keys={KEY}) as emu, AsyncFal(hosts=emu.hosts, key=KEY) as owner:
        serving(emu)
        token = await owner.token(LIVE, 60)
        async with AsyncFal(hosts=emu.hosts) as guest:
            await entered(guest, token=token)
            with pytest.raises(AuthenticationError):
                await entered(guest)
            with pytest.raises(AuthenticationError):
                await guest.token(LIVE)


async def test_a_token_callable_that_fails_is_the_callers_error(fal: AsyncFal) -> None:
    def fail() -> str:
        raise ZeroDivisionError

    with pytest.raises(InputError, match="ZeroDivisionError"):
        await entered(fal, token=fail)
    with pytest.raises(InputError):
        await entered(fal, token=lambda: None)


async def test_a_token_is_for_real_services_and_needs_a_key() -> None:
    async with AsyncFal() as fal:
        with pytest.raises(MissingKeyError):
            await fal.token(LIVE)
        with pytest.raises(InputError):
            await fal.token(LIVE, 0)


async def test_an_answer_that_is_no_token_is_told_so_without_being_shown() -> None:
    async with (
        Script(answer(content={"tokens": "half-a-secret"})) as server,
        AsyncFal(hosts=server.hosts, key=KEY) as fal,
    ):
        with pytest.raises(DecodeError, match="no token") as caught:
            await fal.token(LIVE)
    assert caught.value.billing is Billing.NOT_BILLED
    assert "half-a-secret" not in said_by(caught.value)


async def test_a_token_is_asked_for_again_after_a_failure_that_costs_nothing() -> None:
    async with Script(answer(503, {}), answer(content="eyJ"), answer(content="eyJ")) as server:
        async with AsyncFal(hosts=server.hosts, key=KEY, retry=RetryPolicy(backoff=0)) as fal:
            with pytest.raises(ServerError):
                await fal.token(LIVE)
            assert await fal.token(LIVE) == "eyJ"
        assert [request.line.split()[:2] for request in server.requests] == [
            ["POST", "/rest.fal.ai/tokens/"]
        ] * 2


async def test_a_token_that_expired_opens_nothing() -> None:
    async with Emulator(clock="virtual") as emu, AsyncFal(hosts=emu.hosts) as fal:
        serving(emu)
        token = await fal.token(LIVE, 30)
        await entered(fal, token=token)
        await emu.advance(31)
        with pytest.raises(AuthenticationError):
            await entered(fal, token=token)


async def test_a_refusal_over_the_open_connection_is_the_same_error(emu: Emulator) -> None:
    serving(emu, says_unauthorized=True)
    async with AsyncFal(hosts=emu.hosts) as fal, fal.realtime(LIVE, token="bad") as connection:
        with pytest.raises(AuthenticationError) as caught:
            await anext(connection)
        assert (caught.value.status, caught.value.billing) == (401, Billing.NOT_BILLED)


@in_virtual_time
async def test_a_connection_that_is_cut_when_its_token_expires_is_made_again_with_another() -> None:
    async with Emulator() as emu, AsyncFal(hosts=emu.hosts) as fal:
        serving(emu, token_cuts=True)
        async with fal.realtime(LIVE, token=True, token_expires=10, reconnect=True) as connection:
            for i in range(4):
                waiting = asyncio.create_task(anext(connection))
                await seconds(9)
                await connection.send({"i": i})
                assert await waiting == {"i": i}
            assert connection.connections >= 3
        assert emu.requests["browser_token"] >= 3


@in_virtual_time
async def test_tokens_are_renewed_in_the_background_while_it_lasts() -> None:
    async with Emulator() as emu, AsyncFal(hosts=emu.hosts) as fal:
        serving(emu)
        async with fal.realtime(LIVE, token=True, token_expires=100, reconnect=True):
            await seconds(1000)
            renewed = emu.requests["browser_token"]
            assert 11 <= renewed <= 14
        await seconds(1000)
        assert emu.requests["browser_token"] == renewed
