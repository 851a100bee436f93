"""A server of bare bytes that does what it is told: the failures no HTTP server would produce.

``async with Script(answer(), reset_after_request()) as server`` meets each request, on whichever connection
it comes, with the next act; the last act is repeated. What arrived is in ``server.requests``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Self

import attrs

from fal_async import Hosts
from tests.support.virtual_time import turns

MODEL = "owner/app"
REQUEST_ID = "5d4c1f4e-0000-4000-8000-000000000001"


@attrs.frozen
class Received:
    """One request, as it came."""

    line: str
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes
    connection: int
    """The how-many-eth connection it came on."""


class Wire:
    """One connection on which a request begins, as an act sees it."""

    def __init__(
        self,
        server: Script,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
    ) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.number = number
        self._first = b""

    async def begins(self) -> None:
        """The first byte of a request is here."""
        self._first = await self.reader.readexactly(1)

    async def request(self) -> Received:
        """Read the request whole."""
        head = (self._first + await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (f.split(":", 1) for f in fields)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        received = Received(line, headers, body, self.number)
        self.server.note(received)
        return received

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def finish(self) -> None:
        """Say no more (FIN), and wait for the other end to leave."""
        self.writer.write_eof()
        await self.hold()

    async def reset(self) -> None:
        """Break the connection off (RST)."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        await self.hold()

    async def hold(self) -> None:
        """Say nothing until the other end has left."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Act = Callable[[Wire], Awaitable[bool | None]]
"""Meets one request; returns True if the connection goes on."""


class Script:
    def __init__(self, *acts: Act, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._acts = list(acts)
        self._tls = tls
        self.port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self.requests: list[Received] = []
        """Those that were read; not all acts do."""
        self.begun = 0
        """Requests of which something came."""
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accepted, "127.0.0.1", self.port, ssl=self._tls, backlog=1000
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def hosts(self) -> Hosts:
        return Hosts.local(self.url)

    def note(self, received: Received) -> None:
        self.requests.append(received)
        self._news.set()

    async def arrival(self, count: int = 1) -> None:
        """Wait until so many requests have been read."""
        while len(self.requests) < count:
            self._news.clear()
            await self._news.wait()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        wire = Wire(self, reader, writer, self.connections)
        try:
            going_on: bool | None = True
            while going_on:
                await wire.begins()
                self.begun += 1
                going_on = await self._next_act()(wire)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has left, or the server closes: asyncio would log it
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    def _next_act(self) -> Act:
        return self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]


# --- acts -----------------------------------------------------------------------------------------------


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def message(
    status: int = 200,
    content: Any = None,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    request_id: str | None = REQUEST_ID,
) -> bytes:
    """A whole answer; ``content`` is sent as JSON unless ``body`` is given."""
    raw = (
        json.dumps({"ok": True} if content is None else content).encode() if body is None else body
    )
    named = {"Content-Type": "application/json", "Content-Length": str(len(raw))}
    if request_id is not None:
        named["x-fal-request-id"] = request_id
    return head(status, named | dict(headers or {})) + raw


def say_and(
    data: bytes, then: str, *, go: asyncio.Event | None = None, until: asyncio.Event | None = None
) -> Act:
    """Read the request, say these bytes (once ``go`` is set), then (once ``until`` is set) ``reset``,
    ``finish``, ``hold`` or ``go_on``.
    """

    async def act(wire: Wire) -> bool:
        await wire.request()
        if go is not None:
            await go.wait()
        await wire.say(data)
        if until is not None:
            await until.wait()
        if then == "go_on":
            return True
        await getattr(wire, then)()
        return False

    return act


def in_pieces(*pieces: bytes, then: str) -> Act:
    """Read the request, say each piece when the one before has been taken in, then as ``say_and``."""

    async def act(wire: Wire) -> None:
        await wire.request()
        for piece in pieces:
            await wire.say(piece)
            await turns()
        await getattr(wire, then)()

    return act


def answer(
    status: int = 200, content: Any = None, *, go: asyncio.Event | None = None, **more: Any
) -> Act:
    """Read the request and answer it; the arguments of ``message``."""
    return say_and(message(status, content, **more), "go_on", go=go)


def unread_and(then: str) -> Act:
    """Leave the request unread, then ``reset`` or ``finish``."""

    async def act(wire: Wire) -> None:
        await getattr(wire, then)()

    return act


def silence() -> Act:
    """Read the request and never answer."""
    return say_and(b"", "hold")
