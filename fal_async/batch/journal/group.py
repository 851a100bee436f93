"""What the event loop hands to the writer: everything that was asked for in one turn, sorted by kind.

Sorted where it is asked for: the writer then takes whole columns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fal_async.batch.journal.records import Record, State, Ticket

if TYPE_CHECKING:
    from fal_async.batch.journal.store import Store

__all__ = ["Group"]

Nothing = asyncio.Future[None]


class Group:
    """The steps that go to disk together. In each tuple, who waits for it comes first."""

    __slots__ = (
        "asked",
        "at",
        "begun",
        "claims",
        "ended",
        "intended",
        "lookups",
        "queued",
        "saved",
        "withdrawn",
    )

    def __init__(self) -> None:
        self.at = 0.0  # when it was handed over, in Unix seconds
        self.claims: list[tuple[asyncio.Future[tuple[Ticket, Record | None]], bytes, int]] = []
        self.lookups: list[tuple[asyncio.Future[list[Record | None]], list[bytes]]] = []
        self.begun: list[tuple[asyncio.Future[Ticket], bytes, int]] = []
        self.intended: list[tuple[Nothing, Ticket, int]] = []
        self.queued: list[tuple[Nothing, Ticket, str]] = []
        self.ended: list[tuple[Nothing, Ticket, State, bytes, bytes]] = []
        self.saved: list[tuple[Nothing, Ticket, str]] = []
        self.withdrawn: list[Ticket] = []
        self.asked: list[tuple[asyncio.Future[Any], Callable[[Store], Any]]] = []

    def take_in(self, later: Group) -> None:
        """Add what was handed over after it."""
        self.at = later.at
        self.claims += later.claims
        self.lookups += later.lookups
        self.begun += later.begun
        self.intended += later.intended
        self.queued += later.queued
        self.ended += later.ended
        self.saved += later.saved
        self.withdrawn += later.withdrawn
        self.asked += later.asked
