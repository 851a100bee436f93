"""``fal.run``: direct calls (PROTOCOL 3)."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from fal_async.emulator.executing import run_call
from fal_async.emulator.faults import Fault
from fal_async.emulator.platform import Arrival, Platform
from fal_async.emulator.views.answering import broken, expect_body, named, query_of, respond
from fal_async.emulator.views.event_stream import stream_call
from fal_async.errors import InputError
from fal_async.protocol import failures, wire
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
    request_id = platform.new_request_id()
    try:
        model_id = platform.read_target(path)
    except InputError:
        target = path.strip("/")
        platform.requests["run"] += 1
        await request.read()
        return respond(named(failures.application_not_found(target), request_id))
    streams = platform.streams(model_id)
    fault = platform.faults.draw(str(model_id), wire.STREAM if streams else "run")
    platform.requests[wire.STREAM if streams else "run"] += 1
    platform.background.note()
    if fault is not None and fault.kind.endswith("_on_arrival"):
        return await broken(fault, _NOTHING, request_id, request, platform.clock)
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
            query=query_of(request),
            token=request.query.get(wire.TOKEN_PARAMETER) if streams else None,
        )
        if streams or platform.mounted(model_id):
            return await stream_call(platform, arrival, request, fault)
        answer, ran = await _answered(platform, arrival, fault)
        if fault is not None and not ran:
            platform.faults.take_back(fault)  # turned away: there is no run for it to come after
            fault = None
    await platform.travel()
    platform.background.note()
    if fault is None:
        return respond(answer)
    return await broken(fault, answer, request_id, request, platform.clock)


async def _answered(
    platform: Platform, arrival: Arrival, fault: Fault | None
) -> tuple[HttpResponse, bool]:
    """The platform's answer, and whether it is that of a model that ran."""
    admitted = platform.admit(arrival)
    if isinstance(admitted, HttpResponse):
        return named(admitted, arrival.request_id), False
    # A task of the emulator's, not of this connection: it goes on if the caller leaves.
    work = platform.background.spawn(run_call(platform, admitted, fault))
    answer, ran = await asyncio.shield(work)
    return named(answer, arrival.request_id), ran
