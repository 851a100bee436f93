"""Waiting for a queued request at little cost: its status streamed where fal streams, else polled in turn.

All that wait in one session share what they learn: whether streams work, how long requests usually take, and
one rate of polls.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import attrs

from fal_async.errors import TransportError
from fal_async.features.handle import RequestHandle
from fal_async.policy.pacing import Durations, Pace, RateLine, next_poll
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol import codec, routes
from fal_async.protocol.messages import HttpRequest
from fal_async.protocol.queue import (
    Completed,
    InProgress,
    InQueue,
    LogLine,
    QueueStatus,
    read_status,
)
from fal_async.protocol.sse import EventParser
from fal_async.transport.base import Call, Clock, StreamedResponse, Streaming

__all__ = ["Follower", "LogTail"]

#: A comment comes every 15 s (PROTOCOL 6.3); a stream that is silent for longer has stalled.
_STALLED: Final = 20.0
#: Streams that break before they say anything: after so many in a row the request is polled.
_BROKEN_STREAMS: Final = 2
#: How long a request lets another one find out whether streams are given, in seconds.
_ASKED_FOR: Final = 2.0
#: Where streams are refused, they are tried again after this long.
_REFUSED_FOR: Final = 300.0

_ONCE: Final = RetryPolicy.never()


class StreamRefusedError(Exception):
    """No status stream is to be had for this application."""


class LogTail:
    """The log lines that are new: polls bring all so far, streams those since the last event."""

    def __init__(self) -> None:
        self._seen: list[LogLine] = []
        self._resumed = False

    def resume(self) -> None:
        """A stream begins: what it brings first may be all so far, or only what is new."""
        self._resumed = True

    def fresh(self, lines: tuple[LogLine, ...], *, cumulative: bool) -> tuple[LogLine, ...]:
        if not lines:
            return ()
        seen = self._seen
        if cumulative or (self._resumed and list(lines[: len(seen)]) == seen[: len(lines)]):
            lines = lines[len(seen) :]
        self._resumed = False
        seen.extend(lines)
        return lines


@attrs.define
class _Application:
    """What the session has learned of one application's requests."""

    durations: Durations = attrs.field(factory=Durations)
    news: asyncio.Event = attrs.field(factory=asyncio.Event)
    refused_until: float = float("-inf")
    streams: bool = False
    """Whether fal has given a stream: as long as that is open, one request finds out for all."""
    asking: asyncio.Event | None = None


