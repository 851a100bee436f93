"""Those who wait in a session for something of fal's queue, so that all can be sent away when it is closed.

It knows tasks, not what they wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from fal_async.errors import Billing, SessionError, Verdict

__all__ = ["Room"]


class Room:
    """Whoever waits is inside; clearing it ends each wait with a :class:`SessionError`, wherever it is."""

    def __init__(self) -> None:
        self._inside: set[asyncio.Task[object]] = set()
        self._sent_away: set[asyncio.Task[object]] = set()
        self._clearing: set[asyncio.Event] = set()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What the task awaits in here ends when the room is cleared. Entering twice is entering once.

        :raises SessionError: if the room is cleared, now or meanwhile. Its facts are those of the ``verdict``
            that the wait has left on its ``CancelledError``.
        """
        task = asyncio.current_task()
        if task is None:
            raise SessionError("a request is waited for in a task; this code runs outside of any")
        if task in self._inside:
            yield
            return
        if self._clearing:
            raise SessionError("this AsyncFal is closed: make a new one")
        cancellations = task.cancelling()
        self._inside.add(task)
        try:
            yield
        except asyncio.CancelledError as cancelled:
            if task not in self._sent_away or task.cancelling() > cancellations + 1:
                raise  # somebody else wants the task itself to end
            raise _closed(getattr(cancelled, "verdict", None)) from None
        finally:
            self._inside.discard(task)
            if task in self._sent_away:
                self._sent_away.discard(task)
                task.uncancel()
            for left in self._clearing:
                left.set()

    async def clear(self, patience: float) -> None:
        """Send everybody of this event loop away but the one who asks, and wait until they have left.

        :param patience: seconds after which whoever is still inside is left to himself.
        """
        loop, this = asyncio.get_running_loop(), asyncio.current_task()
        going = {task for task in self._inside if task.get_loop() is loop and task is not this}
        for task in going - self._sent_away:
            self._sent_away.add(task)
            task.cancel()
        left = asyncio.Event()
        self._clearing.add(left)
        try:
            async with asyncio.timeout(patience):
                while going & self._inside:
                    left.clear()
                    await left.wait()
        except TimeoutError:
            pass
        finally:
            self._clearing.discard(left)


def _closed(verdict: Verdict | None) -> SessionError:
    known = verdict or Verdict(billing=Billing.UNKNOWN)
    error = SessionError(
        "the AsyncFal was closed while a request was waited for",
        billing=known.billing,
        attempts=known.attempts,
        request_id=known.request_id,
    )
    error.handle = known.handle
    return error
