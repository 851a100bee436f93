"""Requests for each queued job, by how long the job takes: by its stream, polled by us, polled by fal-client.

Fifty jobs at once of each length, the emulator in a process and on a core of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import attrs

from benchmarks.figures import Target, table
from benchmarks.machine import open_files
from benchmarks.queue import OURS, THEIRS, Run, waited_for
from benchmarks.reporting import parser, tell

__all__ = ["Report", "main", "measure"]

_JOBS: Final = 50
_SECONDS: Final = (1.0, 3.0, 10.0, 20.0)
_REFUSED: Final = f"{OURS}, streams refused"


@attrs.frozen(kw_only=True)
class Point:
    """Jobs of one length, waited for in one way."""

    name: str
    seconds: float
    jobs: int
    per_job: float
    late_median: float

    @classmethod
    def of(cls, run: Run) -> Point:
        return cls(
            name=run.name,
            seconds=run.seconds,
            jobs=run.jobs,
            per_job=run.per_job,
            late_median=run.late_median,
        )


@attrs.frozen(kw_only=True)
class Report:
    """All lengths in all ways."""

    points: list[Point]

    def text(self) -> str:
        lengths = sorted({point.seconds for point in self.points})
        headings = (
            f"requests a job, {self.points[0].jobs} jobs",
            *(f"{seconds:g} s" for seconds in lengths),
        )
        rows = [
            [name, *(f"{by_length[seconds]:.1f}" for seconds in lengths)]
            for name, by_length in self.by_name().items()
        ]
        return table(headings, rows)

    def by_name(self) -> dict[str, dict[float, float]]:
        """Requests a job by length, of each way."""
        names = dict.fromkeys(point.name for point in self.points)
        return {
            name: {p.seconds: p.per_job for p in self.points if p.name == name} for name in names
        }

    def targets(self) -> list[Target]:
        return []


def measure(*, jobs: int = _JOBS, lengths: Sequence[float] = _SECONDS) -> Report:
    """Each length in each way; about two minutes."""
    open_files()
    points = []
    for seconds in lengths:
        points += [
            Point.of(waited_for(OURS, OURS, jobs, seconds=seconds)),
            Point.of(waited_for(_REFUSED, OURS, jobs, seconds=seconds, streams=False)),
            Point.of(waited_for(THEIRS, THEIRS, jobs, seconds=seconds)),
        ]
    return Report(points=points)


def main() -> int:
    options = parser("Requests for each queued job, by its length.", quick=True).parse_args()
    report = measure(jobs=10, lengths=(0.5, 1.0, 2.0)) if options.quick else measure()
    return tell({"durations": report}, as_json=options.json, quick=options.quick)


if __name__ == "__main__":
    sys.exit(main())
