"""Sockets over the wire: what a handshake carries, what its refusal says, how a connection ends."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from fal_async import (
    AccessDeniedError,
    AsyncFal,
    Billing,
    ConnectError,
    ConnectTimeoutError,
    FalError,
    GatewayError,
    Hosts,
    RedirectError,
    StatusError,
)
from fal_async.emulator import Emulator
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.messages import HttpRequest
from fal_async.transport.authorizing import Authorizing
from fal_async.transport.base import Call
from fal_async.transport.pool import Pool
from fal_async.transport.proxies import ProxyRouter
from fal_async.transport.sockets import Closed
from fal_async.transport.websocket import AuthorizingSockets, WebSockets
from tests.support.scripted_server import Script, answer, message, say_and, silence
from tests.support.secrets import KEY, assert_discreet
from tests.support.virtual_time import in_virtual_time, turns

MAX = 1_000_000


@contextlib.asynccontextmanager
async def sockets() -> Any:
    pool = Pool()
    try:
        yield WebSockets(pool, ProxyRouter(None))
    finally:
        await pool.close()


def to(url: str, **headers: str) -> HttpRequest:
    return HttpRequest(method="GET", url=f"ws{url[4:]}", headers=headers)


def a_call() -> Call:
    return Call(RetryPolicy.never())


async def opened(request: HttpRequest) -> None:
    async with sockets() as made:
        socket = await made.open(request, a_call(), max_frame=MAX)
        await socket.close()


@contextlib.asynccontextmanager
async def served(handler: Any) -> Any:
    """A WebSocket server whose handler gets the socket."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await handler(socket)
        return socket

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


# --- the key --------------------------------------------------------------------------------------------


async def test_the_key_goes_to_fals_own_origins_and_to_no_other() -> None:
    async with Script(answer(401), answer(401)) as ours, Script(answer(401)) as stranger:
        hosts = Hosts.local(ours.url)
        async with sockets() as plain:
            signed = AuthorizingSockets(plain, Authorizing(None, KEY, hosts))  # type: ignore[arg-type]
            for server, there in ((ours, "/ws.fal.run/a/b"), (stranger, "/ws.fal.run/a/b")):
                with pytest.raises(StatusError):
                    await signed.open(to(server.url + there), a_call(), max_frame=MAX)
            with pytest.raises(StatusError):
                await plain.open(to(ours.url + "/ws.fal.run/a/b"), a_call(), max_frame=MAX)
        first, second = ours.requests
        assert first.headers["authorization"] == f"Key {KEY}"
        assert "authorization" not in second.headers
        assert "authorization" not in stranger.requests[0].headers


async def test_with_a_token_the_key_stays_at_home() -> None:
    async with Script(answer(401)) as server, AsyncFal(hosts=server.hosts, key=KEY) as fal:
        with pytest.raises(FalError) as caught:
            async with fal.realtime("me/app", token="the.token.itself", headers={"x-own": "1"}):
                pass
        (request,) = server.requests
        assert "authorization" not in request.headers
        assert request.headers["x-own"] == "1"
        assert "fal_jwt_token=the.token.itself" in request.line
        assert "the.token.itself" not in repr(vars(caught.value)) + str(caught.value)


# --- refusals -------------------------------------------------------------------------------------------


async def test_a_refusal_says_what_its_body_says() -> None:
    async with Script(answer(403, {"detail": "Not for you"})) as server:
        with pytest.raises(AccessDeniedError, match="Not for you") as caught:
            await opened(to(server.url))
        assert caught.value.billing is Billing.NOT_BILLED


async def test_the_body_of_a_refusal_may_be_packed() -> None:
    body = gzip.compress(b'{"detail":"Not for you"}')
    said = message(403, body=body, headers={"Content-Encoding": "gzip"})
    async with Script(say_and(said, "finish")) as server:
        with pytest.raises(AccessDeniedError, match="Not for you"):
            await opened(to(server.url))


async def test_a_page_of_the_load_balancer_is_no_word_of_fals() -> None:
    said = b"HTTP/1.1 503 x\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nnginx"
    async with Script(say_and(said, "finish")) as server:
        with pytest.raises(GatewayError) as caught:
            await opened(to(server.url))
        assert caught.value.billing is Billing.NOT_BILLED


async def test_a_refusal_that_breaks_off_is_known_by_its_status() -> None:
    said = b"HTTP/1.1 403 x\r\nContent-Length: 500\r\n\r\nhalf"
    async with Script(say_and(said, "finish")) as server:
        with pytest.raises(AccessDeniedError):
            await opened(to(server.url))


@in_virtual_time
async def test_a_refusal_whose_body_never_comes_is_not_waited_for_long() -> None:
    said = b"HTTP/1.1 403 x\r\nContent-Length: 500\r\n\r\n"
    async with Script(say_and(said, "hold")) as server:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(AccessDeniedError):
            await opened(to(server.url))
        assert asyncio.get_running_loop().time() - begun <= 6


async def test_a_redirect_is_not_followed() -> None:
    async with Script(answer()) as elsewhere:
        said = f"HTTP/1.1 307 x\r\nLocation: {elsewhere.url}/\r\nContent-Length: 0\r\n\r\n"
        async with Script(say_and(said.encode(), "finish")) as server:
            with pytest.raises(RedirectError):
                await opened(to(server.url))
        assert elsewhere.requests == []


