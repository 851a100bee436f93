"""The one place where the client reads time and draws chance; tests hand in another."""

from __future__ import annotations

import asyncio
import random

__all__ = ["LoopClock"]


class LoopClock:
    """The running event loop's own time, and Python's own chance."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        loop = self._loop
        # Which loop runs is a question to the system on Python 3.11, and this one is put often. A session has
        # one loop at a time: while that runs, it is the one.
        if loop is None or not loop.is_running():
            self._loop = loop = asyncio.get_running_loop()
        return loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, until: float) -> bool:
        try:
            async with asyncio.timeout_at(until):
                return await event.wait()
        except TimeoutError:
            return False

    def chance(self) -> float:
        return random.random()  # noqa: S311 - jitter, not a secret
