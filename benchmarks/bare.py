"""The least that can be done for a call: its bytes into a kept connection, its answer's bytes out.

This is what the machine, the loop and the server allow, and no client that anyone would want: the request is
made once, its bytes written as they are; of the answer nothing is read but its length, and nothing decoded.
One task a call, as for the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

__all__ = ["bare_calls"]

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\nContent-Length: "


class _Line(asyncio.Protocol):
    """One connection, for one call at a time."""

    __slots__ = ("_answer", "_got", "_loop", "transport")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._got = b""
        self._answer: asyncio.Future[bytes]
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, request: bytes) -> Awaitable[bytes]:
        self._answer = answer = self._loop.create_future()
        self.transport.write(request)
        return answer

    def data_received(self, data: bytes) -> None:
        self._got = got = self._got + data if self._got else data
        end = got.find(_END)
        if end < 0:
            return
        start = got.index(_LENGTH, 0, end) + len(_LENGTH)
        whole = end + len(_END) + int(got[start : got.index(b"\r", start)])
        if len(got) >= whole:
            self._got = b""
            self._answer.set_result(got[end + len(_END) : whole])

    def connection_lost(self, exc: Exception | None) -> None:
        answer = getattr(self, "_answer", None)
        if answer is not None and not answer.done():
            answer.set_exception(exc or ConnectionError("the server closed the connection"))


@asynccontextmanager
async def bare_calls(
    url: str, headers: dict[str, str], body: bytes
) -> AsyncIterator[Callable[[str], Awaitable[bytes]]]:
    """A function that makes one call of a model and returns the bytes of its answer."""
    loop = asyncio.get_running_loop()
    place = urlsplit(url)
    idle: list[_Line] = []
    every: list[_Line] = []

    @lru_cache
    def request(model: str) -> bytes:
        lines = {"Host": place.netloc, **headers, "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST /fal.run/{model} HTTP/1.1\r\n{head}\r\n".encode() + body

    async def call(model: str) -> bytes:
        if idle:
            line = idle.pop()
        else:
            _, line = await loop.create_connection(lambda: _Line(loop), place.hostname, place.port)
            every.append(line)
        answer = await line.ask(request(model))
        idle.append(line)
        return answer

    try:
        yield call
    finally:
        for line in every:
            line.transport.close()
