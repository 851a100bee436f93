"""Models that stream: events over the wire, what they cost, and how they break (PROTOCOL 8, 13, 18)."""

from __future__ import annotations

import asyncio
import itertools
import json
from decimal import Decimal
from typing import Any

import pytest

from fal_async.emulator import (
    AppError,
    Call,
    Emulator,
    Fault,
    MadeFile,
    Model,
    RefusedError,
    StreamEvent,
)
from fal_async.protocol.sse import Event, EventParser
from tests.emulator.raw import Heard, ask, connected, post

pytestmark = pytest.mark.usefixtures("silent", "unheard")
LLM = "fal-ai/any-llm"
TWO = "test/two"


async def stream(emu: Emulator, model: str, content: object = None, **headers: str) -> Heard:
    body = json.dumps({} if content is None else content).encode()
    return await ask(emu, post(f"/fal.run/{model}/stream", body, headers=headers))


def events(heard: Heard) -> list[Event]:
    """What a chunked body says, as far as it came."""
    rest, body = heard.body, b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
    return EventParser().feed(body)


def payloads(heard: Heard) -> list[Any]:
    return [json.loads(event.data) for event in events(heard)]


@pytest.fixture
def two(emu: Emulator) -> str:
    @emu.model(TWO, units=lambda content, output: Decimal(output["n"]))
    async def two(content: Any) -> Any:
        yield {"n": 1}
        yield StreamEvent({"n": 2}, name="last", id="7")

    return TWO


# --- what is served


async def test_what_a_generator_yields_is_served_as_events(emu: Emulator, two: str) -> None:
    heard = await stream(emu, two)
    assert heard.status == 200
    assert heard.header("content-type") == "text/event-stream"
    assert heard.header("x-fal-request-id")
    assert events(heard) == [Event(b'{"n":1}'), Event(b'{"n":2}', "last", "7")]
    assert heard.body.endswith(b"0\r\n\r\n")
    assert emu.requests == {"stream": 1}


async def test_its_last_event_is_the_output_of_a_call_that_does_not_stream(
    emu: Emulator, two: str
) -> None:
    heard = await ask(emu, post(f"/fal.run/{two}", b"{}"))
    assert (heard.json, heard.header("x-fal-billable-units")) == ({"n": 2}, "2")


async def test_it_is_charged_by_its_last_event(emu: Emulator, two: str) -> None:
    await stream(emu, two)
    [execution] = emu.ledger
    assert (execution.status, execution.units, execution.billed) == (200, 2, True)


async def test_a_language_model_says_more_and_more_and_ends_as_it_would_have_answered(
    emu: Emulator,
) -> None:
    content = {"prompt": "why?"}
    told = payloads(await stream(emu, LLM, content))
    whole = (await ask(emu, post(f"/fal.run/{LLM}", json.dumps(content).encode()))).json
    assert told[-1] == whole
    assert [event["partial"] for event in told] == [True] * (len(told) - 1) + [False]
    texts = [event["output"] for event in told]
    assert all(
        later.startswith(text) and later != text for text, later in itertools.pairwise(texts)
    )
    assert emu.ledger.units() == Decimal("0.002")


async def test_a_model_of_images_says_how_far_it_is(emu: Emulator) -> None:
    *steps, last = payloads(await stream(emu, "fal-ai/flux/dev", {"prompt": "a cat", "seed": 1}))
    assert [step["progress"] for step in steps] == [0.25, 0.5, 0.75]
    [image] = last["images"]
    place = image["url"].removeprefix("http://127.0.0.1")
    assert (await ask(emu, post(place, b"", method="GET"))).status == 200


async def test_a_workflow_tells_of_its_nodes(emu: Emulator) -> None:
    told = payloads(await stream(emu, "workflows/emulator/described-picture", {"prompt": "a cat"}))
    assert [(event["type"], event.get("node_id")) for event in told] == [
        ("submit", "words"),
        ("completion", "words"),
        ("submit", "picture"),
        ("completion", "picture"),
        ("output", None),
    ]
    assert told[-1]["output"]["images"]


async def test_a_node_that_fails_is_an_event_and_the_workflows_own_input_a_422(
    emu: Emulator,
) -> None:
    model = "workflows/emulator/described-picture"
    *_, last = payloads(await stream(emu, model, {"prompt": "a cat", "image_size": "vast"}))
    assert (last["type"], last["node_id"], last["error"]["status"]) == ("error", "picture", 422)
    assert last["error"]["body"]["detail"][0]["loc"] == ["body", "image_size"]
    assert (await stream(emu, model, {})).status == 422


