"""A bare storage in a process of its own: it says what fal's would, and swallows every body unread.

Tokens, uploads in one piece and in parts (PROTOCOL 11, A, B and D). It checks nothing, so that its part in a
measurement stays small.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from typing import Final

from benchmarks.machine import pin

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_BUFFER: Final = 1 << 18


class _Connection(asyncio.BufferedProtocol):
    """One connection: requests one after another, each with a Content-Length or without a body."""

    _buffer = memoryview(bytearray(_BUFFER))  # nobody reads what is in it: one for all

    def __init__(self, url: str) -> None:
        self._url = url
        self._head = b""
        self._left = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        if self._left:
            taken = min(count, self._left)
            self._left -= taken
            if self._left:
                return
            self._answer()
            if taken == count:
                return
            data = bytes(self._buffer[taken:count])
        else:
            data = bytes(self._buffer[:count])
        self._head += data
        end = self._head.find(_END)
        if end < 0:
            return
        lower = self._head[: end + 2].lower()
        start = lower.find(_LENGTH) + len(_LENGTH)
        size = int(lower[start : lower.find(b"\r", start)]) if start >= len(_LENGTH) else 0
        self._left = max(0, size - (len(self._head) - end - len(_END)))
        if not self._left:
            self._answer()

    def _answer(self) -> None:
        path = self._head.split(b" ", 2)[1].partition(b"?")[0].decode()
        self._head = b""
        if path.endswith("/token"):
            said = {"token": "t", "token_type": "Bearer", "base_url": f"{self._url}/v3.fal.media"}
            content = json.dumps(said | {"expires_at": "2099-01-01T00:00:00+00:00"}).encode()
        else:
            file = {"access_url": f"{self._url}/v3.fal.media/files/a/b", "uploadId": "u"}
            content = json.dumps(file).encode()
        self._transport.write(
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: "e"\r\nContent-Length: %d\r\n\r\n%b'
            % (len(content), content)
        )


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    url = ""
    server = await loop.create_server(lambda: _Connection(url), "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    print(port, flush=True)
    # Whoever started this server ends it by closing its standard input.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, help="the core to stay on")
    pin(parser.parse_args().core)
    gc.freeze()
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
