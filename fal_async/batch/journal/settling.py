"""From the writer's thread to those who wait on the event loop: one wake-up of the loop for a whole group.

An intent whose waiter is gone by then is handed back, to be withdrawn: nothing was sent for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any

from fal_async.batch.journal.records import Ticket
from fal_async.errors import JournalError

__all__ = ["Settling"]


class Settling:
    """Tells waiters of ``loop``. Its methods are called in any thread.

    :param withdraw: called on the loop with the ticket of an intent that nobody waits for any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, withdraw: Callable[[Ticket], None]) -> None:
        self._loop = loop
        self._withdraw = withdraw

    def settle(self, told: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
        """Give each its result."""
        if told:
            self._call(_settle, told)

    def settle_intents(self, told: Sequence[tuple[asyncio.Future[Any], Ticket, Any]]) -> None:
        """Give each its result; withdraw the tickets of those that were cancelled."""
        self._call(self._settle_intents, told)

    def fail(self, waiters: Sequence[asyncio.Future[Any]], error: JournalError) -> None:
        """Give each an error of its own."""
        if waiters:
            self._call(_fail, waiters, error)

    def _settle_intents(self, told: Sequence[tuple[asyncio.Future[Any], Ticket, Any]]) -> None:
        for waiter, ticket, result in told:
            if not waiter.done():
                waiter.set_result(result)
            else:
                self._withdraw(ticket)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(function, *arguments)


def _settle(told: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for waiter, result in told:
        if not waiter.done():
            waiter.set_result(result)


def _fail(waiters: Sequence[asyncio.Future[Any]], error: JournalError) -> None:
    for waiter in waiters:
        if not waiter.done():
            own = copy.copy(error)
            own.__cause__ = error.__cause__
            waiter.set_exception(own)
