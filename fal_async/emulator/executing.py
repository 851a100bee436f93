"""One call that was let in: it waits for a runner, its model runs, and the ledger says what it cost.

It joins the pure parts and waits on the clock; it knows no HTTP server.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from fal_async.emulator.answers import Answer, MadeFile, StreamEvent
from fal_async.emulator.asgi.model import AsgiModel
from fal_async.emulator.asgi.running import run_app
from fal_async.emulator.channel import Channel
from fal_async.emulator.contact import Contact
from fal_async.emulator.faults import Fault
from fal_async.emulator.inputs import read_input
from fal_async.emulator.ledger import Execution
from fal_async.emulator.model import Call, Model
from fal_async.emulator.platform import Admitted, Platform
from fal_async.emulator.raising import (
    CallCancelledError,
    InvalidInputError,
    ModelFailure,
    RunnerError,
)
from fal_async.emulator.runners import GaveUp
from fal_async.emulator.settling import Settled, encode_output, settle_failure, settle_output
from fal_async.emulator.verdicts import loses_runner
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.sse import encode_event

__all__ = ["kills_runner", "run_attempt", "run_call"]

_LOG: Final = logging.getLogger("fal_async.emulator")


async def run_call(
    platform: Platform, admitted: Admitted, fault: Fault | None, channel: Channel | None = None
) -> tuple[HttpResponse, bool]:
    """Run a call to its end: the answer, and whether its model ran.

    :param channel: takes the events of a call that streams, and is told of their end; the answer is then
        that of the last one.

    Not to be cancelled because the caller has left: it is charged either way (PROTOCOL 3).
    """
    model, job = admitted.model, admitted.arrival.request_id
    try:
        dispatcher = platform.dispatcher(model.application)
        _enter(platform, admitted)
        hint = admitted.arrival.headers.get(wire.RUNNER_HINT)
        event = await dispatcher.acquire(job, start_by=admitted.start_by, hint=hint)
        if isinstance(event, GaveUp):
            answer = _given_up(event)
            platform.history.end(job, platform.unix(), answer)
            return answer, False
        platform.history.start(job, platform.unix())
        healthy = False  # unless it gets to its end
        try:
            settled = await run_attempt(platform, event.runner, admitted, fault, channel=channel)
            healthy = settled.healthy and not kills_runner(fault)
        finally:
            dispatcher.release(job, healthy=healthy)
        platform.history.end(job, platform.unix(), _seen_by_platform(settled.response, fault))
        return settled.response, True
    finally:
        # Before the answer leaves, so that its receiver finds the slot free (PROTOCOL 3.3).
        platform.concurrency.leave(model.application, exempt=model.own)
        platform.freed()
        platform.background.note()
        if channel is not None:
            channel.end()


def _enter(platform: Platform, admitted: Admitted) -> None:
    arrival = admitted.arrival
    platform.history.accept(
        arrival.request_id,
        str(arrival.model_id),
        platform.unix(arrival.received),
        arrival.headers,
        arrival.body,
    )


def _seen_by_platform(answer: HttpResponse, fault: Fault | None) -> HttpResponse:
    """What the platform knows of: its own failure, but not what breaks between it and the caller."""
    if fault is None or fault.kind not in wire.REQUEST_ERROR_STATUS:
        return answer
    return failures.request_error(fault.kind)


def _given_up(event: GaveUp) -> HttpResponse:
    if event.reason == "start_timeout":
        return failures.start_timed_out()
    return failures.request_error(wire.RUNNER_SCHEDULING_FAILURE)


def kills_runner(fault: Fault | None) -> bool:
    """Whether a fault takes the runner with it."""
    return fault is not None and loses_runner(fault.kind)


async def run_attempt(
    platform: Platform,
    runner: int,
    admitted: Admitted,
    fault: Fault | None,
    *,
    attempt: int = 1,
    contact: Contact | None = None,
    channel: Channel | None = None,
) -> Settled:
    """Run the model once, on a runner that was assigned, and enter it into the ledger."""
    arrival, clock = admitted.arrival, platform.clock
    execution = platform.ledger.begin(
        Execution(
            request_id=arrival.request_id,
            model=admitted.model.id,
            application=admitted.model.application,
            key_id=admitted.caller.key_id,
            started=clock.now(),
            runner=runner,
            hint=arrival.headers.get(wire.RUNNER_HINT),
            fault=None if fault is None else fault.kind,
            attempt=attempt,
        )
    )
    platform.background.note()
    try:
        contact = contact or (channel.contact if channel else Contact(clock))
        settled = await _run(platform, admitted, execution.started, attempt, contact, channel)
    except asyncio.CancelledError:  # the emulator stops
        execution.ended = clock.now()
        raise
    execution.ended = clock.now()
    execution.status = settled.response.status
    execution.units = settled.units
    execution.billed = settled.billed and (fault is None or fault.billed)
    return settled


async def _run(
    platform: Platform,
    admitted: Admitted,
    started: float,
    attempt: int,
    contact: Contact,
    channel: Channel | None,
) -> Settled:
    """Call the model's function, and let its run time pass."""
    model, arrival, clock = admitted.model, admitted.arrival, platform.clock
    seconds = 0.0
    try:
        if isinstance(model, AsgiModel):
            return await run_app(platform, admitted, model, started, contact, channel)
        content = read_input(model, arrival.method, arrival.body)
        seconds = platform.seconds(model, content)
        over = started + min(seconds, model.request_timeout)
        seen = _seen(platform, admitted, attempt, contact, seconds)
        place = partial(_place, platform, admitted)
        if channel is None:
            work = _called(platform, model, content, seen, over)
        else:
            work = _streamed(platform, model, content, seen, over, channel, place)
        output = await (contact.unless_cancelled(work) if model.cancellable else work)
        if seconds > model.request_timeout:
            raise RunnerError(wire.REQUEST_TIMEOUT)
        settle = partial(settle_output, model, content, output, place)
        # Files that go inline are made now, which takes its time.
        return await platform.background.in_thread(settle) if _inline(content) else settle()
    except InvalidInputError as failure:
        return settle_failure(model, failure)
    except CallCancelledError as failure:
        # Who leaves a stream is charged for it: a direct call cannot be taken back (PROTOCOL 3).
        failure.billed = failure.billed or channel is not None
        return settle_failure(model, failure)
    except ModelFailure as failure:
        await clock.sleep_until(started + min(seconds, model.request_timeout))
        return settle_failure(model, failure)
    except Exception as failure:  # the model's own bug, whatever it is
        _LOG.error("model %s failed", model.id, exc_info=failure)
        return settle_failure(model, failure)


