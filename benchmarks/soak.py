"""Mixed load with faults for as long as one likes: nothing leaks, every call ends, and the ledger agrees.

Callers do at random whatever the client can do, against an emulator in another process that misbehaves in
every way it knows, while limits change, sessions come and go, and callers leave. After each round all is
quiet: then what the client said of each single call is compared with the emulator's ledger, and what both
processes hold is looked at. All dice are the seed's; what the clock decides is not repeated by it.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

import attrs

from benchmarks.figures import Target, table
from benchmarks.machine import open_files
from benchmarks.reporting import parser, say, tell
from benchmarks.soaking.complaints import Complaints
from benchmarks.soaking.far import FarEnd
from benchmarks.soaking.leaks import (
    Figures,
    Growth,
    figures,
    lasting_tasks,
    map_large_blocks,
    settled_figures,
)
from benchmarks.soaking.rounds import ANSWER_MAX, Round, Told, run_round
from fal_async import AsyncFal, Hosts

__all__ = ["Report", "main", "measure"]

_MINUTES: Final = 30.0
_RATE: Final = 40.0
#: The first of them is for warming up: what is imported, cached and pooled then is no leak.
_ROUNDS: Final = 5
_ROUND_MAX: Final = 50.0
_THREADS: Final = 8
#: Connections that wait in the pool of the one session which stays open: no more than were used at once.
_POOLED: Final = 150
#: Blocks of memory, of some hundred bytes each: connections in the pool are a few hundred each, and what is
#: remembered of limits, tokens and files has bounds. A leak of one block a call is more after a minute.
_BLOCKS: Final = 20_000
#: Megabytes: what the allocators have not given back, which depends on the order of calls.
_MEGABYTES: Final = 40.0


@attrs.frozen(kw_only=True)
class Report:
    """All rounds together.

    :ivar near: what this process held after each round.
    :ivar far: and that of the emulator; last, when all sessions were closed.
    :ivar bare: what this one held before there was a session; ``end``: once all were closed.
    :ivar far_bare: what the emulator held before there was a session.
    """

    seed: int
    seconds: float
    rounds: int
    calls: int
    asides: int
    cancelled: int
    executions: int
    billed: int
    slowest: float
    ends: dict[str, int]
    faults: dict[str, int]
    unmet: tuple[str, ...]
    bare: Figures
    far_bare: Figures
    end: Figures
    near: tuple[Figures, ...]
    far: tuple[Figures, ...]
    wrong: tuple[str, ...]

    def targets(self) -> list[Target]:
        near, far = self.near[-1], self.far[-1]
        return [
            Target("anything wrong", len(self.wrong), most=0),
            Target("tasks left", self.end.tasks, most=self.bare.tasks),
            Target("sockets left", self.end.sockets, most=self.bare.sockets),
            Target("other descriptors left", self.end.files, most=self.bare.files),
            Target("threads left", self.end.threads, most=self.bare.threads),
            Target("tasks after the last round", near.tasks, most=self.bare.tasks),
            Target("descriptors then", near.files, most=self.bare.files),
            Target("sockets then", near.sockets, most=self.bare.sockets + _POOLED),
            Target("blocks of memory more", near.blocks - self.near[0].blocks, most=_BLOCKS),
            Target("MB more", near.resident - self.near[0].resident, most=_MEGABYTES),
            Target("tasks of the emulator left", far.tasks, most=self.far_bare.tasks),
            Target("its sockets left", far.sockets, most=self.far_bare.sockets),
            Target("its other descriptors left", far.files, most=self.far_bare.files),
            Target("its threads", far.threads, most=_EMULATOR_THREADS),
            Target("its blocks of memory more", far.blocks - self.far[0].blocks, most=_BLOCKS),
            Target("its MB more", far.resident - self.far[0].resident, most=_MEGABYTES),
        ]

    def text(self) -> str:
        met = sum(self.faults.values())
        told = (
            f"seed {self.seed}: {self.calls:,} calls and {self.asides:,} exchanges that cost nothing, "
            f"in {self.rounds} rounds, {self.seconds:.0f} s\n"
            f"{self.cancelled:,} times a caller left; {met:,} faults of {len(self.faults)} kinds "
            f"and operations, {len(self.unmet)} never met; "
            f"{self.executions:,} executions, {self.billed:,} billed; "
            f"the longest call took {self.slowest:.1f} s"
        )
        ends = table(("how they ended", "calls"), [(end, f"{n:,}") for end, n in self.ends.items()])
        return "\n".join([told, "", ends, "", self._held(), *self._wrongs()])

    def _held(self) -> str:
        headings = ("held", "tasks", "sockets", "files", "threads", "blocks", "MB")
        shown = range(0, len(self.near), max(1, len(self.near) // 10))
        rows = [
            ["before", *self.bare.row()],
            *([f"after round {n}", *self.near[n].row()] for n in shown),
            ["at the end", *self.end.row()],
            *([f"emulator, after {n}", *self.far[n].row()] for n in shown),
            ["emulator, at the end", *self.far[-1].row()],
        ]
        return table(headings, rows)

    def _wrongs(self) -> Sequence[str]:
        return [f"\nWRONG: {wrong}" for wrong in self.wrong]


#: Those that models run in, and the one that reads orders.
_EMULATOR_THREADS: Final = 80


async def _all_threads() -> None:
    """Start the threads of the loop's executor now: else they come one by one, like a leak."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))
    together = threading.Barrier(_THREADS)
    await asyncio.gather(*(asyncio.to_thread(together.wait) for _ in range(_THREADS)))


