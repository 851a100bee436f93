"""How fast the brake is under an account limit that nobody tells it, on the emulator.

2,000 calls of half a second, all asked for at once; the account allows 40 at a time. Once the refusals (429)
name the limit, once they do not. The ideal is ``limit / (job + round trip)`` calls per second, the round trip
being what a call of a model that does nothing takes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from statistics import median
from typing import Final

import attrs

from benchmarks.emulated import INSTANT, JOB
from benchmarks.figures import Target, table
from benchmarks.processes import Child
from benchmarks.reporting import parser, say, tell
from fal_async import AsyncFal, Hosts

__all__ = ["Report", "main", "measure"]

_CALLS: Final = 2_000
_LIMIT: Final = 40
_SECONDS: Final = 0.5


@attrs.frozen(kw_only=True)
class Run:
    """2,000 calls, one way of being refused."""

    named: bool
    calls: int
    limit: int
    job: float
    round_trip: float
    seconds: float
    failures: int
    refused: int
    received: int
    peak: int
    learned: int | None

    @property
    def ideal(self) -> float:
        """Seconds for a client that knows the limit and loses no time."""
        return self.calls * (self.job + self.round_trip) / self.limit

    @property
    def refused_share(self) -> float:
        return self.refused / self.received

    @property
    def name(self) -> str:
        return f"the 429 {'names' if self.named else 'does not name'} the limit"

    def row(self) -> list[str]:
        return [
            self.name,
            f"{self.seconds:.2f}",
            f"{self.ideal:.2f}",
            f"{self.ideal / self.seconds:.3f}",
            str(self.refused),
            f"{100 * self.refused_share:.2f} %",
            str(self.failures),
            str(self.learned),
        ]

    def targets(self) -> list[Target]:
        return [
            Target(f"{self.name}: of the ideal", self.ideal / self.seconds, least=0.97),
            Target(f"{self.name}: % refused", 100 * self.refused_share, most=1),
            Target(f"{self.name}: failures", self.failures, most=0),
        ]


@attrs.frozen
class Report:
    """All that was measured."""

    runs: list[Run]

    def targets(self) -> list[Target]:
        return [target for run in self.runs for target in run.targets()]

    def text(self) -> str:
        first = self.runs[0]
        title = f"{first.calls:,} calls of {first.job:g} s, {first.limit} at a time"
        headings = (title, "seconds", "ideal", "ratio", "429s", "of all", "failed", "learned")
        return table(headings, [run.row() for run in self.runs])


async def _round_trip(fal: AsyncFal) -> float:
    took = []
    for _ in range(50):
        began = time.perf_counter()
        await fal.run(INSTANT, {"prompt": "a cat"})
        took.append(time.perf_counter() - began)
    return median(took)


async def _run(emulator: Child, *, named: bool, calls: int) -> Run:
    hosts = Hosts.local(emulator.read().strip())
    async with AsyncFal(hosts=hosts) as fal:
        round_trip = await _round_trip(fal)
    async with AsyncFal(hosts=hosts) as fal:  # one that has learned nothing yet
        began = time.perf_counter()
        outcomes = await asyncio.gather(
            *(fal.run(JOB, {"prompt": f"cat {i}"}) for i in range(calls)), return_exceptions=True
        )
        seconds = time.perf_counter() - began
        limits = fal.limits
    emulator.write("counts")
    counts = json.loads(emulator.read())
    wrong = sum(outcome != {"prompt": f"cat {i}"} for i, outcome in enumerate(outcomes))
    return Run(
        named=named,
        calls=calls,
        limit=_LIMIT,
        job=_SECONDS,
        round_trip=round_trip,
        seconds=seconds,
        failures=wrong,
        learned=None if limits is None else limits.learned,
        **counts,
    )


def measure(*, calls: int = _CALLS, latency: float = 0.0) -> Report:
    """Measure both ways; about a minute."""
    runs = []
    for named in (True, False):
        arguments = ["--limit", str(_LIMIT), "--seconds", str(_SECONDS), "--latency", str(latency)]
        say(f"limit: {calls:,} calls, the limit {'' if named else 'not '}named")
        with Child("benchmarks.emulated", *arguments, *(["--named"] if named else [])) as emulator:
            runs.append(asyncio.run(_run(emulator, named=named, calls=calls)))
    return Report(runs)


def main() -> int:
    made = parser("The brake under a limit of 40 that it is not told.", quick=True)
    made.add_argument("--calls", type=int, default=_CALLS)
    made.add_argument("--latency", type=float, default=0.0, help="seconds added to a round trip")
    options = made.parse_args()
    calls = options.calls // 10 if options.quick else options.calls
    report = measure(calls=calls, latency=options.latency)
    return tell({"limit": report}, as_json=options.json, quick=options.quick)


if __name__ == "__main__":
    sys.exit(main())
