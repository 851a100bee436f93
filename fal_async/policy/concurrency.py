"""The brake: which calls may be in flight, below a limit that nobody has told us.

One :class:`Brake` per key. It joins the window of the account, the windows of applications that turn
out to have a limit of their own (PROTOCOL 3.3), and everybody who waits. What happened and when is passed
in, who may now send is returned. No I/O, clock or chance; not for several threads.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from fal_async.policy.blame import Blame, Refusal
from fal_async.policy.estimates import Credit, RoundTrip
from fal_async.policy.lanes import Lane, Ticket
from fal_async.policy.spacing import Spacing
from fal_async.policy.window import UNLIMITED, Window

__all__ = ["ApplicationLimits", "Brake", "Limits", "Ticket"]

LANES_KEPT: Final = 64

NOBODY: Final[Sequence[Ticket]] = ()


@attrs.frozen(kw_only=True)
class ApplicationLimits:
    """What has been learned about an application that is braked on its own."""

    in_flight: int
    waiting: int
    window: int
    """How many of its calls may be in flight now."""
    learned: int | None
    """Its own limit, as far as refusals have taught it."""
    refused: int


@attrs.frozen(kw_only=True)
class Limits:
    """What the brake knows at one moment."""

    in_flight: int
    waiting: int
    window: int
    """How many calls may be in flight now; more than ``learned`` while trying out more."""
    learned: int | None
    """The account's limit, less what others use of it: None until a refusal has taught it."""
    refused: int
    """Refusals so far, none of them billed."""
    applications: Mapping[str, ApplicationLimits]
    """Applications that are braked on their own, by ``owner/app``."""


