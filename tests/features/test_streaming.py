"""A model's answer event by event: what the consumer gets, and what it is told when there is no more."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import attrs
import pytest

from fal_async import (
    AnswerError,
    AsyncFal,
    Billing,
    DecodeError,
    FalError,
    InputError,
    StreamLostError,
    StructureError,
)
from fal_async.emulator import Emulator
from tests.support.scripted_server import (
    MODEL,
    REQUEST_ID,
    Act,
    Script,
    Wire,
    answer,
    head,
    in_pieces,
    message,
    say_and,
)
from tests.support.secrets import KEY, PROMPT, assert_discreet
from tests.support.virtual_time import turns

INPUT = {"prompt": PROMPT}
SSE = {"Content-Type": "text/event-stream; charset=utf-8", "x-fal-request-id": REQUEST_ID}
HEAD = head(200, SSE)
CHUNKED = head(200, {**SSE, "Transfer-Encoding": "chunked"})
THREE = b'data: {"n": 1}\n\nevent: late\ndata: {"n": 2}\n\ndata: {"n": 3}\n\n'


def says(*pieces: bytes, then: str = "finish") -> Act:
    """A stream of these pieces, each when the one before has been taken in."""
    return in_pieces(HEAD, *pieces, then=then)


@attrs.frozen
class Number:
    n: int


async def read(server: Script, model: str = MODEL, **options: Any) -> list[Any]:
    async with AsyncFal(hosts=server.hosts) as fal, fal.stream(model, INPUT, **options) as events:
        return [event async for event in events]


async def failure_of(act: Act, **options: Any) -> tuple[list[Any], FalError]:
    """What came, and how it ended."""
    seen: list[Any] = []
    async with Script(act) as server, AsyncFal(KEY, hosts=server.hosts) as fal:

        async def consume() -> None:
            async with fal.stream(MODEL, INPUT, **options) as events:
                async for event in events:
                    seen.append(event)  # noqa: PERF401 - what came before the failure counts

        with pytest.raises(FalError) as raised:
            await consume()
    assert_discreet(raised.value)
    return seen, raised.value


# --- what comes -----------------------------------------------------------------------------------------


async def test_each_event_is_given_as_its_json() -> None:
    async with Script(says(THREE)) as server:
        assert await read(server) == [{"n": 1}, {"n": 2}, {"n": 3}]


async def test_each_event_is_structured_into_the_type_that_was_asked_for() -> None:
    async with Script(says(THREE)) as server:
        assert await read(server, result_type=Number) == [Number(1), Number(2), Number(3)]


async def test_an_event_that_is_no_json_comes_as_its_bytes_and_on_request_all_do() -> None:
    async with Script(says(b"data: [DONE\n\ndata: 1\n\n")) as server:
        assert await read(server) == [b"[DONE", 1]
    async with Script(says(THREE)) as server:
        assert await read(server, result_type=bytes) == [b'{"n": 1}', b'{"n": 2}', b'{"n": 3}']


async def test_name_count_and_the_last_event_are_at_hand() -> None:
    async with Script(says(THREE)) as server, AsyncFal(hosts=server.hosts) as fal:
        async with fal.stream(MODEL, INPUT, result_type=Number) as events:
            names = [(event.n, events.name, events.count) async for event in events]
        assert names == [(1, "", 1), (2, "late", 2), (3, "", 3)]
        assert events.final == Number(3)
        assert repr(events) == f"<EventStream {REQUEST_ID} ended, 3 events>"


async def test_the_request_id_is_there_before_any_event() -> None:
    async with (
        Script(says(then="hold")) as server,
        AsyncFal(hosts=server.hosts) as fal,
        fal.stream(MODEL, INPUT) as events,
    ):
        assert events.request_id == REQUEST_ID
        assert events.headers["content-type"].startswith("text/event-stream")
        with pytest.raises(AnswerError, match="no event") as raised:
            _ = events.final
        assert raised.value.billing is Billing.UNKNOWN  # it has begun, and may fail yet


async def test_a_stream_without_events_ends_at_once() -> None:
    async with Script(says(b": nothing\n\n")) as server:
        assert await read(server) == []


async def test_another_type_of_answer_comes_as_chunks_of_bytes() -> None:
    sound = head(200, {**SSE, "Content-Type": "audio/mpeg"})
    async with Script(in_pieces(sound, b"\x00\x01", b"\x02", then="finish")) as server:
        assert b"".join(await read(server)) == b"\x00\x01\x02"


async def test_another_type_of_answer_is_one_event_where_a_type_was_asked_for() -> None:
    async with Script(say_and(message(content={"n": 7}), "finish")) as server:
        assert await read(server, result_type=Number) == [Number(7)]
    _, error = await failure_of(answer(content={"m": 7}), result_type=Number)
    assert isinstance(error, StructureError)
    assert (error.value, error.billing) == ({"m": 7}, Billing.BILLED)


async def test_a_stream_that_somebody_has_compressed_is_read_all_the_same() -> None:
    packed = gzip.compress(THREE)
    zipped = head(200, {**SSE, "Content-Encoding": "gzip"})
    for cut in (3, 20, 40):
        pieces = in_pieces(zipped, packed[:cut], packed[cut:], then="finish")
        async with Script(pieces) as server:
            assert await read(server) == [{"n": 1}, {"n": 2}, {"n": 3}]
    _, error = await failure_of(in_pieces(zipped, packed[:-9], then="finish"))
    assert isinstance(error, StreamLostError)
    _, error = await failure_of(say_and(zipped + b"\x1f\x8b nonsense", "finish"))
    assert isinstance(error, DecodeError)


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("owner/app", "owner/app/stream"),
        ("owner/app/stream", "owner/app/stream"),
        ("owner/stream", "owner/stream/stream"),
        ("owner/app/streamer", "owner/app/streamer/stream"),
        ("workflows/me/mine", "workflows/me/mine/stream"),
    ],
)
async def test_the_path_ends_in_stream(model: str, path: str) -> None:
    async with Script(says()) as server:
        await read(server, model)
    assert server.requests[0].line == f"POST /fal.run/{path} HTTP/1.1"


async def test_options_are_those_of_a_call_and_events_are_asked_for() -> None:
    options: Any = {"expire": "1h", "start_timeout": 30, "hint": "h", "headers": {"X-Mine": "1"}}
    async with Script(says()) as server:
        await read(server, **options)
        await read(server, headers={"ACCEPT": "audio/mpeg"})
    first, second = server.requests
    assert json.loads(first.body) == INPUT
    assert first.headers["accept"] == "text/event-stream"
    assert first.headers["x-fal-request-timeout"] == "30"
    assert first.headers["x-fal-runner-hint"] == "h"
    assert "3600" in first.headers["x-fal-object-lifecycle-preference"]
    assert first.headers["x-mine"] == "1"
    assert second.headers["accept"] == "audio/mpeg"


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("nothing", {}),
        (MODEL, {"idle": 0}),
        (MODEL, {"idle": "x"}),
        (MODEL, {"timeout": -1}),
        (MODEL, {"headers": "x"}),
        (MODEL, {"result_type": object()}),
    ],
)
async def test_what_cannot_be_sent_is_refused_at_once(model: str, options: Any) -> None:
    async with AsyncFal(KEY) as fal:
        with pytest.raises(InputError):
            fal.stream(model, {}, **options)


# --- use ------------------------------------------------------------------------------------------------


async def test_a_stream_is_entered_once_and_before_it_is_read() -> None:
    async with Script(says(THREE)) as server, AsyncFal(hosts=server.hosts) as fal:
        events = fal.stream(MODEL, INPUT)
        assert "not entered" in repr(events)
        with pytest.raises(InputError, match="entered first"):
            await anext(events)
        with pytest.raises(InputError, match="entered first"):
            aiter(events)
        async with events:
            pass
        with pytest.raises(InputError, match="entered once"):
            async with events:
                pass
        assert [event async for event in events] == []


async def test_two_tasks_cannot_read_one_stream() -> None:
    async with (
        Script(says(then="hold")) as server,
        AsyncFal(hosts=server.hosts) as fal,
        fal.stream(MODEL, INPUT) as events,
    ):
        reading = asyncio.ensure_future(anext(events))
        await turns()
        with pytest.raises(InputError, match="one task"):
            await anext(events)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def numbers(fal: AsyncFal, model: str) -> int:
    async with fal.stream(model, {}) as events:
        return sum([event async for event in events])


async def test_a_thousand_streams_run_at_once_on_one_session() -> None:
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts, limit=1000) as fal:
        everybody = asyncio.Event()

        @emulator.model("test/count")
        async def count(content: Any) -> Any:
            yield 1
            await everybody.wait()
            yield 2

        streams = [asyncio.ensure_future(numbers(fal, "test/count")) for _ in range(1000)]
        async with asyncio.timeout(60):
            await emulator.until(lambda: emulator.in_flight == 1000)
        everybody.set()
        assert set(await asyncio.gather(*streams)) == {3}
        assert emulator.ledger.billed() == 1000


class Counting:
    """A server that says events as long as somebody takes them in."""

    def __init__(self) -> None:
        self.said = 0

    async def act(self, wire: Wire) -> None:
        await wire.request()
        await wire.say(HEAD)
        block = b'data: {"text": "' + b"x" * 1000 + b'"}\n\n'
        while True:
            await wire.say(block * 64)
            self.said += 64
            await turns(1)


async def test_a_slow_consumer_slows_the_server_down_and_memory_stays_flat() -> None:
    endless = Counting()
    async with (
        Script(endless.act) as server,
        AsyncFal(hosts=server.hosts) as fal,
        fal.stream(MODEL, INPUT) as events,
    ):
        await anext(events)
        before = -1
        while endless.said != before:  # until the buffers of the system are full
            before = endless.said
            await turns(200)
        assert len(events._ready) < 600
        for _ in range(3 * before):  # and it goes on as they are emptied
            await anext(events)
        assert endless.said > before
        assert len(events._ready) < 600
