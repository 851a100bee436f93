"""From an answer as a value to aiohttp's response."""

from __future__ import annotations

from aiohttp import web
from multidict import CIMultiDict

from fal_async.emulator.breaking import act_out
from fal_async.emulator.clock import Clock
from fal_async.emulator.distorting import distort
from fal_async.emulator.faults import Fault
from fal_async.protocol import wire
from fal_async.protocol.messages import HttpResponse

__all__ = ["broken", "expect_body", "named", "query_of", "respond"]


async def expect_body(request: web.BaseRequest) -> None:
    """Let a caller send its body that asked first (``Expect: 100-continue``)."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def query_of(request: web.BaseRequest) -> str:
    """What stands behind the question mark, as it came."""
    return request.raw_path.partition("?")[2]


def respond(answer: HttpResponse) -> web.Response:
    """The response that says this answer, byte for byte."""
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body)


async def broken(
    fault: Fault, answer: HttpResponse, request_id: str, request: web.BaseRequest, clock: Clock
) -> web.StreamResponse:
    """What the fault makes of the answer."""
    outcome = distort(fault, answer, request_id)
    if isinstance(outcome, HttpResponse):
        return respond(outcome)
    return await act_out(outcome, request, clock)


def named(answer: HttpResponse, request_id: str) -> HttpResponse:
    """The answer as the platform sends it on (PROTOCOL 3.1; on a 401, too: 18)."""
    more = {wire.REQUEST_ID: request_id, wire.SERVED_FROM: "emulator"}
    headers = CIMultiDict(answer.headers)  # an application may set several cookies
    headers.update(more)
    return HttpResponse(answer.status, headers, answer.body)
