"""What waiting for queued requests costs: requests per job, and how late the end of a job is noticed.

Jobs of ten seconds, all submitted at once and waited for by one session; the emulator is in a process and on
a core of its own. Once with fal's status streams, once with streams refused, once a thousand at a time, and
fal-client beside it, which polls. The end of a job is the emulator's own note of it.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any, Final

import attrs

from benchmarks.emulated_queue import JOB
from benchmarks.figures import Target, table
from benchmarks.machine import cores, open_files, pin
from benchmarks.processes import Child
from benchmarks.reporting import parser, say, tell

__all__ = ["OURS", "THEIRS", "Report", "Run", "main", "measure", "waited_for"]

_SECONDS: Final = 10.0
_KEY: Final = "bench:key"
OURS: Final = "fal_async"
THEIRS: Final = "fal-client"

#: Notes that a request's end was seen, at the time it is called.
Noted = Callable[[str], None]
Waiter = Callable[[str, int, Noted], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Run:
    """One way of waiting for so many jobs at once."""

    name: str
    seconds: float
    jobs: int
    requests: int
    by_operation: dict[str, int]
    late: list[float] = attrs.field(repr=False)
    cpu: float

    @property
    def per_job(self) -> float:
        return self.requests / self.jobs

    @property
    def late_median(self) -> float:
        return median(self.late)

    @property
    def late_most(self) -> float:
        """The 99th percentile."""
        return quantiles(self.late, n=100)[98]

    def row(self) -> list[str]:
        return [
            self.name,
            f"{self.jobs:,}",
            f"{self.per_job:.1f}",
            f"{self.late_median * 1000:,.0f} ms",
            f"{self.late_most * 1000:,.0f} ms",
            f"{self.cpu:.1f} s",
        ]


@attrs.frozen(kw_only=True)
class Report:
    """All ways of waiting, side by side."""

    runs: dict[str, Run]

    def targets(self) -> list[Target]:
        streamed, polled = self.runs["streams"], self.runs["polls"]
        thousand = self.runs["thousand"]
        return [
            Target("requests a job, 200 jobs", streamed.per_job, most=4),
            Target("noticed late, median, ms", streamed.late_median * 1000, most=50),
            Target("noticed late, 99th percentile, ms", streamed.late_most * 1000, most=250),
            Target("jobs followed at once by one session", thousand.jobs, least=1000),
            Target("requests a job, streams refused", polled.per_job, most=10),
            Target(
                "noticed late, median, streams refused, ms", polled.late_median * 1000, most=500
            ),
        ]

    def text(self) -> str:
        headings = (
            f"jobs of {self.runs['streams'].seconds:g} s",
            "jobs",
            "requests a job",
            "noticed late, median",
            "99 %",
            "CPU of the client",
        )
        return table(headings, [run.row() for run in self.runs.values()])


async def _ours(url: str, jobs: int, noted: Noted) -> None:
    from fal_async import AsyncFal, Completed, Hosts

    def update(status: Any) -> None:
        if isinstance(status, Completed):
            noted(status.request_id)

    async with AsyncFal(_KEY, hosts=Hosts.local(url)) as fal, asyncio.TaskGroup() as group:
        for number in range(jobs):
            group.create_task(fal.subscribe(JOB, {"n": number}, on_update=update))


async def _theirs(url: str, jobs: int, noted: Noted) -> None:
    """The official client's ``subscribe``; it speaks https only, so its constant is replaced from outside."""
    import fal_client
    from fal_client import client as module

    module.QUEUE_URL_FORMAT = f"{url}/queue.fal.run/"
    client = fal_client.AsyncClient(key=_KEY)

    async def one(number: int) -> None:
        ids: list[str] = []
        await client.subscribe(JOB, {"n": number}, on_enqueue=ids.append)
        noted(ids[0])

    await asyncio.gather(*(one(number) for number in range(jobs)))


_WAITERS: Final[dict[str, Waiter]] = {OURS: _ours, THEIRS: _theirs}


def waited_for(
    name: str, waiter: str, jobs: int, *, seconds: float = _SECONDS, streams: bool = True
) -> Run:
    """So many jobs of that length, submitted at once and waited for."""
    ours, theirs = cores()
    say(f"queue: {jobs:,} jobs of {seconds:g} s, {name}")
    pinned = [] if theirs is None else ["--core", str(theirs)]
    arguments = ["--seconds", str(seconds), *([] if streams else ["--no-streams"]), *pinned]
    with Child("benchmarks.emulated_queue", *arguments) as child:
        url = child.read().strip()
        with _on(ours):
            seen: dict[str, float] = {}
            cpu = time.process_time()
            asyncio.run(_wait(waiter, url, jobs, seen))
            used = time.process_time() - cpu
        child.write("")
        counts = json.loads(child.read())
    return Run(
        name=name,
        seconds=seconds,
        jobs=jobs,
        requests=sum(counts["requests"].values()),
        by_operation=counts["requests"],
        late=[seen[request] - ended for request, ended in counts["ended"].items()],
        cpu=used,
    )


@contextmanager
def _on(core: int | None) -> Iterator[None]:
    """Keep this process on one core, for as long as it measures itself."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def _wait(waiter: str, url: str, jobs: int, seen: dict[str, float]) -> None:
    async with asyncio.timeout(120):
        await _WAITERS[waiter](url, jobs, lambda request: seen.update({request: time.monotonic()}))


def measure(*, quick: bool = False) -> Report:
    """All ways of waiting, one after the other; about a minute and a half."""
    open_files()
    seconds, by = (2.0, 10) if quick else (_SECONDS, 1)

    def run(name: str, waiter: str, jobs: int, *, streams: bool = True) -> Run:
        return waited_for(name, waiter, jobs // by, seconds=seconds, streams=streams)

    return Report(
        runs={
            "streams": run(OURS, OURS, 200),
            "polls": run(f"{OURS}, streams refused", OURS, 200, streams=False),
            "thousand": run(OURS, OURS, 1000),
            "fal-client, 50": run(THEIRS, THEIRS, 50),
            "fal-client, 200": run(THEIRS, THEIRS, 200),
        }
    )


def main() -> int:
    options = parser("What waiting for queued requests costs.", quick=True).parse_args()
    report = measure(quick=options.quick)
    return tell({"queue": report}, as_json=options.json, quick=options.quick)


if __name__ == "__main__":
    sys.exit(main())
