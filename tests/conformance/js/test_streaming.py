"""Models that stream, read by fal's JavaScript client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fal_async.emulator import Fault, Model, ThreadedEmulator
from tests.conformance.js.node import Node

STREAM = """
    const stream = await fal.stream(given.model, { input: given.input, ...given.options });
    const events = [];
    for await (const event of stream) events.push(event);
    return { events, last: await stream.done(), requestId: stream.requestId };
"""
THROWN = """
    const stream = await fal.stream(given.model, { input: given.input });
    await stream.done();
"""
LLM = "fal-ai/any-llm"
PROMPT = {"prompt": "hello"}


async def bytes_in_two_pieces(content: Any) -> AsyncIterator[bytes]:
    yield b"\x00\xff"
    yield b"end"


def test_events_come_one_by_one_and_the_last_is_the_result(
    js: Node, emulator: ThreadedEmulator
) -> None:
    told = js(STREAM, model=LLM, input=PROMPT)
    *parts, last = told["events"]
    assert [part["partial"] for part in parts] == [True] * len(parts)
    assert parts
    assert last == told["last"]
    assert last["partial"] is False
    assert last["output"].startswith(parts[-1]["output"])
    [execution] = emulator.ledger
    assert (execution.request_id, execution.billed) == (told["requestId"], True)
    assert emulator.requests == {"stream": 1}


def test_listeners_hear_the_same(js: Node) -> None:
    heard = js(
        """
        const stream = await fal.stream(given.model, { input: given.input });
        const heard = [];
        stream.on("data", (event) => heard.push(event.partial));
        await stream.done();
        return heard;
        """,
        model=LLM,
        input=PROMPT,
    )
    assert heard[-1] is False
    assert set(heard[:-1]) == {True}


def test_a_workflow_tells_of_its_nodes(js: Node) -> None:
    told = js(STREAM, model="workflows/emulator/described-picture", input={"prompt": "a cat"})
    kinds = [event["type"] for event in told["events"]]
    assert kinds == ["submit", "completion", "submit", "completion", "output"]


def test_what_is_no_stream_of_events_comes_as_bytes(js: Node, emulator: ThreadedEmulator) -> None:
    emulator.register(
        Model(
            id="me/sound",
            function=dict,
            stream=bytes_in_two_pieces,  # type: ignore[arg-type]
            stream_type="audio/wav",
        )
    )
    data = js("""
        const stream = await fal.stream("me/sound", { input: {} });
        const data = [];
        stream.on("data", (chunk) => data.push(...chunk));
        await stream.done();
        return data;
    """)
    assert bytes(data) == b"\x00\xffend"


def test_a_browser_streams_with_a_token(js: Node, emulator: ThreadedEmulator) -> None:
    told = js(STREAM, model=LLM, input=PROMPT, options={"connectionMode": "client"})
    assert told["last"]["partial"] is False
    assert emulator.requests == {"browser_token": 1, "stream": 1}
    [execution] = emulator.ledger
    assert execution.key_id == "conformance"


def test_a_browser_streams_with_a_token_of_its_server(js: Node, emulator: ThreadedEmulator) -> None:
    asked_for = js("""
        const asked = [];
        const tokenProvider = async (app) => {
            asked.push(app);
            const response = await fetch("https://rest.fal.ai/tokens/realtime", {
                method: "POST",
                headers: { authorization: `Key ${process.env.FAL_KEY}` },
                body: JSON.stringify({ allowed_apps: [app], duration: 60 }),
            });
            return (await response.json()).token;
        };
        const browser = createFalClient({ credentials: undefined });
        const stream = await browser.stream("fal-ai/any-llm", {
            input: { prompt: "hello" }, connectionMode: "client", tokenProvider,
        });
        await stream.done();
        return asked;
    """)
    assert asked_for == ["fal-ai/any-llm/stream"]
    assert emulator.ledger.billed() == 1


def test_an_input_that_does_not_fit_ends_it_before_it_begins(
    js: Node, emulator: ThreadedEmulator
) -> None:
    error = js.thrown(THROWN, model=LLM, input={})
    assert (error["class"], error["status"]) == ("ValidationError", 422)
    assert error["fieldErrors"][0]["loc"] == ["body", "prompt"]
    assert emulator.ledger.billed() == 0


def test_a_model_that_does_not_stream_is_not_found(js: Node) -> None:
    error = js.thrown(THROWN, model="emulator/work", input={})
    assert (error["class"], error["status"]) == ("ApiError", 404)
    assert error["body"] == {"detail": "Path /stream not found"}


def test_over_the_limit_a_stream_is_refused_at_once(js: Node, emulator: ThreadedEmulator) -> None:
    """The client tells of the failure itself, and so its retries never see it."""
    emulator.limit = 0
    error = js.thrown(THROWN, model=LLM, input=PROMPT)
    assert (error["class"], error["status"]) == ("ApiError", 429)
    assert error["body"]["type"] == "concurrent_requests_limit"
    assert (emulator.refused, emulator.requests["stream"]) == (1, 1)


@pytest.mark.parametrize("fault", ["stream_cut", "reset_in_body"])
def test_a_stream_that_breaks_is_an_error(js: Node, emulator: ThreadedEmulator, fault: str) -> None:
    emulator.faults.add(Fault(fault, operation="stream"))
    error = js.thrown(THROWN, model=LLM, input=PROMPT)
    assert (error["class"], error["status"]) == ("ApiError", 500)
    emulator.wait(emulator.until(lambda: emulator.in_flight == 0))
    assert emulator.ledger.billed() == 1


def test_a_stream_that_just_ends_looks_complete(js: Node, emulator: ThreadedEmulator) -> None:
    """Nothing in it says whether it is (PROTOCOL 8)."""
    emulator.faults.add(Fault("stream_ends", events=2))
    told = js(STREAM, model=LLM, input=PROMPT)
    assert [event["partial"] for event in told["events"]] == [True, True]


def test_a_caller_who_aborts_gets_what_has_come(js: Node, emulator: ThreadedEmulator) -> None:
    emulator.faults.add(Fault("stream_stalls", events=2))
    last = js("""
        const stream = await fal.stream("fal-ai/any-llm", { input: { prompt: "hello" } });
        let events = 0;
        stream.on("data", () => ++events === 2 && stream.abort());
        return await stream.done();
    """)
    assert last["partial"] is True
    emulator.wait(emulator.until(lambda: emulator.in_flight == 0))
    assert emulator.ledger.billed() == 1
