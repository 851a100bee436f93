"""From an answer as a value to aiohttp's response."""

from __future__ import annotations

from aiohttp import web

from fal_async.protocol.messages import HttpResponse

__all__ = ["expect_body", "respond"]


async def expect_body(request: web.BaseRequest) -> None:
    """Let a caller send its body that asked first (``Expect: 100-continue``)."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def respond(answer: HttpResponse) -> web.Response:
    """The response that says this answer, byte for byte."""
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
