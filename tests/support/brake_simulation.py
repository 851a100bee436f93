"""Calls, a network and a server with limits that it does not tell, in virtual time.

The server counts what is in progress and refuses at once what is too much, as PROTOCOL 3.3 has it; the
network takes half a round trip each way. Nothing here waits or draws: chance is the golden ratio's.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import Any, Protocol

import attrs

from fal_async.policy.concurrency import Brake

UNLIMITED = 10**9
GOLDEN = 0.6180339887498949


def spread(value: float, by: float) -> Callable[[int], float]:
    """A value that varies by this part of itself from call to call, evenly and always the same way."""
    return lambda number: value * (1 + by * (2 * (number * GOLDEN % 1) - 1))


@attrs.frozen(kw_only=True)
class World:
    """What the brake has to find out."""

    limit: Callable[[float], int] | int
    named: bool = False
    round_trip: float = 0.005
    job: Callable[[int], float] | float = 0.5
    lots: float = 0.0
    """Jobs end at multiples of this only, in seconds: those that would end close together end at once."""
    jitter: float = 0.0
    """What a way may take longer, as a part of it: the sooner sent may arrive the later."""
    measured: bool = True
    """Whether the client learns how long its first connection took."""
    hot: dict[str, Callable[[float], int] | int] = attrs.field(factory=dict)
    """Applications with a limit of their own."""
    strangers: Callable[[float], int] | int = 0
    """Slots of the account that others use."""
    changes: Sequence[float] = ()
    """When the limit changes, for a client that is told."""

    def limit_at(self, now: float) -> int:
        return at(self.limit, now)

    def room_at(self, now: float) -> int:
        return self.limit_at(now) - at(self.strangers, now)

    def own_limit_at(self, application: str, now: float) -> int:
        return at(self.hot.get(application, UNLIMITED), now)


def at(number: Callable[[float], int] | int, now: float) -> int:
    return number(now) if callable(number) else number


@attrs.define(kw_only=True)
class Result:
    """What came of it."""

    seconds: float = 0.0
    calls: int = 0
    refusals: list[float] = attrs.field(factory=list)
    """When each call was told that it was refused."""
    most_in_flight: int = 0
    most_by: Counter[str] = attrs.field(factory=Counter)
    sent: list[tuple[float, str, int]] = attrs.field(factory=list)
    """Per sending: when, which application, how many were in flight with it."""
    ended: list[tuple[float, str]] = attrs.field(factory=list)
    brake: Any = None

    @property
    def refused(self) -> int:
        return len(self.refusals)

    @property
    def share_refused(self) -> float:
        return self.refused / self.calls

    def done_between(self, start: float, end: float) -> int:
        return sum(start <= when < end for when, _ in self.ended)

    def rate(self, application: str, start: float, end: float) -> float:
        """Its answers per second in this time."""
        ended = sum(start <= when < end and who == application for when, who in self.ended)
        return ended / (end - start)


class Told:
    """A client that knows the limit, for comparison."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._in_flight = 0
        self._line: deque[Any] = deque()
        self._changes = list(world.changes)

    def ask(self, application: str, now: float) -> Any:
        ticket = ToldTicket(application)
        self._line.append(ticket)
        self._admit(now)
        return ticket

    def finished(self, ticket: Any, now: float) -> Sequence[Any]:
        self._in_flight -= 1
        return self._admit(now)

    def refused(self, ticket: Any, now: float, named: int | None = None) -> Sequence[Any]:
        self._line.appendleft(ticket)
        return self.finished(ticket, now)

    def wake(self, now: float) -> Sequence[Any]:
        while self._changes and self._changes[0] <= now:
            self._changes.pop(0)
        return self._admit(now)

    def next_wake(self) -> float | None:
        return self._changes[0] if self._changes and self._line else None

    def round_trip(self, seconds: float) -> None:
        pass

    def _admit(self, now: float) -> Sequence[Any]:
        granted = []
        while self._line and self._in_flight < self._world.room_at(now):
            ticket = self._line.popleft()
            ticket.granted = True
            self._in_flight += 1
            granted.append(ticket)
        return granted


@attrs.define(eq=False)
class ToldTicket:
    application: str
    granted: bool = False


class Client(Protocol):
    """What a brake and a told client have in common."""

    def ask(self, application: str, now: float) -> Any: ...
    def finished(self, ticket: Any, now: float) -> Sequence[Any]: ...
    def refused(self, ticket: Any, now: float, named: int | None = None) -> Sequence[Any]: ...
    def wake(self, now: float) -> Sequence[Any]: ...
    def next_wake(self) -> float | None: ...
    def round_trip(self, seconds: float) -> None: ...


