"""How far an upload has come, and telling whoever wants to know."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

__all__ = ["OnProgress", "Progress"]

OnProgress = Callable[[int, int | None], Awaitable[None] | None]
"""Told the bytes sent so far, and how many there are; None while that is not known. Plain or async."""


class Progress:
    """Counts what is sent by all parts of one upload.

    What is sent again does not count twice, and no number told is smaller than the one before it. An async
    callback is never called while it runs, and hears of what came meanwhile afterwards. What a callback
    raises ends the upload.
    """

    def __init__(self, callback: OnProgress | None, total: int | None) -> None:
        self._callback = callback
        self._sent = 0
        self._told = -1
        self._telling = False
        self.total = total

    async def add(self, count: int) -> None:
        """So many bytes were sent, or, below zero, were sent in vain."""
        self._sent += count
        if self._callback is not None:
            await self._tell(self._callback)

    def restart(self) -> None:
        """All of it was sent in vain."""
        self._sent = 0

    async def end(self) -> None:
        """All is sent."""
        if self.total is None:
            self.total, self._told = self._sent, -1  # that it is the total is news
        self._sent = self.total
        if self._callback is not None:
            await self._tell(self._callback)

    async def _tell(self, callback: OnProgress) -> None:
        if self._telling:
            return
        self._telling = True
        try:
            while self._told < self._sent:
                self._told = self._sent
                told = callback(self._sent, self.total)
                if inspect.isawaitable(told):
                    await told
        finally:
            self._telling = False
