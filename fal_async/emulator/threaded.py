"""The emulator on a loop in a thread of its own: for callers that block, and for those on any other loop.

What crosses over from one thread to the other does so here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from fal_async.emulator.clock import one_turn
from fal_async.emulator.model import Model
from fal_async.emulator.queueing.job import Job
from fal_async.emulator.queueing.view import QueueView
from fal_async.emulator.server import Emulator

__all__ = ["ThreadedEmulator"]

T = TypeVar("T")

#: Between two loops something is on its way: each is watched in turn, so often.
_ROUNDS: Final = 3
#: Turns of the caller's loop, in which a call that has just begun gets to be written.
_TURNS: Final = 20


class ThreadedEmulator(Emulator):
    """An emulator in a thread of its own: ``with ThreadedEmulator() as emu:``.

    It takes the arguments of :class:`Emulator`, and is told and asked like one. Code that blocks can call
    it, and so can code on any event loop: ``until``, ``advance`` and ``reset`` may be awaited on each.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._leave: Future[Callable[[], object]] = Future()

    # --- life ---------------------------------------------------------------------------------------

    def open(self) -> Self:
        """Start the thread, and listen.

        :raises OSError: if the address is taken.
        """
        self._expect_no_thread()
        try:
            self._launch().result()
        except BaseException:  # Ctrl-C among them: then it is about to start, and is told not to
            self.close()
            raise
        return self

    def _expect_no_thread(self) -> None:
        if self._thread is not None:
            raise RuntimeError("the emulator is running already")

    def _launch(self) -> Future[None]:
        """Start the thread; the future is done once it listens."""
        started: Future[None] = Future()
        leave = self._leave = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live(started, leave)), name="fal-emulator", daemon=True
        )
        self._thread.start()
        return started

    def close(self) -> None:
        """Stop at once, as :meth:`Emulator.stop` does; the thread has ended then."""
        thread, self._thread = self._thread, None
        if thread is None or not thread.is_alive():
            return
        with suppress(RuntimeError):  # it did not start, and its loop has ended
            self._leave.result()()
        thread.join()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def start(self) -> Self:
        """Start the thread, and listen."""
        self._expect_no_thread()
        try:
            await asyncio.shield(asyncio.wrap_future(self._launch()))
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Stop at once: nothing of it is left, its thread neither."""
        await asyncio.to_thread(self.close)

    async def _live(self, started: Future[None], leave: Future[Callable[[], object]]) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101  # asyncio.run's
        leave.set_result(lambda: loop.call_soon_threadsafe(task.cancel))
        try:
            await super().start()
        except asyncio.CancelledError:  # who opened it has been interrupted
            started.cancel()
            return
        except BaseException as error:
            started.set_exception(error)
            return
        self._loop = loop
        started.set_result(None)
        with suppress(asyncio.CancelledError):  # by which it is told to stop
            await loop.create_future()
        self._loop = None
        await super().stop()

    # --- across the threads -------------------------------------------------------------------------

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something of the emulator's and block until it is done: ``emu.wait(emu.advance(60))``.

        For code that is on no event loop.

        :raises RuntimeError: if it does not run.
        """
        if self._loop is None:
            work.close()
            raise RuntimeError("the emulator has not been started")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _across(self, work: Coroutine[Any, Any, T]) -> T:
        if self._is_here():
            return await work
        assert self._loop is not None  # noqa: S101  # as _is_here says
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _there(self, act: Callable[[], T]) -> T:
        """Do something quick on the emulator's loop."""
        if self._is_here():
            return act()

        async def do() -> T:
            return act()

        return self.wait(do())

    def _is_here(self) -> bool:
        """Whether its state may be touched: in its own loop, or while it does not run."""
        try:
            return self._loop is None or asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    # --- what is done there -------------------------------------------------------------------------

    @property
    def queue(self) -> QueueView:
        """What is queued, runs and has ended, since it was started or reset.

        :raises RuntimeError: if it never was.
        """
        return _QueueFromOutside(super().queue, self._there)

    def _set_limit(self, value: int | None) -> None:
        self._there(lambda: super(ThreadedEmulator, self)._set_limit(value))

    def model_limit(self, application: str, limit: int | None) -> None:
        """Give a hot application a cap of its own (PROTOCOL 3.3); None takes it away."""
        self._there(lambda: super(ThreadedEmulator, self).model_limit(application, limit))

    def register(self, *models: Model) -> None:
        """Serve more models."""
        self._there(lambda: super(ThreadedEmulator, self).register(*models))

    async def reset(self, **settings: Any) -> None:
        """As :meth:`Emulator.reset`."""
        await self._across(super().reset(**settings))

    async def until(self, condition: Callable[[], bool]) -> None:
        """As :meth:`Emulator.until`; the condition is asked in the emulator's thread."""
        await self._across(super().until(condition))

    async def advance(self, seconds: float) -> None:
        """As :meth:`Emulator.advance`. What the caller's own loop has begun to send arrives before.

        What other threads are about to send may not: wait for it with :meth:`until`.
        """
        clock = self._virtual
        if clock is None:
            raise RuntimeError('only an emulator with clock="virtual" can be advanced')
        until = clock.now() + seconds
        await self._settle()
        while self._there(lambda: clock.step(until)):
            await self._settle()

    async def _settle(self) -> None:
        for _ in range(_ROUNDS):
            for _ in range(_TURNS):
                await one_turn()
            await self._across(self._platform.background.settle())


class _QueueFromOutside(QueueView):
    """A view whose every look is taken in the emulator's own thread."""

    def __init__(self, view: QueueView, there: Callable[[Callable[[], Any]], Any]) -> None:
        self._view = view
        self._there = there

    def request(self, request_id: str) -> Job:
        job: Job = self._there(lambda: self._view.request(request_id))
        return job

    def requests(self, model: str | None = None, *, state: str | None = None) -> list[Job]:
        jobs: list[Job] = self._there(lambda: self._view.requests(model, state=state))
        return jobs

    def position(self, request_id: str) -> int | None:
        position: int | None = self._there(lambda: self._view.position(request_id))
        return position

    def line(self, application: str) -> list[str]:
        ids: list[str] = self._there(lambda: self._view.line(application))
        return ids

    def __iter__(self) -> Iterator[Job]:
        jobs: list[Job] = self._there(lambda: list(self._view))
        return iter(jobs)

    def __len__(self) -> int:
        return len(self._view)

    def __repr__(self) -> str:
        text: str = self._there(lambda: repr(self._view))
        return text
