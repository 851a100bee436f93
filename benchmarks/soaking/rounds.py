"""One round: callers at work for some seconds, then quiet, and what both ends say of it."""

from __future__ import annotations

import asyncio
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs

from benchmarks.soaking import batches, direct, filing, live, queued  # noqa: F401 - they enter their kinds
from benchmarks.soaking.agreeing import disagreements
from benchmarks.soaking.caller import KINDS, Caller, Kind
from benchmarks.soaking.far import FarEnd
from benchmarks.soaking.story import Book, told
from fal_async import AsyncFal

__all__ = ["Round", "Told", "run_round"]

#: Bytes of the largest answer that is taken: more than all of them, and less than one that a fault makes.
ANSWER_MAX: Final = 128 * 1024
_LIMITS: Final = (2, 3, 5, 10, 20, 40, None)
#: Of all that callers do, what they do not wait for.
_LEAVING: Final = 0.15
#: In one round, so that the far end's memory does not fill up: each is some twenty megabytes.
_LARGE_TRANSFERS: Final = 4
#: How long who is cancelled may take to go: a queued request is cancelled first, for up to five seconds.
_GOING: Final = 15.0


@attrs.frozen(kw_only=True)
class Round:
    """What is to be done.

    :ivar number: tells its dice and its markers from those of others.
    :ivar seconds: for which things are begun.
    :ivar rate: things begun in a second.
    :ivar share: by which the usual shares of faults are multiplied.
    """

    number: int
    seed: int
    seconds: float
    rate: float
    share: float


@attrs.frozen(kw_only=True)
class Told:
    """What came of it.

    :ivar ends: kind → how often its calls ended in which way.
    :ivar faults: operation and kind → how often it was met.
    :ivar wrong: whatever must not be so, in words.
    :ivar slowest: seconds of the longest call.
    """

    calls: int
    asides: int
    cancelled: int
    executions: int
    billed: int
    ends: Counter[str]
    faults: Counter[str]
    wrong: tuple[str, ...]
    slowest: float

    def __add__(self, other: Told) -> Told:
        """Both together."""
        return Told(
            calls=self.calls + other.calls,
            asides=self.asides + other.asides,
            cancelled=self.cancelled + other.cancelled,
            executions=self.executions + other.executions,
            billed=self.billed + other.billed,
            ends=_sum(self.ends, other.ends),
            faults=_sum(self.faults, other.faults),
            wrong=self.wrong + other.wrong,
            slowest=max(self.slowest, other.slowest),
        )


def _sum(some: Counter[str], more: Counter[str]) -> Counter[str]:
    found = Counter(some)
    found.update(more)  # other than ``+``, it keeps what was never counted
    return found


