"""Bodies that are read while they are sent arrive as they were, though their memory is used again."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import aiohttp
import pytest

from fal_async.errors import Billing, ConnectionLostError
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.messages import HttpRequest
from fal_async.transport.base import Call
from fal_async.transport.clock import LoopClock
from fal_async.transport.http import Http
from fal_async.transport.pool import Pool
from fal_async.transport.proxies import ProxyRouter
from tests.support.scripted_server import Script, answer, unread_and
from tests.support.tls import server_context, trusting_context

PIECE = 256 * 1024


class Reused:
    """Every piece is the same memory, which is written over as soon as the next one is asked for."""

    def __init__(self, pieces: int, fails: bool = False) -> None:
        self.size = pieces * PIECE
        self.closed = 0
        self._pieces = pieces
        self._fails = fails

    async def chunks(self) -> AsyncGenerator[memoryview]:
        memory = bytearray(PIECE)
        try:
            for number in range(self._pieces):
                memory[:] = bytes([number % 256]) * PIECE
                yield memoryview(memory)
                memory[:] = bytes(PIECE)
                if self._fails:
                    raise ZeroDivisionError
        finally:
            self.closed += 1


def expected(pieces: int) -> bytes:
    return b"".join(bytes([number % 256]) * PIECE for number in range(pieces))


def http(session: aiohttp.ClientSession | None = None) -> tuple[Http, Pool]:
    pool = Pool(session)
    return Http(pool, LoopClock(), ProxyRouter(None), max_answer_bytes=1000), pool


def put(url: str, stream: Reused) -> HttpRequest:
    return HttpRequest(method="PUT", url=url, headers={"Content-Type": "x/y"}, stream=stream)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_memory_that_is_used_again_is_sent_as_it_was(tls: bool) -> None:
    stream = Reused(40)
    connector = aiohttp.TCPConnector(ssl=trusting_context())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        Script(answer(), tls=server_context() if tls else None) as server,
    ):
        sends, _ = http(session)
        for _ in range(2):  # and the connection is as good as before
            call = Call(RetryPolicy.never())
            response = await sends.send(put(f"{server.url}/a", stream), call)
            assert response.status == 200
        assert server.connections == 1
        for request in server.requests:
            assert request.body == expected(40)
            assert request.headers["content-type"] == "x/y"
            assert request.headers["content-length"] == str(stream.size)
    assert stream.closed == 2


async def test_what_gives_the_bytes_fails_with_its_own_words_and_nothing_whole_arrives() -> None:
    stream = Reused(40, fails=True)
    async with Script(answer()) as server:
        sends, pool = http()
        call = Call(RetryPolicy.never())
        with pytest.raises(ZeroDivisionError):
            await sends.send(put(server.url, stream), call)
        assert call.current is Billing.UNKNOWN
        assert server.requests == []
        await pool.close()
    assert stream.closed == 1


async def test_a_server_that_leaves_within_ends_the_reading() -> None:
    stream = Reused(400)
    async with Script(unread_and("reset")) as server:
        sends, pool = http()
        with pytest.raises(ConnectionLostError):
            await sends.send(put(server.url, stream), Call(RetryPolicy.never()))
        await pool.close()
    assert stream.closed >= 1