class Simulation:
    """One run of some calls through one client in one world."""

    def __init__(self, world: World, client: Client) -> None:
        self._world = world
        self._client = client
        self._events: list[tuple[float, int, Callable[[Any, float], None], Any]] = []
        self._count = 0
        self._ways = self._jobs = 0
        self._busy = self._flying = 0
        self._busy_by: Counter[str] = Counter()
        self._flying_by: Counter[str] = Counter()
        self._timer: float | None = None
        self.result = Result(brake=client)

    def run(self, calls: Iterable[str | tuple[float, str]]) -> Result:
        """All calls, each an application or a time and an application; the end of the last of them."""
        if self._world.measured:
            self._at(self._world.round_trip, self._connected, None)
        for call in calls:
            when, application = (0.0, call) if isinstance(call, str) else call
            self.result.calls += 1
            self._at(when, self._ask, application)
        while self._events:
            now, _, action, subject = heapq.heappop(self._events)
            action(subject, now)
        assert len(self.result.ended) == self.result.calls
        self.result.seconds = self.result.ended[-1][0] if self.result.ended else 0.0
        return self.result

    def _at(self, when: float, action: Callable[[Any, float], None], subject: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, action, subject))

    def _way(self) -> float:
        world = self._world
        if not world.jitter:
            return world.round_trip / 2
        self._ways += 1
        return world.round_trip / 2 * (1 + world.jitter * (self._ways * GOLDEN % 1))

    # -- the client's side -------------------------------------------------------------------------

    def _connected(self, _: None, now: float) -> None:
        self._client.round_trip(self._world.round_trip)
        self._send([], now)

    def _ask(self, application: str, now: float) -> None:
        ticket = self._client.ask(application, now)
        self._send([ticket] if ticket.granted else [], now)

    def _send(self, granted: Iterable[Any], now: float) -> None:
        result = self.result
        for ticket in granted:
            application = ticket.application
            self._flying += 1
            self._flying_by[application] = by = self._flying_by[application] + 1
            result.most_in_flight = max(result.most_in_flight, self._flying)
            result.most_by[application] = max(result.most_by[application], by)
            result.sent.append((now, application, self._flying))
            self._at(now + self._way(), self._arrive, ticket)
        wake = self._client.next_wake()
        if wake is not None and (self._timer is None or wake < self._timer):
            self._timer = wake
            self._at(max(wake, now), self._ring, wake)

    def _ring(self, when: float, now: float) -> None:
        if self._timer == when:
            self._timer = None
            self._send(self._client.wake(now), now)

    def _answered(self, ticket: Any, now: float) -> None:
        self._flying -= 1
        self._flying_by[ticket.application] -= 1
        self.result.ended.append((now, ticket.application))
        self._send(self._client.finished(ticket, now), now)

    def _refused(self, refusal: tuple[Any, int | None], now: float) -> None:
        ticket, named = refusal
        self._flying -= 1
        self._flying_by[ticket.application] -= 1
        self.result.refusals.append(now)
        self._send(self._client.refused(ticket, now, named), now)

    # -- the server's side -------------------------------------------------------------------------

    def _arrive(self, ticket: Any, now: float) -> None:
        world, application = self._world, ticket.application
        limit = None
        if self._busy >= world.room_at(now):
            limit = world.limit_at(now)
        elif world.hot and self._busy_by[application] >= world.own_limit_at(application, now):
            limit = world.own_limit_at(application, now)
        if limit is not None:
            named = limit if world.named else None
            self._at(now + self._way(), self._refused, (ticket, named))
            return
        self._busy += 1
        self._busy_by[application] += 1
        self._jobs += 1
        job = world.job(self._jobs) if callable(world.job) else world.job
        end = now + job
        if world.lots:
            end = ceil(end / world.lots - 1e-9) * world.lots
        self._at(end, self._end, ticket)

    def _end(self, ticket: Any, now: float) -> None:
        self._busy -= 1
        self._busy_by[ticket.application] -= 1
        self._at(now + self._way(), self._answered, ticket)


def run(
    world: World, calls: Iterable[str | tuple[float, str]], client: Client | None = None
) -> Result:
    """The calls through a brake that is told nothing."""
    return Simulation(world, Brake() if client is None else client).run(calls)


def against_told(world: World, calls: Sequence[str | tuple[float, str]]) -> tuple[float, Result]:
    """The time of a client that is told the limit over the brake's, and what came of the brake."""
    told = run(world, calls, Told(world))
    result = run(world, calls)
    return told.seconds / result.seconds, result
