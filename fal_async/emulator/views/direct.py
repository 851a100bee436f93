"""``fal.run``: direct calls (PROTOCOL 3)."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from fal_async.emulator.breaking import act_out
from fal_async.emulator.distorting import distort
from fal_async.emulator.executing import run_call
from fal_async.emulator.faults import Fault
from fal_async.emulator.platform import Arrival, Platform
from fal_async.emulator.views.answering import expect_body, respond
from fal_async.errors import InputError
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.model import parse_model_id

__all__ = ["direct_call"]

_NOTHING: Final = HttpResponse(200, Headers(), b"")


async def direct_call(
    platform: Platform, request: web.BaseRequest, path: str, cdn: str
) -> web.StreamResponse:
    """Serve ``/{model_id}[/{subpath}]``.

    :param path: without the query.
    :param cdn: the base URL under which this caller reaches the CDN.
    """
    request_id = platform.new_request_id()
    target = path.strip("/")
    try:
        model_id = parse_model_id(target)
    except InputError:
        await request.read()
        return respond(_named(failures.application_not_found(target), request_id))
    fault = platform.faults.draw(str(model_id))
    platform.background.note()
    if fault is not None and fault.kind.endswith("_on_arrival"):
        return await _broken(platform, request, request_id, fault, _NOTHING)
    await expect_body(request)
    body = await request.read()
    await platform.travel()
    answer = _NOTHING
    if fault is None or fault.ran:
        arrival = Arrival(
            request_id=request_id,
            received=platform.clock.now(),
            method=request.method,
            model_id=model_id,
            headers=request.headers,
            body=body,
            cdn=cdn,
        )
        answer, ran = await _answered(platform, arrival, fault)
        if fault is not None and not ran:
            platform.faults.take_back(fault)  # turned away: there is no run for it to come after
            fault = None
    await platform.travel()
    platform.background.note()
    if fault is None:
        return respond(answer)
    return await _broken(platform, request, request_id, fault, answer)


async def _answered(
    platform: Platform, arrival: Arrival, fault: Fault | None
) -> tuple[HttpResponse, bool]:
    """The platform's answer, and whether it is that of a model that ran."""
    admitted = platform.admit(arrival)
    if isinstance(admitted, HttpResponse):
        return _named(admitted, arrival.request_id), False
    # A task of the emulator's, not of this connection: it goes on if the caller leaves.
    work = platform.background.spawn(run_call(platform, admitted, fault))
    answer, ran = await asyncio.shield(work)
    return _named(answer, arrival.request_id), ran


async def _broken(
    platform: Platform,
    request: web.BaseRequest,
    request_id: str,
    fault: Fault,
    answer: HttpResponse,
) -> web.StreamResponse:
    """What the fault makes of the answer."""
    outcome = distort(fault, answer, request_id)
    if isinstance(outcome, HttpResponse):
        return respond(outcome)
    return await act_out(outcome, request, platform.clock)


def _named(answer: HttpResponse, request_id: str) -> HttpResponse:
    """The answer as the platform sends it on (PROTOCOL 3.1; on a 401, too: 18)."""
    more = {wire.REQUEST_ID: request_id, wire.SERVED_FROM: "emulator"}
    return HttpResponse(answer.status, Headers({**answer.headers, **more}), answer.body)
