"""The emulator's WebSockets as another client sees them: frames, refusals, sessions, tokens."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from fal_async.emulator import Emulator, Fault, Model, Realtime
from fal_async.emulator.realtime import Inbox

WS = "ws.fal.run"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def live(emu: Emulator, **settings: Any) -> None:
    own = Realtime(**{"function": lambda given: given, **settings})
    emu.register(Model(id="me/live", function=dict, realtime=own))


async def frames(socket: aiohttp.ClientWebSocketResponse[bool]) -> list[Any]:
    """All frames up to the end of an answer."""
    said: list[Any] = []
    while not said or not isinstance(said[-1], dict) or said[-1].get("type") != "end":
        message = await socket.receive()
        assert message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}, message
        is_text = message.type is aiohttp.WSMsgType.TEXT
        said.append(json.loads(message.data) if is_text else message.data)
    return said


# --- the gateway ----------------------------------------------------------------------------------------


async def test_an_answer_is_a_start_a_body_and_an_end(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(f"{emu.url}/{WS}/emulator/echo") as socket:
        await socket.send_str('{"a": 1}')
        start, body, end = await frames(socket)
    assert (start["type"], start["status"]) == ("start", 200)
    assert start["headers"]["content-type"] == "application/json"
    assert start["headers"]["x-fal-request-id"] == start["request_id"] == end["request_id"]
    assert body == {"a": 1}
    assert (end["type"], end["status"]) == ("end", 200)
    assert end["time_to_first_byte_seconds"] >= 0
    assert [e.request_id for e in emu.ledger] == [start["request_id"]]


async def test_payloads_may_be_sent_ahead_and_are_answered_in_order(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(f"{emu.url}/emulator/echo", headers={"Host": WS}) as socket:
        for number in range(5):
            await socket.send_bytes(json.dumps({"i": number}).encode())
        bodies = [(await frames(socket))[1] for _ in range(5)]
    assert bodies == [{"i": number} for number in range(5)]
    assert (emu.received, emu.requests["websocket"], emu.peak_in_flight) == (5, 5, 1)


async def test_bodies_that_are_no_text_are_binary_frames_of_limited_size(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    raw = bytes(range(256)) * 400
    async with http.ws_connect(f"{emu.url}/{WS}/emulator/raw") as socket:
        await socket.send_json({"base64": base64.b64encode(raw).decode()})
        _, *pieces, _ = await frames(socket)
    assert b"".join(pieces) == raw
    assert max(map(len, pieces)) == 65_536


async def test_a_failure_has_its_status_at_both_ends_and_its_body_between(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(f"{emu.url}/{WS}/fal-ai/fast-sdxl") as socket:
        await socket.send_str("no json")
        start, body, end = await frames(socket)
    assert (start["status"], end["status"]) == (422, 422)
    assert body["detail"][0]["type"]
    assert emu.ledger.billed() == 0


async def test_a_call_goes_on_when_its_caller_has_left(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    go = asyncio.Event()

    @emu.model("me/held")
    async def held(given: Any) -> Any:
        await go.wait()
        return given

    timeout = aiohttp.ClientWSTimeout(
        ws_close=0.1
    )  # nobody answers the goodbye while the call runs
    async with http.ws_connect(f"{emu.url}/{WS}/me/held", timeout=timeout) as socket:
        await socket.send_str("{}")
        await emu.until(lambda: emu.in_flight == 1)
    go.set()
    await emu.until(lambda: emu.ledger.billed() == 1)


async def test_stopping_ends_open_connections(http: aiohttp.ClientSession) -> None:
    emu = await Emulator().start()
    async with http.ws_connect(f"{emu.url}/{WS}/emulator/echo") as socket:
        await socket.send_str("{}")
        await frames(socket)
        await emu.stop()
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSED


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{WS}/no/such", 404),
        (f"{WS}/nothing", 404),
        ("fal.run/no/such/realtime", 404),
        ("fal.run/emulator/refuse/realtime", 404),
        ("queue.fal.run/emulator/echo", 404),
    ],
)
async def test_what_is_not_there_opens_nothing(
    emu: Emulator, http: aiohttp.ClientSession, path: str, status: int
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(f"{emu.url}/{path}")
    assert caught.value.status == status


async def test_a_request_that_is_no_handshake_finds_nothing_at_the_gateway(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    async with http.post(f"{emu.url}/{WS}/emulator/echo", json={}) as response:
        assert response.status == 404


# --- realtime -------------------------------------------------------------------------------------------


async def test_results_come_in_the_form_of_their_inputs_with_timings_behind(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(f"{emu.url}/fal.run/emulator/echo/realtime") as socket:
        await socket.send_bytes(msgspec.msgpack.encode({"a": b"1"}))
        assert msgspec.msgpack.decode((await socket.receive()).data) == {"a": b"1"}
        assert (await socket.receive_json())["action"] == "timings"
        await socket.send_str('{"a": 1}')
        assert await socket.receive_json() == {"a": 1}
        await emu.until(lambda: emu.in_flight == 1)
    await emu.until(lambda: emu.in_flight == 0)


async def test_each_result_comes_in_the_form_of_its_own_input(
    frozen: Emulator, http: aiohttp.ClientSession
) -> None:
    live(frozen, run_time=10.0, timings=False)
    async with http.ws_connect(f"{frozen.url}/fal.run/me/live/realtime") as socket:
        await socket.send_bytes(msgspec.msgpack.encode({"a": 1}))
        await socket.send_str('{"a": 2}')
        await frozen.until(lambda: frozen.requests["realtime"] == 2)
        await frozen.advance(20)
        assert msgspec.msgpack.decode(await socket.receive_bytes()) == {"a": 1}
        assert await socket.receive_json() == {"a": 2}


async def test_a_run_lasts_and_an_idle_session_ends_on_the_emulators_clock(
    frozen: Emulator, http: aiohttp.ClientSession
) -> None:
    live(frozen, run_time=10.0, idle_timeout=60.0, timings=False)
    async with http.ws_connect(f"{frozen.url}/fal.run/me/live/realtime") as socket:
        await socket.send_str("{}")
        await frozen.advance(9)
        assert frozen.ledger.running() == 1
        await frozen.advance(1)
        assert await socket.receive_json() == {}
        await frozen.advance(61)
        ended = await socket.receive_json()
        assert (ended["type"], ended["error"]) == ("x-fal-error", "TIMEOUT")
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1000)
    (execution,) = frozen.ledger
    assert (execution.started, execution.ended) == (0, 10)


async def test_a_model_that_fails_says_so_and_closes(
    emu: Emulator, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Any) -> Any:
        raise ZeroDivisionError("by zero")

    live(emu, function=fail)
    async with http.ws_connect(f"{emu.url}/fal.run/me/live/realtime") as socket:
        await socket.send_str("{}")
        said = await socket.receive_json()
        assert said == {"type": "x-fal-error", "error": "INTERNAL_ERROR", "reason": "by zero"}
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert emu.ledger.billed() == 0
    assert "me/live failed" in caplog.text


@pytest.mark.parametrize("output", [object(), 2**64, "\ud800"])
async def test_a_result_that_no_frame_can_say_is_the_models_failure(
    emu: Emulator, http: aiohttp.ClientSession, output: object
) -> None:
    """PROTOCOL 10: as whatever goes wrong in an application."""
    live(emu, function=lambda _: output)
    async with http.ws_connect(f"{emu.url}/fal.run/me/live/realtime") as socket:
        await socket.send_bytes(msgspec.msgpack.encode({}))
        assert (await socket.receive_json())["error"] == "INTERNAL_ERROR"
        assert (await socket.receive()).data == 1000
    [execution] = emu.ledger
    assert (execution.status, execution.billed) == (500, False)


async def test_a_model_that_does_not_give_a_result_for_each_input_has_failed(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    live(emu, function=lambda _: None, batch=2)
    async with http.ws_connect(f"{emu.url}/fal.run/me/live/realtime") as socket:
        await socket.send_str("{}")
        assert (await socket.receive_json())["error"] == "INTERNAL_ERROR"
    [execution] = emu.ledger
    assert (execution.status, execution.billed) == (500, False)
    assert emu.ledger.running() == 0


async def test_a_limit_refuses_the_handshake(http: aiohttp.ClientSession) -> None:
    async with Emulator(limit=1) as emu:
        url = f"{emu.url}/fal.run/emulator/echo/realtime"
        async with http.ws_connect(url):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await http.ws_connect(url)
            assert caught.value.status == 429
            assert emu.refused == 1


async def test_a_caller_that_leaves_in_mid_run_frees_its_slot(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    async def never(_: Any) -> Any:
        await asyncio.Event().wait()

    live(emu, function=never)
    async with http.ws_connect(f"{emu.url}/fal.run/me/live/realtime") as socket:
        await socket.send_str("{}")
        await emu.until(lambda: emu.ledger.running() == 1)
        socket._response.close()
    await emu.until(lambda: emu.in_flight == 0)
    await emu.until(lambda: emu.ledger.running() == 0)


# --- tokens ---------------------------------------------------------------------------------------------


async def token(http: aiohttp.ClientSession, emu: Emulator, key: str = "id:secret") -> str:
    content = {"allowed_apps": ["echo"], "token_expiration": 60}
    head = {"Authorization": f"Key {key}"}
    url = f"{emu.url}/rest.fal.ai/tokens/"
    async with http.post(url, json=content, headers=head) as response:
        assert response.status == 200, response.status
        said = await response.json()
        assert isinstance(said, str)
        return said


async def test_a_token_looks_like_one_and_opens_until_it_expires(
    http: aiohttp.ClientSession,
) -> None:
    async with Emulator(keys={"id:secret"}, clock="virtual") as emu:
        given = await token(http, emu)
        head, content, _ = given.split(".")
        assert json.loads(base64.urlsafe_b64decode(head + "=="))["typ"] == "JWT"
        assert json.loads(base64.urlsafe_b64decode(content + "=="))["exp"]
        url = f"{emu.url}/fal.run/emulator/echo/realtime?fal_jwt_token="
        async with http.ws_connect(url + given) as socket:
            await socket.send_str("{}")
            assert await socket.receive_json() == {}
        assert [execution.key_id for execution in emu.ledger] == ["id"]
        await emu.advance(60)
        for bad in (given, "invented"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await http.ws_connect(url + bad)
            assert caught.value.status == 401


async def test_a_token_may_be_refused_over_the_open_connection(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    live(emu, says_unauthorized=True)
    url = f"{emu.url}/fal.run/me/live/realtime?fal_jwt_token=bad"
    async with http.ws_connect(url) as socket:
        assert await socket.receive_json() == {"status": "error", "error": "Unauthorized"}
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE


async def test_a_token_that_expires_may_cut_its_connection(
    frozen: Emulator, http: aiohttp.ClientSession
) -> None:
    live(frozen, token_cuts=True)
    content = {"allowed_apps": ["me/live/realtime"], "duration": 30}
    url = f"{frozen.url}/rest.alpha.fal.ai/tokens/realtime"
    async with http.post(url, json=content) as response:
        given = (await response.json())["token"]
    url = f"{frozen.url}/fal.run/me/live/realtime?fal_jwt_token={given}"
    async with http.ws_connect(url) as socket:
        await frozen.advance(29)
        await socket.send_str("{}")
        assert await socket.receive_json() == {}
        await socket.receive_json()
        await frozen.advance(1)
        assert (await socket.receive_json())["error"] == "Unauthorized"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "tokens/", {"allowed_apps": "echo"}, 422),
        ("POST", "tokens/", [], 422),
        ("POST", "tokens/other", {}, 404),
        ("GET", "tokens/", {}, 405),
    ],
)
async def test_what_asks_for_no_token_gets_none(
    emu: Emulator,
    http: aiohttp.ClientSession,
    method: str,
    path: str,
    content: Any,
    status: int,
) -> None:
    async with http.request(method, f"{emu.url}/rest.fal.ai/{path}", json=content) as response:
        assert response.status == status


async def test_tokens_need_a_key(http: aiohttp.ClientSession) -> None:
    async with Emulator(keys={"id:secret"}) as emu:
        url = f"{emu.url}/rest.fal.ai/tokens/"
        async with http.post(url, json={"allowed_apps": ["echo"]}) as response:
            assert response.status == 401


# --- values ---------------------------------------------------------------------------------------------


def test_a_full_inbox_drops_the_oldest() -> None:
    inbox = Inbox(2)
    for number in range(5):
        inbox.put(number)
    assert (inbox.dropped, len(inbox)) == (3, 2)
    assert inbox.take(1) == [3]
    assert inbox.take(5) == [4]
    assert inbox.take(5) == []


def test_an_inbox_without_a_size_drops_nothing() -> None:
    inbox = Inbox(None)
    for number in range(1000):
        inbox.put(number)
    assert (inbox.dropped, inbox.take(2)) == (0, [0, 1])


@pytest.mark.parametrize("path", ["realtime", "/realtime/", ""])
def test_a_path_begins_with_a_slash(path: str) -> None:
    with pytest.raises(ValueError, match="slash"):
        Realtime(function=dict, path=path)


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        ("socket_drop", "run"),
        ("socket_drop", "any"),
        ("socket_drop", "connect"),
        ("half_body", "websocket"),
        ("reset", "realtime"),
        ("runner_disconnected", "realtime"),
        ("reset", "socket"),
    ],
)
def test_a_rule_that_can_never_apply_is_refused(kind: str, operation: Any) -> None:
    with pytest.raises(ValueError, match="no fault of kind"):
        Fault(kind, operation=operation)


@pytest.mark.parametrize(
    ("kind", "operation"),
    [("socket_stall", "realtime"), ("bad_json", "websocket"), ("half_body", "connect")],
)
def test_a_rule_that_can_apply_is_taken(kind: str, operation: Any) -> None:
    assert Fault(kind, operation=operation).operation == operation