class Follower:
    """Follows any number of requests.

    :param poll_rate: polls a second, of all requests together.
    """

    def __init__(
        self,
        transport: Streaming,
        ask: Callable[..., Awaitable[QueueStatus]],
        base: str,
        clock: Clock,
        *,
        poll_rate: float,
    ) -> None:
        self._transport = transport
        self._ask = ask
        self._base = base
        self._clock = clock
        self._line = RateLine(poll_rate)
        self._applications: defaultdict[str, _Application] = defaultdict(_Application)

    async def updates(self, handle: RequestHandle, *, logs: bool) -> AsyncIterator[QueueStatus]:
        """Every change until, and with, ``Completed``."""
        tail = LogTail()
        known = self._applications[handle.application]
        last: QueueStatus | None = None
        since = self._clock.now()
        async for status, cumulative in self._statuses(handle, known, tail, logs=logs):
            if isinstance(status, InProgress) and not isinstance(last, InProgress):
                since = self._clock.now()
            fresh = tail.fresh(status.logs, cumulative=cumulative)
            if fresh or _moved(last, status):
                yield attrs.evolve(status, logs=fresh)
            last = status
            if isinstance(status, Completed):
                took = status.inference_time
                self._learn(known, self._clock.now() - since if took is None else took)
                return

    def _learn(self, known: _Application, seconds: float) -> None:
        if known.durations.observe(seconds):
            known.news.set()  # those who wait plan anew, and find a new event to wait for
            known.news = asyncio.Event()

    async def _statuses(
        self, handle: RequestHandle, known: _Application, tail: LogTail, *, logs: bool
    ) -> AsyncIterator[tuple[QueueStatus, bool]]:
        broken = 0
        while broken < _BROKEN_STREAMS and await self._may_stream(known):
            heard = False
            try:
                tail.resume()
                async for status in self._stream(handle, known, logs=logs):
                    heard = True
                    yield status, False
                    if isinstance(status, Completed):
                        return
            except StreamRefusedError:
                break
            except TransportError:
                pass
            broken = 0 if heard else broken + 1
            # It broke off, or closed too early: what happened meanwhile?
            yield await self._poll(handle, logs=logs), True
        async for status in self._polled(handle, known, logs=logs):
            yield status, True

    async def _may_stream(self, known: _Application) -> bool:
        """Whether to try; while the first of an application's requests finds out, the others wait."""
        if not known.streams and known.asking is not None:
            await self._clock.wait(known.asking, self._clock.now() + _ASKED_FOR)
        return known.refused_until <= self._clock.now()

    async def _stream(
        self, handle: RequestHandle, known: _Application, *, logs: bool
    ) -> AsyncIterator[QueueStatus]:
        url = handle.status_url or routes.status_url(
            self._base, handle.application, handle.request_id
        )
        request = HttpRequest(
            method="GET",
            url=routes.with_logs(f"{url}/stream", logs=logs),
            headers={"Accept": "text/event-stream", "Cache-Control": "no-store"},
        )
        asking = None
        if not known.streams and known.asking is None:
            asking = known.asking = asyncio.Event()
        try:
            async with self._transport.open(
                request, Call(_ONCE, key=handle.key, free=True), idle=_STALLED
            ) as response:
                if not _is_stream(response):
                    known.refused_until = self._clock.now() + _REFUSED_FOR
                    raise StreamRefusedError
                known.streams = True
                _told(known, asking)
                async for status in _events(response, handle.request_id):
                    yield status
        finally:
            _told(known, asking)

    async def _polled(
        self, handle: RequestHandle, known: _Application, *, logs: bool
    ) -> AsyncIterator[QueueStatus]:
        pace = Pace(since=self._clock.now())
        chance = self._clock.chance()
        while True:
            await self._until_due(pace, known, chance)
            status = await self._poll(handle, logs=logs)
            yield status
            now = self._clock.now()
            running = isinstance(status, InProgress)
            began = running and not pace.running and pace.polled is not None
            pace = Pace(
                since=now if began else pace.since,
                running=running,
                position=status.queue_position if isinstance(status, InQueue) else None,
                polled=now,
            )

    async def _until_due(self, pace: Pace, known: _Application, chance: float) -> None:
        while True:
            due = next_poll(pace, known.durations, chance)
            if due <= self._clock.now() or not await self._clock.wait(known.news, due):
                return

    async def _poll(self, handle: RequestHandle, *, logs: bool) -> QueueStatus:
        now = self._clock.now()
        at = self._line.take(now)
        if at > now:
            await self._clock.sleep(at - now)
        return await self._ask(handle, logs=logs)


def _told(known: _Application, asking: asyncio.Event | None) -> None:
    """Who found out whether streams are given lets the others go on."""
    if asking is not None:
        asking.set()
        if known.asking is asking:
            known.asking = None


def _is_stream(response: StreamedResponse) -> bool:
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return response.status == 200 and media_type == "text/event-stream"


async def _events(response: StreamedResponse, request_id: str) -> AsyncIterator[QueueStatus]:
    parser = EventParser()
    async for chunk in response.chunks():
        for event in parser.feed(chunk):
            status = _read_event(event.data, request_id)
            if status is not None:
                yield status


def _moved(last: QueueStatus | None, status: QueueStatus) -> bool:
    if type(last) is not type(status):
        return True
    return isinstance(status, InQueue) and status != last


def _read_event(data: bytes, request_id: str) -> QueueStatus | None:
    try:
        return read_status(codec.decode_json(data), request_id)
    except codec.Undecodable:
        return None
