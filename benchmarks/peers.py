"""The clients that are compared, each used as its own documentation says: one session for many calls.

Each takes the server's URL and gives a function that makes one call and returns the decoded answer. A process
imports what it measures and nothing else.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from benchmarks.bodies import INPUT, KEY

__all__ = ["BARE", "FAL_ASYNC", "FAL_CLIENT", "PEERS", "PLAIN", "TYPED", "UNBRAKED", "Call"]

Call = Callable[[str], Coroutine[Any, Any, Any]]

BARE: Final = "bare socket"
PLAIN: Final = "plain aiohttp"
FAL_CLIENT: Final = "fal-client"
FAL_ASYNC: Final = "fal_async"
TYPED: Final = "fal_async, result_type"
UNBRAKED: Final = "fal_async, limit=None"


@asynccontextmanager
async def _bare(url: str) -> AsyncIterator[Call]:
    """No client at all: what the machine allows."""
    import json

    from benchmarks.bare import bare_calls

    headers = {
        "Authorization": f"Key {KEY}",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds":3600}',
        "X-Fal-Request-Timeout": "30",
    }
    async with bare_calls(url, headers, json.dumps(INPUT).encode()) as call:
        yield call


@asynccontextmanager
async def _plain(url: str) -> AsyncIterator[Call]:
    import aiohttp

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"Authorization": f"Key {KEY}"},
    ) as session:

        async def call(model: str) -> Any:
            async with session.post(f"{url}/fal.run/{model}", json=INPUT) as response:
                return await response.json()

        yield call


@asynccontextmanager
async def _fal_client(url: str) -> AsyncIterator[Call]:
    """The official client, by its public ``run``; one object for all calls, which is its best case.

    It speaks https only, to hosts of its own. So that it can be measured here at all, the constant that its
    URLs begin with is replaced from outside; this also spares it TLS. Nothing else is touched.
    """
    import fal_client
    from fal_client import client as module

    module.RUN_URL_FORMAT = f"{url}/fal.run/"
    client = fal_client.AsyncClient(key=KEY)
    lifetime = {"X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds": 3600}'}

    async def call(model: str) -> Any:
        return await client.run(model, INPUT, start_timeout=30, headers=lifetime)

    yield call


def _fal_async(
    **settings: Any,
) -> Callable[[str], AbstractAsyncContextManager[Call]]:
    """What is measured, with its defaults; ``expire`` and ``start_timeout`` set."""

    @asynccontextmanager
    async def peer(url: str) -> AsyncIterator[Call]:
        from fal_async import AsyncFal, Hosts

        async with AsyncFal(KEY, hosts=Hosts.local(url), **settings) as fal:

            async def call(model: str) -> Any:
                return await fal.run(model, INPUT, expire=3600, start_timeout=30)

            yield call

    return peer


@asynccontextmanager
async def _typed(url: str) -> AsyncIterator[Call]:
    from fal_async import AsyncFal, Hosts, ImageOutput

    async with AsyncFal(KEY, hosts=Hosts.local(url)) as fal:

        async def call(model: str) -> ImageOutput:
            return await fal.run(
                model, INPUT, expire=3600, start_timeout=30, result_type=ImageOutput
            )

        yield call


PEERS: Final[Mapping[str, Callable[[str], AbstractAsyncContextManager[Call]]]] = {
    BARE: _bare,
    PLAIN: _plain,
    FAL_CLIENT: _fal_client,
    FAL_ASYNC: _fal_async(),
    TYPED: _typed,
    UNBRAKED: _fal_async(limit=None),
}
