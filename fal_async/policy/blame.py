"""Whose limit was it? A refusal may be the account's or that of one application.

The body may name a number that fits only one of the two (PROTOCOL 3.3). Where it does not, the refused
application becomes a suspect: it is held at what it had in flight while others go on past the point where
it was refused. If one of them is refused there too, it is the account's limit; if several are accepted,
or one is refused only further up, it is the application's. That costs one refusal, and only when several
applications are in play. No I/O, clock or chance; nothing here knows who waits.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from fal_async.policy.lanes import Lane
from fal_async.policy.window import Window

ACCEPTED_PAST: Final = 3
"""So many more than when the suspect was refused, and the limit is its own: one alone proves nothing."""
SUSPECTS_MOST: Final = 2
"""Each costs a refusal if it was the account's limit after all."""
SAME_LIMIT: Final = 2
"""A refusal this far above the account's known limit is still the account's."""


@attrs.frozen(kw_only=True)
class Refusal:
    """A request refused with ``held`` requests sent before it in flight, ``own`` of its application."""

    held: int
    own: int
    named: int | None
    """The limit that the body names."""
    in_flight: int
    """Requests in flight now, those sent after it among them."""
    last: int
    """The number of the last request sent."""
    now: float


class Whose(enum.Enum):
    """What the named limit says by itself."""

    ACCOUNT = enum.auto()
    APPLICATION = enum.auto()
    UNKNOWN = enum.auto()


class Blame:
    """The account's window and those of applications braked on their own: each refusal goes to one."""

    def __init__(self, account: Window) -> None:
        self.account = account
        self.braked: dict[Lane, Window] = {}
        """Applications with a window of their own, suspects among them."""
        self.released: list[Lane] = []
        """Applications that have lost theirs. Whoever reads it clears it."""
        self._suspects: dict[Lane, int] = {}
        self._was_reaching = False
        # What taught the account's size: one application alone, at so many; or several, or a name.
        self._sole: Lane | None = None
        self._sole_held = 0
        self._confirmed = 0
        self._named: int | None = None

    @property
    def sole(self) -> Lane | None:
        """The only application that the account's settled size was learned from, if there is but one."""
        account = self.account
        return None if account.reaching or account.streak or self._suspects else self._sole

    def windows(self, lane: Lane) -> tuple[Window, ...]:
        """The windows that a call of this application counts in."""
        return (self.account,) if lane.window is None else (self.account, lane.window)

    def refused(self, lane: Lane, refusal: Refusal, *, others_wait: bool) -> Window:
        """A refusal that says something new; returns the window that has taken it.

        ``others_wait``: whether calls of other, unbraked applications could be sent in its place.
        """
        whose = self._named_for(refusal)
        if lane.window is not None:
            if self._is_of_braked(lane, lane.window, whose):
                return _take(lane.window, refusal.own, refusal)
        elif whose is Whose.APPLICATION:
            return self._brake(lane, refusal)
        elif whose is Whose.UNKNOWN and others_wait and self._is_open(refusal):
            return self.suspect(lane, refusal)
        self._blame_account(lane, whose, refusal)
        return _take(self.account, refusal.held, refusal)

    def suspect(self, lane: Lane, refusal: Refusal) -> Window:
        """Hold the application at what it has, and let others go on past the refusal."""
        if not self._suspects:
            self._was_reaching = self.account.reaching
        self._suspects[lane] = refusal.held
        self._sole = None
        self.account.reach(max(refusal.held + 1, refusal.in_flight))
        return self._brake(lane, refusal)

    def accepted(self, size: int) -> None:
        """The account has accepted ``size`` at once: the limits found further down were not its own."""
        for lane, held in list(self._suspects.items()):
            if size >= held + ACCEPTED_PAST:
                del self._suspects[lane]
                self.account.learned = None

    def grown(self, lane: Lane) -> None:
        """The application's window has grown: above the account's it no longer matters."""
        account = self.account
        if account.learned is not None and self.braked[lane].size >= account.size:
            self._release(lane)

    def _release(self, lane: Lane) -> None:
        lane.window = None
        del self.braked[lane]
        self._suspects.pop(lane, None)
        self.released.append(lane)

    def _brake(self, lane: Lane, refusal: Refusal) -> Window:
        window = lane.window = self.braked[lane] = Window()
        window.reach(refusal.own + 1)
        return _take(window, refusal.own, refusal)

    def _named_for(self, refusal: Refusal) -> Whose:
        named = refusal.named
        if named is None:
            return Whose.UNKNOWN
        if (named == refusal.held) != (named == refusal.own):
            return Whose.ACCOUNT if named == refusal.held else Whose.APPLICATION
        return Whose.ACCOUNT if named == self._named else Whose.UNKNOWN

    def _is_of_braked(self, lane: Lane, window: Window, whose: Whose) -> bool:
        if whose is not Whose.UNKNOWN:
            return whose is Whose.APPLICATION
        return lane in self._suspects or window.reaching or not self.account.reaching

    def _is_open(self, refusal: Refusal) -> bool:
        """Whether the account's limit is not the plain answer: in a fall, or where it is known to be."""
        if self.account.streak or self._is_known(refusal.held):
            return False
        return len(self._suspects) < SUSPECTS_MOST

    def _is_known(self, held: int) -> bool:
        return self._confirmed > 0 and self._confirmed <= held <= self._confirmed + SAME_LIMIT

    def _blame_account(self, lane: Lane, whose: Whose, refusal: Refusal) -> None:
        held = refusal.held
        cleared = [suspect for suspect, at in self._suspects.items() if held <= at]
        if cleared and len(cleared) == len(self._suspects):
            self.account.reaching = self._was_reaching
        for suspect in cleared:
            self._release(suspect)
        self._suspects.clear()
        others = self._sole not in (None, lane) and held <= self._sole_held + SAME_LIMIT
        if whose is Whose.ACCOUNT:
            self._named = refusal.named
        if whose is Whose.ACCOUNT or cleared or others:
            self._confirmed, self._sole = held, None
        elif not self._is_known(held):
            self._sole, self._sole_held = lane, held


def _take(window: Window, held: int, refusal: Refusal) -> Window:
    window.refused(last=refusal.last, held=held, named=refusal.named, now=refusal.now)
    return window
