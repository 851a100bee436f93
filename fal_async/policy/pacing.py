"""When a queued request is asked after next, where its status cannot be streamed. Pure.

What past requests of the same application took is remembered, so that one that is likely to be done is asked
after at once and one that cannot be is left alone; and all askers together keep to one rate.
"""

from __future__ import annotations

from collections import deque
from math import inf, isfinite
from statistics import median
from typing import Final

import attrs

from fal_async.errors import InputError

__all__ = ["Durations", "Pace", "RateLine", "check_rate", "next_poll"]

#: Without experience the wait grows with the age of the request: a job of ten seconds is asked after seven
#: times, one of ten minutes seventy times.
_FIRST: Final = 1.0
_SHORTEST: Final = 0.5
_GROWTH: Final = 0.45
_LONGEST: Final = 10.0
#: Even with a plan nobody is left alone for longer: this one may fail, or be quicker than others.
_LONGEST_WITH_PLAN: Final = 60.0
#: With experience: a little before the usual end, then often, then less and less.
_AFTER_USUAL: Final = 0.1
_REMEMBERED: Final = 32
#: How far the usual time has to move before those who wait are told.
_NEWS: Final = 0.2


@attrs.define
class Durations:
    """How long requests of one application took, from leaving the queue to their end."""

    _recent: deque[float] = attrs.field(factory=lambda: deque(maxlen=_REMEMBERED), init=False)
    usual: float | None = attrs.field(default=None, init=False)
    """The median of the last ones, in seconds; None before the first."""
    _told: float | None = attrs.field(default=None, init=False)

    def observe(self, seconds: float) -> bool:
        """Remember one; True if the usual time has moved so far that waits should be planned anew."""
        if not isfinite(seconds):
            return False
        self._recent.append(max(0.0, seconds))
        self.usual = median(self._recent)
        told = self._told
        if told is None or abs(self.usual - told) > _NEWS * max(told, self.usual):
            self._told = self.usual
            return True
        return False


@attrs.frozen(kw_only=True)
class Pace:
    """What is known of one request when its next poll is planned. Times are seconds on one clock.

    :param since: when it was submitted, or was first seen on a runner.
    :param running: whether it was on a runner when last seen; otherwise it was queued.
    :param position: requests ahead of it, where known.
    :param polled: when it was last asked after; None if never.
    """

    since: float
    running: bool = False
    position: int | None = None
    polled: float | None = None


def next_poll(pace: Pace, durations: Durations, chance: float) -> float:
    """The time of the next poll.

    :param chance: a number drawn evenly from [0, 1): requests submitted together are not asked after
        together, so that one of them soon tells of all.
    """
    jitter = 0.75 + chance / 2
    last = pace.since if pace.polled is None else pace.polled
    usual = durations.usual
    if usual is None:
        if pace.polled is None:
            return last + _FIRST * jitter  # what follows grows from there, and so stays apart
        return last + min(max(_GROWTH * (last - pace.since), _SHORTEST), _LONGEST)
    if pace.polled is not None and not pace.running:
        # Queued when last seen: it has all of its run before it, and those ahead, too.
        wait = usual if pace.position else usual / 2
        return last + min(max(wait, _SHORTEST), _LONGEST) * jitter
    late = last - (pace.since + usual)
    if late < 0:
        return min(pace.since + usual, last + _LONGEST_WITH_PLAN)
    return last + min(max(_SHORTEST / 2, _AFTER_USUAL * usual, _GROWTH * late), _LONGEST) * jitter


def check_rate(value: object) -> float:
    """A caller's rate: requests a second, above 0.

    :raises InputError: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < inf:
        raise InputError("poll_rate is a number of requests a second, above 0")
    return float(value)


@attrs.define
class RateLine:
    """Keeps all requests together to a rate: each is told the time at which it may go.

    :param rate: requests a second.
    """

    rate: float
    _free: float = attrs.field(default=float("-inf"), init=False)

    def take(self, now: float) -> float:
        """The time at which the next request may go; it is taken by asking."""
        at = max(now, self._free)
        self._free = at + 1.0 / self.rate
        return at
