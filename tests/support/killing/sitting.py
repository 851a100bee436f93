"""One batch: an emulator, a journal, and runs over them that are killed as planned until one is let be."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from fal_async.batch.journal.journal import Journal
from fal_async.emulator import Emulator
from tests.support.killing.inputs import MODEL, Input, inputs_of
from tests.support.killing.judging import Doubt, Evidence, InDoubt, Said, Verdict, judge
from tests.support.killing.nursery import Nursery, Run
from tests.support.killing.plans import Plan

__all__ = ["LIMIT", "MODES", "Mode", "Sitting", "copied"]

LIMIT: Final = 24
_IN_FLIGHT: Final = 40
#: Beyond which a call cannot be late on loopback, in seconds. A call that did not arrive is certain to be
#: missing after the sum of them, and of the start timeout.
_RECONCILE: Final = {"skew": 0.25, "delivery": 0.4, "listed_within": 0.4, "wait": 30.0}
_START_TIMEOUT: Final = 2.0


@attrs.frozen(kw_only=True)
class Mode:
    """A way to make the calls of a batch, and to treat those in doubt."""

    durable: bool
    in_doubt: InDoubt

    @property
    def name(self) -> str:
        return f"{'queue' if self.durable else 'direct'}+{self.in_doubt}"

    @property
    def cancels(self) -> bool:
        """Whether leaving cancels what is queued, as it does unless told otherwise.

        Of a request that is found cancelled nobody can say what it cost, and where every input is to have a
        result in the end, it must not be.
        """
        return self.durable and self.in_doubt != "reconcile"

    def order(
        self, url: str, journal: Path, inputs: Sequence[Input], *, leave_after: int | None = None
    ) -> dict[str, Any]:
        """What the program is told; see ``program.run``."""
        reconciles = self.in_doubt == "reconcile"
        only_queued = {"cancel_on_exit": self.cancels} if self.durable else {}
        return {
            "url": url,
            "model": MODEL,
            "limit": LIMIT,
            "inputs": inputs,
            "options": {
                "journal": str(journal),
                "durable": self.durable,
                "in_doubt": self.in_doubt,
                "in_flight": _IN_FLIGHT,
                "start_timeout": _START_TIMEOUT if reconciles else None,
                **only_queued,
            },
            "reconcile": _RECONCILE if reconciles else None,
            "leave_after": leave_after,
        }


_IN_DOUBT: Final[tuple[InDoubt, ...]] = ("report", "retry", "reconcile")
MODES: Final = {
    mode.name: mode
    for mode in (
        Mode(durable=durable, in_doubt=in_doubt)
        for durable in (False, True)
        for in_doubt in _IN_DOUBT
    )
}


@contextlib.contextmanager
def copied(journal: Path) -> Iterator[Path]:
    """What is on disk now of a journal and of what SQLite keeps beside it."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("", "-wal", "-journal"):
            file = journal.with_name(journal.name + suffix)
            if file.exists():
                shutil.copyfile(file, Path(folder, file.name))
        yield Path(folder, journal.name)


class Sitting:
    """A batch over one journal.

    :param ran: what the model has seen: request id → the name of the input.
    """

    def __init__(
        self,
        mode: Mode,
        emulator: Emulator,
        ran: dict[str, str],
        nursery: Nursery,
        journal: Path,
        *,
        inputs: int,
    ) -> None:
        self._mode = mode
        self._emulator = emulator
        self._ran = ran
        self._nursery = nursery
        self._journal = journal
        self._inputs: list[Input] = inputs_of(inputs)
        self._runs: list[Said] = []

    @property
    def ended(self) -> bool:
        """Whether the last run was let be until it had ended."""
        return bool(self._runs) and self._runs[-1].whole and not self._runs[-1].killed

    @property
    def kills(self) -> int:
        return sum(run.killed for run in self._runs)

    async def run(self, plan: Plan | None) -> None:
        """Run the batch on what there is of its journal; without a plan, to its end."""
        doubts = await self._doubts()
        leaves = plan is not None and plan.after == "closing"
        order = self._mode.order(
            self._emulator.url,
            self._journal,
            self._inputs,
            leave_after=plan.count if plan is not None and leaves else None,
        )
        run = await self._nursery.begin(order)
        outcomes: list[dict[str, Any]] = []
        whole = False
        with _killing(run, plan, self._emulator) as seen:
            async for word in run.words():
                if word["say"] == "outcome":
                    outcomes.append(word)
                whole = whole or (word["say"] == "closing" and word["whole"])
                seen(word)
        self._runs.append(
            Said(
                outcomes=outcomes,
                whole=whole,
                left=leaves,
                killed=run.killed,
                status=run.status,
                doubts=doubts,
            )
        )

    async def _doubts(self) -> frozenset[Doubt]:
        """What the journal reports. A copy of it is asked: the next run is the first that opens it."""
        if not self._journal.exists():
            return frozenset()
        with copied(self._journal) as copy:
            journal = await Journal.open(copy, model=MODEL, now=lambda: 0.0)
            try:
                return frozenset((one.index, one.intended_at) for one in await journal.in_doubt())
            finally:
                await journal.close()

    async def verdict(self) -> Verdict:
        """What became of it, once the emulator has nothing left to do."""
        return judge(await self._evidence())

    async def _evidence(self) -> Evidence:
        emulator = self._emulator
        await emulator.until(lambda: not emulator.in_flight and not emulator.queue.line(MODEL))
        with contextlib.closing(sqlite3.connect(self._journal)) as journal:
            ((retried,),) = journal.execute("SELECT coalesce(sum(doubts), 0) FROM item")
        return Evidence(
            in_doubt=self._mode.in_doubt,
            cancels=self._mode.cancels,
            inputs=self._inputs,
            runs=self._runs,
            ran=self._ran,
            billed=[execution.request_id for execution in emulator.ledger if execution.billed],
            retried=retried,
        )


@contextlib.contextmanager
def _killing(
    run: Run, plan: Plan | None, emulator: Emulator
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Kill a run as planned; is told what it says."""
    if plan is None:
        yield lambda _: None
        return
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    left = plan.count

    def now() -> None:
        if not timers:
            timers.append(loop.call_later(plan.delay, run.kill))

    def seen(word: dict[str, Any]) -> None:
        nonlocal left
        if word["say"] == plan.after:
            now()
        elif word["say"] == "outcome" and plan.after == "outcomes" and not word["replayed"]:
            left -= 1
            if left <= 0:
                now()

    def arrived() -> int:
        requests = emulator.requests
        if plan.after == "calls":
            return requests["run"] + requests["submit"]
        return requests.total()

    many = arrived() + plan.count
    watch = loop.create_task(emulator.until(lambda: arrived() >= many))
    if plan.after in {"calls", "requests"}:
        watch.add_done_callback(lambda task: None if task.cancelled() else now())
    else:
        watch.cancel()
    try:
        yield seen
    finally:
        watch.cancel()
        for timer in timers:
            timer.cancel()
