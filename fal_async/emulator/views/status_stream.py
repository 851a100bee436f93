"""Status streams: a job's status as server-sent events, whenever it has changed (PROTOCOL 6.3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import msgspec
from aiohttp import web

from fal_async.emulator.breaking import Silence
from fal_async.emulator.faults import Fault
from fal_async.emulator.misreporting import MISREPORTS, misreport
from fal_async.emulator.queueing.job import Job
from fal_async.emulator.queueing.service import QueueService
from fal_async.emulator.views.telling import status_content
from fal_async.protocol import wire
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.sse import encode_comment, encode_event

__all__ = ["stream_status"]

_HEAD: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
#: Faults within a stream that goes on; all others befall an answer as a whole.
_WITHIN: Final = frozenset(("stream_stalls", "stream_ends", "stream_cut"))


async def stream_status(
    queue: QueueService,
    job: Job,
    request: web.BaseRequest,
    base: str,
    *,
    logs: bool,
    fault: Fault | None,
) -> web.StreamResponse | HttpResponse:
    """Send events until the job is completed.

    :return: with a fault that befalls a whole answer: one that ends after the first event.
    """
    headers = {**_HEAD, wire.REQUEST_ID: job.request_id}
    if fault is not None and fault.kind not in _WITHIN and fault.kind not in MISREPORTS:
        first = msgspec.json.encode(status_content(queue, job, base, logs=logs))
        return HttpResponse(200, Headers(headers), encode_event(first))
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    async with aclosing(_messages(queue, job, base, logs=logs)) as messages:
        return await _send(messages, response, request, fault)


async def _send(
    messages: AsyncIterator[dict[str, Any] | None],
    response: web.StreamResponse,
    request: web.BaseRequest,
    fault: Fault | None,
) -> web.StreamResponse:
    sent = 0
    while not (fault and fault.kind == "stream_ends" and sent >= fault.events):
        if fault and fault.kind == "stream_stalls" and sent >= fault.events:
            # Ended by the caller leaving or the emulator stopping: both cancel this task.
            await asyncio.get_running_loop().create_future()
        try:
            content = await anext(messages)
        except StopAsyncIteration:
            break
        if content is None:
            await response.write(encode_comment("ping"))
            continue
        data = msgspec.json.encode(content)
        if fault and fault.kind in MISREPORTS:
            data = misreport(fault.kind, data)
        event = encode_event(data)
        if fault and fault.kind == "stream_cut" and sent >= fault.events:
            await response.write(event[: len(event) // 2])
            if request.transport is not None:
                request.transport.close()
            return Silence()
        await response.write(event)
        sent += 1
    await response.write_eof()
    return response


async def _messages(
    queue: QueueService, job: Job, base: str, *, logs: bool
) -> AsyncGenerator[dict[str, Any] | None]:
    """Each status that says something new, log lines in pieces; None where a keepalive is due."""
    clock = queue.clock
    keepalive = clock.now() + wire.KEEPALIVE
    told, last = 0, None
    with queue.watches.open(job) as watch:
        while last is None or last[0] != wire.COMPLETED:
            content = status_content(queue, job, base, logs=logs, after=told)
            # A second attempt may have begun between two looks.
            seen = (job.state, content.get("queue_position"), job.attempts)
            if seen != last or content["logs"]:
                last = seen
                if content["logs"] is not None:
                    told = len(job.logs)
                yield content
            elif not await watch.wait(keepalive):
                keepalive += wire.KEEPALIVE
                yield None
