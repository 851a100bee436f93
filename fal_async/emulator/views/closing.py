"""How a WebSocket is closed: by a frame that is legal, whatever the reason given."""

from __future__ import annotations

from typing import Final

from aiohttp import web

__all__ = ["close_socket"]

#: A control frame holds 125 bytes, two of them the code (RFC 6455, 5.5).
_LONGEST: Final = 123


async def close_socket(socket: web.WebSocketResponse, code: int, reason: bytes) -> None:
    """Close it, with as much of the reason as a closing frame holds: whole characters."""
    if len(reason) > _LONGEST:
        reason = reason[:_LONGEST].decode("utf-8", "ignore").encode()
    await socket.close(code=code, message=reason)
