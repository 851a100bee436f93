"""The way to fal's WebSocket gateway: one connection, payloads ahead, answers in order (PROTOCOL 9).

A lost connection is made again for what is still to be sent; what was on its way is never sent again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs

from fal_async.errors import Billing, FalError, SessionError, TooManyRequestsError
from fal_async.features.answering import Exchange
from fal_async.policy.retry import Resend, RetryPolicy, next_wait
from fal_async.protocol.closing import explain_close
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.protocol.outcome import retry_after
from fal_async.protocol.websocket import AnswerReader, End, Piece, Start, Stray
from fal_async.protocol.wording import brief
from fal_async.transport.base import Call, Clock, Slot, Slots
from fal_async.transport.sockets import Closed, Socket, Sockets

__all__ = ["Line"]

#: Without a brake, what was refused waits as fal's pages advise: 1, 2, 4, 8 s (PROTOCOL 3.3).
_WAITS: Final = (1.0, 2.0, 4.0, 8.0)
_LEFT: Final = "the connection was left"


@attrs.define(eq=False)
class _Connection:
    """A socket, and the payloads on it that are not answered."""

    socket: Socket
    waiting: deque[Exchange] = attrs.field(factory=deque)
    reader: AnswerReader = attrs.field(factory=AnswerReader)
    said: bytes = b""
    """What came last that belongs to no answer: it may tell why the connection ends."""
    pump: asyncio.Task[None] | None = None


class Line:
    """Sends payloads ahead, and takes in their answers.

    It holds one slot of the brake for as long as any of its payloads is not answered: they run one by one.

    :param request: of the handshake.
    :param ahead: payloads on their way at once.
    :param max_frame: largest frame that is taken, in bytes.
    """

    def __init__(
        self,
        sockets: Sockets,
        slots: Slots,
        clock: Clock,
        request: HttpRequest,
        opening: Callable[[], Call],
        *,
        ahead: int,
        max_frame: int,
    ) -> None:
        self._sockets = sockets
        self._slots = slots
        self._clock = clock
        self._request = request
        self._opening = opening
        self._policy: RetryPolicy = opening().policy
        self._room = asyncio.Semaphore(ahead)
        self._max_frame = max_frame
        self._turn = asyncio.Lock()
        self._connection: _Connection | None = None
        self._alive: set[_Connection] = set()
        self._slot: Slot | None = None
        self._refusal: HttpResponse | None = None
        self._refused = 0
        self._under_way = 0
        self._behind: set[Exchange] = set()
        """Payloads that wait until they may be sent."""
        self._again: set[Exchange] = set()
        """Refused payloads that may be sent again."""
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.left = False

    # --- sending ------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Have a connection.

        :raises FalError: if there is none to be had.
        """
        async with self._turn:
            await self._connected()

    async def send(self, exchange: Exchange) -> None:
        """Send a payload as soon as there is room for it; its answer arrives in the exchange.

        :raises FalError: if it could not be sent; not billed.
        """
        exchange.on_left = self._on_left
        self._behind.add(exchange)
        self._again.discard(exchange)
        try:
            self._mind_time()
            await self._admitted(exchange)
        finally:
            self._behind.discard(exchange)

    async def _admitted(self, exchange: Exchange) -> None:
        await self._room.acquire()
        try:
            async with self._turn:
                await self._admit(exchange)
                self._under_way += 1
                self._quiet.clear()
                try:
                    await self._write(exchange)
                finally:
                    if not exchange.on_wire:
                        self._over(answered=False)
        finally:
            if not exchange.on_wire:
                self._room.release()

    def _on_left(self, exchange: Exchange) -> None:
        if exchange.abandoned:
            self._again.discard(exchange)
        self._mind_time()
        if not self._under_way:
            self._give_back(answered=False)

    def _mind_time(self) -> None:
        """Start the clocks of those who wait behind payloads that nobody waits for any more.

        Their turn begins when those before them are answered, and so does their time. But of what was
        abandoned nobody minds how long it takes, and it may never be answered.
        """
        on_way = [exchange for connection in self._alive for exchange in connection.waiting]
        if on_way and all(exchange.abandoned for exchange in on_way):
            for exchange in self._behind:
                exchange.call.start_clock(self._clock.now())

    async def _admit(self, exchange: Exchange) -> None:
        """Hold a slot."""
        if self._refusal is not None:
            # What was sent behind the refused one is refused, too, or runs.
            await self._quiet.wait()
            refusal, self._refusal = self._refusal, None
            if refusal is not None:  # still: this one waited, so it was not given back
                await self._stand_back(refusal)
        if self._slot is None:
            own = attrs.evolve(self._request, headers=dict(self._request.headers))
            self._slot = await self._slots.reserve(own, exchange.call)
        exchange.call.start_clock(self._clock.now())

    async def _stand_back(self, refusal: HttpResponse) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            await slot.refused(refusal)
            self._slot = slot
            return
        wait = retry_after(refusal.headers)
        if wait is None:
            wait = _WAITS[min(self._refused, len(_WAITS)) - 1] * (0.5 + self._clock.chance() / 2)
        await self._clock.sleep(wait)

    async def _write(self, exchange: Exchange) -> None:
        call = exchange.call
        while not exchange.on_wire:
            connection = await self._connected()
            call.begin_send()
            call.current = Billing.UNKNOWN
            exchange.on_wire = True
            connection.waiting.append(exchange)
            # Whoever is cancelled meanwhile has sent it.
            exchange.on_wire = await connection.socket.send(exchange.frame)
            if not exchange.on_wire:  # nor has anybody else run since: it is the last one still
                connection.waiting.pop()
                call.unsend()
                self._connection = None

    async def _connected(self) -> _Connection:
        if self.left:
            raise SessionError("this connection was left: open another one")
        connection = self._connection
        if connection is None or connection.socket.closed is not None:
            connection = _Connection(await self._open())
            if self.left:  # meanwhile
                connection.socket.abort()
                raise SessionError("this connection was left: open another one")
            connection.pump = asyncio.create_task(self._take_in(connection))
            self._alive.add(connection)
            self._connection = connection
        return connection

    async def _open(self) -> Socket:
        opening, waited = self._opening(), 0.0
        while True:
            # Its own headers each time: the transports on its way add theirs.
            request = attrs.evolve(self._request, headers=dict(self._request.headers))
            try:
                socket = await self._sockets.open(request, opening, max_frame=self._max_frame)
            except FalError as error:
                failure = error
            else:
                self._refused = 0
                return socket
            if isinstance(failure, TooManyRequestsError) and Resend.REFUSED in self._policy.resend:
                self._refused += 1
                opening.unsend()
                await self._stand_back(HttpResponse(429, failure.headers, failure.body or b""))
                continue
            chance = self._clock.chance()
            wait = next_wait(
                self._policy, failure, sends=opening.attempts, waited=waited, chance=chance
            )
            if wait is None:
                raise failure
            waited += wait
            await self._clock.sleep(wait)

    # --- taking in ----------------------------------------------------------------------------------

    async def _take_in(self, connection: _Connection) -> None:
        why = _LEFT
        try:
            while True:
                frame = await connection.socket.receive()
                if isinstance(frame, Closed):
                    why = self._explained(frame, connection)
                    return
                await self._take(connection, frame)
        finally:
            self._lose(connection, why)

    def _lose(self, connection: _Connection, why: str) -> None:
        self._alive.discard(connection)
        if self._connection is connection:
            self._connection = None
        while connection.waiting:
            connection.waiting.popleft().lose(why)
            self._over(answered=False)
            self._room.release()

    async def _take(self, connection: _Connection, frame: str | bytes) -> None:
        part = connection.reader.feed(frame)
        exchange = connection.waiting[0] if connection.waiting else None
        match part:
            case Stray(data):
                connection.said = data[:1024]
            case _ if exchange is None:
                pass  # an answer to nothing
            case Start():
                exchange.begin(part)
            case Piece(data):
                await exchange.add(data)
            case End():
                connection.waiting.popleft()
                exchange.end(part)
                self._note(exchange)
                self._over(answered=True)
                self._room.release()

    def _note(self, exchange: Exchange) -> None:
        """Whether it was refused (429), and may be tried again."""
        if exchange.refusal is None:
            self._refused = 0
            return
        self._refused += 1
        again = Resend.REFUSED in self._policy.resend and not exchange.abandoned
        if again:
            self._again.add(exchange)
        if again or self._slot is not None:
            self._refusal = exchange.refusal

    def _over(self, *, answered: bool) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._quiet.set()
            self._give_back(answered=answered)

    def _give_back(self, *, answered: bool) -> None:
        """Nothing is under way: let the slot go, unless somebody is about to try again with it."""
        slot, refusal = self._slot, self._refusal
        if slot is None:
            return
        if refusal is not None:
            if self._behind or any(exchange.awaited for exchange in self._again):
                return
            slot.refuse(refusal)
        elif answered:
            slot.finish()
        else:
            slot.release()
        self._slot = self._refusal = None

    def _explained(self, closed: Closed, connection: _Connection) -> str:
        about = self._about(connection)
        what = explain_close(closed.code, brief(closed.reason, about))
        said = brief(connection.said.decode("utf-8", "replace"), about)
        return f"{what}; it had said: {said}" if said else what

    def _about(self, connection: _Connection) -> HttpRequest:
        """What the other end's words must not repeat."""
        bodies = [exchange.request.body for exchange in connection.waiting]
        return attrs.evolve(self._request, body=b"[" + b",".join(bodies) + b"]")

    # --- the end ------------------------------------------------------------------------------------

    async def close(self, *, goodbye: bool = True) -> None:
        """Leave: what is on its way is given up.

        :param goodbye: whether to tell the other end, and to wait for its answer. Whoever is cancelled
            while he leaves does neither: it could take seconds.
        """
        self.left = True
        alive, current = tuple(self._alive), self._connection
        pumps = [connection.pump for connection in alive if connection.pump is not None]
        # All that others may wait for is given up at once: whoever leaves may be cancelled meanwhile.
        for connection in alive:
            self._lose(connection, _LEFT)
        if self._slot is not None:
            self._slot.release()
            self._slot = None
        for pump in pumps:
            pump.cancel()
        try:
            await asyncio.gather(*pumps, return_exceptions=True)
        except asyncio.CancelledError:
            goodbye = False
            raise
        finally:
            if current is not None and goodbye:
                await current.socket.close()
            elif current is not None:
                current.socket.abort()
