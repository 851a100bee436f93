"""An answer that is read while it arrives: what it gives, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fal_async import Billing, ConnectionLostError, ConnectTimeoutError, RetryPolicy
from fal_async.protocol.messages import HttpRequest
from fal_async.transport.base import Call
from fal_async.transport.clock import LoopClock
from fal_async.transport.http import Http
from fal_async.transport.pool import Pool
from fal_async.transport.proxies import ProxyRouter
from fal_async.transport.streams import HttpStreams
from tests.support.scripted_server import Act, Script, head, in_pieces, say_and, silence, unread_and
from tests.support.virtual_time import in_virtual_time

EVENTS = {"Content-Type": "text/event-stream", "x-fal-request-id": "r-1"}
ENDLESS = head(200, EVENTS)
CHUNKED = head(200, {**EVENTS, "Transfer-Encoding": "chunked"})


@asynccontextmanager
async def streams() -> AsyncIterator[HttpStreams]:
    pool = Pool()
    try:
        yield HttpStreams(Http(pool, LoopClock(), ProxyRouter(None), max_answer_bytes=1000))
    finally:
        await pool.close()


async def read(url: str, call: Call, seen: list[bytes], idle: float | None = None) -> int:
    """Read a stream to its end; what came is in ``seen``."""
    request = HttpRequest(method="POST", url=f"{url}/owner/app/stream", body=b"{}")
    async with streams() as opened, opened.open(request, call, idle=idle) as response:
        async for chunk in response.chunks():
            seen += [chunk]
        return response.status


async def seen_of(act: Act, idle: float | None = None) -> tuple[list[bytes], ConnectionLostError]:
    """What came before the stream was lost."""
    seen: list[bytes] = []
    async with Script(act) as server:
        with pytest.raises(ConnectionLostError) as raised:
            await read(server.url, Call(RetryPolicy()), seen, idle)
    return seen, raised.value


async def test_the_body_is_given_in_pieces_as_they_come() -> None:
    seen: list[bytes] = []
    call = Call(RetryPolicy())
    async with Script(in_pieces(ENDLESS, b"data: 1\n\n", b"data: 2\n\n", then="finish")) as server:
        assert await read(server.url, call, seen) == 200
    assert seen == [b"data: 1\n\n", b"data: 2\n\n"]
    assert call.request_id == "r-1"


async def test_a_stream_that_is_left_early_closes_its_connection() -> None:
    seen: list[bytes] = []
    async with Script(say_and(ENDLESS + b"data: 1\n\n", "hold")) as server, streams() as opened:
        request = HttpRequest(method="POST", url=server.url, body=b"{}")
        async with opened.open(request, Call(RetryPolicy()), idle=None) as response:
            async for chunk in response.chunks():
                seen.append(chunk)
                break
        assert opened._http._pool.session().connector._conns == {}
    assert seen == [b"data: 1\n\n"]


@in_virtual_time
async def test_silence_before_the_head_is_a_loss() -> None:
    seen, error = await seen_of(silence(), idle=30)
    assert seen == []
    assert "fell silent" in str(error)
    assert error.billing is Billing.UNKNOWN


@in_virtual_time
async def test_silence_between_two_pieces_is_a_loss() -> None:
    seen, error = await seen_of(say_and(ENDLESS + b"data: 1\n\n", "hold"), idle=30)
    assert seen == [b"data: 1\n\n"]
    assert "fell silent" in str(error)
    assert error.billing is Billing.BILLED


@pytest.mark.parametrize(
    "act",
    [
        say_and(CHUNKED + b"5\r\nhello\r\n", "finish"),
        say_and(ENDLESS + b"hello", "reset"),
        in_pieces(ENDLESS, b"hello", then="reset"),
        in_pieces(CHUNKED + b"5\r\nhello\r\n", b"many\r\n", then="hold"),
    ],
    ids=["cut", "reset", "reset later", "nonsense"],
)
async def test_a_stream_that_breaks_off_is_a_loss_however_it_does(act: Act) -> None:
    seen, error = await seen_of(act)
    assert b"".join(seen) in (b"", b"hello")
    assert "broke off" in str(error)
    assert error.billing is Billing.BILLED


@in_virtual_time
async def test_no_connection_in_time_is_no_loss() -> None:
    async with Script(unread_and("hold")) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(ConnectTimeoutError) as raised:
            await read(url, Call(RetryPolicy()), [], idle=60)
    assert raised.value.billing is Billing.NOT_BILLED


async def test_a_pool_that_closes_ends_the_stream() -> None:
    async with Script(say_and(ENDLESS + b"data: 1\n\n", "hold")) as server, streams() as opened:
        request = HttpRequest(method="POST", url=server.url, body=b"{}")
        async with opened.open(request, Call(RetryPolicy()), idle=None) as response:
            chunks = response.chunks()
            assert await anext(chunks) == b"data: 1\n\n"
            waiting = asyncio.ensure_future(anext(chunks))
            await opened._http._pool.close()
            with pytest.raises(ConnectionLostError):
                await waiting
