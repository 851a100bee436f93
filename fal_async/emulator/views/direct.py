"""``fal.run``: direct calls (PROTOCOL 3)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from fal_async.emulator.breaking import act_out
from fal_async.emulator.distorting import distort
from fal_async.emulator.faults import Fault
from fal_async.emulator.platform import Arrival, Platform
from fal_async.emulator.views.answering import respond
from fal_async.protocol.messages import Headers, HttpResponse

__all__ = ["direct_call"]

_NOTHING: Final = HttpResponse(200, Headers(), b"")


async def direct_call(
    platform: Platform, request: web.BaseRequest, path: str, cdn: str
) -> web.StreamResponse:
    """Serve ``/{model_id}[/{subpath}]``.

    :param path: without the query.
    :param cdn: the base URL under which this caller reaches the CDN.
    """
    target = path.strip("/")
    request_id = platform.new_request_id()
    fault = platform.faults.draw(target)
    if fault is not None and fault.kind.endswith("_on_arrival"):
        return await _break(fault, _NOTHING, request_id, request, platform)
    body = await request.read()
    await platform.travel()
    answer, ran = _NOTHING, False
    if fault is None or fault.ran:
        arrival = Arrival(
            request_id=request_id,
            received=platform.clock.now(),
            method=request.method,
            target=target,
            headers=request.headers,
            body=body,
            cdn=cdn,
        )
        answer, ran = await platform.run(arrival, fault)
        if fault is not None and not ran:
            platform.faults.take_back(fault)
            fault = None
    await platform.travel()
    if fault is None:
        return respond(answer)
    return await _break(fault, answer, request_id, request, platform)


async def _break(
    fault: Fault,
    answer: HttpResponse,
    request_id: str,
    request: web.BaseRequest,
    platform: Platform,
) -> web.StreamResponse:
    outcome = distort(fault, answer, request_id)
    if isinstance(outcome, HttpResponse):
        return respond(outcome)
    return await act_out(outcome, request, platform.clock)
