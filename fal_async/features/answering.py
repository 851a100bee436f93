"""Payloads on their way over a WebSocket of fal's gateway, and their answers as they come in (PROTOCOL 9).

One payload is told here, with its account and its body; the connection it goes over is told by ``gateway``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from fal_async.errors import (
    Billing,
    BodyBrokenError,
    BodyTooLargeError,
    ConnectionLostError,
    FalError,
)
from fal_async.protocol import wire
from fal_async.protocol.billing import billing_of
from fal_async.protocol.codec import content_type_of
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.outcome import error_from_response
from fal_async.protocol.websocket import End, Start
from fal_async.transport.base import Call

__all__ = ["Exchange"]

#: Pieces of a streamed answer that are kept for a slow consumer; then the connection waits for it.
_PIECES: Final = 16
#: What a load balancer answers with.
_INGRESS: Final = frozenset((502, 503, 504))


class Exchange:
    """One payload, and what becomes of it.

    :param request: as a direct call would send it; what its errors must not repeat.
    :param limit: largest answer that is kept, in bytes.
    :param streamed: whether its body is taken piece by piece.
    """

    def __init__(self, request: HttpRequest, call: Call, *, limit: int, streamed: bool) -> None:
        self.request = request
        self.call = call
        self.frame = request.body.decode()
        self._limit = limit
        self._streamed = streamed
        self.awaited = True
        """Whether somebody waits for it right now."""
        self.on_left: Callable[[Exchange], None] | None = None
        """Is told when nobody waits for it any more, or not for now."""
        self.reset()

    def reset(self) -> None:
        """As if it had never been sent."""
        self.abandoned = False
        self.on_wire = False
        """Whether it was sent: what was sent is never sent again, unless it was refused."""
        self.head: Start | None = None
        self.refusal: HttpResponse | None = None
        """The 429 it was answered with, if that cost nothing."""
        self._body = bytearray()
        self._too_large = False
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(_PIECES)
        self.begun: asyncio.Event = asyncio.Event()
        """Set as soon as it is known whether it succeeds."""
        self.done: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(_look)

    # --- what comes in ------------------------------------------------------------------------------

    def begin(self, start: Start) -> None:
        """Its answer begins."""
        headers = start.headers
        named = wire.REQUEST_ID in headers or _is_load_balancers(start.status, headers)
        if start.request_id and not named:
            # The platform has named the request: this is no word of a load balancer's.
            headers = Headers({**headers, wire.REQUEST_ID: start.request_id})
        self.head = Start(start.request_id, start.status, headers)
        self.call.request_id = headers.get(wire.REQUEST_ID, start.request_id or None)
        self.call.current = billing_of(start.status, headers)
        self.begun.set()

    async def add(self, data: bytes) -> None:
        """A piece of its body; returns when there is room for more."""
        head = self.head
        if self.abandoned or head is None:
            return
        if self._streamed and 200 <= head.status < 300:
            await self._pieces.put(data)
        elif len(self._body) + len(data) > self._limit:
            self._too_large = True
        elif not self._too_large:
            self._body += data

    def end(self, end: End) -> None:
        """Its answer is complete."""
        named = Headers({wire.REQUEST_ID: end.request_id} if end.request_id else {})
        head = self.head or Start(end.request_id, end.status, named)
        # Or before it began, which tells as little.
        failed_on_the_way = end.status >= 400 and (self.head is None or head.status < 400)
        response = HttpResponse(
            end.status if failed_on_the_way else head.status, head.headers, bytes(self._body)
        )
        if self._too_large and 200 <= response.status < 300:
            what = f"the answer is larger than {self._limit} bytes"
            self.fail(self._cut_short(BodyTooLargeError(what), head))
        elif failed_on_the_way:
            # It ran, if it began; what a failure after that costs is not told.
            error = error_from_response(response, self.request)
            error.billing = error.billing.worse(Billing.UNKNOWN)
            self.fail(error)
        else:
            self._answer(response)
        self._wake()

    def lose(self, what: str) -> None:
        """The connection is lost, and no more of it will come."""
        head = self.head
        if head is None:
            self.fail(ConnectionLostError(what, billing=Billing.UNKNOWN))
        elif 200 <= head.status < 300:
            self.fail(self._cut_short(BodyBrokenError(f"the answer broke off: {what}"), head))
        else:  # the status alone tells most of what a failure has to say
            self._answer(HttpResponse(head.status, head.headers, bytes(self._body)))
        self._wake()

    def _answer(self, response: HttpResponse) -> None:
        if response.status == 429 and self.call.current is not Billing.BILLED:
            self.refusal = response
        if not self.done.done():
            self.done.set_result(response)

    def fail(self, error: FalError) -> None:
        """It has come to nothing."""
        self.call.current = error.billing
        error.attempts = self.call.attempts
        error.request_id = error.request_id or self.call.request_id
        if not self.done.done():
            self.done.set_exception(error)
        self._wake()

    def _cut_short(self, error: FalError, head: Start) -> FalError:
        error.billing = billing_of(head.status, head.headers)
        error.status, error.headers = head.status, head.headers
        error.body = bytes(self._body)
        return error

    def _wake(self) -> None:
        self.begun.set()
        if self._streamed and not self._pieces.full():
            self._pieces.put_nowait(b"")

    # --- what is taken ------------------------------------------------------------------------------

    async def piece(self) -> bytes:
        """The next piece of a streamed answer; empty when all have been taken.

        :raises FalError: if the answer failed, after all pieces that had come.
        """
        while not (self.done.done() and self._pieces.empty()):
            if piece := await self._pieces.get():
                return piece
        if self.done.done():
            self.done.result()
        return b""

    def abandon(self) -> None:
        """Nobody waits for it any more; what still comes of it is thrown away."""
        self.abandoned = True
        self.done.cancel()
        while not self._pieces.empty():  # whoever waits for room goes on
            self._pieces.get_nowait()
        self.leave()

    def leave(self) -> None:
        """Nobody waits for it; its answer is kept, and may be asked for later."""
        self.awaited = False
        if self.on_left is not None:
            self.on_left(self)


def _is_load_balancers(status: int, headers: Mapping[str, str]) -> bool:
    """Whether it is a page of one behind the gateway (PROTOCOL 5.3, 18): the call may have run."""
    own = any(name.lower().startswith(wire.RESERVED_PREFIX) for name in headers)
    return status in _INGRESS and not own and content_type_of(headers) == "text/html"


def _look(done: asyncio.Future[HttpResponse]) -> None:
    """Take note of a failure that nobody asks for any more, or asyncio complains."""
    if not done.cancelled():
        done.exception()
