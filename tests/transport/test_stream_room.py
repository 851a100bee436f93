"""How many streams there may be at once: half of the connections, or of the files, is left to others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from fal_async import RetryPolicy
from fal_async.protocol.messages import HttpRequest
from fal_async.transport.base import Call
from fal_async.transport.clock import LoopClock
from fal_async.transport.http import Http
from fal_async.transport.pool import Pool
from fal_async.transport.proxies import ProxyRouter
from fal_async.transport.streams import HttpStreams, files_most
from tests.support.scripted_server import Script, answer, unread_and


def streams_of(pool: Pool, limit: int) -> HttpStreams:
    return HttpStreams(Http(pool, LoopClock(), ProxyRouter(None), max_answer_bytes=1000), limit)


async def test_a_stream_takes_its_place_for_as_long_as_it_lasts() -> None:
    pool = Pool()
    streams = streams_of(pool, 4)
    async with Script(answer()) as server:
        get = HttpRequest(method="GET", url=server.url)
        async with streams.open(get, Call(RetryPolicy()), idle=None):
            assert streams.has_room()
            async with streams.open(get, Call(RetryPolicy()), idle=None):
                assert not streams.has_room()
            assert streams.has_room()
    await pool.close()


async def test_one_that_is_not_to_be_had_takes_none() -> None:
    pool = Pool()
    streams = streams_of(pool, 2)
    async with Script(unread_and("reset")) as server:
        get = HttpRequest(method="GET", url=server.url)
        for _ in range(3):
            with pytest.raises(Exception, match="connection"):
                async with streams.open(get, Call(RetryPolicy()), idle=None):
                    raise AssertionError
            assert streams.has_room()
    await pool.close()


@pytest.fixture
def files() -> Iterator[Any]:
    """Sets how many files may be open, and sets it back."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def set_to(count: int) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))

    yield set_to
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_where_no_limit_is_set_it_is_that_of_the_files(files: Any) -> None:
    files(150)
    assert files_most() == 150
    pool = Pool()
    assert streams_of(pool, 0).has_room()
    assert pool.limit == 0
    await pool.close()


def test_without_a_limit_of_files_there_is_room_for_any_number() -> None:
    assert 0 < files_most() <= sys.maxsize


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({}, 100),
        ({"limit": 0}, 0),
        ({"limit": 7}, 7),
        ({"limit": 7, "limit_per_host": 3}, 3),
        ({"limit": 0, "limit_per_host": 3}, 3),
    ],
)
async def test_a_borrowed_session_s_limit_is_its_connector_s(
    settings: dict[str, int], limit: int
) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(**settings)) as session:
        pool = Pool(session)
        assert pool.limit == limit
        assert pool.waits is bool(limit)
