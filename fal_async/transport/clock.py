"""The one place where the client reads time and draws chance; tests hand in another."""

from __future__ import annotations

import asyncio
import random

__all__ = ["LoopClock"]


class LoopClock:
    """The running event loop's own time, and Python's own chance."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def chance(self) -> float:
        return random.random()  # noqa: S311 - jitter, not a secret
