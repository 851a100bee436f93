"""Answers of a mounted application that come in pieces, over HTTP and over WebSockets (PROTOCOL 8, 9)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from fal_async.emulator import Emulator, Fault
from fal_async.emulator.channel import Channel
from fal_async.protocol.messages import HttpResponse
from fal_async.session import AsyncFal
from tests.emulator.asgi_apps import ID, Gate, Given, call, echo, mount, until
from tests.emulator.raw import ask, connected, post
from tests.support.virtual_time import turns

pytestmark = pytest.mark.usefixtures("unheard")
SSE = {"content-type": "text/event-stream"}
TARGET = f"/fal.run/{ID}"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def three(given: Given) -> None:
    """Three events, as Starlette sends them."""
    await given.begin(200, SSE)
    for n in range(3):
        await given.add(b'data: {"n":%d}\n\n' % n)
    await given.add(b"", more=False)


# --- as it comes ----------------------------------------------------------------------------------------


async def test_our_client_streams_its_events(emu: Emulator) -> None:
    mount(emu, stream=three)
    async with AsyncFal(hosts=emu.hosts) as fal, fal.stream(ID, {}) as stream:
        assert [event async for event in stream] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert emu.requests["stream"] == 1
    assert [(e.status, e.billed) for e in emu.ledger] == [(200, True)]


async def test_each_piece_is_sent_when_it_is_made_and_the_head_before_all(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    first, second = Gate(), Gate()

    async def slowly(given: Given) -> None:
        await given.begin(202, {**SSE, "x-own": "1"})
        await first.wait()
        await given.add(b"one")
        await second.wait()
        await given.add(b"two", more=False)

    mount(emu, any_path=slowly)
    async with http.post(f"{emu.url}{TARGET}/any/path") as response:
        assert (response.status, response.headers["x-own"]) == (202, "1")
        assert response.headers["x-fal-request-id"]
        first.open()
        assert await response.content.readany() == b"one"
        second.open()
        assert await response.content.read() == b"two"


async def test_an_answer_that_comes_in_pieces_and_says_its_length_keeps_it(emu: Emulator) -> None:
    size = 3 << 20

    async def large(given: Given) -> None:
        await given.begin(200, {"content-length": size})
        for _ in range(3):
            await given.add(b"a" * (1 << 20))

    mount(emu, root=large)
    answer = await call(emu)
    assert answer.headers["Content-Length"] == str(size)
    assert len(answer.body) == size


async def test_a_caller_that_does_not_read_slows_it_down(emu: Emulator) -> None:
    made = 0

    async def endless(given: Given) -> None:
        nonlocal made
        await given.begin(200)
        while True:
            await given.add(b"a" * (1 << 20))
            made += 1

    app = mount(emu, root=endless)
    async with connected(emu) as (reader, writer):
        writer.write(post(TARGET, b"{}"))
        await reader.readexactly(1)
        await turns(2000)
        assert made < 40
        writer.transport.abort()
        await until(lambda: bool(app.given[1:]))  # it is told


async def test_one_that_breaks_off_is_cut_off_for_its_caller_and_not_billed(emu: Emulator) -> None:
    async def broken(given: Given) -> None:
        await given.begin(200, SSE)
        await given.add(b"data: 1\n\n")
        raise ZeroDivisionError

    mount(emu, root=broken)
    heard = await ask(emu, post(TARGET, b"{}"))
    assert b"data: 1" in heard.body
    assert not heard.body.endswith(b"0\r\n\r\n")
    assert [(e.status, e.billed) for e in emu.ledger] == [(502, False)]


async def test_an_error_that_comes_in_pieces_is_whole_all_the_same(emu: Emulator) -> None:
    async def refused(given: Given) -> None:
        await given.begin(418, {"content-type": "application/json"})
        await given.add(b'{"detail":')
        await given.add(b'"tea"}', more=False)

    mount(emu, root=refused)
    answer = await call(emu)
    assert (answer.status, answer.json) == (418, {"detail": "tea"})


async def test_a_head_request_is_answered_without_a_body(emu: Emulator) -> None:
    mount(emu, root=three)
    heard = await ask(emu, post(TARGET, b"", method="HEAD"))
    assert (heard.status, heard.body) == (200, b"")


# --- faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body"),
    [("stream_ends", b"data: 0\n\n"), ("stream_error", b"data: 0\n\ndata: {")],
)
async def test_faults_in_mid_stream_befall_it(emu: Emulator, kind: str, body: bytes) -> None:
    async def numbers(given: Given) -> None:
        await given.begin(200, SSE)
        for n in range(3):
            await given.add(b"data: %d\n\n" % n)
        await given.add(b"", more=False)

    mount(emu, stream=numbers)
    emu.faults.add(Fault(kind, events=1))
    answer = await call(emu, "/stream")
    assert answer.body.startswith(body)
    assert b"data: 1" not in answer.body


async def test_faults_of_whole_answers_befall_one_in_pieces(emu: Emulator) -> None:
    mount(emu, root=three)
    emu.faults.add(Fault("half_body", times=1))
    heard = await ask(emu, post(TARGET, b"{}"))
    assert b'{"n":0}' in heard.body
    assert b'{"n":2}' not in heard.body
    assert (await call(emu)).body.count(b"data") == 3


# --- who leaves -----------------------------------------------------------------------------------------


async def test_who_leaves_is_charged_and_the_application_hears_of_it_in_both_ways(
    emu: Emulator,
) -> None:
    gate, heard = Gate(), []

    async def listen(given: Given) -> None:
        await given.receive()
        gate.open()
        heard.append((await given.receive())["type"])
        await given.answer({"detail": "cancelled"}, 499)

    app = mount(emu, sub=listen)
    async with connected(emu) as (_, writer):
        writer.write(post(f"{TARGET}/sub", b"{}"))
        await gate.wait()
        writer.transport.abort()
        await emu.until(lambda: any(e.status for e in emu.ledger))
    assert heard == ["http.disconnect"]
    assert sorted(app.paths) == ["/sub", "/sub/cancel"]
    first, cancel = sorted(app.given, key=lambda given: given.path)
    assert cancel.scope["method"] == "POST"
    assert cancel.headers["x-fal-request-id"] == first.headers["x-fal-request-id"]
    assert [(e.status, e.billed) for e in emu.ledger] == [(499, True)]


async def test_one_that_ends_its_stream_because_its_caller_left_is_no_failure(
    emu: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    async def stream(given: Given) -> None:
        await given.begin(200, SSE)
        await given.add(b"data: 1\n\n")
        await given.receive()
        await given.receive()  # it is told, and returns, as Starlette does

    mount(emu, root=stream)
    async with connected(emu) as (reader, writer):
        writer.write(post(TARGET, b"{}"))
        await reader.readuntil(b"data: 1")
        writer.transport.abort()
        await emu.until(lambda: any(e.status for e in emu.ledger))
    assert [(e.status, e.billed) for e in emu.ledger] == [(499, True)]
    assert caplog.records == []


async def test_it_is_told_of_a_disconnect_at_once_whenever_it_asks(emu: Emulator) -> None:
    begun, heard = Gate(), []

    async def listen(given: Given) -> None:
        await given.receive()
        begun.open()
        await given.receive()
        asking = given.receive()
        with pytest.raises(StopIteration) as told:
            asking.__await__().send(None)  # it does not wait, not even for a turn
        heard.append(told.value.value)

    mount(emu, root=listen)
    async with connected(emu) as (_, writer):
        writer.write(post(TARGET, b"{}"))
        await begun.wait()
        writer.transport.abort()
    await until(lambda: bool(heard))
    assert heard == [{"type": "http.disconnect"}]


async def test_nothing_begins_for_a_caller_that_has_left() -> None:
    class Silent:
        def cancel(self) -> None:
            pass

    channel = Channel(Silent())  # type: ignore[arg-type]
    channel.leave()
    channel.begin(HttpResponse(200, {}, b""), None)
    channel.end()
    assert await channel.take() is None


async def test_one_in_mid_stream_is_cut_off_when_the_emulator_stops(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()

    async def endless(given: Given) -> None:
        await given.begin(200, SSE)
        await given.add(b"data: 1\n\n")
        await gate.wait()

    emu = Emulator(models=[])
    app = mount(emu, root=endless)
    async with emu, connected(emu) as (reader, writer):
        writer.write(post(TARGET, b"{}"))
        await reader.readuntil(b"data: 1")
        await gate.reached()
        await emu.stop()
        assert b"0\r\n\r\n" not in await reader.read()
    assert app.ended == ["/"]
    assert caplog.records == []


# --- the gateway over WebSockets ------------------------------------------------------------------------


async def said(emu: Emulator, path: str, payload: str) -> list[Any]:
    """All frames of one answer; those of JSON as what they say."""
    frames: list[Any] = []
    url = f"{emu.url}/ws.fal.run/{ID}{path}"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        await socket.send_str(payload)
        while not frames or not isinstance(frames[-1], dict) or frames[-1].get("type") != "end":
            data = (await socket.receive()).data
            try:
                frames.append(json.loads(data))
            except ValueError:
                frames.append(data)
    return frames


async def test_a_payload_is_a_post_and_its_answer_a_start_a_body_and_an_end(emu: Emulator) -> None:
    app = mount(emu, sub=echo)
    start, body, end = await said(emu, "/sub?a=1", '{"n": 1}')
    assert (start["type"], start["status"], body) == ("start", 200, {"n": 1})
    assert (end["status"], end["request_id"]) == (200, start["request_id"])
    scope = app.given[0].scope
    assert (scope["method"], scope["path"], scope["query_string"]) == ("POST", "/sub", b"a=1")


async def test_an_error_of_its_own_is_told_with_its_status(emu: Emulator) -> None:
    mount(emu)
    start, body, end = await said(emu, "/none", "{}")
    assert (start["status"], end["status"], body) == (404, 404, {"detail": "Not Found"})


async def test_pieces_are_frames_and_no_character_is_torn_apart(emu: Emulator) -> None:
    async def torn(given: Given) -> None:
        await given.begin(201, {"content-type": "text/plain; charset=utf-8"})
        await given.add("é".encode()[:1])
        await given.add("é".encode()[1:] + b"!")
        await given.add(b"", more=False)

    mount(emu, root=torn)
    start, text, end = await said(emu, "", "{}")
    assert (start["status"], text, end["status"]) == (201, "é!", 201)
    assert start["headers"]["content-type"] == "text/plain; charset=utf-8"
    assert start["headers"]["x-fal-request-id"] == start["request_id"]


async def test_one_that_breaks_off_says_so_at_its_end(emu: Emulator) -> None:
    async def broken(given: Given) -> None:
        await given.begin(200, {"content-type": "application/octet-stream"})
        await given.add(b"\x00")
        raise ZeroDivisionError

    mount(emu, root=broken)
    start, body, end = await said(emu, "", "{}")
    assert (start["status"], body, end["status"]) == (200, b"\x00", 502)
