"""Whatever happens in whatever order: no slot, no call and no wakeup is lost."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from fal_async.policy.concurrency import Brake, Ticket

APPLICATIONS = ("a/a", "b/b", "c/c")


class Edge:
    """What calls the brake: knows who holds a slot and who waits, and checks both after every step."""

    def __init__(self, ceiling: int | None, applications: int) -> None:
        self.brake = Brake(ceiling=ceiling)
        self.ceiling = ceiling
        self.applications = APPLICATIONS[:applications]
        self.now = 0.0
        self.flying: list[Ticket] = []
        self.waiting: list[Ticket] = []
        self.ended = 0
        self.braked = False
        self.told_later: set[Ticket] = set()

    def ask(self, which: int) -> None:
        ticket = self.brake.ask(self.applications[which % len(self.applications)], self.now)
        (self.flying if ticket.granted else self.waiting).append(ticket)
        self.check()

    def finish(self, which: int) -> None:
        if self.flying:
            ticket = self.flying.pop(which % len(self.flying))
            self.ended += 1
            self.admit(self.brake.finished(ticket, self.now))

    def refuse(self, which: int) -> None:
        if self.flying:
            ticket = self.flying.pop(which % len(self.flying))
            self.waiting.append(ticket)
            named = {0: None, 1: which % 12, 2: len(self.flying)}[which % 3]
            after = 0.7 if which % 11 == 0 else None
            self.admit(self.brake.refused(ticket, self.now, named, after))

    def refuse_newest(self, which: int) -> None:
        if self.flying:
            newest = max(self.flying, key=lambda ticket: ticket.number)
            self.refuse(self.flying.index(newest))

    def give_up(self, which: int) -> None:
        among = self.waiting if which % 2 and self.waiting else self.flying
        if among:
            ticket = among.pop(which % len(among))
            self.ended += 1
            self.admit(self.brake.abandoned(ticket, self.now))

    def connect(self, which: int) -> None:
        self.brake.round_trip(which / 1000)
        self.check()

    def pass_time(self, which: int) -> None:
        """Time passes, and the timer may be late."""
        self.now += which / 50

    def wake(self, which: int) -> None:
        self.now = max(self.now, self.brake.next_wake() or 0.0)
        self.admit(self.brake.wake(self.now))
        wake = self.brake.next_wake()
        assert wake is None or wake > self.now

    def admit(self, granted: Sequence[Ticket]) -> None:
        for ticket in granted:
            assert ticket.granted
            self.waiting.remove(ticket)
            self.flying.append(ticket)
        self.check_order(granted)
        self.check()

    def check_order(self, granted: Sequence[Ticket]) -> None:
        """Nobody went ahead of one of the same application, nor of anyone if none is braked."""
        braked = self.braked or self.brake.snapshot().applications
        for ticket in set(granted) - self.told_later:
            for other in self.waiting:
                if other.application == ticket.application or not braked:
                    assert ticket.arrival < other.arrival

    def check(self) -> None:
        limits = self.brake.snapshot()
        told_later = self.told_later = {ticket for ticket in self.waiting if ticket.granted}
        assert limits.in_flight == len(self.flying) + len(told_later)
        assert limits.waiting == len(self.waiting) - len(told_later)
        assert self.ceiling is None or limits.in_flight <= self.ceiling
        assert limits.window >= 1
        wake = self.brake.next_wake()
        assert not told_later or (wake is not None and wake <= self.now)
        if limits.waiting:
            assert limits.in_flight or wake is not None
            if limits.in_flight < limits.window and not limits.applications:
                assert wake is not None
        for own in limits.applications.values():
            assert own.window >= 1
            assert own.in_flight >= 0
            assert own.waiting >= 0
        self.braked = bool(limits.applications)
        assert sum(own.waiting for own in limits.applications.values()) <= limits.waiting

    def drain(self) -> None:
        """Everybody is answered: then everybody gets a slot."""
        for _ in range(10_000):
            if self.flying:
                self.finish(0)
            elif self.waiting:
                self.wake(0)
            else:
                return
        raise AssertionError("somebody waits for ever")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["ask"] * 5
            + ["finish"] * 3
            + ["refuse", "refuse_newest", "refuse_newest", "give_up", "connect", "pass_time"]
            + ["wake"] * 3
        ),
        st.integers(0, 100),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.none() | st.integers(1, 12), st.integers(1, 3))
def test_no_slot_no_call_and_no_wakeup_is_lost(
    steps: list[tuple[str, int]], ceiling: int | None, applications: int
) -> None:
    edge = Edge(ceiling, applications)
    for step, which in steps:
        getattr(edge, step)(which)
    edge.drain()
    assert edge.ended == sum(step == "ask" for step, _ in steps)
    assert edge.brake.snapshot().in_flight == edge.brake.snapshot().waiting == 0