class Brake:
    """Who may send: first come, first served, up to limits that are learned from refusals.

    Every method that may let somebody send returns the tickets that hold a slot from now on; whoever
    calls sees to it that they learn of it. While somebody waits, :meth:`wake` must be called at
    :meth:`next_wake`, which any other call may change.

    :param ceiling: never more in flight than this, whatever is learned. None: only what is learned.
    :raises ValueError: for a ceiling below 1.
    """

    def __init__(self, *, ceiling: int | None = None) -> None:
        if ceiling is not None and ceiling < 1:
            raise ValueError(
                f"a limit of {ceiling} calls lets nothing through: at least 1, or None"
            )
        self._account = Window(ceiling=UNLIMITED if ceiling is None else ceiling)
        self._blame = Blame(self._account)
        self._braked = self._blame.braked
        self._allowance = self._account.allowance
        self._flying: dict[Ticket, None] = {}
        self._number = 0
        self._ended = 0
        self._waiting = 0
        self._refusals = 0
        self._lanes: dict[str, Lane] = {}
        self._lanes_kept = LANES_KEPT
        self._heads: list[tuple[int, Ticket]] = []
        self._undelivered: list[Ticket] = []
        self._wake_at: float | None = None
        self._round_trip = RoundTrip()
        self._credit = Credit()
        self._spacing = Spacing()

    # -- what happens to a call --------------------------------------------------------------------

    def ask(self, application: str, now: float) -> Ticket:
        """A ticket for a call of ``application``: ``granted`` at once, or waiting."""
        lane = self._lanes.get(application)
        if lane is None:
            lane = self._open_lane(application)
        self._number = number = self._number + 1
        ticket = Ticket(lane, number, now)
        if len(self._flying) < self._allowance and not self._braked:
            lane.in_flight += 1
            ticket.granted = True
            ticket.ended_before = self._ended
            self._flying[ticket] = None
            return ticket
        self._join(ticket)
        self._undelivered = [other for other in self._admit(now) if other is not ticket]
        if self._undelivered:
            self._wake_at = now
        return ticket

    def finished(self, ticket: Ticket, now: float) -> Sequence[Ticket]:
        """The call was answered with anything but a 429: its slot is free, and it had been accepted."""
        ticket.granted = False
        del self._flying[ticket]
        lane = ticket.lane
        lane.in_flight -= 1
        self._credit.answered()
        self._ended += 1
        if not self._waiting and self._allowance and not self._braked:
            self._account.answered(ticket.number)
            return NOBODY
        for window in self._blame.windows(lane):
            window.gone(ticket.number)
            window.answered(ticket.number)
        self._spacing.answered(now - ticket.sent_at)
        return self._admit(now)

    def abandoned(self, ticket: Ticket, now: float) -> Sequence[Ticket]:
        """The caller gave up, or no answer came: nothing is learned. Harmless if it had ended before."""
        if ticket.granted:
            self._land(ticket)
        elif ticket.waits:
            self._waiting -= 1
            ticket.lane.give_up(ticket)
            self._offer(ticket.lane)
        return self._admit(now)

    def refused(
        self,
        ticket: Ticket,
        now: float,
        named: int | None = None,
        retry_after: float | None = None,
    ) -> Sequence[Ticket]:
        """The call was answered with a 429. It waits again, ahead of all that came after it.

        :param named: the limit that the body names.
        :param retry_after: seconds for which nothing of the same scope is sent.
        """
        lane = ticket.lane
        self._refusals += 1
        lane.refusals += 1
        self._round_trip.refused(now - ticket.sent_at)
        window = lane.window or self._account
        if all(ticket.number > counted.cut for counted in self._blame.windows(lane)):
            refusal = self._refusal(ticket, named, now)
            window = self._blame.refused(lane, refusal, others_wait=self._others_wait(lane))
        if window.has_fallen:
            self._credit.forgive()
        else:
            self._credit.spend()
        self._land(ticket)
        if retry_after is not None:
            window.pause(now + retry_after)
        self._join(ticket)
        return self._admit(now)

    def round_trip(self, seconds: float) -> None:
        """A measured time for connecting, of TCP or of TCP and TLS: how soon a refusal can be here."""
        self._round_trip.connected(seconds)
        if not self._undelivered:
            self._wake_at = self._due(self._head())

    def wake(self, now: float) -> Sequence[Ticket]:
        """Let time pass: those who may send now."""
        return self._admit(now)

    def next_wake(self) -> float | None:
        """When :meth:`wake` may find somebody; None if only an answer can let anybody send."""
        return self._wake_at

    def snapshot(self) -> Limits:
        """What is known at this moment."""
        return Limits(
            in_flight=len(self._flying),
            waiting=self._waiting,
            window=self._account.size,
            learned=self._account.learned,
            refused=self._refusals,
            applications={
                lane.application: ApplicationLimits(
                    in_flight=lane.in_flight,
                    waiting=lane.waiting,
                    window=window.size,
                    learned=window.learned,
                    refused=lane.refusals,
                )
                for lane, window in self._braked.items()
            },
        )

    # -- slots -------------------------------------------------------------------------------------

    def _admit(self, now: float) -> Sequence[Ticket]:
        """Send all that may go, take the steps that are due, and note when to look again."""
        granted, self._undelivered = self._undelivered, []
        account, spacing, head = self._account, self._spacing, None
        if self._waiting:
            account.tick(now)
            self._tick_lanes(now)
            while True:
                while (
                    (head := self._head())
                    and account.admits(len(self._flying))
                    and now >= spacing.next_at
                ):
                    granted.append(self._grant(head.lane, now))
                full = head is not None and len(self._flying) == account.size
                if not self._step(now, full=full):
                    break
                spacing.next_at = now  # what is tried out is tried out at once
        self._allowance = 0 if spacing.distance else account.allowance
        self._wake_at = self._due(head)
        return [ticket for ticket in granted if ticket.granted] if granted else NOBODY

    def _grant(self, lane: Lane, now: float) -> Ticket:
        ticket = lane.advance()
        self._waiting -= 1
        self._number += 1
        ticket.number = self._number
        ticket.sent_at = now
        ticket.ended_before = self._ended
        ticket.granted = True
        self._flying[ticket] = None
        lane.in_flight += 1
        for window in self._blame.windows(lane):
            window.sent(ticket.number, now + self._round_trip.patience)
        if self._account.learned is not None:
            self._spacing.sent(now, self._account.size, self._round_trip.patience)
        self._offer(lane)
        return ticket

    def _land(self, ticket: Ticket) -> None:
        ticket.granted = False
        del self._flying[ticket]
        ticket.lane.in_flight -= 1
        for window in self._blame.windows(ticket.lane):
            window.gone(ticket.number)

    def _join(self, ticket: Ticket) -> None:
        ticket.lane.join(ticket)
        self._waiting += 1
        self._offer(ticket.lane)

    # -- whose turn it is --------------------------------------------------------------------------

    def _open_lane(self, application: str) -> Lane:
        if len(self._lanes) >= self._lanes_kept:
            self._lanes = {name: lane for name, lane in self._lanes.items() if not lane.is_idle}
            self._lanes_kept = max(LANES_KEPT, 2 * len(self._lanes))
        lane = self._lanes[application] = Lane(application)
        return lane

    def _offer(self, lane: Lane) -> None:
        """Let the lane stand in line with the others, if it has somebody to send and room for it."""
        first = lane.first()
        if first is not None and first is not lane.offered and lane.has_room:
            lane.offered = first
            heapq.heappush(self._heads, (first.arrival, first))

    def _head(self) -> Ticket | None:
        """The ticket that arrived first of those whose application has room."""
        while self._heads:
            ticket = self._heads[0][1]
            lane = ticket.lane
            if lane.offered is ticket:
                if ticket.waits and lane.has_room:
                    return ticket
                lane.offered = None
            heapq.heappop(self._heads)
        return None

    def _others_wait(self, lane: Lane) -> bool:
        """Whether calls of other applications could go, none of them braked."""
        return any(
            ticket.waits and ticket.lane is not lane and ticket.lane.window is None
            for _, ticket in self._heads
        )

    # -- what is learned ---------------------------------------------------------------------------

    def _refusal(self, ticket: Ticket, named: int | None, now: float) -> Refusal:
        """Count what was sent before it and is in flight: what the server had when it refused."""
        flying, lane = list(self._flying), ticket.lane
        held = flying.index(ticket)
        own = sum(other.lane is lane for other in flying[:held])
        if named is not None and named not in {held, own}:
            # Answers that were on their way when the server refused may have overtaken the refusal: up to so
            # many more were in progress then.
            overtaken = self._ended - ticket.ended_before
            if held < named <= held + overtaken:
                held, own = named, own + named - held
        return Refusal(
            held=held,
            own=own,
            named=named,
            in_flight=len(flying) - 1,
            last=self._number,
            now=now,
        )

    def _tick_lanes(self, now: float) -> None:
        while self._blame.released:
            self._offer(self._blame.released.pop())
        for lane, window in self._braked.items():
            window.tick(now)
            self._offer(lane)

    def _step(self, now: float, *, full: bool) -> bool:
        """Widen one window for which it is time; whether there was one.

        ``full``: somebody waits for nothing but the account's window, all of which is in use.
        """
        backlog, credit, last, patience = (
            self._waiting,
            self._credit.left,
            self._number,
            self._round_trip.patience,
        )
        account = self._account
        if full:
            size, sole = account.size, self._blame.sole
            if sole is not None and sole.in_flight and self._others_wait(sole):
                self._blame.suspect(
                    sole,
                    Refusal(
                        held=size,
                        own=sole.in_flight,
                        named=None,
                        in_flight=size,
                        last=last,
                        now=now,
                    ),
                )
                return True
            if account.grow(now=now, patience=patience, last=last, backlog=backlog, credit=credit):
                self._blame.accepted(size)
                return True
        for lane, window in self._braked.items():
            if lane.is_full and window.grow(
                now=now, patience=patience, last=last, backlog=lane.waiting, credit=credit
            ):
                self._blame.grown(lane)
                self._tick_lanes(now)
                return True
        return False

    def _due(self, head: Ticket | None) -> float | None:
        """When to look again; ``head`` is who would be the next to go."""
        if not self._waiting:
            return None
        account, flying = self._account, len(self._flying)
        if head is not None and account.admits(flying):
            return self._spacing.next_at
        full = head is not None and flying == account.size
        credit, patience = self._credit.left, self._round_trip.patience
        times = [account.due(full=full, patience=patience, credit=credit)]
        times += [
            window.due(full=lane.is_full, patience=patience, credit=credit)
            for lane, window in self._braked.items()
            if lane.waiting
        ]
        return min((time for time in times if time is not None), default=None)
