"""WebSockets of a mounted application: realtime ones and any others (PROTOCOL 10)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from fal_async.emulator import Emulator, Fault, RunnerSettings, asgi_model
from fal_async.session import AsyncFal
from tests.emulator.asgi_apps import ID, App, Gate, Given, Message, call, mount, until
from tests.emulator.raw import connected, post

pytestmark = pytest.mark.usefixtures("unheard")
REFUSED = (1011, "Error while forwarding the request")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def url(emu: Emulator, path: str) -> str:
    return f"{emu.url}/fal.run/{ID}{path}"


async def accept(given: Given) -> None:
    assert (await given.receive())["type"] == "websocket.connect"
    await given.send({"type": "websocket.accept"})


async def echo(given: Given) -> None:
    """Says back what it hears, until it hears the end."""
    await accept(given)
    while (message := await given.receive())["type"] == "websocket.receive":
        await given.send({**message, "type": "websocket.send"})


async def end_of(socket: aiohttp.ClientWebSocketResponse[bool]) -> tuple[Any, Any]:
    message = await socket.receive()
    assert message.type is aiohttp.WSMsgType.CLOSE, message
    return message.data, message.extra


# --- as it is -------------------------------------------------------------------------------------------


async def test_what_either_end_says_is_passed_on_as_it_is(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    mount(emu, realtime=echo)
    async with http.ws_connect(url(emu, "/realtime")) as socket:
        await socket.send_str("text")
        await socket.send_bytes(b"\x00bytes")
        assert (await socket.receive_str(), await socket.receive_bytes()) == ("text", b"\x00bytes")
        await socket.close(code=3000, message=b"bye")
    await emu.until(lambda: emu.in_flight == 0)
    assert [(e.status, e.billed, e.model) for e in emu.ledger] == [(200, True, ID)]
    assert emu.requests["realtime"] == 2


async def test_it_is_told_of_the_call_as_of_any_other(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    app = mount(emu, any_path=echo)
    headers = {"Authorization": "Key id:secret", "X-Own": "1"}
    where = url(emu, "/any/path?a=1&max_buffering=5")
    async with http.ws_connect(where, headers=headers, protocols=("one", "two")):
        await emu.until(lambda: len(emu.ledger) == 1)
    scope, told = app.given[0].scope, app.given[0].headers
    assert (scope["type"], scope["scheme"]) == ("websocket", "ws")
    assert (scope["path"], scope["query_string"]) == ("/any/path", b"a=1&max_buffering=5")
    assert scope["subprotocols"] == ["one", "two"]
    assert (told["x-fal-endpoint"], told["x-own"]) == ("me/app/any/path", "1")
    assert told["x-fal-request-id"] == next(iter(emu.ledger)).request_id
    assert not {"authorization", "upgrade", "sec-websocket-key"} & told.keys()


async def test_our_client_talks_with_it_as_with_any_realtime_model(emu: Emulator) -> None:
    async def live(given: Given) -> None:
        await accept(given)
        heard = msgspec.msgpack.decode((await given.receive())["bytes"])
        said = msgspec.msgpack.encode({"heard": heard})
        await given.send({"type": "websocket.send", "bytes": said})
        timing = {"type": "x-fal-message", "action": "timings", "timing": 0.1}
        await given.send({"type": "websocket.send", "text": json.dumps(timing)})
        await given.receive()

    mount(emu, realtime=live)
    async with AsyncFal(hosts=emu.hosts) as fal, fal.realtime(ID) as connection:
        await connection.send({"prompt": "a cat"})
        assert await anext(aiter(connection)) == {"heard": {"prompt": "a cat"}}


async def test_it_hears_how_its_caller_said_goodbye_and_hears_it_again(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    heard: list[Message] = []

    async def listen(given: Given) -> None:
        await accept(given)
        heard.extend([await given.receive(), await given.receive()])
        await given.send({"type": "websocket.send", "text": "to nobody"})
        await given.send({"type": "websocket.close"})

    app = mount(emu, ws=listen)
    async with http.ws_connect(url(emu, "/ws")) as socket:
        await socket.close(code=3001, message=b"bye")
    await emu.until(lambda: any(e.status for e in emu.ledger))
    assert heard == 2 * [{"type": "websocket.disconnect", "code": 3001, "reason": "bye"}]
    assert app.paths == ["/ws"]


async def test_its_goodbye_is_its_own_and_one_that_returns_says_the_usual(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    async def leave(given: Given) -> None:
        await accept(given)
        await given.send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        assert (await given.receive())["type"] == "websocket.disconnect"

    mount(emu, leaves=leave, returns=accept)
    async with http.ws_connect(url(emu, "/leaves")) as socket:
        assert await end_of(socket) == (4001, "enough")
    async with http.ws_connect(url(emu, "/returns")) as socket:
        assert await end_of(socket) == (1000, "")


@pytest.mark.parametrize("how", ["its own", "by a fault"])
async def test_a_reason_too_long_for_a_closing_frame_is_cut_between_characters(
    how: str, emu: Emulator, http: aiohttp.ClientSession
) -> None:
    reason = "a" + 100 * "ä"

    async def close(given: Given) -> None:
        await accept(given)
        await given.send({"type": "websocket.close", "code": 4001, "reason": reason})

    mount(emu, ws=close)
    if how == "by a fault":
        fault = Fault("socket_close", status=4001, body=reason.encode(), events=0)
        emu.faults.add(fault)
    async with http.ws_connect(url(emu, "/ws")) as socket:
        assert await end_of(socket) == (4001, "a" + 61 * "ä")


async def test_what_it_does_not_receive_waits_and_then_its_caller_does(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    gate, heard = Gate(), []

    async def late(given: Given) -> None:
        await accept(given)
        await gate.wait()
        heard.extend([(await given.receive())["text"] for _ in range(100)])

    mount(emu, ws=late)
    async with http.ws_connect(url(emu, "/ws")) as socket:
        for n in range(100):
            await socket.send_str(str(n))
        await emu.until(lambda: emu.requests["realtime"] >= 32)
        assert emu.requests["realtime"] == 32
        gate.open()
        assert await end_of(socket) == (1000, "")
    assert heard == [str(n) for n in range(100)]


async def test_one_that_gives_up_receiving_loses_nothing(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    gate, heard = Gate(), []

    async def impatient(given: Given) -> None:
        await accept(given)
        waiting = asyncio.ensure_future(given.receive())
        await gate.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await given.send({"type": "websocket.send", "text": "go"})
        heard.append((await given.receive())["text"])

    mount(emu, ws=impatient)
    async with http.ws_connect(url(emu, "/ws")) as socket:
        await gate.reached()
        gate.open()
        assert await socket.receive_str() == "go"
        await socket.send_str("first")
        await end_of(socket)
    assert heard == ["first"]


# --- refused, failed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closes", "returns", "raises", "leaves"])
async def test_one_that_does_not_take_a_connection_has_it_closed(
    emu: Emulator, http: aiohttp.ClientSession, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(given: Given) -> None:
        await given.receive()
        if how == "closes":
            await given.send({"type": "websocket.close", "code": 1008})
        if how == "raises":
            raise ZeroDivisionError
        if how == "leaves":
            raise SystemExit

    mount(emu, ws=refuse)
    async with http.ws_connect(url(emu, "/ws")) as socket:
        assert await end_of(socket) == REFUSED
    await emu.until(lambda: any(e.status for e in emu.ledger))
    assert [(e.status, e.billed) for e in emu.ledger] == [(500, False)]
    assert bool(caplog.records) is (how in {"raises", "leaves"})


async def test_one_that_fails_in_the_middle_has_it_closed(
    emu: Emulator, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(given: Given) -> None:
        await accept(given)
        await given.receive()
        await given.send({"type": "websocket.reject"})

    mount(emu, ws=fail)
    async with http.ws_connect(url(emu, "/ws")) as socket:
        await socket.send_str("x")
        assert await end_of(socket) == REFUSED
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "there is no 'websocket.reject'" in caplog.text


async def test_who_may_connect_is_the_platforms_to_say() -> None:
    app = App(ws=echo)
    async with (
        Emulator(keys={"id:secret"}, models=[asgi_model(ID, app)]) as emu,
        aiohttp.ClientSession() as http,
    ):
        for where in (url(emu, "/ws"), url(emu, "/ws?fal_jwt_token=wrong")):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(where)
            assert refused.value.status == 401
        async with AsyncFal(hosts=emu.hosts, key="id:secret") as fal:
            token = await fal.token(f"{ID}/ws")
        async with http.ws_connect(url(emu, f"/ws?fal_jwt_token={token}")) as socket:
            await socket.send_str("x")
            assert await socket.receive_str() == "x"
    assert len(app.given) == 1


async def test_one_connection_too_many_is_refused(http: aiohttp.ClientSession) -> None:
    async with Emulator(models=[asgi_model(ID, App(ws=echo), own=False)], limit=1) as emu:
        async with http.ws_connect(url(emu, "/ws")):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(url(emu, "/ws"))
            assert refused.value.status == 429
        await emu.until(lambda: emu.in_flight == 0)
        async with http.ws_connect(url(emu, "/ws")):
            pass


async def test_a_connection_waits_for_a_runner_and_not_for_ever(
    http: aiohttp.ClientSession,
) -> None:
    none = RunnerSettings(count=0, patience=5)
    model = asgi_model(ID, App(ws=echo), runners=none)
    async with Emulator(models=[model], clock="virtual") as emu:
        connecting = asyncio.ensure_future(http.ws_connect(url(emu, "/ws")))
        await emu.until(lambda: emu.requests["connect"] == 1)
        await emu.advance(5.1)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await connecting
        assert refused.value.status == 503


# --- who leaves -----------------------------------------------------------------------------------------


async def test_who_vanishes_is_told_of_and_has_it_cancelled(emu: Emulator) -> None:
    heard: list[Message] = []
    gate = Gate()

    async def listen(given: Given) -> None:
        await accept(given)
        gate.open()
        heard.append(await given.receive())

    app = mount(emu, realtime=listen)
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    async with connected(emu) as (_, writer):
        writer.write(post(f"/fal.run/{ID}/realtime", b"", method="GET", headers=upgrade))
        await gate.wait()
        writer.transport.abort()
    await emu.until(lambda: any(e.status for e in emu.ledger))
    await until(lambda: sorted(app.ended) == ["/realtime", "/realtime/cancel"])
    assert heard == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]
    first, cancel = app.given
    assert cancel.scope["method"] == "POST"
    assert cancel.headers["x-fal-request-id"] == first.headers["x-fal-request-id"]


async def test_it_may_work_on_for_a_caller_that_has_gone_and_keeps_its_runner(
    emu: Emulator,
) -> None:
    begun, gate = Gate(), Gate()

    async def work(given: Given) -> None:
        await accept(given)
        begun.open()
        await gate.wait()
        await given.send({"type": "websocket.send", "text": "to nobody"})

    app = mount(emu, ws=work)
    async with aiohttp.ClientSession() as http, http.ws_connect(url(emu, "/ws")):
        await begun.wait()
    await gate.reached()
    assert emu.in_flight == 1
    gate.open()
    await emu.until(lambda: emu.in_flight == 0)
    assert app.ended == ["/ws"]


async def test_its_connections_are_cut_off_when_the_emulator_stops(
    http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    emu = Emulator(models=[])
    app = mount(emu, ws=echo)
    async with emu:
        socket = await http.ws_connect(url(emu, "/ws"))
        await emu.until(lambda: len(emu.ledger) == 1)
        await until(lambda: bool(app.given))
        await emu.stop()
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSED
    assert app.ended == ["/ws"]
    assert caplog.records == []


# --- faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["socket_drop", "socket_close", "socket_error"])
async def test_faults_end_its_connections_and_it_hears_of_it(
    emu: Emulator, http: aiohttp.ClientSession, kind: str
) -> None:
    app = mount(emu, ws=echo)
    emu.faults.add(Fault(kind, operation="realtime", events=1))
    async with http.ws_connect(url(emu, "/ws")) as socket:
        await socket.send_str("1")
        assert await socket.receive_str() == "1"
        if kind == "socket_error":
            assert "x-fal-error" in await socket.receive_str()
        message = await socket.receive()
        assert message.type is not aiohttp.WSMsgType.TEXT
    await emu.until(lambda: any(e.ended for e in emu.ledger))
    assert app.ended[0] == "/ws"


async def test_faults_that_a_connection_survives_stand_between_its_messages(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    mount(emu, ws=echo)
    emu.faults.add(Fault("socket_unknown", operation="realtime", events=0))
    async with http.ws_connect(url(emu, "/ws")) as socket:
        await socket.send_str("1")
        assert "x-fal-news" in await socket.receive_str()
        assert await socket.receive_str() == "1"


async def test_a_connection_that_stalls_says_nothing_more_to_its_caller(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    app = mount(emu, ws=echo)
    emu.faults.add(Fault("socket_stall", operation="realtime", events=1))
    async with http.ws_connect(url(emu, "/ws")) as socket:
        await socket.send_str("1")
        assert await socket.receive_str() == "1"
        await socket.send_str("2")
        await emu.until(lambda: emu.requests["realtime"] == 2)
        waiting = asyncio.ensure_future(socket.receive())
        assert (await call(emu, "/none")).status == 404
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await emu.until(lambda: all(e.ended for e in emu.ledger))
    assert app.ended[-1] == "/ws"
