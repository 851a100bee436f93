"""``AsyncFal.map``: slot use under a limit it is not told, what it costs, memory, and the journal.

* 5,000 calls of half a second under an untold limit of 40; and the same when it falls to 10 and rises again.
  The ideal is what the limit, second by second, lets through: ``limit / (job + round trip)``.
* 100,000 calls that are answered at once, on the emulator: against a loop of as many tasks, each calling
  ``fal.run``, in turns.
* A million inputs on a bare server: how far memory grows after the first 10,000.
* The journal: the same calls at 512 in flight on a bare server with and without one, in turns; and how long
  a journal of a million items takes to open.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

import attrs

from benchmarks.emulated import INSTANT, JOB
from benchmarks.figures import Ratio, Target, ratio, table
from benchmarks.machine import cores, pin, resident_memory
from benchmarks.processes import Child, Server
from benchmarks.reporting import parser, say, tell
from fal_async import AsyncFal, Hosts
from fal_async.batch.journal.journal import Journal
from fal_async.batch.journal.records import Answer
from fal_async.errors import Billing

__all__ = ["Report", "main", "measure"]

_LIMIT: Final = 40
_FALLEN: Final = 10
_SECONDS: Final = 0.5
_CALLS: Final = 5_000
_IN_FLIGHT: Final = 64
_JOURNALED_IN_FLIGHT: Final = 512
_EARLY: Final = 10_000


def _inputs(count: int) -> Iterator[dict[str, Any]]:
    return ({"prompt": f"cat {i}"} for i in range(count))


# --- slots ------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Slots:
    """A map under a limit, steady or changing."""

    name: str
    calls: int
    seconds: float
    possible: float
    """How many calls the limit would have let through in that time."""
    failures: int
    refused: int
    received: int

    @property
    def used(self) -> float:
        return self.calls / self.possible

    def row(self) -> list[str]:
        share = f"{100 * self.refused / self.received:.2f} %"
        return [self.name, f"{self.seconds:.1f}", f"{self.used:.3f}", share, str(self.failures)]

    def targets(self) -> list[Target]:
        return [
            Target(f"{self.name}: of the ideal", self.used, least=0.97),
            Target(f"{self.name}: % refused", 100 * self.refused / self.received, most=1),
            Target(f"{self.name}: failures", self.failures, most=0),
        ]


async def _round_trip(hosts: Hosts) -> float:
    took = []
    async with AsyncFal(hosts=hosts) as fal:
        for _ in range(50):
            began = time.perf_counter()
            await fal.run(INSTANT, {"prompt": "a cat"})
            took.append(time.perf_counter() - began)
    return median(took)


def _order(emulator: Child, order: str) -> dict[str, Any]:
    emulator.write(order)
    told: dict[str, Any] = json.loads(emulator.read())
    return told


async def _slots(emulator: Child, calls: int, *, changing: bool) -> Slots:
    hosts = Hosts.local(emulator.read().strip())
    round_trip = await _round_trip(hosts)
    changes: list[tuple[float, int]] = []
    whole = calls * _SECONDS / _LIMIT

    async def change() -> None:
        for share, limit in ((0.25, _FALLEN), (0.6, _LIMIT)):
            await asyncio.sleep(began + share * whole - time.perf_counter())
            _order(emulator, f"limit {limit}")
            changes.append((time.perf_counter() - began, limit))

    failures = 0
    async with AsyncFal(hosts=hosts) as fal:  # one that has learned nothing yet
        began = time.perf_counter()
        changer = asyncio.create_task(change()) if changing else None
        async with fal.map(JOB, _inputs(calls)) as outcomes:
            async for outcome in outcomes:
                failures += not outcome.ok
        seconds = time.perf_counter() - began
        if changer is not None:
            await changer
    area, since, limit = 0.0, 0.0, _LIMIT
    for at, next_limit in changes:
        area, since, limit = area + (at - since) * limit, at, next_limit
    area += (seconds - since) * limit
    counts = _order(emulator, "counts")
    return Slots(
        name=f"{calls:,} calls, limit {'40, 10, 40' if changing else '40'}",
        calls=calls,
        seconds=seconds,
        possible=area / (_SECONDS + round_trip),
        failures=failures,
        refused=counts["refused"],
        received=counts["received"],
    )


# --- what it costs ----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Compared:
    """The same calls in two ways, in turns: seconds of each turn."""

    name: str
    other: str
    calls: int
    ours: list[float]
    theirs: list[float]

    @property
    def time_ratio(self) -> Ratio:
        return ratio(self.ours, self.theirs)

    def row(self) -> list[str]:
        return [
            self.name,
            self.other,
            f"{self.calls / sum(self.ours):,.0f}",
            f"{self.calls / sum(self.theirs):,.0f}",
            str(self.time_ratio),
        ]


async def _mapped(fal: AsyncFal, model: str, calls: int, **options: Any) -> float:
    began = time.perf_counter()
    good = 0
    async with fal.map(model, _inputs(calls), **options) as outcomes:
        async for outcome in outcomes:
            good += outcome.ok
    assert good == calls
    return time.perf_counter() - began


async def _looped(fal: AsyncFal, model: str, calls: int) -> float:
    inputs = _inputs(calls)

    async def work() -> None:
        for one in inputs:
            await fal.run(model, one)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(_IN_FLIGHT)))
    return time.perf_counter() - began


async def _against_a_loop(url: str, calls: int, turns: int = 5) -> Compared:
    hosts = Hosts.local(url)
    ours, theirs = [], []
    async with AsyncFal(hosts=hosts, limit=_IN_FLIGHT) as fal:
        await _looped(fal, INSTANT, 500)
        for turn in range(turns):
            say(f"batch: turn {turn + 1} of {turns}, map and a loop over run")
            ours.append(await _mapped(fal, INSTANT, calls // turns))
            theirs.append(await _looped(fal, INSTANT, calls // turns))
    return Compared(
        name=f"map, {_IN_FLIGHT} in flight",
        other="a loop over run",
        calls=calls,
        ours=ours,
        theirs=theirs,
    )


async def _with_a_journal(url: str, calls: int, folder: Path, turns: int = 5) -> Compared:
    ours, theirs = [], []
    async with AsyncFal(hosts=Hosts.local(url), limit=_JOURNALED_IN_FLIGHT) as fal:
        await _mapped(fal, INSTANT, 2_000)
        for turn in range(turns):
            say(f"batch: turn {turn + 1} of {turns}, with and without a journal")
            journal = folder / f"{turn}.sqlite"
            ours.append(await _mapped(fal, INSTANT, calls // turns, journal=journal))
            theirs.append(await _mapped(fal, INSTANT, calls // turns))
    return Compared(
        name=f"with a journal, {_JOURNALED_IN_FLIGHT} in flight",
        other="without",
        calls=calls,
        ours=ours,
        theirs=theirs,
    )


# --- memory -----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Memory:
    """Resident memory of a map: when 10,000 inputs were done, and at most after that. MB."""

    inputs: int
    early: float
    most: float

    def row(self) -> list[str]:
        return [f"{self.inputs:,} inputs", f"{self.early:.0f}", f"{self.most - self.early:.1f}"]


def _resident() -> float:
    return (resident_memory() or 0) / 1e6


async def _memory(url: str, inputs: int) -> Memory:
    early = most = 0.0
    done = 0
    async with (
        AsyncFal(hosts=Hosts.local(url), limit=_IN_FLIGHT) as fal,
        fal.map(INSTANT, _inputs(inputs)) as outcomes,
    ):
        async for outcome in outcomes:
            assert outcome.ok
            done += 1
            if done == _EARLY:
                early = most = _resident()
            elif done % _EARLY == 0:
                most = max(most, _resident())
    return Memory(inputs=inputs, early=early, most=most)


# --- a large journal --------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Reopened:
    """A journal of many items, opened again."""

    items: int
    megabytes: float
    seconds: float

    def row(self) -> list[str]:
        return [f"{self.items:,} items", f"{self.megabytes:,.0f}", f"{self.seconds:.2f}"]


async def _reopened(folder: Path, items: int) -> Reopened:
    path = folder / "large.sqlite"
    answer = Answer(succeeded=True, status=200, body=b"x" * 500, billing=Billing.BILLED)
    journal = await Journal.open(path, model=INSTANT, now=time.time)
    numbers = iter(range(items))

    async def work() -> None:
        for i in numbers:
            ticket, _ = await journal.claim(i.to_bytes(16, "big"), i)
            await journal.ended(ticket, answer)

    say(f"batch: a journal of {items:,} items")
    await asyncio.gather(*(work() for _ in range(2_000)))
    await journal.close()
    began = time.perf_counter()
    journal = await Journal.open(path, model=INSTANT, now=time.time)
    seconds = time.perf_counter() - began
    assert sum(journal.counts.values()) == items
    await journal.close()
    return Reopened(items=items, megabytes=path.stat().st_size / 1e6, seconds=seconds)


# --- all of it --------------------------------------------------------------------------------------


@attrs.frozen
class Report:
    """All that was measured."""

    slots: list[Slots]
    loop: Compared
    journal: Compared
    memory: Memory
    reopened: Reopened

    def targets(self) -> list[Target]:
        return [
            *(target for slots in self.slots for target in slots.targets()),
            Target("map: time of a loop over run", self.loop.time_ratio.middle, most=1.15),
            Target("journal: of the rate without", 1 / self.journal.time_ratio.middle, least=0.7),
            Target("memory: MB more after 10,000", self.memory.most - self.memory.early, most=20),
            Target("a million items: seconds to reopen", self.reopened.seconds, most=5),
        ]

    def text(self) -> str:
        parts = [
            table(
                ("map", "seconds", "of the ideal", "429s", "failed"), [s.row() for s in self.slots]
            ),
            table(
                ("calls answered at once", "against", "calls/s", "its calls/s", "time"),
                [self.loop.row(), self.journal.row()],
            ),
            table(("memory", "MB at 10,000", "MB more"), [self.memory.row()]),
            table(("journal", "MB", "seconds to open"), [self.reopened.row()]),
        ]
        return "\n\n".join(parts)


def measure(*, scale: float = 1.0) -> Report:
    """Measure all; about seven minutes.

    :param scale: of all counts, to try it out.
    """
    client, core = cores()
    pin(client)
    slots = []
    job = ["--limit", str(_LIMIT), "--seconds", str(_SECONDS)]
    for changing in (False, True):
        say(f"batch: a limit of {_LIMIT}{', changing' if changing else ''}")
        with Child("benchmarks.emulated", *job, core=core) as emulator:
            slots.append(asyncio.run(_slots(emulator, int(_CALLS * scale), changing=changing)))
    with Child("benchmarks.emulated", "--limit", "0", "--seconds", "0", core=core) as emulator:
        loop = asyncio.run(_against_a_loop(emulator.read().strip(), int(100_000 * scale)))
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARKS_DIR")) as name:
        with Server(core) as server:
            calls = int(100_000 * scale)
            journal = asyncio.run(_with_a_journal(server.url, calls, Path(name)))
            say("batch: memory")
            memory = asyncio.run(_memory(server.url, max(2 * _EARLY, int(1_000_000 * scale))))
        reopened = asyncio.run(_reopened(Path(name), int(1_000_000 * scale)))
    return Report(slots, loop, journal, memory, reopened)


def main() -> int:
    made = parser("Many calls: slots, overhead, memory and the journal.")
    made.add_argument("--scale", type=float, default=1.0, help="of all counts")
    options = made.parse_args()
    return tell({"batch": measure(scale=options.scale)}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
