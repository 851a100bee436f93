"""What a running model can tell the platform and hear from it: log lines, and that it is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fal_async.emulator.clock import Clock
from fal_async.emulator.raising import CallCancelledError

__all__ = ["Contact"]

_T = TypeVar("_T")


class Contact:
    """One attempt's line to the platform. The default hears nothing, and tells nobody.

    :param hear: gets each log line: its text and its level.
    """

    def __init__(
        self, clock: Clock | None = None, hear: Callable[[str, str], None] | None = None
    ) -> None:
        self.cancelled = False
        self._clock = clock
        self._hear = hear
        self._loop = None if hear is None else asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()

    def log(self, message: str, level: str) -> None:
        """Pass on what the model says, in the loop of the emulator; any thread may call this."""
        if self._hear is None or self._loop is None:
            return
        if _running_loop() is self._loop:
            self._hear(message, level)
        else:
            self._loop.call_soon_threadsafe(self._hear, message, level)

    def cancel(self) -> None:
        """The caller wants it to stop (PROTOCOL 6.5)."""
        self.cancelled = True
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def until_cancelled(self) -> None:
        """Return once the caller wants it to stop."""
        if self.cancelled:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    async def sleep(self, seconds: float) -> None:
        """Let time pass on the emulator's clock."""
        if self._clock is not None:
            await self._clock.sleep_until(self._clock.now() + seconds)

    async def unless_cancelled(self, work: Awaitable[_T]) -> _T:
        """The outcome of ``work``, which is given up at a cancel.

        :raises CallCancelledError: if that came first.
        """
        working = asyncio.ensure_future(work)
        signal = asyncio.ensure_future(self.until_cancelled())
        try:
            await asyncio.wait((working, signal), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise CallCancelledError
        finally:
            for task in (working, signal):
                task.cancel()
            await asyncio.gather(working, signal, return_exceptions=True)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # in a thread
        return None
