"""The connection under a realtime session: opened, made again, given up.

It knows slots, tokens and waiting, and nothing of what is said over it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs

from fal_async.errors import (
    AuthenticationError,
    Billing,
    ConnectionLostError,
    FalError,
    GatewayError,
    ServerError,
    SessionError,
    TooManyRequestsError,
    TransportError,
)
from fal_async.features.token_source import TokenSource
from fal_async.policy.reconnecting import next_delay
from fal_async.policy.retry import Resend
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.protocol.outcome import retry_after
from fal_async.transport.base import Call, Clock, Slot, Slots
from fal_async.transport.sockets import Closed, Socket, Sockets

__all__ = ["Link"]

R = TypeVar("R")


class Link:
    """One socket at a time, and the slot that it holds while it is open (PROTOCOL 3.3, 10).

    :param request_with: the handshake, with a token or without.
    :param signed: opens sockets with the key; ``plain`` without it, for those that bring a token.
    :param tries: how often in a row a lost connection is made again; 0: never.
    """

    def __init__(
        self,
        *,
        signed: Sockets,
        plain: Sockets,
        slots: Slots,
        clock: Clock,
        call: Call,
        request_with: Callable[[str | None], HttpRequest],
        tokens: TokenSource | None,
        tries: int,
        max_frame: int,
    ) -> None:
        self._signed = signed
        self._plain = plain
        self._slots = slots
        self._clock = clock
        self._call = call
        self._request_with = request_with
        self._tokens = tokens
        self._tries = tries
        self._max_frame = max_frame
        self._turn = asyncio.Lock()
        self._socket: Socket | None = None
        self._slot: Slot | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._failed = 0
        self._last = b""
        self.connections = 0
        self.expected_end = ""
        """How the connection is going to end, as was said over it."""
        self.left = False

    # --- life ---------------------------------------------------------------------------------------

    async def inside(self, work: Coroutine[Any, Any, R]) -> R:
        """Do ``work``, which ends with the session."""
        return await self._slots.inside(self._call, work)

    async def enter(self) -> None:
        """Have a first connection.

        :raises FalError: if there is none to be had.
        """
        await self.inside(self._first())
        if self._tokens is not None and self._tries:
            self._keeper = asyncio.create_task(self._tokens.keep_fresh())

    async def _first(self) -> None:
        async with self._turn:
            await self._open()

    async def leave(self) -> None:
        """Say goodbye. Idempotent."""
        self.left = True
        # First, and at once: whoever leaves may be cancelled while he says goodbye.
        self._give_back()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            try:
                await asyncio.gather(keeper, return_exceptions=True)
            except asyncio.CancelledError:  # then without a goodbye: that could take seconds
                if self._socket is not None:
                    self._socket.abort()
                raise
        if self._socket is not None:
            await self._socket.close()

    def let_go(self) -> None:
        """The session has ended: no more is expected of this connection."""
        socket, self._socket = self._socket, None
        self._give_back()
        if socket is not None:
            socket.abort()

    def _give_back(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.finish()

    # --- facts --------------------------------------------------------------------------------------

    @property
    def billing(self) -> Billing:
        """What may have been billed: unknown, as soon as anything was sent."""
        return self._call.current

    @property
    def about(self) -> HttpRequest:
        """What a text of the other end must not repeat."""
        return attrs.evolve(self._request_with(None), body=self._last)

    def note_traffic(self) -> None:
        """Something came: the connection is a good one."""
        self._failed = 0

    def note_end(self, why: str) -> None:
        """The other end has said that it is about to close."""
        self.expected_end = why

    def drop_token(self) -> None:
        """It was refused, and the connection is of no use."""
        if self._tokens is not None:
            self._tokens.drop()
        if self._socket is not None:
            self._socket.abort()

    # --- traffic ------------------------------------------------------------------------------------

    async def send(self, frame: str | bytes) -> None:
        """Write a frame; over a new connection, if the last one is gone and may be made again.

        :raises ConnectionLostError: there is none; nothing was sent.
        """
        while True:
            socket = self._socket
            if self.left:
                raise SessionError("this connection was left: open another one")
            if socket is not None and socket.closed is None:
                before, self._call.current = self._call.current, Billing.UNKNOWN
                self._last = frame[:4096].encode() if isinstance(frame, str) else b""
                if await socket.send(frame):
                    return
                self._call.current = before
            if not self._tries:
                raise ConnectionLostError(
                    "the connection is gone: this message was not sent", billing=Billing.NOT_BILLED
                )
            if not await self._replace(socket):
                raise ConnectionLostError(
                    "the connection is gone and could not be made again", billing=Billing.NOT_BILLED
                )

    async def receive(self) -> str | bytes | Closed:
        """The next frame, or how the connection has ended."""
        socket = self._socket
        if socket is None:
            return Closed(None)
        return await socket.receive()

    # --- connecting ---------------------------------------------------------------------------------

    async def reconnect(self) -> bool:
        """Have another connection, if that is wanted; False: it is not.

        :raises FalError: what the last of the tries failed with.
        """
        if not self._tries or self.left:
            return False
        current = self._socket
        if current is not None and current.closed is None:
            return True  # whoever sends has missed it, too, and was quicker
        return await self._replace(current)

    async def _replace(self, old: Socket | None) -> bool:
        async with self._turn:
            if self._socket is not old and self._socket is not None:
                return True  # somebody else was quicker
            if old is not None:
                old.abort()
            self._socket = None
            if self._failed >= self._tries:
                self._give_back()
                return False
            while True:
                if self._failed:
                    await self._clock.sleep(next_delay(self._failed, self._clock.chance()))
                self._failed += 1
                try:
                    await self._open()
                except FalError as error:
                    if not _may_pass(error, self._tokens) or self._failed >= self._tries:
                        self._give_back()
                        raise
                    if isinstance(error, AuthenticationError):
                        self.drop_token()
                else:
                    return True

    async def _open(self) -> None:
        call, before = self._call, self._call.current
        try:
            socket = await self._admitted()
        except BaseException:
            slot, self._slot = self._slot, None
            if slot is not None:
                slot.release()
            raise
        finally:
            call.current = before
        if self.left:  # meanwhile
            socket.abort()
            self._give_back()
            raise SessionError("this connection was left: open another one")
        self._socket = socket
        self.expected_end = ""
        self.connections += 1

    async def _admitted(self) -> Socket:
        call = self._call
        while True:
            token = None if self._tokens is None else await self._tokens.token()
            if self._slot is None:
                self._slot = await self._slots.reserve(self._request_with(None), call)
            request = self._request_with(token)
            sockets = self._signed if token is None else self._plain
            try:
                return await sockets.open(request, call, max_frame=self._max_frame)
            except TooManyRequestsError as error:
                if Resend.REFUSED not in call.policy.resend:
                    raise
                refusal = HttpResponse(429, error.headers, error.body or b"")
            await self._stand_back(refusal)

    async def _stand_back(self, refusal: HttpResponse) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            await slot.refused(refusal)
            self._slot = slot
            return
        wait = retry_after(refusal.headers)
        await self._clock.sleep(1.0 + self._clock.chance() if wait is None else wait)


def _may_pass(error: FalError, tokens: TokenSource | None) -> bool:
    """Whether another try may find it otherwise."""
    if isinstance(error, AuthenticationError):
        return tokens is not None
    return isinstance(error, (TransportError, GatewayError, ServerError))