@attrs.define(kw_only=True)
class _Running:
    """A round under way."""

    plan: Round
    far: FarEnd
    sessions: list[AsyncFal]
    new_session: Callable[..., AsyncFal]
    folder: Path
    book: Book
    tasks: set[asyncio.Task[None]] = attrs.field(factory=set)
    cancelled: int = 0
    large_left: int = _LARGE_TRANSFERS

    async def work(self) -> None:
        """Begin things at random instants, for as long as the round lasts; then wait for all of them."""
        plan, chance = self.plan, Random(f"{self.plan.seed}.{self.plan.number}")
        kinds = list(KINDS.values())
        weights = [kind.weight for kind in kinds]
        until = time.monotonic() + plan.seconds
        number = 0
        over = asyncio.Event()
        weather = asyncio.create_task(self._weather(over, Random(chance.random())))
        try:
            while time.monotonic() < until:
                await asyncio.sleep(chance.expovariate(plan.rate))
                (kind,) = chance.choices(kinds, weights)
                number += 1
                task = asyncio.create_task(self._watched(kind, number))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
            while self.tasks:
                await asyncio.wait(set(self.tasks))
        finally:
            over.set()
            await weather

    async def _weather(self, over: asyncio.Event, chance: Random) -> None:
        """Limits that change by and by."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), chance.uniform(0.5, 3.0))
            if over.is_set():
                return
            await self.far.limit(chance.choice(_LIMITS), chance.choice([None, None, 2, 6]))

    async def _watched(self, kind: Kind, number: int) -> None:
        """One thing, perhaps cancelled while it goes on; it must end in time."""
        chance = Random(f"{self.plan.seed}.{self.plan.number}.{number}")
        folder = self.folder / str(number)
        folder.mkdir()
        session, other = chance.choices(self.sessions, k=2)
        self.large_left -= kind.name == "upload_in_parts"
        caller = Caller(
            fal=session,
            other=other,
            chance=chance,
            book=self.book,
            folder=folder,
            new_session=self.new_session,
            large=self.large_left >= 0,
        )
        task = asyncio.ensure_future(kind.does(caller))
        timers = self._leave_some_time(task, chance)
        try:
            done, _ = await asyncio.wait({task}, timeout=kind.seconds)
            if not done:
                self._hangs(kind, number, task, session)
                task.cancel()
                done, _ = await asyncio.wait({task}, timeout=_GOING)
            if done and not task.cancelled() and (error := task.exception()) is not None:
                trace = "".join(traceback.format_tb(error.__traceback__)[-4:])
                self.book.wrong.append(f"{kind.name} {number} raised {told(error)}\n{trace}")
        finally:
            for timer in timers:
                timer.cancel()
            shutil.rmtree(folder, ignore_errors=True)

    def _leave_some_time(
        self, task: asyncio.Future[None], chance: Random
    ) -> list[asyncio.TimerHandle]:
        if chance.random() >= _LEAVING:
            return []
        self.cancelled += 1
        loop = asyncio.get_running_loop()
        first = chance.choice([0.0005, 0.003, 0.01, 0.03, 0.1, 0.5]) * chance.uniform(0.5, 2)
        timers = [loop.call_later(first, task.cancel)]
        if chance.random() < 0.2:  # once more, while it goes
            timers.append(loop.call_later(first + chance.choice([0.0, 0.001, 0.01]), task.cancel))
        return timers

    def _hangs(
        self, kind: Kind, number: int, task: asyncio.Future[None], session: AsyncFal
    ) -> None:
        waits = "\n".join(_waits(task)) if isinstance(task, asyncio.Task) else ""
        self.book.wrong.append(
            f"{kind.name} {number} has not ended after {kind.seconds:g} s; its session has "
            f"{session.limits}\n{waits}"
        )


def _waits(task: asyncio.Task[None]) -> Iterator[str]:
    """Where it waits: from the caller to what is waited for in the end."""
    found: Any = task.get_coro()
    while found is not None:
        frame = getattr(found, "cr_frame", None) or getattr(found, "ag_frame", None)
        if frame is not None:
            yield f"    {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"
        inner = getattr(found, "cr_await", None) or getattr(found, "ag_await", None)
        if inner is None:
            yield f"    {found!r}"
        found = inner


async def run_round(
    plan: Round,
    far: FarEnd,
    sessions: list[AsyncFal],
    new_session: Callable[..., AsyncFal],
    folder: Path,
) -> Told:
    """Do it, wait until all is quiet at both ends, and compare."""
    book = Book(f"{plan.seed}.{plan.number}")
    await asyncio.to_thread(folder.mkdir)
    running = _Running(
        plan=plan, far=far, sessions=sessions, new_session=new_session, folder=folder, book=book
    )
    await running.work()
    executions, faults, wrong = await far.settle()
    await asyncio.to_thread(shutil.rmtree, folder)
    stories = book.stories.values()
    lasted: list[float] = [s.ended - s.began for s in stories if s.ended is not None]
    return Told(
        calls=len(book.stories),
        asides=book.asides,
        cancelled=running.cancelled,
        executions=len(executions),
        billed=sum(execution.billed for execution in executions),
        ends=Counter(f"{story.kind}: {_ending(story.end, story.billing)}" for story in stories),
        faults=Counter(faults),
        wrong=(*book.wrong, *disagreements(book.stories, executions), *wrong),
        slowest=max(lasted, default=0.0),
    )


def _ending(end: str, billing: Any) -> str:
    return end if billing is None else f"{end}, {billing}"
