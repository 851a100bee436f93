"""Realtime connections of fal's JavaScript client: a token, MessagePack, control messages, errors."""

from __future__ import annotations

from typing import Any

import pytest

from fal_async.emulator import AppError, Fault, Model, ThreadedEmulator
from fal_async.emulator.realtime import Realtime
from tests.conformance.js.node import Node

#: Sends what is given, one after the other; gives what came back, and what went wrong.
TALK = """
    const results = [];
    const errors = [];
    const ended = promised();
    const connection = fal.realtime.connect(given.model, {
        throttleInterval: 0,
        onResult: (result) => {
            results.push(result);
            if (results.length === given.inputs.length) ended.resolve();
            else connection.send(given.inputs[results.length]);
        },
        onError: (error) => {
            errors.push(described(error));
            ended.resolve();
        },
        ...given.options,
    });
    connection.send(given.inputs[0]);
    await ended.promise;
    connection.close();
    return { results, errors };
"""


def out_of_order(_: Any) -> Any:
    raise AppError(500, "out of order")


@pytest.fixture
def js(js: Node) -> Node:
    if not js.has_websocket:
        pytest.skip("this Node has no WebSocket")
    return js


def live(emulator: ThreadedEmulator, function: Any = dict, **settings: Any) -> str:
    realtime = Realtime(function=function, **settings)
    emulator.register(Model(id="me/live", function=dict, realtime=realtime))
    return "me/live"


def test_inputs_are_answered_in_their_order(js: Node, emulator: ThreadedEmulator) -> None:
    inputs = [{"n": 1}, {"n": 2, "text": "ü", "list": [None, 1.5]}, {"n": 3}]
    said = js(TALK, model="emulator/echo", inputs=inputs)
    assert said == {"results": inputs, "errors": []}
    assert emulator.requests == {"browser_token": 1, "connect": 1, "realtime": 3}
    assert [execution.key_id for execution in emulator.ledger] == ["conformance"] * 3
    assert emulator.ledger.billed("emulator/echo") == 3


def test_bytes_stay_bytes(js: Node, emulator: ThreadedEmulator) -> None:
    model = live(emulator, lambda given: {"is": type(given["image"]).__name__, **given})
    said = js("""
        const ended = promised();
        const connection = fal.realtime.connect("me/live", {
            onResult: ended.resolve,
            onError: ended.reject,
        });
        connection.send({ image: new Uint8Array([0, 255]) });
        const result = await ended.promise;
        connection.close();
        return { is: result.is, image: [...result.image], view: result.image.constructor.name };
    """)
    assert said == {"is": "bytes", "image": [0, 255], "view": "Uint8Array"}
    assert emulator.ledger.billed(model) == 1


def test_it_may_speak_json_too(js: Node) -> None:
    said = js("""
        const ended = promised();
        const connection = fal.realtime.connect("emulator/echo", {
            encodeMessage: (input) => JSON.stringify(input),
            onResult: ended.resolve,
            onError: ended.reject,
        });
        connection.send({ a: 1 });
        const result = await ended.promise;
        connection.close();
        return result;
    """)
    assert said == {"a": 1}


def test_it_asks_for_another_path_and_a_smaller_buffer(
    js: Node, emulator: ThreadedEmulator
) -> None:
    model = live(emulator, path="/lively")
    said = js(TALK, model=model, inputs=[{"a": 1}], options={"path": "lively", "maxBuffering": 1})
    assert said["results"] == [{"a": 1}]


def test_a_slot_is_held_while_it_is_connected(js: Node, emulator: ThreadedEmulator) -> None:
    js(TALK, model="emulator/echo", inputs=[{}])
    assert emulator.peak_in_flight == 1
    emulator.wait(emulator.until(lambda: emulator.in_flight == 0))


def test_an_error_of_the_model_is_an_api_error(js: Node, emulator: ThreadedEmulator) -> None:
    model = live(emulator, out_of_order)
    said = js(TALK, model=model, inputs=[{}])
    [error] = said["errors"]
    assert (error["class"], error["status"]) == ("ApiError", 400)
    assert error["message"] == "INTERNAL_ERROR: out of order"
    assert emulator.ledger.billed(model) == 0


def test_an_end_for_want_of_inputs_is_no_error(js: Node, emulator: ThreadedEmulator) -> None:
    model = live(emulator, idle_timeout=0.05)
    said = js("""
        const results = [];
        const errors = [];
        const second = promised();
        const connection = fal.realtime.connect("me/live", {
            throttleInterval: 0,
            onResult: (result) => results.push(result) === 2 && second.resolve(),
            onError: (error) => errors.push(described(error)),
        });
        connection.send({ n: 1 });
        // The client does not tell of the end, and connects again for the next input.
        setTimeout(() => connection.send({ n: 2 }), 300);
        await second.promise;
        connection.close();
        return { results, errors };
    """)
    assert said == {"results": [{"n": 1}, {"n": 2}], "errors": []}
    assert emulator.requests["connect"] == 2
    assert emulator.ledger.billed(model) == 2


def test_a_connection_that_drops_is_an_error(js: Node, emulator: ThreadedEmulator) -> None:
    emulator.faults.add(Fault("socket_drop", events=1))
    said = js(TALK, model="emulator/echo", inputs=[{}, {}])
    assert len(said["results"]) <= 1
    assert {error["class"] for error in said["errors"]} == {"ApiError"}


def test_a_close_with_a_reason_is_an_error_with_it(js: Node, emulator: ThreadedEmulator) -> None:
    emulator.faults.add(Fault("socket_close", events=1, status=1011, body=b"out of order"))
    said = js(TALK, model="emulator/echo", inputs=[{"n": 1}, {"n": 2}])
    assert said["results"] == [{"n": 1}]
    [error] = said["errors"]
    assert error["status"] == 1011
    assert error["message"] == "Error closing the connection: out of order"


def test_a_token_that_nobody_gave_opens_nothing(js: Node, emulator: ThreadedEmulator) -> None:
    said = js("""
        const errors = [];
        const first = promised();
        const connection = fal.realtime.connect("emulator/echo", {
            tokenProvider: async () => "invented",
            onResult: first.reject,
            onError: (error) => first.resolve(described(error)),
        });
        connection.send({});
        return await first.promise;
    """)
    assert said["class"] == "ApiError"
    assert set(emulator.requests) == {"connect"}
    assert len(emulator.ledger) == 0


def test_a_token_refused_over_the_open_connection_is_asked_for_again(
    js: Node, emulator: ThreadedEmulator
) -> None:
    model = live(emulator, says_unauthorized=True)
    said = js("""
        const tokens = ["invented"];
        const result = promised();
        const tokenProvider = async (app) => tokens.pop() ?? (await granted(app));
        const granted = async (app) => {
            const response = await fetch("https://rest.fal.ai/tokens/realtime", {
                method: "POST",
                headers: { authorization: `Key ${process.env.FAL_KEY}` },
                body: JSON.stringify({ allowed_apps: [app], duration: 60 }),
            });
            return (await response.json()).token;
        };
        const connection = fal.realtime.connect("me/live", {
            throttleInterval: 0,
            tokenProvider,
            onResult: result.resolve,
            onError: result.reject,
        });
        connection.send({ n: 1 });
        // The input is lost with the connection, and nobody is told: it is sent again.
        setTimeout(() => connection.send({ n: 2 }), 300);
        const value = await result.promise;
        connection.close();
        return value;
    """)
    assert said == {"n": 2}
    assert emulator.requests["connect"] == 2
    assert emulator.ledger.billed(model) == 1
