"""How many more calls may be made: ``--max-calls``. What turns out to be none is given back."""

from __future__ import annotations

import asyncio

__all__ = ["Budget"]


class Budget:
    """Of one event loop.

    :param calls: how many there may be; None: any number.
    """

    def __init__(self, calls: int | None) -> None:
        self._left = calls
        self._undecided = 0
        self._news = asyncio.Event()

    async def take(self) -> bool:
        """Leave to make a call, as soon as it is known whether there is one; False: no more is left."""
        while self._left == 0:
            if not self._undecided:
                return False
            self._news.clear()
            await self._news.wait()
        if self._left is not None:
            self._left -= 1
        self._undecided += 1
        return True

    def landed(self, *, called: bool) -> None:
        """What leave was taken for has ended; it may have been no call."""
        self._undecided -= 1
        if not called and self._left is not None:
            self._left += 1
        self._news.set()
