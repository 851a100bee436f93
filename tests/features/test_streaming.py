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
    AuthenticationError,
    Billing,
    BodyTooLargeError,
    CallTimeoutError,
    ConnectionLostError,
    DecodeError,
    FalError,
    GatewayError,
    InputError,
    ModelError,
    NotFoundError,
    ServerError,
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
    silence,
)
from tests.support.secrets import KEY, PROMPT, assert_discreet
from tests.support.virtual_time import in_virtual_time, seconds, turns

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
        with pytest.raises(FalError) as raised:
            async with fal.stream(MODEL, INPUT, **options) as events:
                async for event in events:
                    seen.append(event)
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
        assert raised.value.billing is Billing.BILLED


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
    async with Script(in_pieces(zipped, packed[:20], packed[20:], then="finish")) as server:
        assert await read(server) == [{"n": 1}, {"n": 2}, {"n": 3}]
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


# --- what does not come ---------------------------------------------------------------------------------

FAILURES: list[tuple[int, Any, type[FalError], Billing]] = [
    (401, {"detail": "No user found for Key ID and Secret"}, AuthenticationError, "not_billed"),
    (404, {"detail": "Path /stream not found"}, NotFoundError, "not_billed"),
    (
        422,
        {"detail": [{"loc": ["body", "prompt"], "msg": "no", "type": "missing"}]},
        ModelError,
        "unknown",
    ),
    (500, {"detail": "Internal Server Error"}, ServerError, "not_billed"),
]


@pytest.mark.parametrize(("status", "content", "kind", "billing"), FAILURES)
async def test_a_failure_before_the_first_event_is_that_of_any_call(
    status: int, content: Any, kind: type[FalError], billing: str
) -> None:
    seen, error = await failure_of(answer(status, content))
    assert (seen, type(error), error.billing) == ([], kind, billing)
    assert (error.request_id, error.status, error.attempts) == (REQUEST_ID, status, 1)
    assert error.body == json.dumps(content).encode()


async def test_a_failure_whose_body_breaks_off_is_told_by_its_status() -> None:
    _, error = await failure_of(
        say_and(message(503, body=b"<center>nginx", request_id=None)[:-3], "reset")
    )
    assert isinstance(error, GatewayError)


async def test_no_answer_at_all_may_have_been_billed() -> None:
    _, error = await failure_of(say_and(b"", "finish"))
    assert type(error) is ConnectionLostError
    assert error.billing is Billing.UNKNOWN


BREAKS = {
    "cut": say_and(CHUNKED + b"2c\r\n" + THREE[:44] + b"\r\n5\r\ndata:", "finish"),
    "reset": say_and(HEAD + THREE[:44] + b"data:", "reset"),
    "reset later": says(THREE[:44] + b"data:", b" {", then="reset"),
    "within an event": says(THREE[:44], b'data: {"n": '),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_a_break_in_mid_stream_tells_how_far_it_came_after_all_of_it_was_given(
    name: str,
) -> None:
    seen, error = await failure_of(BREAKS[name])
    assert isinstance(error, StreamLostError)
    assert isinstance(error, ConnectionLostError)
    given = [{"n": 1}, {"n": 2}]
    assert seen in (given, [])  # a reset may throw away what was not read
    assert (error.events, error.last) == (len(seen), seen[-1] if seen else None)
    assert ("2 events" if seen else "no events") in str(error)
    assert (error.billing, error.request_id) == (Billing.BILLED, REQUEST_ID)


async def test_what_stands_at_the_end_without_its_blank_line_is_given_if_it_is_whole() -> None:
    async with Script(says(b'data: 1\n\ndata: {"n": 2}')) as server:
        assert await read(server) == [1, {"n": 2}]


async def test_half_an_event_at_the_end_is_kept_in_the_error() -> None:
    seen, error = await failure_of(says(b'data: 1\n\ndata: {"n": '))
    assert (seen, error.body) == ([1], b'{"n": ')


async def test_an_event_that_does_not_fit_is_in_its_error_and_the_stream_goes_on() -> None:
    wire = b'data: {"n": 1}\n\ndata: {"n": "x"}\n\ndata: {"n": 3}\n\n'
    async with Script(says(wire)) as server, AsyncFal(hosts=server.hosts) as fal:
        async with fal.stream(MODEL, INPUT, result_type=Number) as events:
            assert await anext(events) == Number(1)
            with pytest.raises(StructureError) as raised:
                await anext(events)
            assert [event async for event in events] == [Number(3)]
    error = raised.value
    assert (error.value, error.path, error.body) == ({"n": "x"}, "n", b'{"n": "x"}')
    assert (error.billing, error.request_id) == (Billing.BILLED, REQUEST_ID)
    assert "an event does not fit Number" in str(error)


async def test_an_event_beyond_the_limit_ends_the_stream_after_those_before_it() -> None:
    async with (
        Script(says(b"data: 1\n\ndata: " + b"x" * 200 + b"\n\n", then="hold")) as server,
        AsyncFal(hosts=server.hosts, max_answer_bytes=100) as fal,
        fal.stream(MODEL, INPUT) as events,
    ):
        assert await anext(events) == 1
        with pytest.raises(BodyTooLargeError) as raised:
            await anext(events)
        assert raised.value.billing is Billing.BILLED
        assert [event async for event in events] == []


async def test_a_whole_answer_beyond_the_limit_is_refused() -> None:
    async with Script(answer(content="x" * 200)) as server:
        async with AsyncFal(hosts=server.hosts, max_answer_bytes=100) as fal:
            with pytest.raises(BodyTooLargeError):
                async with fal.stream(MODEL, INPUT, result_type=str) as events:
                    await anext(events)


# --- time -----------------------------------------------------------------------------------------------


def paced(*acts: tuple[float, bytes]) -> Act:
    """Each piece after so many seconds; then nothing."""

    async def act(wire: Wire) -> None:
        await wire.request()
        for pause, piece in acts:
            await seconds(pause)
            await wire.say(piece)
        await wire.hold()

    return act


@in_virtual_time
async def test_silence_for_longer_than_idle_is_a_loss_and_a_comment_is_no_silence() -> None:
    act = paced((100, HEAD), (9, b"data: 1\n\n"), (9, b": ping\n\n"), (9, b"data: 2\n\n"))
    seen, error = await failure_of(act, idle=10)
    assert seen == [1, 2]  # and the model may think before it answers, as long as it likes
    assert isinstance(error, StreamLostError)
    assert "fell silent after 2 events" in str(error)
    assert asyncio.get_running_loop().time() == pytest.approx(1000 + 137, abs=1)


@in_virtual_time
async def test_a_timeout_is_for_the_whole_stream() -> None:
    act = paced((4, HEAD), (4, b"data: 1\n\n"), (4, b"data: 2\n\n"))
    seen, error = await failure_of(act, timeout=10)
    assert seen == [1]
    assert isinstance(error, CallTimeoutError)
    assert isinstance(error, TimeoutError)
    assert (error.billing, error.request_id) == (Billing.BILLED, REQUEST_ID)


@in_virtual_time
async def test_a_timeout_before_the_answer_begins_is_that_of_any_call() -> None:
    _, error = await failure_of(silence(), timeout=10)
    assert isinstance(error, CallTimeoutError)
    assert error.billing is Billing.UNKNOWN


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
