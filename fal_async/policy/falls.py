"""What a window once was, and what it is worth to find out whether it may be that again.

A limit that fell by much often comes back, and until that is noticed most slots are idle. So a deep fall
is worth a number of probes beyond the usual: often at first, ever rarer. No I/O, clock or chance.
"""

from __future__ import annotations

from typing import Final

import attrs

DEEP: Final = 0.75
"""A fall to this part of a former size, or lower, is deep."""
PROBES: Final = 32
ROUNDS: Final = 2.0
"""Rounds of answers (as many as the size) for which a size has to be held in order to count as a former
one; and until the first probe."""
ROUNDS_GROWTH: Final = 1.07
"""From one probe to the next."""


@attrs.define(eq=False)
class Falls:
    """The sizes that were held for a while, measured in answers, and the probes that are left."""

    _answers: int = attrs.field(default=0, init=False)
    _level: int = attrs.field(default=0, init=False)
    """About what size is held ..."""
    _level_began: int = attrs.field(default=0, init=False)
    """... since which answer."""
    _peak: int = attrs.field(default=0, init=False)
    """The largest size ever held."""
    _mark: int = attrs.field(default=0, init=False)
    """What the next deep fall is measured from."""
    _probes: int = attrs.field(default=0, init=False)
    _rounds: float = attrs.field(default=ROUNDS, init=False)
    _reached: int = attrs.field(default=0, init=False)
    """Answers when a reach last began."""

    def answered(self) -> None:
        """One more answer."""
        self._answers += 1

    def resized(self, size: int) -> None:
        """Another size from now on."""
        level = self._level
        if self._answers - self._level_began >= ROUNDS * level:
            self._peak = max(self._peak, level)
            self._mark = max(self._mark, level)
        if not DEEP * level <= size <= level / DEEP:
            self._level, self._level_began = size, self._answers

    def measured(self, size: int) -> None:
        """A refusal has taught this size."""
        self.resized(size)
        self._level = size
        if size <= DEEP * self._mark:
            self._mark, self._probes, self._rounds = size, PROBES, ROUNDS

    def reached(self) -> None:
        """A reach upwards begins."""
        self._reached = self._answers

    def is_deep(self, size: int) -> bool:
        """Whether this is far below what once was, and looking for that is worth a probe."""
        return self._probes > 0 and size <= DEEP * self._peak

    def is_due(self, size: int) -> bool:
        """Whether there were enough answers since the last reach."""
        return self._answers - self._reached >= self._rounds * size

    def spend(self) -> None:
        """One of the probes is sent."""
        self._probes -= 1
        self._rounds *= ROUNDS_GROWTH