async def test_files_are_put_on_the_cdn(emu: Emulator) -> None:
    @emu.model("test/file")
    async def file(content: Any) -> Any:
        yield {"image": MadeFile(b"png", "image/png", "png")}

    [output] = payloads(await stream(emu, "test/file"))
    assert output["image"]["url"].endswith(".png")


async def test_a_stream_of_another_type_is_bytes(emu: Emulator) -> None:
    async def sound(content: Any, call: Call) -> Any:
        yield b"\x00\x01"
        yield b"\x02"

    emu.register(Model(id="test/sound", function=sound, stream_type="audio/mpeg"))
    heard = await stream(emu, "test/sound")
    assert heard.header("content-type") == "audio/mpeg"
    assert heard.body == b"2\r\n\x00\x01\r\n1\r\n\x02\r\n0\r\n\r\n"
    assert emu.ledger.billed() == 1


async def test_a_stream_without_events_is_empty(emu: Emulator) -> None:
    @emu.model("test/none")
    async def none(content: Any) -> Any:
        for event in ():
            yield event

    heard = await stream(emu, "test/none")
    assert (heard.status, events(heard)) == (200, [])


async def test_its_events_may_be_spread_over_its_run(frozen: Emulator) -> None:
    frozen._platform.run_time = 10.0
    async with connected(frozen) as (reader, writer):
        writer.write(post(f"/fal.run/{LLM}/stream", b'{"prompt": "why?"}'))
        await frozen.advance(5)
        half = await reader.read(1_000_000)
        await frozen.advance(5.1)
        rest = await reader.read(1_000_000)
    assert half.count(b'"partial":true') > 5
    assert b'"partial":false' not in half
    assert b'"partial":false' in rest
    assert [execution.ended for execution in frozen.ledger] == [pytest.approx(10)]


# --- who is turned away


@pytest.mark.parametrize(
    ("model", "content", "status"),
    [
        (LLM, {}, 422),
        (LLM, [1], 422),
        ("emulator/raw", {}, 404),
        ("no/body", {}, 404),
        (f"{LLM}/stream", {"prompt": "x"}, 404),
    ],
)
async def test_before_the_first_event_an_error_is_an_answer(
    emu: Emulator, model: str, content: Any, status: int
) -> None:
    heard = await stream(emu, model, content)
    assert (heard.status, heard.header("content-type")) == (status, "application/json")
    assert heard.header("x-fal-request-id")
    assert emu.ledger.billed() == 0


async def test_a_stream_counts_against_the_limit_for_as_long_as_it_lasts(emu: Emulator) -> None:
    emu.limit = 1
    over = asyncio.Event()

    @emu.model("test/held")
    async def held(content: Any) -> Any:
        yield 1
        await over.wait()

    first = asyncio.create_task(stream(emu, "test/held"))
    await emu.until(lambda: emu.in_flight == 1)
    assert (await stream(emu, LLM, {"prompt": "x"})).status == 429
    over.set()
    assert payloads(await first) == [1]
    assert (await stream(emu, LLM, {"prompt": "x"})).status == 200


# --- how it breaks


@pytest.mark.parametrize(
    "failure", [AppError(500, "broken"), RefusedError("content_policy_violation")]
)
async def test_a_failure_in_mid_stream_closes_after_the_last_whole_event(
    emu: Emulator, failure: Exception
) -> None:
    @emu.model("test/fails")
    async def fails(content: Any) -> Any:
        yield {"n": 1}
        raise failure

    heard = await stream(emu, "test/fails")
    assert payloads(heard) == [{"n": 1}]
    assert not heard.body.endswith(b"0\r\n\r\n")
    [execution] = emu.ledger
    assert execution.status in {500, 422}


@pytest.mark.parametrize(
    ("kind", "seen", "whole"),
    [("stream_ends", 1, True), ("stream_cut", 1, False), ("stream_error", 2, True)],
)
async def test_faults_in_mid_stream(
    emu: Emulator, two: str, kind: str, seen: int, whole: bool
) -> None:
    emu.faults.add(kind)
    heard = await stream(emu, two)
    assert len(events(heard)) == seen
    assert heard.body.endswith(b"0\r\n\r\n") is whole
    assert emu.faults.fired() == 1
    await emu.until(lambda: emu.in_flight == 0)
    [execution] = emu.ledger
    assert (execution.billed, execution.fault) == (True, kind)


async def test_an_error_event_says_what_the_rule_says(emu: Emulator, two: str) -> None:
    emu.faults.add("stream_error", events=2, body=b'{"error":"out of memory"}')
    assert payloads(await stream(emu, two))[-1] == {"n": 2}  # there is no third event to replace
    emu.faults.clear()
    emu.faults.add("stream_error", body=b'{"error":"out of memory"}')
    assert payloads(await stream(emu, two)) == [{"n": 1}, {"error": "out of memory"}]