SWITCHES = {
    "to nothing": b"HTTP/1.1 101 x\r\n\r\n",
    "to another protocol": b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "with a wrong proof": b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: no\r\n\r\n",
}


@pytest.mark.parametrize("said", SWITCHES.values(), ids=SWITCHES)
async def test_a_switch_to_something_else_is_no_connection(said: bytes) -> None:
    async with Script(say_and(said, "hold")) as server:
        with pytest.raises(ConnectError) as caught:
            await opened(to(server.url, Authorization=f"Key {KEY}"))
        assert caught.value.billing is Billing.NOT_BILLED
        assert_discreet(caught.value)


@in_virtual_time
async def test_a_handshake_without_an_answer_ends_after_ninety_seconds() -> None:
    async with Script(silence()) as server:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(ConnectTimeoutError):
            await opened(to(server.url))
        assert 89 <= asyncio.get_running_loop().time() - begun <= 91


# --- frames and ends ------------------------------------------------------------------------------------


async def test_frames_keep_their_kind_and_pings_are_answered() -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.ping()
        while (received := await socket.receive()).type in {
            aiohttp.WSMsgType.TEXT,
            aiohttp.WSMsgType.BINARY,
        }:
            if isinstance(received.data, str):
                await socket.send_str(received.data)
            else:
                await socket.send_bytes(received.data)

    async with served(talk) as url, sockets() as made:
        socket = await made.open(to(url), a_call(), max_frame=MAX)
        for frame in ("text", b"bytes", "", b""):
            assert await socket.send(frame)
            assert await socket.receive() == frame
        await socket.close()
        await socket.close()
        assert await socket.send("late") is False
        assert isinstance(await socket.receive(), Closed)


async def test_a_close_tells_its_code_and_reason() -> None:
    async def close(socket: web.WebSocketResponse) -> None:
        await socket.close(code=4003, message=b"go away")

    async with served(close) as url, sockets() as made:
        socket = await made.open(to(url), a_call(), max_frame=MAX)
        assert await socket.receive() == Closed(4003, "go away")
        assert await socket.receive() == Closed(4003, "go away")
        assert socket.closed == Closed(4003, "go away")
        await socket.close()


async def test_a_message_beyond_the_limit_ends_the_connection() -> None:
    async def shout(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"x" * 2000)
        await socket.receive()

    async with served(shout) as url, sockets() as made:
        socket = await made.open(to(url), a_call(), max_frame=1000)
        assert await socket.receive() == Closed(1009)


async def test_text_that_is_no_text_ends_the_connection() -> None:
    async def mumble(socket: web.WebSocketResponse) -> None:
        await socket.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
        await socket.receive()

    async with served(mumble) as url, sockets() as made:
        socket = await made.open(to(url), a_call(), max_frame=1000)
        assert await socket.receive() == Closed(1007)


async def test_a_reset_is_an_end_without_a_code() -> None:
    async def drop(socket: web.WebSocketResponse) -> None:
        socket._req.transport.abort()  # type: ignore[union-attr]

    async with served(drop) as url, sockets() as made:
        socket = await made.open(to(url), a_call(), max_frame=MAX)
        assert await socket.receive() == Closed(None)


@in_virtual_time
async def test_leaving_does_not_wait_for_a_server_that_does_not_listen() -> None:
    over = asyncio.Event()

    async def deaf(socket: web.WebSocketResponse) -> None:
        await over.wait()

    async with served(deaf) as url, sockets() as made:
        socket = await made.open(to(url), a_call(), max_frame=MAX)
        begun = asyncio.get_running_loop().time()
        await socket.close()
        assert asyncio.get_running_loop().time() - begun <= 3
        over.set()


async def test_aborting_all_ends_every_connection_at_once() -> None:
    async def deaf(socket: web.WebSocketResponse) -> None:
        await socket.receive()

    async with served(deaf) as url, sockets() as made:
        both = [await made.open(to(url), a_call(), max_frame=MAX) for _ in range(2)]
        waiting = asyncio.create_task(both[0].receive())
        await turns()
        made.abort_all()
        assert await waiting == Closed(None)
        assert await both[1].receive() == Closed(None)
        assert made._open == set()


async def test_sockets_go_through_a_proxy_like_all_else() -> None:
    async with Script(answer(407)) as proxy:
        async with AsyncFal(key=KEY, proxies=proxy.url, retry=RetryPolicy.never()) as fal:
            with pytest.raises(ConnectError, match="407") as caught:
                async with fal.websocket("fal-ai/fast-sdxl"):
                    pass
        assert proxy.requests[0].line.startswith("CONNECT ws.fal.run:443")
        assert "authorization" not in proxy.requests[0].headers
        assert_discreet(caught.value)


async def test_many_sockets_at_once_and_none_is_left() -> None:
    async with Emulator() as emu, AsyncFal(hosts=emu.hosts, limit=None) as fal:

        async def talk(number: int) -> Any:
            async with fal.websocket("emulator/echo") as ws:
                return await ws.run({"i": number})

        count = 200  # each takes two files of this process
        outputs = await asyncio.gather(*(talk(i) for i in range(count)))
        assert outputs == [{"i": i} for i in range(count)]
        assert fal._stack.plain_sockets._open == set()
