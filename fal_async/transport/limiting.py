"""A transport that gives every call a slot first, and takes refusals (429) for what they are: a wait.

What to allow is decided in ``policy.concurrency``; here calls wait for it, and timers ask again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Literal

from fal_async.errors import Billing, InputError
from fal_async.policy.concurrency import Brake, Limits, Ticket
from fal_async.policy.retry import Resend
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.protocol.outcome import concurrency_limit, retry_after
from fal_async.transport.base import Call, Clock, Slot, Transport

__all__ = ["Limit", "Limiting", "Unlimited", "check_limit"]

Limit = int | Literal["auto"] | None
"""``"auto"`` learns the account's limit; an int never sends more than that at once, and learns below it;
None is no brake at all."""

#: Without a brake, a refused call waits as fal's pages advise: 1, 2, 4, 8 s (PROTOCOL 3.3).
_WAITS: Final = (1.0, 2.0, 4.0, 8.0)
#: Beyond so many keys, those with no call under way are forgotten: a callable may give each call another.
_LANES_KEPT: Final = 64


def check_limit(value: object) -> Limit:
    """The caller's ``limit``.

    :raises InputError: for anything but ``"auto"``, an int of at least 1, or None.
    """
    if value is None:
        return None
    if isinstance(value, str) and value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError('limit is "auto", a whole number of at least 1, or None')
    return value


def _is_refusal(response: HttpResponse, call: Call) -> bool:
    """A 429 that says it was billed is none: it is not to be sent again in silence."""
    return response.status == 429 and call.current is not Billing.BILLED


def _waits(call: Call) -> bool:
    """Whether a refused call is to be sent again."""
    return Resend.REFUSED in call.policy.resend and not call.stopped


class Unlimited:
    """No brake: everything is sent at once, and what is refused waits and is sent again."""

    def __init__(self, inner: Transport, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    async def send(self, request: HttpRequest, call: Call) -> HttpResponse:
        call.start_clock(self._clock.now())
        refused = 0
        while True:
            response = await self._inner.send(request, call)
            if not _is_refusal(response, call) or not _waits(call):
                return response
            call.unsend()
            wait = retry_after(response.headers)
            if wait is None:
                wait = _WAITS[min(refused, len(_WAITS) - 1)] * (0.5 + self._clock.chance() / 2)
            refused += 1
            await self._clock.sleep(wait)

    async def reserve(self, application: str, call: Call) -> Slot | None:
        """There is nothing to wait for."""

    def snapshot(self) -> Limits | None:
        return None

    def close(self) -> None:
        """Nobody waits here for a slot."""


class Limiting:
    """One brake per key, shared by all direct calls of a session.

    Every call waits for its slot, first come first served. A refused one goes back to the head of the queue;
    ``timeout`` is the only bound on how often.
    """

    def __init__(self, inner: Transport, clock: Clock, ceiling: int | None) -> None:
        self._inner = inner
        self._clock = clock
        self._ceiling = ceiling
        self._lanes: dict[str, _Lane] = {}
        self._last: _Lane | None = None

    async def send(self, request: HttpRequest, call: Call) -> HttpResponse:
        lane = self._last
        loop = call.loop or asyncio.get_running_loop()
        if lane is None or lane.account != call.account or lane.loop is not loop:
            lane = self._lane(call.account, loop)
        brake, clock = lane.brake, self._clock
        call.on_connect = lane.on_connect
        now = clock.now()
        ticket = None if call.slot is None else _taken(call, lane, request.application)
        if ticket is None:
            ticket = lane.ask(request.application, now)
            if not ticket.granted:
                await lane.wait(ticket)
                now = clock.now()
        while True:
            call.start_clock(now)
            try:
                response = await self._inner.send(request, call)
            except BaseException:
                lane.abandon(ticket)
                raise
            if not _is_refusal(response, call):
                if call.opened is not None:
                    call.held = _Held(lane, ticket)
                else:
                    lane.wake(brake.finished(ticket, clock.now()))
                return response
            lane.refuse(ticket, response)
            if not _waits(call):
                lane.abandon(ticket)
                return response
            call.unsend()
            if not ticket.granted:
                await lane.wait(ticket)
            now = clock.now()

    async def reserve(self, application: str, call: Call) -> Slot | None:
        """Wait for a slot that a call of the same account and application may be given."""
        lane = self._lane(call.account, call.loop or asyncio.get_running_loop())
        ticket = lane.ask(application, self._clock.now())
        if not ticket.granted:
            await lane.wait(ticket)
        return _Reserved(lane, ticket)

    def _lane(self, account: str, loop: asyncio.AbstractEventLoop) -> _Lane:
        lane = self._lanes.get(account)
        if lane is None or lane.loop is not loop:  # the calls of a loop that ended are gone with it
            if len(self._lanes) >= _LANES_KEPT:
                self._lanes = {key: other for key, other in self._lanes.items() if other.is_used}
            lane = self._lanes[account] = _Lane(
                account, loop, Brake(ceiling=self._ceiling), self._clock
            )
        self._last = lane
        return lane

    def snapshot(self) -> Limits | None:
        """What is known of the limit of the key used last; None before the first call."""
        return self._last.brake.snapshot() if self._last is not None else None

    def close(self) -> None:
        """Set no more timers: whoever waited for a slot is being sent away."""
        for lane in self._lanes.values():
            lane.close()


class _Lane:
    """A brake in its event loop: the futures of those who wait, and the timer."""

    def __init__(
        self, account: str, loop: asyncio.AbstractEventLoop, brake: Brake, clock: Clock
    ) -> None:
        self.account = account
        self.loop = loop
        self.brake = brake
        self._clock = clock
        self._waiting: set[Ticket] = set()
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_used(self) -> bool:
        limits = self.brake.snapshot()
        return bool(limits.in_flight or limits.waiting)

    def on_connect(self, seconds: float) -> None:
        """A connection stands: how long that took tells how soon a refusal would be here."""
        self.brake.round_trip(seconds)
        self.wake(())  # others may be let in sooner than the timer knows

    def ask(self, application: str, now: float) -> Ticket:
        """A ticket that holds a slot, or is to be waited with."""
        ticket = self.brake.ask(application, now)
        if ticket.granted and self._waiting:
            self._arm()  # asking may have let others in too
        return ticket

    def finish(self, ticket: Ticket) -> None:
        """The call was answered, and accepted therefore: the slot goes to the next."""
        self.wake(self.brake.finished(ticket, self._clock.now()))

    def refuse(self, ticket: Ticket, response: HttpResponse) -> None:
        """The call was refused: it goes back to the head of those who wait."""
        limit, after = concurrency_limit(response), retry_after(response.headers)
        self.wake(self.brake.refused(ticket, self._clock.now(), limit, after))

    def abandon(self, ticket: Ticket) -> None:
        """The slot goes to the next."""
        self.wake(self.brake.abandoned(ticket, self._clock.now()))

    async def wait(self, ticket: Ticket) -> None:
        """Until the ticket is granted."""
        ticket.waiter = self.loop.create_future()
        self._waiting.add(ticket)
        self._arm()
        try:
            await ticket.waiter
        except BaseException:
            self._waiting.discard(ticket)
            # Granted and cancelled in the same turn of the loop: the slot goes to the next.
            self.abandon(ticket)
            raise

    def wake(self, granted: Sequence[Ticket]) -> None:
        for ticket in granted:
            if ticket in self._waiting:
                self._waiting.discard(ticket)
                if not ticket.waiter.done():
                    ticket.waiter.set_result(None)
        if self._waiting:
            self._arm()

    def _arm(self) -> None:
        when = self.brake.next_wake()
        if when is None or self._closed or (self._timer is not None and self._timer.when() <= when):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.wake(self.brake.wake(self._clock.now()))

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Reserved:
    """A slot that nobody's call has yet."""

    __slots__ = ("lane", "ticket")

    def __init__(self, lane: _Lane, ticket: Ticket) -> None:
        self.lane = lane
        self.ticket: Ticket | None = ticket

    @property
    def held(self) -> bool:
        return self.ticket is not None

    def release(self) -> None:
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            self.lane.abandon(ticket)

    def finish(self) -> None:
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            self.lane.finish(ticket)

    async def refused(self, response: HttpResponse) -> None:
        ticket, self.ticket = self.ticket, None  # whoever is cancelled while he waits has none
        if ticket is None:
            return
        self.lane.refuse(ticket, response)
        if not ticket.granted:
            await self.lane.wait(ticket)
        self.ticket = ticket

    def refuse(self, response: HttpResponse) -> None:
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            self.lane.refuse(ticket, response)
            self.lane.abandon(ticket)


class _Held:
    """The slot of a call whose answer goes on."""

    __slots__ = ("lane", "ticket")

    def __init__(self, lane: _Lane, ticket: Ticket) -> None:
        self.lane = lane
        self.ticket: Ticket | None = ticket

    def end(self, *, early: bool) -> None:
        ticket, self.ticket = self.ticket, None
        if ticket is None:
            return
        if early:  # fal may go on with it, and count it
            self.lane.abandon(ticket)
        else:
            self.lane.finish(ticket)


def _taken(call: Call, lane: _Lane, application: str) -> Ticket | None:
    """The ticket of the slot the call was given, if it is one of its own account and application."""
    slot, call.slot = call.slot, None
    if not isinstance(slot, _Reserved) or slot.ticket is None:
        return None
    ticket = slot.ticket
    if slot.lane is lane and ticket.application == application:
        slot.ticket = None
        return ticket
    slot.release()
    return None
