"""The emulator's time: real, or moved by hand. Seconds since the emulator started.

The one place of the emulator that reads a clock.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import Final, Protocol

import attrs

__all__ = ["Clock", "RealClock", "Timer", "VirtualClock", "one_turn"]


class Timer(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None:
        """Make it not happen."""
        ...


class Clock(Protocol):
    """What the emulator needs of time.

    :ivar epoch: Unix time at which the emulator started, for dates that it tells.
    """

    epoch: float

    def now(self) -> float:
        """Seconds since the emulator started."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back once ``when`` has come; soon, if it has passed."""
        ...

    async def sleep_until(self, when: float) -> None:
        """Return once ``when`` has come."""
        ...


async def one_turn() -> None:
    """Let the loop turn once: callbacks run, sockets are looked at, no time passes."""
    await asyncio.sleep(0)


class RealClock:
    """The machine's monotonic clock. Made inside the loop it serves."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self.epoch = time.time()

    def now(self) -> float:
        return self._loop.time() - self._start

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return self._loop.call_at(self._start + when, callback)

    async def sleep_until(self, when: float) -> None:
        left = when - self.now()
        if left > 0:
            await asyncio.sleep(left)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@attrs.define(order=True)
class _Alarm:
    when: float
    number: int
    callback: Callable[[], None] | None = attrs.field(order=False)

    def cancel(self) -> None:
        self.callback = None


#: Any day would do, as long as it is the same one in each run: the first of 2026.
_EPOCH: Final = 1_767_225_600.0


class VirtualClock:
    """A clock that stands still until it is told to move."""

    def __init__(self) -> None:
        self.epoch = _EPOCH
        self._now = 0.0
        self._alarms: list[_Alarm] = []
        self._numbers = count()

    def now(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        alarm = _Alarm(when, next(self._numbers), callback)
        heapq.heappush(self._alarms, alarm)
        return alarm

    async def sleep_until(self, when: float) -> None:
        if when <= self._now:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        alarm = self.call_at(when, lambda: _wake(woken))
        try:
            await woken
        finally:
            alarm.cancel()

    def step(self, limit: float) -> bool:
        """Go to the next alarm not later than ``limit`` and let all of that instant go off.

        :return: False if there was none: the time is ``limit`` now.
        """
        self._drop_cancelled()
        if not self._alarms or self._alarms[0].when > limit:
            self._now = max(self._now, limit)
            return False
        self._now = max(self._now, self._alarms[0].when)
        while self._alarms and self._alarms[0].when <= self._now:
            callback = heapq.heappop(self._alarms).callback
            if callback is not None:
                callback()
        return True

    def _drop_cancelled(self) -> None:
        while self._alarms and self._alarms[0].callback is None:
            heapq.heappop(self._alarms)
