"""A bare server of streams in a process of its own, for ``benchmarks.streaming``.

``POST …/fast/stream`` is answered with very many events at once, as fast as they are taken in;
``POST …/paced/stream`` with one every few milliseconds, each with the time at which it was written.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from typing import Final

from benchmarks.machine import pin

__all__ = ["EVENTS", "PACED"]

#: How many events each of the two sends.
EVENTS: Final = 200_000
PACED: Final = 400
_EVERY: Final = 0.005

_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nx-fal-request-id: r\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
#: A token of a language model, as fal's any-llm says it.
_EVENT: Final = b'data: {"output": "a token", "partial": true, "error": null}\n\n'
_TOGETHER: Final = 1000


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_BLOCK: Final = _chunk(_EVENT * _TOGETHER)
_LAST: Final = b"0\r\n\r\n"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r")[0]
            await reader.readexactly(int(length))
            writer.write(_HEAD)
            await (_fast(writer) if b"/fast/" in head[:200] else _paced(writer))
            writer.write(_LAST)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _fast(writer: asyncio.StreamWriter) -> None:
    for _ in range(EVENTS // _TOGETHER):
        writer.write(_BLOCK)
        await writer.drain()


async def _paced(writer: asyncio.StreamWriter) -> None:
    for _ in range(PACED):
        await asyncio.sleep(_EVERY)
        # The monotonic clock is the same for all processes of a machine.
        writer.write(_chunk(b'data: {"at": %d}\n\n' % time.perf_counter_ns()))


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, help="the core to stay on")
    pin(parser.parse_args().core)
    gc.freeze()
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
