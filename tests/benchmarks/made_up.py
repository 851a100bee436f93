"""Results that nobody measured, small and whole: of each measurement that a table or a plot is made of."""

from __future__ import annotations

from typing import Any

from benchmarks import batch, durations, files, imports, queue, slots, streaming, sweep, throughput
from benchmarks.peers import BARE, FAL_ASYNC, FAL_CLIENT, PLAIN, TYPED, UNBRAKED
from benchmarks.results import Part

_RATES = {BARE: 40.0, PLAIN: 20.0, FAL_CLIENT: 0.1, FAL_ASYNC: 22.0, TYPED: 19.0}


def _loops(in_flight: int, by: float) -> throughput.Loops:
    # Of fal-client there is one round, of the others three.
    rates = {
        peer: [rate * by * round_ for round_ in ((1.0,) if peer == FAL_CLIENT else (1.0, 1.1, 0.9))]
        for peer, rate in _RATES.items()
    }
    return throughput.Loops(
        in_flight, rates, {peer: [0.0001] * len(found) for peer, found in rates.items()}
    )


def _waves() -> throughput.Waves:
    def both(value: Any) -> dict[str, list[Any]]:
        return {PLAIN: [value, value], UNBRAKED: [value, value]}

    return throughput.Waves(
        1000,
        seconds=both(1.5),
        cpu=both(0.5),
        peak=both(1000),
        answered=both(1000),
        bytes_per_call=both(14000.0),
    )


def _run(name: str, jobs: int, requests: int) -> queue.Run:
    return queue.Run(
        name=name,
        seconds=10.0,
        jobs=jobs,
        requests=requests,
        by_operation={"submit": jobs},
        late=[0.01, 0.02, 0.03],
        cpu=0.5,
    )


def _slots(name: str, seconds: float) -> batch.Slots:
    return batch.Slots(
        name=name,
        calls=5000,
        seconds=seconds,
        possible=5000.0 * seconds / 60,
        failures=0,
        refused=10,
        received=5010,
    )


def _compared(ours: float) -> batch.Compared:
    return batch.Compared(name="a", other="b", calls=100, ours=[ours, ours], theirs=[1.0, 1.0])


def _seen(name: str) -> slots.Seen:
    looks = [(0.0, 40, 0), (1.0, 40, 40), (2.0, 10, 12), (3.0, 10, 10), (4.0, 40, 40)]
    return slots.Seen(name=name, answered=9, failed=1, received=12, refused=2, looks=looks)


def _by_peer(*peers: str, value: Any) -> dict[str, list[Any]]:
    return {peer: [value, value] for peer in peers}


REPORTS: dict[str, Any] = {
    "throughput": throughput.Report([_loops(64, 500.0), _loops(1000, 300.0)], _waves()),
    "sweep": sweep.Report(
        points=[
            sweep.Point(in_flight=count, rates={peer: [rate * count] for peer, rate in rates})
            for count, rates in ((1, _RATES.items()), (64, list(_RATES.items())[:2]))
        ]
    ),
    "slots": slots.Report(runs=[_seen(slots.OURS), _seen(slots.THEIRS)]),
    "queue": queue.Report(
        runs={
            "streams": _run("fal_async", 200, 600),
            "polls": _run("fal_async, streams refused", 200, 1800),
            "thousand": _run("fal_async", 1000, 3000),
            "fal-client, 50": _run("fal-client", 50, 5000),
            "fal-client, 200": _run("fal-client", 200, 11000),
        }
    ),
    "durations": durations.Report(
        points=[
            durations.Point(name=name, seconds=seconds, jobs=50, per_job=n, late_median=0.1)
            for seconds in (1.0, 10.0)
            for name, n in (("fal_async", 3.0), ("fal-client", 8.0 * seconds))
        ]
    ),
    "batch": batch.Report(
        [_slots("steady", 60.0), _slots("changing", 75.0)],
        _compared(1.1),
        _compared(1.3),
        batch.Memory(inputs=1_000_000, early=80.0, most=81.5),
        batch.Reopened(items=1_000_000, megabytes=700.0, seconds=0.9),
    ),
    "files": files.Report(
        1 << 30,
        *(_by_peer(*files.PEERS, value=value) for value in (0.5, 0.4, 50_000_000, 0.2)),
    ),
    "streaming": streaming.Report(
        rates={FAL_CLIENT: [2e5, 2e5], FAL_ASYNC: [8e5, 8e5], TYPED: [4e5, 4e5]},
        late=_by_peer(FAL_CLIENT, FAL_ASYNC, value=0.25),
    ),
    "imports": imports.Report(
        {
            "import aiohttp": [0.13],
            "import fal_async": [0.002],
            "from fal_async import AsyncFal": [0.18],
            "start an Emulator": [0.002],
        }
    ),
}


def part(name: str, **facts: Any) -> Part:
    """The part that a report of the table above would be kept as."""
    report = REPORTS[name]
    given = {
        "machine": "64 cores of a dream",
        "versions": {"Python": "3.11.7", "aiohttp": "3.14.5"},
        "date": "2026-01-02",
        "quick": False,
        **facts,
    }
    return Part.of(report, text=report.text(), targets=report.targets(), **given)


PARTS = {name: part(name) for name in REPORTS}