async def _called(platform: Platform, model: Model, content: Any, seen: Call, over: float) -> Any:
    """The function's output, not before ``over``."""
    call: Callable[[], Any] = partial(model.function, content)
    if model.takes_call:
        call = partial(model.function, content, seen)
    if model.thread:
        output = await platform.background.in_thread(call)
    else:
        output = call()
        if isinstance(output, AsyncGenerator):
            output = await _last_of(output)
        output = await output if inspect.isawaitable(output) else output
    await platform.clock.sleep_until(over)
    return output


async def _last_of(events: AsyncGenerator[Any]) -> Any:
    last = None
    async for event in events:
        last = event
    return last.data if isinstance(last, StreamEvent) else last


async def _streamed(
    platform: Platform,
    model: Model,
    content: Any,
    seen: Call,
    over: float,
    channel: Channel,
    place: Callable[[MadeFile], object],
) -> Any:
    """The last event's payload, after all of them have gone their way, and not before ``over``."""
    assert model.stream is not None  # noqa: S101  # who has a channel asked for a stream
    arguments = (content, seen) if model.stream_takes_call else (content,)
    events: AsyncGenerator[Any] = model.stream(*arguments)
    last = None
    async with aclosing(events):
        async for item in events:
            event = item if isinstance(item, StreamEvent) else StreamEvent(item)
            last = event.data
            await channel.put(_as_bytes(model, event, place))
            platform.background.note()
    await platform.clock.sleep_until(over)
    return Answer(body=last) if isinstance(last, bytes) else last


def _as_bytes(model: Model, event: StreamEvent, place: Callable[[MadeFile], object]) -> bytes:
    if model.stream_type == wire.EVENT_STREAM:
        return encode_event(encode_output(event.data, place), event=event.name, id=event.id)
    data: bytes = event.data
    return data


def _seen(
    platform: Platform, admitted: Admitted, attempt: int, contact: Contact, seconds: float
) -> Call:
    arrival = admitted.arrival
    told = {k.lower(): v for k, v in arrival.headers.items() if k.lower() != "authorization"}
    # What the platform adds for the application (PROTOCOL 3.1); a caller cannot set it.
    told |= {wire.REQUEST_ID: arrival.request_id, wire.ENDPOINT: admitted.model.id}
    return Call(
        request_id=arrival.request_id,
        model=admitted.model.id,
        path=admitted.path,
        method=arrival.method,
        headers=told,
        key_id=admitted.caller.key_id,
        chance=platform.chance.integer("call", arrival.request_id),
        attempt=attempt,
        seconds=seconds,
        contact=contact,
    )


def _inline(content: Any) -> bool:
    return isinstance(content, dict) and bool(content.get("sync_mode"))


def _place(platform: Platform, admitted: Admitted, file: MadeFile) -> str | dict[str, object]:
    """The object that stands for a file in the output, or its url."""
    if file.inline:
        data = file.content if isinstance(file.content, bytes) else file.content()
        url = f"data:{file.content_type};base64,{b64encode(data).decode()}"
        platform.history.inline(admitted.arrival.request_id)
    else:
        url = f"{admitted.arrival.cdn}{platform.keep(file, admitted)}"
    return url if file.bare else {"url": url, "content_type": file.content_type, **file.fields}
