"""Waiting for a queued request at little cost: its status streamed where fal streams, else polled in turn.

All that wait in one session share what they learn: whether streams work, how long requests usually take, and
one rate of polls.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager, aclosing
from math import inf
from types import TracebackType
from typing import Final, Self

import attrs

from fal_async.errors import FalError, TransportError
from fal_async.features.asking import (
    HEADERS,
    ONCE,
    TWICE,
    Asker,
    Question,
    read_content,
    unreadable,
)
from fal_async.features.handle import RequestHandle
from fal_async.features.log_tail import LogTail
from fal_async.policy.pacing import Durations, Pace, RateLine, next_poll
from fal_async.policy.patience import patience_with_question
from fal_async.protocol import codec, routes
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.protocol.queue import Completed, InProgress, InQueue, QueueStatus, read_status
from fal_async.protocol.sse import EventParser
from fal_async.transport.base import Call, Clock, StreamedResponse, Streaming

__all__ = ["Follower", "Updates", "status_question"]

#: A comment comes every 15 s (PROTOCOL 6.3); a stream that is silent for longer has stalled.
_STALLED: Final = 20.0
#: A stream that is alive and tells nothing is not believed for longer than this, in seconds.
_TELLS_NOTHING: Final = 120.0
#: Streams that break within so many seconds: after so many in a row the request is polled for a while.
_SHORT: Final = 5.0
_SHORT_MOST: Final = 3
_NOT_TRIED_FOR: Final = 60.0
#: How long a request lets another one find out whether streams are given, in seconds.
_ASKED_FOR: Final = 2.0
#: Where streams are refused, they are tried again after this long.
_REFUSED_FOR: Final = 300.0

#: Answers that say nothing of streams: the request, the caller or the moment is wrong.
_NO_REFUSAL: Final = frozenset((401, 403, 408, 425, 429, 499, 500, 502, 503, 504))


class StreamRefusedError(Exception):
    """No status stream is to be had for this application."""


class StreamMissingError(Exception):
    """No status stream is to be had, or no such request."""


class StreamBrokenError(Exception):
    """The stream is at its end, too early."""


class Updates(AsyncIterator[QueueStatus]):
    """The changes of one request, as they come; the last one is ``Completed``.

    ``async with`` closes the stream on leaving, at whichever update that is; so does :meth:`aclose`. Dropped
    without either, it is closed in the event loop's next turns.
    """

    def __init__(
        self,
        statuses: AsyncGenerator[QueueStatus],
        minded: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._statuses = statuses
        self._minded = minded

    async def __anext__(self) -> QueueStatus:
        with self._minded():
            return await anext(self._statuses)

    async def aclose(self) -> None:
        """End the stream. Idempotent."""
        await self._statuses.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


@attrs.define
class _Application:
    """What the session has learned of one application's requests."""

    durations: Durations = attrs.field(factory=Durations)
    news: asyncio.Event = attrs.field(factory=asyncio.Event)
    refused_until: float = -inf
    streams: bool = False
    """Whether fal has given a stream: as long as that is open, one request finds out for all."""
    asking: asyncio.Event | None = None

    def refuse(self, until: float) -> None:
        self.refused_until, self.streams = until, False

    def learn(self, seconds: float) -> None:
        if self.durations.observe(seconds):
            self.news.set()  # those who wait plan anew, and find a new event to wait for
            self.news = asyncio.Event()


def status_question(base: str, handle: RequestHandle, *, logs: bool) -> Question[QueueStatus]:
    """Where a request stands."""

    def read(response: HttpResponse) -> QueueStatus:
        status = read_status(read_content(response), handle.request_id)
        if status is None:
            raise unreadable(response, "the answer is no status of a request")
        return status

    url = handle.status_url or routes.status_url(base, handle.application, handle.request_id)
    return Question(handle=handle, url=routes.with_logs(url, logs=logs), read=read)