async def test_a_stalled_stream_says_nothing_more_and_its_model_runs_to_its_end(
    emu: Emulator, two: str
) -> None:
    emu.faults.add("stream_stalls")
    async with connected(emu) as (reader, writer):
        writer.write(post(f"/fal.run/{two}/stream", b"{}"))
        await reader.readuntil(b'data: {"n":1}')
        await emu.until(lambda: emu.in_flight == 0)
        assert emu.ledger.billed() == 1


@pytest.mark.parametrize("kind", ["half_body", "cut_short", "reset_in_body", "slow"])
async def test_faults_of_any_answer_are_those_of_a_stream_too(
    emu: Emulator, two: str, kind: str
) -> None:
    emu.faults.add(Fault(kind, operation="stream", seconds=0.01))
    heard = await stream(emu, two)
    assert heard.header("content-type") == "text/event-stream"
    whole = b'data: {"n":1}\n\nevent: last\nid: 7\ndata: {"n":2}\n\n'
    assert whole.startswith(heard.body)
    assert (heard.body == whole) is (kind == "slow")


async def test_a_fault_that_means_calls_means_no_streams(emu: Emulator, two: str) -> None:
    emu.faults.add("too_many_requests")
    assert (await stream(emu, two)).status == 200
    emu.faults.add("too_many_requests", operation="stream")
    assert (await stream(emu, two)).status == 429


async def test_a_fault_cannot_happen_to_a_stream_that_was_turned_away(emu: Emulator) -> None:
    for fault in ("half_body", "stream_cut"):
        rule = emu.faults.add(fault, operation="stream")
        emu.limit = 0
        assert (await stream(emu, LLM, {"prompt": "x"})).status == 429
        emu.limit = None
        assert emu.faults.fired(rule) == 0
        emu.faults.clear()


# --- who leaves


async def test_a_model_whose_caller_left_hears_of_it_and_is_charged_for(emu: Emulator) -> None:
    heard: list[str] = []

    @emu.model("test/listens")
    async def listens(content: Any, call: Call) -> Any:
        yield 1
        await call.until_cancelled()
        heard.append("cancelled")
        yield 2

    async with connected(emu) as (reader, writer):
        writer.write(post("/fal.run/test/listens/stream", b"{}"))
        await reader.readuntil(b"data: 1")
    await emu.until(lambda: emu.in_flight == 0)
    assert heard == ["cancelled"]
    assert emu.ledger.billed() == 1


async def test_a_cancellable_model_ends_when_its_caller_leaves(emu: Emulator) -> None:
    @emu.model("test/endless", cancellable=True)
    async def endless(content: Any) -> Any:
        while True:
            yield "x" * 10_000

    async with connected(emu) as (reader, writer):
        writer.write(post("/fal.run/test/endless/stream", b"{}"))
        await reader.readuntil(b"data: ")
    await emu.until(lambda: emu.in_flight == 0)
    [execution] = emu.ledger
    assert (execution.status, execution.billed) == (499, True)


async def test_a_model_is_never_far_ahead_of_a_caller_that_does_not_read(emu: Emulator) -> None:
    yielded = 0

    @emu.model("test/fast", cancellable=True)
    async def fast(content: Any) -> Any:
        nonlocal yielded
        while True:
            yielded += 1
            yield "x" * 100_000

    async with connected(emu) as (reader, writer):
        writer.write(post("/fal.run/test/fast/stream", b"{}"))
        await reader.readuntil(b"data: ")
        before = 0
        while yielded != before:
            before = yielded
            await emu._platform.background.settle()
        assert yielded < 1000
    await emu.until(lambda: emu.in_flight == 0)


async def test_an_emulator_stops_though_a_caller_does_not_read() -> None:
    async with Emulator() as emu:

        @emu.model("test/fast")
        async def fast(content: Any) -> Any:
            while True:
                yield "x" * 1_000_000

        async with connected(emu) as (reader, writer):
            writer.write(post("/fal.run/test/fast/stream", b"{}"))
            await reader.readuntil(b"data: ")
            await emu._platform.background.settle()
            async with asyncio.timeout(10):
                await emu.stop()
    [execution] = emu.ledger
    assert execution.status is None


async def test_events_more_than_fit_the_channel_all_arrive(emu: Emulator) -> None:
    @emu.model("test/many")
    async def many(content: Any) -> Any:
        for number in range(200):
            yield number

    assert payloads(await stream(emu, "test/many")) == list(range(200))
