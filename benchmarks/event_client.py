"""One client that reads streams, in a process of its own: takes orders on standard input, answers in JSON."""

# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from benchmarks.bodies import INPUT, KEY
from benchmarks.machine import pin
from benchmarks.peers import FAL_ASYNC, FAL_CLIENT, TYPED

Stream = Callable[[str], AbstractAsyncContextManager[Any]]


@asynccontextmanager
async def _fal_client(url: str) -> AsyncIterator[Stream]:
    """The official client, as in ``benchmarks.peers``."""
    import fal_client
    from fal_client import client as module

    module.RUN_URL_FORMAT = f"{url}/fal.run/"
    client = fal_client.AsyncClient(key=KEY)

    @asynccontextmanager
    async def stream(model: str) -> AsyncIterator[Any]:
        yield client.stream(model, INPUT)

    yield stream


@asynccontextmanager
async def _fal_async(url: str) -> AsyncIterator[Stream]:
    from fal_async import AsyncFal, Hosts

    async with AsyncFal(KEY, hosts=Hosts.local(url)) as fal:
        yield lambda model: fal.stream(model, INPUT)


@asynccontextmanager
async def _typed(url: str) -> AsyncIterator[Stream]:
    import attrs

    from fal_async import AsyncFal, Hosts

    @attrs.frozen
    class Token:
        output: str = ""
        partial: bool = False
        error: str | None = None

    async with AsyncFal(KEY, hosts=Hosts.local(url)) as fal:
        yield lambda model: fal.stream(model, INPUT, result_type=Token)


_PEERS: Final = {FAL_CLIENT: _fal_client, FAL_ASYNC: _fal_async, TYPED: _typed}


async def _fast(stream: Stream) -> dict[str, Any]:
    count, began = 0, time.perf_counter()
    async with stream("bench/fast") as events:
        async for _ in events:
            count += 1
    return {"events": count, "seconds": time.perf_counter() - began}


async def _paced(stream: Stream) -> dict[str, Any]:
    async with stream("bench/paced") as events:
        return {"late": [(time.perf_counter_ns() - event["at"]) / 1e6 async for event in events]}


async def _obey(peer: str, url: str) -> None:
    async with _PEERS[peer](url) as stream:
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            gc.collect()
            result = await (_fast(stream) if line.strip() == "fast" else _paced(stream))
            print(json.dumps(result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=list(_PEERS))
    parser.add_argument("url")
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    pin(options.core)
    asyncio.run(_obey(options.peer, options.url))


if __name__ == "__main__":
    main()
