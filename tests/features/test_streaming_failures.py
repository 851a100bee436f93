"""Streams that fail, break or fall silent: what came is given first, then the error tells how far it came."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import attrs
import pytest

from fal_async import (
    AsyncFal,
    AuthenticationError,
    Billing,
    BodyTooLargeError,
    CallTimeoutError,
    ConnectionLostError,
    FalError,
    GatewayError,
    ModelError,
    NotFoundError,
    ServerError,
    StreamLostError,
    StructureError,
)
from fal_async.emulator import Emulator, UnhandledError
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
from tests.support.virtual_time import in_virtual_time, seconds

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
    assert (error.billing, error.request_id) == (Billing.UNKNOWN, REQUEST_ID)


async def test_what_stands_at_the_end_without_its_blank_line_is_given_if_it_is_whole() -> None:
    async with Script(says(b'data: 1\n\ndata: {"n": 2}')) as server:
        assert await read(server) == [1, {"n": 2}]


async def test_half_an_event_at_the_end_is_kept_in_the_error() -> None:
    seen, error = await failure_of(says(b'data: 1\n\ndata: {"n": '))
    assert (seen, error.body) == ([1], b'{"n": ')


async def test_an_event_that_does_not_fit_is_in_its_error_and_the_stream_goes_on() -> None:
    wire = b'data: {"n": 1}\n\ndata: {"n": "x"}\n\ndata: {"n": 3}\n\n'
    async with (
        Script(says(wire)) as server,
        AsyncFal(hosts=server.hosts) as fal,
        fal.stream(MODEL, INPUT, result_type=Number) as events,
    ):
        assert await anext(events) == Number(1)
        with pytest.raises(StructureError) as raised:
            await anext(events)
        assert [event async for event in events] == [Number(3)]
    error = raised.value
    assert (error.value, error.path, error.body) == ({"n": "x"}, "n", b'{"n": "x"}')
    assert (error.billing, error.request_id) == (Billing.UNKNOWN, REQUEST_ID)  # it may fail yet
    assert "an event does not fit Number" in str(error)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_break_leaves_open_whether_the_model_has_failed_which_costs_nothing(
    fails: bool,
) -> None:
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:

        @emulator.model("test/half")
        async def half(content: Any) -> Any:
            yield 1
            if fails:
                raise UnhandledError
            yield 2

        if not fails:
            emulator.faults.add("stream_cut", operation="stream", events=1)
        async with fal.stream("test/half", {}) as events:
            assert await anext(events) == 1
            with pytest.raises(StreamLostError) as raised:
                await anext(events)
        assert raised.value.billing is Billing.UNKNOWN
        await emulator.until(lambda: emulator.in_flight == 0)
        assert emulator.ledger.billed() == (not fails)


async def test_units_that_were_told_are_certain_whatever_becomes_of_the_stream() -> None:
    told = head(200, {**SSE, "x-fal-billable-units": "2"})
    _, error = await failure_of(in_pieces(told, b"data: 1\n\n", then="reset"))
    assert error.billing is Billing.BILLED


async def test_an_event_beyond_the_limit_ends_the_stream_after_those_before_it() -> None:
    async with (
        Script(says(b"data: 1\n\ndata: " + b"x" * 200 + b"\n\n", then="hold")) as server,
        AsyncFal(hosts=server.hosts, max_answer_bytes=100) as fal,
        fal.stream(MODEL, INPUT) as events,
    ):
        assert await anext(events) == 1
        with pytest.raises(BodyTooLargeError) as raised:
            await anext(events)
        assert raised.value.billing is Billing.UNKNOWN
        assert [event async for event in events] == []


async def test_a_whole_answer_beyond_the_limit_is_refused() -> None:
    async with (
        Script(answer(content="x" * 200)) as server,
        AsyncFal(hosts=server.hosts, max_answer_bytes=100) as fal,
        fal.stream(MODEL, INPUT, result_type=str) as events,
    ):
        with pytest.raises(BodyTooLargeError):
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
    assert (error.billing, error.request_id) == (Billing.UNKNOWN, REQUEST_ID)


@in_virtual_time
async def test_a_timeout_before_the_answer_begins_is_that_of_any_call() -> None:
    _, error = await failure_of(silence(), timeout=10)
    assert isinstance(error, CallTimeoutError)
    assert error.billing is Billing.UNKNOWN
