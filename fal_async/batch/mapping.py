"""The fan-out: takes inputs as slots become free, runs one task a call, hands the outcomes on.

It knows nothing of what a call is: that is ``making``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from fal_async.batch.calling import Calling
from fal_async.batch.making import Making, interrupted, unsent
from fal_async.batch.outcome import Failed, Outcome
from fal_async.batch.source import END, Source
from fal_async.batch.stopping import UnsentError
from fal_async.errors import SessionError
from fal_async.transport.base import Slot

__all__ = ["Outcomes"]

T_co = TypeVar("T_co", covariant=True)

#: Outcomes that wait for the consumer before no more inputs are taken: so many, or as many as are in flight.
_BUFFERED: Final = 256
#: How long a slot is kept for an input that does not come, in seconds. Then the next in line has it.
_SLOT_KEPT: Final = 0.05


class Outcomes(Generic[T_co]):
    """A map under way: ``async with fal.map(...) as outcomes: async for outcome in outcomes:``.

    Leaving the block cancels what is still in flight, and waits until it has ended.

    :ivar taken: how many inputs were taken so far.
    :ivar leftover: after the block: outcomes that nobody took, and those whose calls were cut off, or not
        sent any more. Their errors say what they may have cost.
    :ivar unclaimed: after the block: calls in doubt which the journal holds and no input that was taken is:
        it was left out this time, or changed, or not come to. ``index`` is its place in the run that was
        killed, ``input`` is None: a journal holds none. They are left alone, whatever ``in_doubt`` says.
    """

    def __init__(
        self,
        source: Source,
        calling: Calling[Any],
        making: Making,
        *,
        ordered: bool,
        in_flight: int,
        stop_after_errors: int | None,
        raise_on_error: bool,
    ) -> None:
        self.taken = 0
        self.leftover: tuple[Outcome[T_co], ...] = ()
        self.unclaimed: tuple[Failed, ...] = ()
        self._source = source
        self._calling = calling
        self._making = making
        self._ordered = ordered
        self._most = in_flight
        self._errors_left = stop_after_errors
        self._raises = raise_on_error
        self._takes = True
        self._feeder: asyncio.Task[None] | None = None
        self._calls: dict[int, tuple[asyncio.Task[None], Any, Slot | None]] = {}
        self._ready: deque[Outcome[T_co]] = deque()
        self._early: dict[
            int, Outcome[T_co]
        ] = {}  # of an ordered map: those whose turn has not come
        self._turn = 0
        self._cut_off: list[Outcome[T_co]] = []
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._broken: Exception | None = None

    # --- life -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._feeder is not None:
            raise SessionError("a map runs once: call fal.map(...) again")
        await self._making.open()
        self._feeder = asyncio.create_task(self._fed())
        # One that is cancelled before it has begun tells nobody.
        self._feeder.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._end_all()
            await self._source.close()
        finally:
            self.leftover += (*self._ready, *self._early.values(), *self._cut_off)
            self._ready.clear()
            self._early.clear()
            try:
                await self._making.close()
            finally:
                self.unclaimed = self._making.unclaimed

    async def _end_all(self) -> None:
        """Cancel every task, and wait for all of them, however often whoever waits is cancelled."""
        self._takes = False
        again: asyncio.CancelledError | None = None
        while tasks := self._tasks():
            for task in tasks:
                task.cancel()
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError as cancelled:
                again = cancelled
        for index, (_, item, slot) in self._calls.items():  # cancelled before they had begun
            if slot is not None:
                slot.release()
            self._cut_off.append(interrupted(index, item, asyncio.CancelledError()))
        self._calls.clear()
        if again is not None:
            raise again

    def _tasks(self) -> set[asyncio.Task[None]]:
        feeder = self._feeder
        feeding = set() if feeder is None or feeder.done() else {feeder}
        return feeding | {task for task, _, _ in self._calls.values() if not task.done()}

    def stop(self) -> None:
        """Send nothing more. What is in flight lands; the iteration ends after that.

        Calls that were not sent yet, or were refused (429) and would be sent again, end at once: they cost
        nothing, a journal forgets that they were intended, and their inputs are in ``leftover`` after the
        block. What lands as a failure is not sent again.
        """
        # Once: whoever makes the inputs may be tidying up when it is stopped again.
        if self._feeder is not None and self._takes:
            self._takes = False
            self._feeder.cancel()
            self._making.stopping.stop()

    @property
    def in_flight(self) -> int:
        """How many calls are under way now."""
        return len(self._calls) - self._making.stopping.ending

    # --- taking inputs ----------------------------------------------------------------------------------

    async def _fed(self) -> None:
        try:
            await self._calling.inside(self._feed())
        except Exception as error:  # the session's end, or whatever the caller's iterator raises
            self._broken = error if self._broken is None else self._broken
        finally:
            try:
                await self._source.close()
            except Exception as error:
                self._broken = error if self._broken is None else self._broken
            self._making.hurry()
            self._news.set()

    async def _feed(self) -> None:
        loop = asyncio.get_running_loop()
        slot: Slot | None = None
        try:
            while True:
                while not self._has_room():
                    self._room.clear()
                    self._making.hurry()
                    await self._room.wait()
                slot = await self._calling.reserve()
                item = await self._next(slot)
                if item is END:
                    return
                index = self.taken
                self.taken += 1
                if not self._takes:  # whoever makes the inputs has swallowed the cancellation
                    self._cut_off.append(unsent(index, item))
                    return
                if slot is not None and not slot.held:  # the input took its time
                    slot = await self._reserved_for(index, item)
                task = loop.create_task(self._call(index, item, slot))
                self._calls[index] = task, item, slot
                slot = None
        finally:
            if slot is not None:
                slot.release()

    async def _reserved_for(self, index: int, item: Any) -> Slot | None:
        try:
            return await self._calling.reserve()
        except BaseException:
            self._cut_off.append(unsent(index, item))
            raise

    def _has_room(self) -> bool:
        flying = len(self._calls)
        waiting = len(self._ready) + len(self._early)
        return flying < self._most and waiting <= max(_BUFFERED, flying)

    async def _next(self, slot: Slot | None) -> Any:
        if slot is None or not self._source.may_wait:
            return await self._source.next()
        timer = asyncio.get_running_loop().call_later(_SLOT_KEPT, slot.release)
        try:
            return await self._source.next()
        finally:
            timer.cancel()

    async def _call(self, index: int, item: Any, slot: Slot | None) -> None:
        try:
            outcome = await self._making.make(index, item, slot)
        except UnsentError:
            self._cut_off.append(unsent(index, item))
        except asyncio.CancelledError as cancelled:
            self._cut_off.append(interrupted(index, item, cancelled))
            raise
        except Exception as error:  # of the caller's own hooks, or a mistake of ours
            self._break(error)
        else:
            self._deliver(outcome)
        finally:
            if slot is not None:
                slot.release()
            del self._calls[index]
            self._room.set()
            self._news.set()

    # --- handing outcomes on ----------------------------------------------------------------------------

    def _deliver(self, outcome: Outcome[T_co]) -> None:
        if self._ordered:
            self._early[outcome.index] = outcome
            while self._turn in self._early:
                self._ready.append(self._early.pop(self._turn))
                self._turn += 1
        else:
            self._ready.append(outcome)
        if self._making.broken is not None:
            self._break(self._making.broken)
        elif isinstance(outcome, Failed) and not outcome.replayed and self._errors_left is not None:
            self._errors_left -= 1
            if self._errors_left <= 0:
                self.stop()

    def _break(self, error: Exception) -> None:
        """Nothing more can come of it: what is in flight lands, and then the caller is told."""
        self._broken = error if self._broken is None else self._broken
        self.stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[T_co]:
        while not self._ready:
            if self._feeder is None:
                raise SessionError(
                    "a map is entered before it is iterated over: async with fal.map(...)"
                )
            if not self._calls and self._feeder.done():
                if self._early:  # one before them broke, and will not come
                    self._ready.extend(self._early.pop(index) for index in sorted(self._early))
                    break
                if self._broken is not None:
                    raise self._broken
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        outcome = self._ready.popleft()
        self._room.set()
        if self._raises and isinstance(outcome, Failed):
            self.leftover += (outcome,)
            raise outcome.error
        return outcome

    async def collect(self) -> list[Outcome[T_co]]:
        """All outcomes, in the order of the inputs. For a map that has not been entered.

        Where it raises, what had come by then is in ``leftover``.
        """
        found: list[Outcome[T_co]] = []
        try:
            async with self:
                async for outcome in self:
                    found.append(outcome)  # noqa: PERF401 - kept whatever comes next
        except BaseException:
            self.leftover = (*found, *self.leftover)
            raise
        return sorted(found, key=lambda outcome: outcome.index)
