"""Faults on an open WebSocket: dropped, stalled, closed, or told what nobody understands."""

from __future__ import annotations

import asyncio

from aiohttp import web

from fal_async.emulator.breaking import reset
from fal_async.emulator.faults import Fault
from fal_async.emulator.views.closing import close_socket

__all__ = ["SocketBrokenError", "break_socket"]

_GARBAGE = b"\xc1 this is neither MessagePack nor JSON"
_UNKNOWN = '{"type":"x-fal-news","request_id":"another","action":"unheard-of"}'


class SocketBrokenError(Exception):
    """The connection is gone, by a fault."""


async def break_socket(
    fault: Fault, socket: web.WebSocketResponse, request: web.BaseRequest, error: str
) -> None:
    """Let the fault happen. Returns, if the connection survives it.

    :param error: the message that says that the application failed.
    :raises SocketBrokenError: it does not.
    """
    match fault.kind:
        case "socket_drop":
            if request.transport is not None:
                reset(request.transport)
            raise SocketBrokenError
        case "socket_stall":
            # Ended by the caller leaving or the emulator stopping: both cancel this task.
            await asyncio.get_running_loop().create_future()
        case "socket_close":
            await close_socket(socket, fault.status or 1011, fault.body)
            raise SocketBrokenError
        case "socket_error":
            await socket.send_str(error)
        case "socket_unknown":
            await socket.send_str(_UNKNOWN)
        case _:
            await socket.send_bytes(fault.body or _GARBAGE)
