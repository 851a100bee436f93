"""One uploading client under measurement, in a process of its own, for one job; tells its figures in JSON.

Jobs: ``large`` (one file, given by its path) and ``small`` (500 files of 20 KB, given as bytes, at once).
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.bodies import KEY
from benchmarks.machine import open_files, peak_memory, pin

__all__ = ["FILES", "PEERS"]

FILES: Final = 500
_SMALL: Final = bytes(range(256)) * 80
_PART: Final = 10 * 1024 * 1024


async def _fal_async(url: str, path: Path | None) -> float:
    from fal_async import AsyncFal, Hosts

    async with AsyncFal(KEY, hosts=Hosts.local(url)) as fal:
        if path is not None:
            return await _timed(lambda: fal.upload(path))
        return await _timed(lambda: _all(lambda: fal.upload(_SMALL, content_type="image/png")))


async def _fal_client(url: str, path: Path | None) -> float:
    """The official client. It knows no hosts but its own: the constants are replaced from outside."""
    import fal_client
    from fal_client import client as module

    module.REST_URL = f"{url}/rest.fal.ai"
    module.CDN_URL = f"{url}/v3.fal.media"
    client = fal_client.AsyncClient(key=KEY)
    if path is not None:
        return await _timed(lambda: client.upload_file(path))
    return await _timed(lambda: _all(lambda: client.upload(_SMALL, "image/png")))


async def _plain(url: str, path: Path | None) -> float:
    """What one would write by hand: ten parts at a time, each read whole in a thread."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, headers={"Authorization": "x"}
    ) as session:

        async def put(data: bytes) -> None:
            async with session.post(f"{url}/v3.fal.media/files/upload", data=data) as response:
                await response.json()

        async def parts(file: Path) -> None:
            slots = asyncio.Semaphore(10)

            def read(start: int) -> bytes:
                with file.open("rb") as opened:
                    opened.seek(start)
                    return opened.read(_PART)

            size = (await asyncio.to_thread(file.stat)).st_size

            async def part(start: int) -> None:
                async with slots:
                    await put(await asyncio.to_thread(read, start))

            await asyncio.gather(*map(part, range(0, size, _PART)))

        if path is not None:
            return await _timed(lambda: parts(path))
        return await _timed(lambda: _all(lambda: put(_SMALL)))


async def _all(upload: Callable[[], Awaitable[Any]]) -> None:
    await asyncio.gather(*(upload() for _ in range(FILES)))


async def _timed(work: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


PEERS: Final = {"fal_async": _fal_async, "fal-client": _fal_client, "plain aiohttp": _plain}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=list(PEERS))
    parser.add_argument("url")
    parser.add_argument("--file", type=Path, help="the large one")
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    pin(options.core)
    open_files()
    begun = time.process_time()  # importing is part of it, too
    seconds = asyncio.run(PEERS[options.peer](options.url, options.file))
    print(
        json.dumps({"seconds": seconds, "cpu": time.process_time() - begun, "peak": peak_memory()}),
        flush=True,
    )


if __name__ == "__main__":
    main()
