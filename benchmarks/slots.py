"""Slots in use while the account's limit falls and rises again, as the emulator sees them moment by moment.

Calls of half a second without end: ``AsyncFal.map``, which is told no limit, and beside it what one writes
with fal-client, forty at a time, which is the limit at the beginning. (fal-client tries a refused call again
after 0.1 s, 0.2 s, 0.4 s …, ten times.) How close the brake comes to the ideal is measured by
``benchmarks.batch``; this shows where the rest goes.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import attrs

from benchmarks.emulated import JOB
from benchmarks.figures import Target, table
from benchmarks.machine import cores
from benchmarks.processes import Child
from benchmarks.reporting import parser, say, tell
from fal_async import AsyncFal, Hosts

__all__ = ["OURS", "THEIRS", "Report", "Seen", "main", "measure"]

OURS: Final = "fal_async, told no limit"
THEIRS: Final = "fal-client, 40 at a time"
_SECONDS: Final = 0.5
_HIGH: Final = 40
_LOW: Final = 10
#: Seconds of the high limit, the low one, and the high one again.
_PHASES: Final = (10.0, 8.0, 14.0)


@attrs.frozen(kw_only=True)
class Seen:
    """One client under the changing limit.

    :ivar looks: seconds since the beginning, the limit then, and the calls in flight within it.
    """

    name: str
    answered: int
    failed: int
    received: int
    refused: int
    looks: list[tuple[float, int, int]]

    @property
    def used(self) -> float:
        """Of all slots there were."""
        there = used = 0.0
        for (at, limit, in_flight), (until, _, _) in itertools.pairwise(self.looks):
            there += (until - at) * limit
            used += (until - at) * min(limit, in_flight)
        return used / there

    def row(self) -> list[str]:
        refused = 100 * self.refused / self.received
        return [
            self.name,
            f"{self.used:.2f}",
            f"{self.answered:,}",
            f"{self.failed:,}",
            f"{refused:.1f} %",
        ]


@attrs.frozen(kw_only=True)
class Report:
    """Both clients."""

    runs: list[Seen]

    def text(self) -> str:
        headings = (
            f"limit {_HIGH}, {_LOW}, {_HIGH}",
            "slots in use",
            "answered",
            "failed",
            "refused (429)",
        )
        return table(headings, [run.row() for run in self.runs])

    def targets(self) -> list[Target]:
        return []


async def _mapped(url: str, answered: list[bool]) -> None:
    inputs = ({"n": n} for n in itertools.count())
    async with AsyncFal(hosts=Hosts.local(url)) as fal, fal.map(JOB, inputs) as outcomes:
        async for outcome in outcomes:
            answered.append(outcome.ok)  # noqa: PERF401 - of what has no end, as far as it comes


async def _gathered(url: str, answered: list[bool]) -> None:
    """The official client. It speaks https only, so its constant is replaced from outside."""
    import fal_client
    from fal_client import client as module

    module.RUN_URL_FORMAT = f"{url}/fal.run/"
    client = fal_client.AsyncClient(key="bench:key")

    async def work() -> None:
        while True:
            try:
                await client.run(JOB, {"n": 0})
            except fal_client.FalClientHTTPError:
                answered.append(False)
            else:
                answered.append(True)

    await asyncio.gather(*(work() for _ in range(_HIGH)))


_WORK: Final = {OURS: _mapped, THEIRS: _gathered}


async def _watched(name: str, emulator: Child, phases: Sequence[float]) -> Seen:
    def tell_it(order: str) -> dict[str, Any]:
        emulator.write(order)
        counted: dict[str, Any] = json.loads(emulator.read())
        return counted

    url, answered = emulator.read().strip(), list[bool]()
    tell_it("watch")
    working = asyncio.create_task(_WORK[name](url, answered))
    for limit, seconds in zip((_HIGH, _LOW, _HIGH), phases, strict=True):
        tell_it(f"limit {limit}")
        await asyncio.wait([working], timeout=seconds)  # it has no end
    counts = tell_it("counts")
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    return Seen(
        name=name,
        answered=sum(answered),
        failed=len(answered) - sum(answered),
        received=counts["received"],
        refused=counts["refused"],
        looks=[(at, limit, in_flight) for at, limit, in_flight in counts["seen"]],
    )


def measure(*, phases: Sequence[float] = _PHASES) -> Report:
    """Both, one after the other; about a minute."""
    runs = []
    for name in _WORK:
        say(f"slots: {name}")
        job = ["--limit", str(_HIGH), "--seconds", str(_SECONDS)]
        with Child("benchmarks.emulated", *job, core=cores()[1]) as emulator:
            runs.append(asyncio.run(_watched(name, emulator, phases)))
    return Report(runs=runs)


def main() -> int:
    options = parser("Slots in use while the limit changes.", quick=True).parse_args()
    report = measure(phases=(3.0, 2.0, 4.0)) if options.quick else measure()
    return tell({"slots": report}, as_json=options.json, quick=options.quick)


if __name__ == "__main__":
    sys.exit(main())
