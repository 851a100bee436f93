"""``fal.run/…/stream``: a model's events as they are made (PROTOCOL 8); any answer of an application's."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from fal_async.emulator.asgi.model import AsgiModel
from fal_async.emulator.breaking import Silence
from fal_async.emulator.channel import Channel
from fal_async.emulator.contact import Contact
from fal_async.emulator.executing import run_call
from fal_async.emulator.faults import Fault
from fal_async.emulator.model import Model
from fal_async.emulator.platform import Admitted, Arrival, Platform
from fal_async.emulator.views.answering import broken, named, respond
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.sse import encode_event

__all__ = ["complete", "stream_call"]

#: Faults in mid-stream; all others befall an answer as a whole.
_WITHIN: Final = frozenset(("stream_stalls", "stream_ends", "stream_cut", "stream_error"))
_ERROR: Final = b'{"error":"the model broke down"}'


async def stream_call(
    platform: Platform, arrival: Arrival, request: web.BaseRequest, fault: Fault | None
) -> web.StreamResponse:
    """Serve a call answered piece by piece; its model runs on if the caller leaves, and is told so."""
    admitted = platform.admit(arrival)
    if isinstance(admitted, HttpResponse):
        return _turned_away(platform, named(admitted, arrival.request_id), fault)
    channel = Channel(Contact(platform.clock))
    work = platform.background.spawn(run_call(platform, admitted, fault, channel))
    try:
        if fault is not None and fault.kind not in _WITHIN:
            return await _distorted(platform, admitted, channel, work, request, fault)
        return await _sent(platform, admitted, channel, work, request, fault)
    finally:
        channel.leave()
        platform.background.note()


_Work = asyncio.Task[tuple[HttpResponse, bool]]


def _turned_away(platform: Platform, answer: HttpResponse, fault: Fault | None) -> web.Response:
    if fault is not None:
        platform.faults.take_back(fault)  # there is no run for it to come after
    platform.background.note()
    return respond(answer)


def complete(model: Model, channel: Channel, answer: HttpResponse) -> bool:
    """Whether all of a run's answer has come through the channel; else it is what the run came to."""
    return channel.whole if isinstance(model, AsgiModel) else answer.status < 300


def _head(admitted: Admitted, channel: Channel) -> HttpResponse:
    if channel.head is not None:
        return named(channel.head, admitted.arrival.request_id)
    headers = {"Content-Type": admitted.model.stream_type, "Cache-Control": "no-cache"}
    return named(HttpResponse(200, Headers(headers), b""), admitted.arrival.request_id)


async def _distorted(
    platform: Platform,
    admitted: Admitted,
    channel: Channel,
    work: _Work,
    request: web.BaseRequest,
    fault: Fault,
) -> web.StreamResponse:
    """What the fault makes of the whole stream."""
    body = b"".join([event async for event in channel.rest()])
    answer, ran = await asyncio.shield(work)
    answer = named(answer, admitted.arrival.request_id)
    if not ran:
        return _turned_away(platform, answer, fault)
    if complete(admitted.model, channel, answer):
        head = _head(admitted, channel)
        answer = HttpResponse(head.status, head.headers, body)
    await platform.travel()
    platform.background.note()
    return await broken(fault, answer, admitted.arrival.request_id, request, platform.clock)


async def _sent(
    platform: Platform,
    admitted: Admitted,
    channel: Channel,
    work: _Work,
    request: web.BaseRequest,
    fault: Fault | None,
) -> web.StreamResponse:
    event = await channel.take()
    await platform.travel()
    if event is None:
        answer, ran = await asyncio.shield(work)
        if not ran or not complete(admitted.model, channel, answer):
            answer = named(answer, admitted.arrival.request_id)
            return _turned_away(platform, answer, None if ran else fault)
    head = _head(admitted, channel)
    response = web.StreamResponse(status=head.status, headers=head.headers)
    response.content_length = channel.length
    await response.prepare(request)
    sent = 0
    while event is not None:
        if fault is not None and sent >= fault.events:
            return await _break(fault, event, response, request)
        await response.write(event)
        platform.background.note()
        sent += bool(event)
        event = await channel.take()
    answer, _ = await asyncio.shield(work)
    if not complete(admitted.model, channel, answer):  # it failed in mid-stream (PROTOCOL 18)
        return _cut(request)
    await response.write_eof()
    return response


async def _break(
    fault: Fault, event: bytes, response: web.StreamResponse, request: web.BaseRequest
) -> web.StreamResponse:
    match fault.kind:
        case "stream_stalls":
            # Ended by the caller leaving or the emulator stopping: both cancel this task.
            await asyncio.get_running_loop().create_future()
        case "stream_cut":
            await response.write(event[: len(event) // 2])
            return _cut(request)
        case "stream_error":
            await response.write(encode_event(fault.body or _ERROR))
        case _:
            pass
    await response.write_eof()
    return response


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return Silence()
