"""Where a connection is taken in and looked at: TLS, a request for a tunnel, or plain HTTP, all on one port.

A tunnel leads nowhere: whoever has been granted one goes on talking to this very server. So nothing is copied
from one connection to another, and none is ever opened.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Final
from weakref import WeakSet, ref

from aiohttp import web

from fal_async.emulator.tls.proxying import (
    ESTABLISHED,
    HEAD_MAX,
    begins_connect,
    objection,
    refusal,
    requested_tunnel,
)

__all__ = ["Doors"]

#: The first byte of a TLS connection: a handshake record.
_HANDSHAKE: Final = 0x16
_HEAD_END: Final = b"\r\n\r\n"
#: Seconds that a handshake may take.
_PATIENCE: Final = 60.0


class Doors:
    """Makes one :class:`Door` for each connection, and can end them all."""

    def __init__(self, http: web.Server, context: ssl.SSLContext) -> None:
        self.http = http
        self.context = context
        self.handshakes: set[asyncio.Task[None]] = set()
        self._transports: WeakSet[asyncio.Transport] = WeakSet()
        self._closed = False

    def __call__(self) -> Door:
        return Door(self)

    def entered(self, transport: asyncio.Transport) -> None:
        """A connection has been made."""
        self._transports.add(transport)
        if self._closed:
            transport.abort()

    async def close(self) -> None:
        """Abort every connection, whatever it speaks."""
        self._closed = True
        for transport in list(self._transports):
            transport.abort()
        for task in self.handshakes:
            task.cancel()
        await asyncio.gather(*self.handshakes, return_exceptions=True)


class Door(asyncio.Protocol):
    """One connection, until it is known what it speaks; then the HTTP server has it."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._received = bytearray()
        self._transport: asyncio.Transport
        self._in_tunnel = False
        self._securing = False
        self._inside: asyncio.Protocol | None = None
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A TCP connection: nothing is known of it yet."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # what a server hands over
        self._transport = transport
        self._doors.entered(transport)

    def data_received(self, data: bytes) -> None:
        """The beginning of something; or, in TLS, what comes before the HTTP server has taken over."""
        self._received += data
        if not self._securing:
            self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left."""
        self._lost = True
        if self._inside is not None:
            self._inside.connection_lost(exc)

    def _look(self) -> None:
        seen = bytes(self._received)
        if seen[0] == _HANDSHAKE:
            self._securing = True
            task = asyncio.get_running_loop().create_task(self._secure())
            self._doors.handshakes.add(task)
            task.add_done_callback(self._doors.handshakes.discard)
        elif not begins_connect(seen[:8]):
            self._hand_over(self._transport)
        elif _HEAD_END in seen:
            self._grant(seen)
        elif len(seen) > HEAD_MAX:
            self._refuse(431, "The request for a tunnel is too long.\n")

    def _grant(self, seen: bytes) -> None:
        head, _, rest = seen.partition(_HEAD_END)
        place = None if self._in_tunnel else requested_tunnel(head)
        if place is None:
            return self._refuse(
                400, "This is not a request for a tunnel that a proxy understands.\n"
            )
        sentence = objection(*place)
        if sentence is not None:
            return self._refuse(403, sentence)
        self._in_tunnel = True
        self._transport.write(ESTABLISHED)
        self._received = bytearray(rest)
        if rest:
            self._look()
        return None

    def _refuse(self, status: int, sentence: str) -> None:
        self._transport.write(refusal(status, sentence))
        self._transport.close()

    async def _secure(self) -> None:
        """Let the handshake happen, beginning with what has been read of it."""
        loop = asyncio.get_running_loop()
        outside, hello = self._transport, bytes(self._received)
        self._received.clear()
        beginning = loop.create_task(
            loop.start_tls(
                outside,
                self,
                self._doors.context,
                server_side=True,
                ssl_handshake_timeout=_PATIENCE,
            )
        )
        loop.call_soon(_feed, outside, self, hello)
        try:
            secured = await beginning
        except OSError:  # the caller does not trust the authority, say: it knows itself
            outside.abort()
            return
        if secured is not None and not self._lost:
            _let_know(secured, outside)
            self._hand_over(secured)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        inside = self._inside = self._doors.http()
        received = bytes(self._received)
        transport.set_protocol(inside)
        inside.connection_made(transport)
        if received:
            inside.data_received(received)


def _let_know(secured: asyncio.Transport, outside: asyncio.Transport) -> None:
    """Have a TLS transport say that it is closing as soon as the one below it is.

    asyncio's learns of it some turns later. By then an answer of many pieces would have been written into
    nothing, and each of them complained of.
    """
    kind, above = type(secured), ref(secured)

    def is_closing() -> bool:
        alive = above()
        return alive is None or kind.is_closing(alive) or outside.is_closing()

    with suppress(AttributeError):  # a loop whose transports are not asyncio's
        secured.is_closing = is_closing  # type: ignore[method-assign]


def _feed(transport: asyncio.Transport, but: asyncio.Protocol, data: bytes) -> None:
    """Give the protocol of a transport what was read before it was there."""
    protocol = transport.get_protocol()
    if protocol is but or not isinstance(protocol, asyncio.BufferedProtocol):
        return
    while data:
        room = memoryview(protocol.get_buffer(len(data)))
        piece, data = data[: len(room)], data[len(room) :]
        room[: len(piece)] = piece
        protocol.buffer_updated(len(piece))
