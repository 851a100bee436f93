"""Bodies of requests, as they come."""

from __future__ import annotations

from aiohttp import web

from fal_async.emulator.pieces import Pieces

__all__ = ["receive", "receive_half"]


async def receive(request: web.BaseRequest, limit: int) -> Pieces | None:
    """All of the body, in the pieces in which it comes; None if it is larger than ``limit`` bytes.

    A body that is too large is read to its end all the same, so that its sender hears of it.
    """
    content: Pieces | None = Pieces()
    if (request.content_length or 0) > limit:
        content = None
    async for piece in request.content.iter_any():
        if content is not None:
            content.add(piece)
            if content.size > limit:
                content = None
    return content


async def receive_half(request: web.BaseRequest) -> None:
    """Half of the body, by its length; nothing of one that does not tell it."""
    left = (request.content_length or 0) // 2
    while left > 0 and (piece := await request.content.read(left)):
        left -= len(piece)
