"""Bodies of requests as aiohttp sends them: they note the moment at which something is really written.

By that it is known whether a call may have been billed; exceptions cannot tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Self

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from fal_async.protocol.messages import BodyStream
from fal_async.transport.base import Call, Clock
from fal_async.transport.pool import Pool

__all__ = ["Body", "StreamedBody", "WholeBody"]


class Body(Payload):
    """The body of one send.

    :ivar failure: why its bytes could not be had, if that ended the send.
    """

    _autoclose = True

    def __init__(self, value: object, size: int, call: Call, clock: Clock, pool: Pool) -> None:
        super().__init__(value, content_type="application/json")
        self._size = size
        self._call = call
        self._clock = clock
        self._pool = pool
        self._begun = clock.now() if call.begun is None else call.begun
        self._sockets = pool.sockets.made
        self.failure: Exception | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002
        return ""  # aiohttp asks for it in debugging texts only, where the input has no business

    def __deepcopy__(self, memo: object) -> Self:
        return self  # aioresponses copies what a request is made with; the pool is no part of that

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    def _note_write(self, writer: AbstractStreamWriter) -> None:
        """The first bytes are about to be written."""
        if self._call.stopped:  # since the connection was asked for; aiohttp closes it
            raise ConnectionAbortedError("nothing more is sent for this call")
        if _leaves_the_machine(writer):
            self._call.begin_write()
            # Were it asked later, a connection begun for another call would count as this one's.
            if self._sockets != self._pool.sockets.made:
                self._call.connected(self._clock.now() - self._begun)


class WholeBody(Body):
    """Bytes that are at hand."""

    def __init__(self, body: bytes, call: Call, clock: Clock, pool: Pool) -> None:
        super().__init__(body, len(body), call, clock, pool)

    async def write_with_length(
        self,
        writer: AbstractStreamWriter,
        content_length: int | None,  # noqa: ARG002 - always the body's own
    ) -> None:
        self._note_write(writer)
        await writer.write(self._value)


class StreamedBody(Body):
    """Bytes that are got while they are sent; aiohttp closes the connection if they run out early."""

    def __init__(self, stream: BodyStream, call: Call, clock: Clock, pool: Pool) -> None:
        super().__init__(stream, stream.size, call, clock, pool)

    async def write_with_length(
        self,
        writer: AbstractStreamWriter,
        content_length: int | None,  # noqa: ARG002 - as above
    ) -> None:
        noted = False
        async with aclosing(self._value.chunks()) as chunks, _emptying(writer) as transport:
            while True:
                try:
                    chunk = await anext(chunks, None)
                except Exception as error:
                    self.failure = error
                    raise
                if chunk is None:
                    return
                if not noted:
                    self._note_write(writer)
                    noted = True
                await writer.write(chunk)
                # From Python 3.12 on the transport keeps what it could not send at once, and no copy of it.
                while transport is not None and transport.get_write_buffer_size():
                    await writer.drain()
                    # No loop of asyncio's own comes here with anything left.
                    if transport.get_write_buffer_size():  # pragma: no cover
                        await self._clock.sleep(0.001)


@asynccontextmanager
async def _emptying(writer: AbstractStreamWriter) -> AsyncIterator[asyncio.WriteTransport | None]:
    """Within, draining waits until nothing is left in the transport's buffer."""
    transport = writer.transport
    if transport is None:
        yield None
        return
    # TLS counts "as much as" where others count "more than".
    transport.set_write_buffer_limits(1 if transport.get_extra_info("sslcontext") else 0, 0)
    try:
        yield transport
    finally:
        transport.set_write_buffer_limits()


def _leaves_the_machine(writer: AbstractStreamWriter) -> bool:
    """Whether what is written now is given to the network: aiohttp refuses once its transport is closing."""
    transport = writer.transport
    return transport is not None and not transport.is_closing()
