"""The arithmetic of one window: how many calls may be in flight, learned from what is refused.

A window belongs to an account or to one application; it does not know which, nor who waits, nor what a
ticket is. It sees numbers: requests are numbered in the order in which they were sent, ``held`` is how
many requests sent before a refused one were still in flight, time is passed in. No I/O, clock or chance.

The wire facts behind it (PROTOCOL 3.3): a call above the limit is refused at once with a 429, which may
name the limit; a slot is free again as soon as a call ends. So a refusal comes back within a round trip
and counts exactly: answers to earlier requests that had ended by then have arrived before it.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from typing import Final

import attrs

from fal_async.policy.falls import Falls

UNLIMITED: Final = sys.maxsize
RUNGS: Final = (2, 3, 5, 8, 11, 15, 21, 27, 34, 41, 45)
"""The first sizes of a ramp. fal hands out limits of 2 to 40 (PROTOCOL 3.3); a rung just above 2, 10, 20
and 40 finds those at the price of a single refusal."""

STRIDE: Final = 19
"""Above the rungs a ramp goes up by a third, but by no more than this ..."""
STRIDE_SHARE: Final = 24
"""... or this part of the size ..."""
BACKLOG_SHARE: Final = 110
"""... or this part of the calls that wait: what a step can cost in refusals stays under 1 % of them."""

BUSY: Final = 0.007
"""Seconds. Just above 40 most first ramps are refused, and the dozens of connections opened on the way keep
both ends busy: there the refusal may be so much later than a round trip."""

PROBE_GAP: Final = 1.0
PROBE_GAP_GROWTH: Final = 1.6
PROBE_GAP_MOST: Final = 6.0
"""Seconds between two reaches upwards: they grow while nothing is found."""
PROBE_GAP_FALLEN: Final = 0.5
"""And after a deep fall, when answers tell when the next one is due: at least this."""

LONE: Final = 2.5
"""So much longer than later ones a probe is watched: if its refusal is late, there is one more."""
STIRS: Final = 8
"""Answers soon after a probe, each of which has it watched anew: it may have been given the place of a call
that had just ended, and whoever follows that call will be refused."""

BELOW: Final = 4
"""In a fall 0, 3, 15, 63 ... less than what is held are tried, one refusal after the other."""

PAUSE: Final = 0.25
PAUSE_MOST: Final = 2.0
"""Seconds of silence after a refusal with nothing of ours in flight: no answer of ours will free a slot."""


def stride(size: int, backlog: int) -> int:
    """By how much a ramp goes up from ``size`` with ``backlog`` calls waiting."""
    if size < RUNGS[-1]:
        return RUNGS[bisect_right(RUNGS, size)] - size
    return min(size // 3, max(STRIDE, size // STRIDE_SHARE, backlog // BACKLOG_SHARE))


@attrs.define(eq=False, kw_only=True)
class Window:
    """How many may be in flight, and what has been learned about it."""

    ceiling: int = UNLIMITED
    """Never more than this."""
    size: int = attrs.field(init=False)
    """How many may be in flight."""
    learned: int | None = attrs.field(default=None, init=False)
    """The largest size that is known to be right: None until a refusal has taught one."""
    reaching: bool = attrs.field(default=True, init=False)
    """Whether the size is being tried out: in the first ramp, or after a probe."""
    streak: int = attrs.field(default=0, init=False)
    """Refusals that no reach explains, in a row. While there are any, one scout goes at a time."""
    cut: int = attrs.field(default=0, init=False)
    """The last request sent when the size was last cut: refusals up to it say nothing new."""
    _base: int | None = attrs.field(default=None, init=False)
    """Where this reach began; None in the first ramp."""
    _bound: int = attrs.field(default=UNLIMITED, init=False)
    """Where this reach ends."""
    _guessed_below: int | None = attrs.field(default=None, init=False)
    """The size is a guess, somewhere below this."""
    _falls: Falls = attrs.field(factory=Falls, init=False)
    _gap: float = attrs.field(default=PROBE_GAP, init=False)
    _probe_at: float = attrs.field(default=0.0, init=False)
    _full_since: float | None = attrs.field(default=None, init=False)
    _full_number: int = attrs.field(default=0, init=False)
    _stirs: int = attrs.field(default=STIRS, init=False)
    """How many more answers may put off the next step."""
    _scout: int | None = attrs.field(default=None, init=False)
    _scout_by: float = attrs.field(default=0.0, init=False)
    _resume_at: float | None = attrs.field(default=None, init=False)
    _pauses: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._resize(RUNGS[0])

    # -- what may be sent --------------------------------------------------------------------------

    @property
    def allowance(self) -> int:
        """How many may be in flight without asking :meth:`admits`: none while every send is watched."""
        return 0 if self.streak or self._resume_at is not None else self.size

    def admits(self, in_flight: int) -> bool:
        """Whether one more may be sent now."""
        return self._resume_at is None and self._scout is None and in_flight < self.size

    def sent(self, number: int, deadline: float) -> None:
        """A request left; unless refused by ``deadline`` it was accepted."""
        if self.streak:
            self._scout, self._scout_by = number, deadline

    # -- what came of it ---------------------------------------------------------------------------

    def answered(self, number: int) -> None:
        """A request was answered with anything but a refusal."""
        self._falls.answered()
        if self.streak and number > self.cut:
            self._accept()
        if self._full_since is None:
            return
        if number >= self._full_number:
            self._full_since = -math.inf
        elif self._stirs and self._probes_alone:
            # That call may have ended before the probe was there, and made room for it.
            self._stirs -= 1
            self._full_since = None

    def gone(self, number: int) -> None:
        """A request is no longer in flight, whatever became of it."""
        if self._scout == number:
            self._scout = None

    def refused(self, *, last: int, held: int, named: int | None, now: float) -> None:
        """A request sent after the last cut was refused, with ``held`` others before it in flight.

        ``last`` is the number of the last request sent, ``named`` the limit that the refusal names.
        Where it names more than we held, a stranger holds the rest.
        """
        self.cut = last
        held = held if named is None else min(held, named)
        if self.reaching and held > 0:
            self._settle(held, now)
        else:
            self._fall(held, now)

    def _settle(self, held: int, now: float) -> None:
        """We reached up and know now how far it goes."""
        self._measure(min(held, self.size))
        self._probe_at = now + self._least_gap
        self._gap = min(self._gap * PROBE_GAP_GROWTH, PROBE_GAP_MOST)

    def _fall(self, held: int, now: float) -> None:
        """The limit fell, or a stranger came: how far, only going below what we hold can tell."""
        below = BELOW**self.streak - 1
        self.streak += 1
        self._measure(max(1, min(self.size, max(held - below, held // 2))))
        self._guessed_below = held if below else None
        # Where a former size is found again, there is no haste to pass it.
        self._gap = PROBE_GAP_MOST if self.has_fallen else PROBE_GAP
        self._probe_at = now + self._least_gap
        if held <= 0:
            self._guessed_below = UNLIMITED
            self.pause(now + min(PAUSE * 2**self._pauses, PAUSE_MOST))
            self._pauses += 1

    def _measure(self, size: int) -> None:
        self.reaching = False
        self.size = self.learned = size
        self._falls.measured(size)

    def _resize(self, size: int) -> None:
        self.size = min(size, self.ceiling)
        self._full_since = None
        self._stirs = STIRS
        self._falls.resized(self.size)

    def pause(self, until: float) -> None:
        """Nothing is sent before ``until``."""
        self._resume_at = until if self._resume_at is None else max(until, self._resume_at)

    def _accept(self) -> None:
        """Something sent after the cut was accepted. If the cut was a guess, reach up at once."""
        self.streak = 0
        self._scout = None
        self._pauses = 0
        if self._guessed_below is not None:
            self.reach(self.size, bound=self._guessed_below)

    # -- time --------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let ``now`` be: a pause may have ended, a scout may have been accepted."""
        if self._resume_at is not None and now >= self._resume_at:
            self._resume_at = None
        if self._scout is not None and now >= self._scout_by:
            self._accept()

    def reach(self, size: int, *, bound: int = UNLIMITED) -> None:
        """Try ``size``, and upwards from there to ``bound`` while nothing is refused."""
        self.reaching = True
        self._base, self._bound = self.size, bound
        self._resize(size)
        self._falls.reached()

    def grow(self, *, now: float, patience: float, last: int, backlog: int, credit: float) -> bool:
        """The window is full and somebody waits: go up if it is time to, and say so.

        A reach goes up once ``patience`` has passed at a full window without a refusal, or a request
        sent when it was full has been answered. Otherwise a probe is sent when it is due and ``credit``,
        the number of refusals we may cause, allows it.
        """
        if self.size >= self.ceiling or not self.allowance:
            return False
        if self.reaching:
            if self._full_since is None:
                self._full_since, self._full_number = now, last
            if now < self._full_since + self._patience(patience):
                return False
            if self.size < self._bound:
                self._climb(backlog)
                return True
            self.reaching = False
            self.learned = self.size
        if now < self._probe_at or not self._may_probe(credit):
            return False
        if self.has_fallen:
            self._falls.spend(self.size)
        self.reach(self.size + 1)
        return True

    def _climb(self, backlog: int) -> None:
        """One step up. After a probe by one at first, since a single survivor proves nothing."""
        step = min(stride(self.size, backlog), self._bound - self.size)
        if self._base is not None:
            gained = self.size - self._base
            step = min(step, max(1, gained // 2))
            if self.learned is not None and gained > 3:
                self.learned = self.size
        self._resize(self.size + step)

    def due(self, *, full: bool, patience: float, credit: float) -> float | None:
        """When time alone may let something be sent, if ever; ``full`` as for :meth:`grow`."""
        if self._resume_at is not None:
            return self._resume_at
        if self.streak:
            return None if self._scout is None else self._scout_by
        if not full or self.size >= self.ceiling:
            return None
        if self.reaching:
            full_since = self._full_since
            return None if full_since is None else full_since + self._patience(patience)
        return self._probe_at if self._may_probe(credit) else None

    def _patience(self, patience: float) -> float:
        """How long to wait for a refusal at this size before the next step up."""
        if self._probes_alone:
            return LONE * patience
        first = self._base is None and self.size == RUNGS[-2]
        return patience + BUSY if first else patience

    def _may_probe(self, credit: float) -> bool:
        return self._falls.is_due(self.size) if self.has_fallen else credit >= 1

    @property
    def _probes_alone(self) -> bool:
        """Whether this is the first step of a probe."""
        return self._base is not None and self.size == self._base + 1

    @property
    def _least_gap(self) -> float:
        """Seconds to the next reach upwards."""
        return PROBE_GAP_FALLEN if self.has_fallen else self._gap

    @property
    def has_fallen(self) -> bool:
        """Whether it was much more before, and may soon be again."""
        return self._falls.is_deep(self.size)
