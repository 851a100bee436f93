"""Faults on the wire: acts out what ``distorting`` wrote, on the connection itself."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from fal_async.emulator.clock import Clock
from fal_async.emulator.distorting import Close, Reset, Send, Step, Wait

__all__ = ["Silence", "act_out", "reset"]

#: SO_LINGER of zero seconds: closing then sends RST.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Silence(web.StreamResponse):
    """A response that says nothing: everything was said on the connection already."""

    def __init__(self) -> None:
        super().__init__()
        self.force_close()

    async def prepare(
        self,
        request: web.BaseRequest,  # noqa: ARG002
    ) -> AbstractStreamWriter | None:
        """Sends no head."""
        return None

    async def write_eof(
        self,
        data: bytes = b"",
    ) -> None:
        """Sends no end."""


async def act_out(
    steps: Sequence[Step], request: web.BaseRequest, clock: Clock
) -> web.StreamResponse:
    """Perform the steps; the connection is at its end afterwards."""
    for step in steps:
        transport = request.transport
        if transport is None:  # the caller has left
            break
        match step:
            case Send(data):
                transport.write(data)
            case Wait(seconds):
                await clock.sleep_until(clock.now() + seconds)
            case Close():
                transport.close()
            case Reset():
                reset(transport)
            case _:
                # Ended by the caller leaving or the emulator stopping: both cancel this task.
                await asyncio.get_running_loop().create_future()
    return Silence()


def reset(transport: asyncio.Transport) -> None:
    """End a connection with RST."""
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
