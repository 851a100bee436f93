"""From an answer as a value to aiohttp's response."""

from __future__ import annotations

from aiohttp import web

from fal_async.protocol.messages import HttpResponse

__all__ = ["respond"]


def respond(answer: HttpResponse) -> web.Response:
    """The response that says this answer, byte for byte."""
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
