"""Events on their way from a model that streams to its caller, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from fal_async.emulator.clock import one_turn
from fal_async.emulator.contact import Contact
from fal_async.protocol.messages import HttpResponse

__all__ = ["Channel"]

#: So many events the model may be ahead of its caller: one that does not read slows it down.
_AHEAD: Final = 16


class Channel:
    """What a model has yielded and its caller has not yet been sent.

    :ivar contact: the line by which the model hears that its caller has left.
    :ivar head: how the answer begins, if the model itself says so; its body comes in the events.
    :ivar length: of that body, if the model says so.
    :ivar whole: whether the model has said that it was all.
    """

    def __init__(self, contact: Contact) -> None:
        self.contact = contact
        self.head: HttpResponse | None = None
        self.length: int | None = None
        self.whole = False
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self._left = self._ended = False

    def begin(self, head: HttpResponse, length: int | None) -> None:
        """Send the beginning of an answer on its way, before any of its body: an empty event."""
        self.head, self.length = head, length
        if not self._left:
            self._events.put_nowait(b"")

    async def put(self, event: bytes) -> None:
        """Send an event on its way, as soon as there is room."""
        if self._left:
            await one_turn()  # a model that never waits must not hold up everybody else
        else:
            await self._events.put(event)

    def end(self) -> None:
        """There are no more."""
        self._ended = True
        if not self._events.full():
            self._events.put_nowait(None)  # whoever waits for one hears of it

    def leave(self) -> None:
        """The caller has gone: the model is told, and what it yields from here on is lost."""
        if not self._left:
            self._left = True
            self.contact.cancel()
            while not self._events.empty():
                self._events.get_nowait()

    async def take(self) -> bytes | None:
        """The next event; None at the end."""
        if self._ended and self._events.empty():
            return None
        return await self._events.get()

    async def rest(self) -> AsyncGenerator[bytes]:
        """All that are still to come."""
        while (event := await self.take()) is not None:
            yield event
