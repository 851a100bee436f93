"""Who waits, in which order: tickets, one per call, and the lane of each application.

Knows nothing of limits but to ask a window whether it has room. No I/O, clock or chance.
"""

from __future__ import annotations

import heapq
from typing import Any, Final

from fal_async.policy.window import Window

SWEEP_ABOVE: Final = 32
"""Tickets that were given up stay in their lane until they would have come up, or until there are this
many of them and they are the most of it."""


class Lane:
    """The calls of one application: those in flight counted, those that wait in order of arrival."""

    __slots__ = (
        "_gone",
        "_line",
        "application",
        "in_flight",
        "offered",
        "refusals",
        "waiting",
        "window",
    )

    def __init__(self, application: str) -> None:
        self.application = application
        self.in_flight = 0
        self.waiting = 0
        self.refusals = 0
        self.window: Window | None = None
        """A window of its own, if the application is braked on its own."""
        self.offered: Ticket | None = None
        """The ticket that stands for this lane among the heads of all lanes."""
        self._line: list[tuple[int, Ticket]] = []
        self._gone = 0

    @property
    def has_room(self) -> bool:
        """Whether the application itself may have one more in flight."""
        return self.window is None or self.window.admits(self.in_flight)

    @property
    def is_full(self) -> bool:
        """Whether somebody waits for the application's own window, all of which is in use."""
        return self.window is not None and self.waiting > 0 and self.in_flight == self.window.size

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be forgotten with this lane."""
        return not self.in_flight and not self.waiting and self.window is None

    def first(self) -> Ticket | None:
        """The ticket that has waited longest; a refused one keeps the place of its arrival."""
        line = self._line
        while line:
            ticket = line[0][1]
            if ticket.waits:
                return ticket
            heapq.heappop(line)
            self._gone -= 1
        return None

    def join(self, ticket: Ticket) -> None:
        """Wait, in the order of arrival."""
        ticket.waits = True
        self.waiting += 1
        heapq.heappush(self._line, (ticket.arrival, ticket))

    def advance(self) -> Ticket:
        """The first one leaves the line to be sent."""
        ticket = heapq.heappop(self._line)[1]
        ticket.waits = False
        self.waiting -= 1
        return ticket

    def give_up(self, ticket: Ticket) -> None:
        """A ticket waits no longer. It is swept out later, with many others."""
        ticket.waits = False
        self.waiting -= 1
        self._gone += 1
        if self._gone > SWEEP_ABOVE and self._gone > self.waiting:
            self._line = [entry for entry in self._line if entry[1].waits]
            heapq.heapify(self._line)
            self._gone = 0


class Ticket:
    """One call's place: it waits for a slot, holds one, or has left."""

    __slots__ = (
        "arrival",
        "ended_before",
        "granted",
        "lane",
        "number",
        "sent_at",
        "waiter",
        "waits",
    )

    def __init__(self, lane: Lane, arrival: int, now: float) -> None:
        self.lane = lane
        self.arrival = self.number = arrival
        """When it was asked for, and when it was last sent, as places in one order."""
        self.sent_at = now
        self.ended_before = 0
        """How many calls had ended when it was last sent."""
        self.granted = self.waits = False
        """Whether it holds a slot; whether it waits for one."""
        self.waiter: Any = None
        """Free for whoever waits with this ticket; nothing here looks at it."""

    @property
    def application(self) -> str:
        """What the call is counted by, ``owner/app``."""
        return self.lane.application
