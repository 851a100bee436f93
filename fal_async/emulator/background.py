"""What runs beside the handlers, and ends with the emulator: tasks, threads, and who waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from fal_async.emulator.clock import one_turn

__all__ = ["Background"]

_T = TypeVar("_T")

#: A model that blocks holds a thread, and many of its calls may run at once.
_THREADS: Final = 64
#: From connecting to the request's arrival, loopback takes about ten turns of the loop.
_QUIET_TURNS: Final = 50


class Background:
    """Owns every task and thread of one emulator, and knows whether anything goes on."""

    def __init__(self) -> None:
        self.closing = False
        """Whether what runs is being ended just now."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._in_threads: set[Future[Any]] = set()
        self._happened = 0
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run something to its end, or to the emulator's."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def in_thread(self, call: Callable[[], _T]) -> _T:
        """Run something in a thread of the emulator's own."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="fal-emulator")
        future = self._threads.submit(call)
        self._in_threads.add(future)
        try:
            return await asyncio.wrap_future(future)
        finally:
            # Else its thread goes on after a cancellation, and close() waits for it.
            if future.done():
                self._in_threads.discard(future)

    def note(self) -> None:
        """Something has happened; whoever waits for it is woken."""
        self._happened += 1
        if self._waiting:
            for condition, future in self._waiting:
                if not future.done():
                    _wake_if(condition, future)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once ``condition`` holds; it is asked whenever something has happened."""
        if condition():
            return
        entry = (condition, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            await entry[1]
        finally:
            self._waiting.remove(entry)

    async def settle(self) -> None:
        """Return when nothing more happens unless time passes or something new is sent.

        The loop is watched for some turns: what others have written to a socket needs a few to come in.
        Functions in threads are waited for.
        """
        quiet = 0
        while quiet < _QUIET_TURNS:
            before = self._happened
            running = [asyncio.wrap_future(f) for f in self._in_threads if not f.done()]
            if running:
                await asyncio.wait(running)
            await one_turn()
            quiet = quiet + 1 if self._happened == before and not running else 0

    async def close(self) -> None:
        """End all that runs. A function in a thread cannot be ended: it is waited for."""
        self.closing = True
        while self._tasks or self._threads is not None:  # some may be spawned while others end
            await self._end_tasks()
            await self._end_threads()
        self.closing = False

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        # One that is cancelled before it has begun gives nothing back of what was taken for it.
        await one_turn()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end_threads(self) -> None:
        threads, self._threads = self._threads, None
        if threads is None:
            return
        threads.shutdown(wait=False, cancel_futures=True)
        running = [asyncio.wrap_future(f) for f in self._in_threads if not f.done()]
        await asyncio.gather(*running, return_exceptions=True)
        self._in_threads.clear()
        threads.shutdown()  # they have nothing left to do, and end at once


def _wake_if(condition: Callable[[], bool], future: asyncio.Future[None]) -> None:
    try:
        holds = condition()
    except Exception as error:  # it is the waiter's, not that of the call which happens to ask
        future.set_exception(error)
    else:
        if holds:
            future.set_result(None)
