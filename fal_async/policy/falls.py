"""What a window once was, and what it is worth to find out whether it may be that again.

A limit that fell by much often comes back, and until that is noticed most slots are idle. So a deep fall
is worth probes beyond the usual. One that is refused costs little, and every round of calls without one may
cost all that is missing: so at first one is due every other round, for the longer the more is missing; then
ever more seldom, down to the share of answers that any probe may cost. No I/O, clock or chance.
"""

from __future__ import annotations

from typing import Final

import attrs

from fal_async.policy.estimates import CREDIT_PER_ANSWER

DEEP: Final = 0.75
"""A fall to this part of a former size, or lower, is deep."""
HELD: Final = 2.0
"""Rounds of answers (as many as the size) for which a size has to be held to count as a former one."""
ROUNDS: Final = 2.0
"""From one probe to the next at first."""
PROBES_PER_MISSING: Final = 8.0
"""So many of those if as much is missing as is left; twice as many if twice as much is ..."""
PROBES: Final = 22.0
"""... but no more than this: 22 seconds of them, if calls take half a second."""
ANSWERS_PER_PROBE: Final = 100
"""So many answers earn one of those for the next deep fall."""
GROWTH: Final = 1.15
"""After them the distance grows from one probe to the next ..."""
ANSWERS_MOST: Final = 1 / CREDIT_PER_ANSWER
"""... up to so many answers: what any probe has to earn."""


@attrs.define(eq=False)
class Falls:
    """The sizes that were held for a while, measured in answers, and how soon a probe is worth while."""

    _answers: int = attrs.field(default=0, init=False)
    _level: int = attrs.field(default=0, init=False)
    """About what size is held ..."""
    _level_began: int = attrs.field(default=0, init=False)
    """... since which answer."""
    _peak: int = attrs.field(default=0, init=False)
    """The largest size ever held."""
    _mark: int = attrs.field(default=0, init=False)
    """What the next deep fall is measured from."""
    _fell: int | None = attrs.field(default=None, init=False)
    """Answers at the last deep fall."""
    _saved: float = attrs.field(default=PROBES, init=False)
    """Probes of the first kind that are left ..."""
    _spent: int = attrs.field(default=0, init=False)
    """... and those sent since the last deep fall."""
    _stretch: float = attrs.field(default=1.0, init=False)
    """How much longer than at first it is to the next probe."""
    _reached: int = attrs.field(default=0, init=False)
    """Answers when a reach last began."""

    def answered(self) -> None:
        """One more answer."""
        self._answers += 1

    def resized(self, size: int) -> None:
        """Another size from now on."""
        level = self._level
        if self._answers - self._level_began >= HELD * level:
            self._peak = max(self._peak, level)
            self._mark = max(self._mark, level)
        if not DEEP * level <= size <= level / DEEP:
            self._level, self._level_began = size, self._answers

    def measured(self, size: int) -> None:
        """A refusal has taught this size."""
        self.resized(size)
        self._level = size
        if size <= DEEP * self._mark:
            self._mark = size
            earned = (self._answers - (self._fell or 0)) / ANSWERS_PER_PROBE
            self._saved = min(self._saved + earned, PROBES)
            self._fell, self._spent, self._stretch = self._answers, 0, 1.0

    def reached(self) -> None:
        """A reach upwards begins."""
        self._reached = self._answers

    def is_deep(self, size: int) -> bool:
        """Whether this is far below what once was: looking for that is worth probes of its own."""
        return self._fell is not None and size <= DEEP * self._peak

    def is_due(self, size: int) -> bool:
        """Whether there were enough answers since the last reach."""
        soon = ROUNDS * size
        later = min(soon * self._stretch, ANSWERS_MOST)
        return self._answers - self._reached >= max(soon, later)

    def spend(self, size: int) -> None:
        """A probe is sent."""
        missing = (self._peak - size) / size
        if self._saved >= 1 and self._spent < PROBES_PER_MISSING * missing:
            self._saved -= 1
            self._spent += 1
        else:
            self._stretch = min(self._stretch * GROWTH, ANSWERS_MOST)
