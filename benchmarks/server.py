"""A bare, fast HTTP/1.1 server in a process of its own: the same known answer to every POST.

It knows three things: ``POST .../later`` is answered after a second, ``GET /`` tells how many requests were
being answered at once at most, and everything else is answered at once. It checks nothing, so that its part
in a measurement stays small.

The backlog of connections that wait to be accepted is 4,096, or what ``net.core.somaxconn`` makes of it. A
client that opens 10,000 connections in one breath can still overrun it; the kernel then sends the opening
packet again after a second, for each peer alike.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from typing import Final

from benchmarks.bodies import ANSWER, LATER, LATER_SECONDS
from benchmarks.machine import open_files, pin

_BACKLOG: Final = 4096
_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_LATER: Final = LATER.encode() + b" "


class _Counts:
    def __init__(self) -> None:
        self.now = self.peak = self.total = 0

    def begin(self) -> None:
        self.total += 1
        self.now += 1
        self.peak = max(self.peak, self.now)

    def end(self) -> None:
        self.now -= 1


class _Connection(asyncio.Protocol):
    """One connection: requests one after another, each with a Content-Length."""

    __slots__ = ("_buffer", "_counts", "_loop", "_transport")

    def __init__(self, counts: _Counts, loop: asyncio.AbstractEventLoop) -> None:
        self._counts = counts
        self._loop = loop
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer = data = self._buffer + data if self._buffer else data
        end = data.find(_END)
        if end < 0:
            return
        head = data[: end + 2]  # each line of it with its end
        if head.startswith(b"GET"):
            self._buffer = b""
            self._tell()
            return
        lower = head.lower()
        start = lower.find(_LENGTH) + len(_LENGTH)
        size = int(lower[start : lower.find(b"\r", start)]) if start >= len(_LENGTH) else 0
        whole = end + len(_END) + size
        if len(data) < whole:
            return
        self._buffer = data[whole:]
        self._counts.begin()
        if _LATER in head[:200]:
            self._loop.call_later(LATER_SECONDS, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        self._counts.end()
        self._transport.write(ANSWER)

    def _tell(self) -> None:
        body = b"%d %d" % (self._counts.peak, self._counts.total)
        self._counts.peak = self._counts.total = 0
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    counts = _Counts()
    server = await loop.create_server(
        lambda: _Connection(counts, loop), "127.0.0.1", 0, backlog=_BACKLOG
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # Whoever started this server ends it by closing its standard input.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, help="the core to stay on")
    options = parser.parse_args()
    pin(options.core)
    open_files()
    gc.freeze()
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