class Follower:
    """Follows any number of requests.

    :param poll_rate: polls a second, of all requests together; streams that are opened again count, too.
    """

    def __init__(
        self, streams: Streaming, asker: Asker, base: str, clock: Clock, *, poll_rate: float
    ) -> None:
        self.streams = streams
        self.asker = asker
        self.base = base
        self.clock = clock
        self._line = RateLine(poll_rate)
        self._applications: defaultdict[str, _Application] = defaultdict(_Application)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = asyncio.Lock()

    def updates(self, handle: RequestHandle, *, logs: bool) -> AsyncGenerator[QueueStatus]:
        """Every change until, and with, ``Completed``."""
        return _Following(self, handle, logs=logs).updates()

    def known_of(self, application: str) -> _Application:
        """What is known of an application, in the running event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # whoever waited in another one has gone with it
            self._loop, self._turns = loop, asyncio.Lock()
            for known in self._applications.values():
                known.news, known.asking = asyncio.Event(), None
        return self._applications[application]

    async def turn(self) -> None:
        """Wait until another request may go. Who leaves meanwhile has used up no turn."""
        async with self._turns:
            now = self.clock.now()
            at = self._line.take(now)
            if at > now:
                await self.clock.sleep(at - now)


class _Following:
    """One request, followed to its end."""

    def __init__(self, follower: Follower, handle: RequestHandle, *, logs: bool) -> None:
        self._follower = follower
        self._clock = follower.clock
        self._handle = handle
        self._logs = logs
        #: Whether to ask at once: of a request that was submitted elsewhere nothing is known yet.
        self._at_once = handle.submitted is None
        self._opened = 0
        self._short = 0
        self._untried_until = -inf

    async def updates(self) -> AsyncGenerator[QueueStatus]:
        now = self._clock.now
        self._known = self._follower.known_of(self._handle.application)
        self._chance = self._clock.chance()
        self._pace = Pace(since=now() if self._handle.submitted is None else self._handle.submitted)
        self._tail = LogTail()
        last: QueueStatus | None = None
        began: float | None = None
        async with aclosing(self._statuses()) as statuses:
            async for status, cumulative in statuses:
                self._note(status)
                if isinstance(status, InProgress) and not isinstance(last, InProgress):
                    # One that is met on its runner may have been there for long.
                    began = now() if last is not None or self._handle.submitted else None
                fresh = self._tail.fresh(status.logs, cumulative=cumulative) if self._logs else ()
                if fresh or _moved(last, status):
                    yield attrs.evolve(status, logs=fresh)
                last = status
                if isinstance(status, Completed):
                    self._learn(status, began)
                    return

    def _note(self, status: QueueStatus) -> None:
        """What the next poll is planned by."""
        now, pace = self._clock.now(), self._pace
        running = isinstance(status, InProgress)
        began = running and not pace.running and pace.polled is not None
        self._pace = Pace(
            since=now if began else pace.since,
            running=running,
            position=status.queue_position if isinstance(status, InQueue) else None,
            polled=now,
        )

    def _learn(self, ended: Completed, began: float | None) -> None:
        if ended.error is not None or ended.error_type is not None:
            return  # a failure is quicker than the rest, or slower
        if ended.inference_time is not None:
            self._known.learn(ended.inference_time)
        elif began is not None:
            self._known.learn(self._clock.now() - began)

    async def _statuses(self) -> AsyncGenerator[tuple[QueueStatus, bool]]:
        """All there is to hear, each with whether its log lines are all so far."""
        while True:
            missing = False
            if await self._may_stream():
                opened = self._clock.now()
                self._tail.resume()
                try:
                    async with aclosing(self._streamed()) as streamed:
                        async for status in streamed:
                            yield status, False
                    self._broke(opened)  # closed too early: what happened meanwhile?
                except StreamRefusedError:
                    self._refused()
                except StreamMissingError:
                    missing = self._at_once = True
                except (StreamBrokenError, TransportError, ValueError):
                    self._broke(opened)
            await self._until_due()
            yield await self._poll(), True
            if missing:  # it is not the request that is unknown
                self._refused()

    # --- streams ----------------------------------------------------------------------------------------

    async def _may_stream(self) -> bool:
        """Whether to try; while the first of an application's requests finds out, the others wait."""
        known, now = self._known, self._clock.now
        if max(known.refused_until, self._untried_until) > now():
            return False
        if not self._follower.streams.has_room():
            return False
        patient_until = now() + _ASKED_FOR
        while not known.streams and known.asking is not None:
            if not await self._clock.wait(known.asking, patient_until):
                break
        if self._opened:
            await self._follower.turn()
        self._opened += 1
        return known.refused_until <= now() and self._follower.streams.has_room()

    async def _streamed(self) -> AsyncGenerator[QueueStatus]:
        known, handle, follower = self._known, self._handle, self._follower
        asking = None
        if not known.streams and known.asking is None:
            asking = known.asking = asyncio.Event()
        try:
            async with follower.streams.open(
                self._stream_request(), Call(ONCE, key=handle.key, free=True), idle=_STALLED
            ) as response:
                self._check(response)
                known.streams = True
                _told(known, asking)
                async with aclosing(self._events(response)) as events:
                    async for status in events:
                        yield status
        finally:
            _told(known, asking)

    def _stream_request(self) -> HttpRequest:
        handle = self._handle
        url = handle.status_url or routes.status_url(
            self._follower.base, handle.application, handle.request_id
        )
        path, mark, query = url.partition("?")
        return HttpRequest(
            method="GET",
            url=routes.with_logs(f"{path}/stream{mark}{query}", logs=self._logs),
            headers={"Accept": "text/event-stream", "Cache-Control": "no-store", **HEADERS},
        )

    def _check(self, response: StreamedResponse) -> None:
        if response.status in _NO_REFUSAL:
            raise StreamBrokenError
        if response.status == 404:
            raise StreamMissingError
        packed = response.headers.get("Content-Encoding", "identity").strip().lower()
        media_type = codec.content_type_of(response.headers)
        if response.status != 200 or media_type != "text/event-stream" or packed != "identity":
            raise StreamRefusedError

    async def _events(self, response: StreamedResponse) -> AsyncGenerator[QueueStatus]:
        parser = EventParser()
        heard = self._clock.now()
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                for event in parser.feed(chunk):
                    status = _read_event(event.data, self._handle.request_id)
                    if status is not None:
                        heard = self._clock.now()
                        yield status
                if self._clock.now() - heard > _TELLS_NOTHING:
                    return

    def _broke(self, opened: float) -> None:
        now = self._clock.now()
        self._at_once = True
        self._short = self._short + 1 if now - opened < _SHORT else 0
        if self._short >= _SHORT_MOST:
            self._untried_until = now + _NOT_TRIED_FOR
            self._short = _SHORT_MOST - 1

    def _refused(self) -> None:
        self._known.refuse(self._clock.now() + _REFUSED_FOR)

    # --- polls ------------------------------------------------------------------------------------------

    async def _until_due(self) -> None:
        while not self._at_once:
            known = self._known
            due = next_poll(self._pace, known.durations, self._chance)
            if due <= self._clock.now() or not await self._clock.wait(known.news, due):
                return

    async def _poll(self) -> QueueStatus:
        """Ask, and go on asking while no answer comes; each time it is this request's turn."""
        follower = self._follower
        question = status_question(follower.base, self._handle, logs=self._logs)
        tries, waited = 0, 0.0
        while True:
            policy = TWICE if tries else ONCE
            for _ in range(policy.sends):
                await follower.turn()
            tries += 1
            try:
                status = await follower.asker.put(question, policy=policy)
            except FalError as error:
                error.attempts = tries
                wait = patience_with_question(error).next_wait(
                    tries=tries,
                    waited=waited,
                    chance=self._clock.chance(),
                    retry_after=error.retry_after,
                )
                if wait is None:
                    raise
            else:
                self._at_once = False
                return status
            waited += wait
            await self._clock.sleep(wait)


def _told(known: _Application, asking: asyncio.Event | None) -> None:
    """Who found out whether streams are given lets the others go on."""
    if asking is not None:
        asking.set()
        if known.asking is asking:
            known.asking = None


def _moved(last: QueueStatus | None, status: QueueStatus) -> bool:
    if type(last) is not type(status):
        return True
    return isinstance(status, InQueue) and status != last


def _read_event(data: bytes, request_id: str) -> QueueStatus | None:
    try:
        return read_status(codec.decode_json(data), request_id)
    except codec.Undecodable:
        return None