@attrs.define
class _Soak:
    seconds: float
    seed: int
    rate: float
    share: float
    folder: Path
    complaints: Complaints = attrs.field(init=False)
    growth: Growth = attrs.field(factory=Growth)
    far_bare: Figures | None = None
    near: list[Figures] = attrs.field(factory=list)
    far: list[Figures] = attrs.field(factory=list)
    told: Told | None = None

    @property
    def load(self) -> float:
        """Seconds for which a round begins things."""
        return min(self.seconds / _ROUNDS, _ROUND_MAX)

    async def run(self) -> Report:
        began = time.monotonic()
        await _all_threads()
        self.complaints = Complaints()
        async with FarEnd() as far:
            hosts = Hosts.local(far.url)

            def new_session(**settings: Any) -> AsyncFal:
                settings = {"timeout": 4.0, "max_answer_bytes": ANSWER_MAX, **settings}
                return AsyncFal("soak:secret", hosts=hosts, **settings)

            self.far_bare = await far.round(seed=self.seed, limit=10, share=self.share)
            bare = figures()
            async with new_session() as lasting:
                # No other is begun that would not end in time.
                while len(self.near) < 2 or time.monotonic() - began + self.load < self.seconds:
                    await self._round(far, lasting, new_session, bare)
            await settled_figures(lambda: _is_bare(bare))
            end = figures()
            # Once more, now that nobody is connected.
            self.far.append(await far.round(seed=self.seed, limit=10, share=self.share))
        return self._report(bare, end, time.monotonic() - began)

    async def _round(self, far: FarEnd, lasting: AsyncFal, new_session: Any, bare: Figures) -> None:
        number = len(self.near)
        plan = Round(
            number=number,
            seed=self.seed,
            seconds=self.load,
            rate=self.rate,
            share=self.share,
        )
        async with new_session(limit=6) as few, new_session(limit=None) as unbraked:
            sessions = [lasting, lasting, lasting, few, unbraked]
            folder = self.folder / str(number)
            told = await run_round(plan, far, sessions, new_session, folder)
        # What is kept of it must not look like a leak: one sum, whatever the number of rounds.
        self.told = told if self.told is None else self.told + told
        seed = self.seed + number + 1
        self.far.append(await far.round(seed=seed, limit=10, share=self.share))
        tasks = bare.tasks
        self.near.append(await settled_figures(lambda: len(lasting_tasks()) <= tasks))
        if self.near[-1].tasks > tasks:
            self.complaints.hear(f"after round {number} there are {lasting_tasks()}")
        limits = lasting.limits
        if limits is not None and (limits.in_flight or limits.waiting):
            self.complaints.hear(f"after round {number} nobody calls, and there is {limits}")
        if number == 0:
            self.growth.remember()
        elif self.near[-1].blocks - self.near[0].blocks > _BLOCKS / 2:
            self.growth.trace()
        say(
            f"soak: round {number}, {told.calls:,} calls, {len(told.wrong)} wrong, "
            f"{self.near[-1].blocks:,} blocks, {self.near[-1].resident:.0f} MB"
        )
        for wrong in (*told.wrong, *self.complaints.wrong):
            say(f"WRONG: {wrong}")

    def _report(self, bare: Figures, end: Figures, seconds: float) -> Report:
        told = self.told
        assert told is not None
        assert self.far_bare is not None
        report = Report(
            seed=self.seed,
            seconds=seconds,
            rounds=len(self.near),
            calls=told.calls,
            asides=told.asides,
            cancelled=told.cancelled,
            executions=told.executions,
            billed=told.billed,
            slowest=told.slowest,
            ends=dict(sorted(told.ends.items())),
            faults={name: count for name, count in sorted(told.faults.items()) if count},
            unmet=tuple(sorted(name for name, count in told.faults.items() if not count)),
            bare=bare,
            far_bare=self.far_bare,
            end=end,
            near=tuple(self.near),
            far=tuple(self.far),
            wrong=(*told.wrong, *self.complaints.wrong),
        )
        if not all(target.met for target in report.targets()):
            for line in self.growth.told():
                say(f"soak: {line}")
        return report


def _is_bare(bare: Figures) -> bool:
    gc.collect()
    now = figures()
    return now.tasks <= bare.tasks and now.sockets <= bare.sockets and now.files <= bare.files


def measure(
    *, minutes: float = _MINUTES, seed: int | None = None, rate: float = _RATE, share: float = 1.0
) -> Report:
    """Soak it for so long.

    :param rate: things that callers begin in a second.
    :param share: by which the usual shares of faults are multiplied.
    """
    open_files()
    map_large_blocks()
    chosen = SystemRandom().randrange(1_000_000) if seed is None else seed
    say(f"soak: seed {chosen}, {minutes:g} minutes")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = _Soak(minutes * 60, chosen, rate, share, Path(folder))
        return asyncio.run(soak.run())


def main() -> int:
    arguments = parser(
        "Mixed load with faults: does anything leak, hang, or cost what was not said?"
    )
    arguments.add_argument("--minutes", type=float, default=_MINUTES)
    arguments.add_argument("--seed", type=int, help="of all dice; any, if not given")
    arguments.add_argument("--rate", type=float, default=_RATE, help="things begun in a second")
    arguments.add_argument("--faults", type=float, default=1.0, help="times the usual share")
    options = arguments.parse_args()
    report = measure(
        minutes=options.minutes, seed=options.seed, rate=options.rate, share=options.faults
    )
    return tell({"soak": report}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
