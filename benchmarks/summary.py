"""What the results come to: the rows of the table that the README and the numbers page show. Pure.

Every figure is worked out from what was measured; no figure is written here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any, Final, TypeVar

import attrs
import cattrs

from benchmarks import batch, durations, files, imports, queue, slots, streaming, sweep, throughput
from benchmarks.figures import Target
from benchmarks.file_client import FILES
from benchmarks.peers import BARE, FAL_ASYNC, FAL_CLIENT, PLAIN, TYPED, UNBRAKED
from benchmarks.results import Part, in_order

__all__ = ["Row", "Summary"]

T = TypeVar("T")

_HEADINGS: Final = ("", "a bare socket", "plain aiohttp", "fal-client", "fal_async", "to reach")
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


@attrs.frozen
class Row:
    """One figure, of whoever has it."""

    name: str
    ours: str
    bare: str = ""
    plain: str = ""
    theirs: str = ""
    goal: str = ""

    def cells(self) -> tuple[str, ...]:
        return (self.name, self.bare, self.plain, self.theirs, f"**{self.ours}**", self.goal)


class Summary:
    """The rows of those measurements that there are results of."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = in_order(parts)

    # --- what is made of it -------------------------------------------------------------------------

    def markdown(self) -> str:
        """For the README."""
        rows = [_HEADINGS, ("---",) * len(_HEADINGS), *(row.cells() for row in self.rows())]
        lines = ["| " + " | ".join(cells).replace("  ", " ") + " |" for cells in rows]
        table = "\n".join(lines).replace("``", "`")
        told = [self.place(), table, self.elsewhere(), self.tally(), self.kills(), self.soak()]
        return "\n\n".join(filter(None, told))

    def list_table(self) -> str:
        """The same for the numbers page."""
        widths = "   :widths: 34 11 12 12 14 22"
        lines = [".. list-table::", "   :header-rows: 1", widths, ""]
        for cells in (_HEADINGS, *(row.cells() for row in self.rows())):
            lines += [
                f"   {'  ' if place else '* '}- {cell}".rstrip() for place, cell in enumerate(cells)
            ]
        return "\n".join([self.place(), "", *lines, ""])

    def targets(self) -> str:
        """All that was to be reached, as a table for the numbers page."""
        lines = [".. list-table::", "   :header-rows: 1", ""]
        rows = [("to reach", "", "reached", "met")]
        rows += [
            (target.name, _bound(target), target.shown, "yes" if target.met else "**no**")
            for target in self._targets()
        ]
        for cells in rows:
            lines += [
                f"   {'  ' if place else '* '}- {cell}".rstrip() for place, cell in enumerate(cells)
            ]
        return "\n".join([self.tally(), "", *lines, ""])

    def tally(self) -> str:
        """How many targets were met, and which were not."""
        targets = self._targets()
        missed = [target for target in targets if not target.met]
        if not missed:
            return f"All {len(targets)} targets were met."
        named = "; ".join(f"{t.name}: {t.shown}, asked {_bound(t)}" for t in missed)
        return f"Of {len(targets)} targets {len(targets) - len(missed)} were met. Missed: {named}."

    def place(self, part: Part | None = None) -> str:
        """Where, when and with what it was measured; without a part: most of them."""
        if part is None:
            places = Counter(map(self.place, self._parts.values()))
            return places.most_common(1)[0][0] if places else "Nothing was measured."
        named = ", ".join(f"{name} {version}" for name, version in part.versions.items())
        note = (
            " Measured in the quick form, which only shows that it works: these figures say little."
            if part.quick
            else ""
        )
        return f"{part.machine}; {named}; {part.date}.{note}"

    def plotted(self) -> tuple[sweep.Report, slots.Report, durations.Report] | None:
        """What plots are made of; None, where some of it was not measured."""
        found = (
            self._report("sweep", sweep.Report),
            self._report("slots", slots.Report),
            self._report("durations", durations.Report),
        )
        return None if None in found else found  # type: ignore[return-value]

    def kills(self) -> str:
        """What became of batches that were killed."""
        part = self._parts.get("kill")
        if part is None:
            return ""
        modes = part.measured["modes"]
        kills, inputs = (sum(mode[name] for mode in modes) for name in ("kills", "inputs"))
        wrong = sum(len(mode["wrong"]) for mode in modes)
        end = (
            "every input ended with one result, or was reported as in doubt where that was asked for, and "
            "nothing was billed twice but what was told to be sent again."
            if not wrong
            else f"{wrong} things were wrong."
        )
        return (
            f"Batches of {inputs:,} inputs in all were killed {kills:,} times at random instants, in "
            f"{len(modes)} modes, and run again ({part.date}): {end}"
        )

    def soak(self) -> str:
        """What became of a long mixed load with faults."""
        part = self._parts.get("soak")
        if part is None:
            return ""
        found = part.measured
        faults = sum(found["faults"].values())
        missed = [target.name for target in part.targets if not target.met]
        end = (
            f"not as it should be: {'; '.join(missed)}."
            if missed
            else "client and ledger agree on every one, and nothing was left behind."
        )
        return (
            f"{found['seconds'] / 60:.0f} minutes of mixed load, {found['calls']:,} calls among "
            f"{faults:,} faults ({part.date}): {end}"
        )

    def elsewhere(self) -> str:
        """The throughput on other versions of Python, where that was measured, too."""
        told = []
        for name, part in self._parts.items():
            if name.startswith("throughput-"):
                report = cattrs.structure(part.measured, throughput.Report)
                shares = (
                    f"{loops.of(PLAIN, FAL_ASYNC)} of plain aiohttp and {loops.of(BARE, FAL_ASYNC)} of a "
                    f"bare socket at {loops.in_flight:,} in flight"
                    for loops in report.loops
                )
                told.append(f"On Python {part.versions['Python']}: {', '.join(shares)}.")
        return " ".join(told)

    # --- rows ---------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """All of them, in order."""
        makers: tuple[tuple[str, Any, Callable[..., Iterator[Row]]], ...] = (
            ("throughput", throughput.Report, self._calls),
            ("queue", queue.Report, self._queued),
            ("batch", batch.Report, self._batches),
            ("files", files.Report, self._files),
            ("streaming", streaming.Report, self._streams),
            ("imports", imports.Report, self._imports),
        )
        found = [(make, self._report(name, kind)) for name, kind, make in makers]
        return [row for make, report in found if report is not None for row in make(report)]

    def _calls(self, report: throughput.Report) -> Iterator[Row]:
        for loops in report.loops:
            rates = {peer: f"{median(found):,.0f}" for peer, found in loops.rates.items()}
            where = f"{loops.in_flight:,} in flight"
            yield Row(
                f"calls a second, {where}",
                rates[FAL_ASYNC],
                bare=rates[BARE],
                plain=rates[PLAIN],
                theirs=rates[FAL_CLIENT],
                goal=self._goal("throughput", f"{where}: of plain aiohttp", "of plain aiohttp"),
            )
            name = f"{where}: of plain aiohttp, result_type"
            goal = self._goal("throughput", name, "of plain aiohttp")
            yield Row("the same, structured into ``ImageOutput``", rates[TYPED], goal=goal)
        waves = report.waves
        yield Row(
            f"{waves.calls:,} calls of one second, all at once",
            f"{median(waves.seconds[UNBRAKED]):.1f} s",
            plain=f"{median(waves.seconds[PLAIN]):.1f} s",
            goal=self._goal("throughput", "plain aiohttp's time", "of plain aiohttp's time"),
        )

    def _queued(self, report: queue.Report) -> Iterator[Row]:
        ours, theirs = report.runs["streams"], report.runs["fal-client, 50"]
        yield Row(
            f"requests for a queued job of {ours.seconds:g} s, "
            f"{theirs.jobs} (fal-client) or {ours.jobs} jobs",
            f"{ours.per_job:.1f}",
            theirs=f"{theirs.per_job:.0f}",
            goal=self._goal("queue", "requests a job, 200 jobs"),
        )
        yield Row(
            "its end noticed late by, median",
            f"{1000 * ours.late_median:.0f} ms",
            theirs=f"{1000 * theirs.late_median:,.0f} ms",
            goal=self._goal("queue", "noticed late, median, ms"),
        )

    def _batches(self, report: batch.Report) -> Iterator[Row]:
        steady, changing = report.slots
        for run, name in (
            (steady, f"{steady.calls:,} half-second calls of ``map`` under an untold limit of 40"),
            (changing, "the same while the limit falls to 10 and rises again"),
        ):
            goal = self._goal("batch", f"{run.name}: of the ideal")
            yield Row(f"{name}, part of the ideal", f"{run.used:.3f}", goal=goal)
        yield Row(
            "instant calls of ``map``, time of a loop over ``run``",
            f"{report.loop.time_ratio.middle:.2f}",
            goal=self._goal("batch", "map: time of a loop over run"),
        )
        rate = 1 / report.journal.time_ratio.middle
        yield Row(
            "the same with a journal, 512 in flight, part of the rate without",
            f"{rate:.2f}",
            goal=self._goal("batch", "journal: of the rate without"),
        )
        more = report.memory.most - report.memory.early
        yield Row(
            f"memory for {report.memory.inputs:,} inputs of ``map`` beyond that for 10,000",
            f"{more:.1f} MB",
            goal=self._goal("batch", "memory: MB more after 10,000"),
        )
        yield Row(
            f"a journal of {report.reopened.items:,} items opens in",
            f"{report.reopened.seconds:.1f} s",
            goal=self._goal("batch", "a million items: seconds to reopen"),
        )

    def _files(self, report: files.Report) -> Iterator[Row]:
        def large(peer: str) -> str:
            seconds, peak = median(report.large[peer]), max(report.peak[peer])
            return f"{seconds:.2f} s, {peak / _MIB:,.0f} MiB"

        def small(peer: str) -> str:
            return f"{median(report.small[peer]):.2f} s"

        yield Row(
            f"{report.size / _GIB:g} GiB up",
            large(files.OURS),
            plain=large(files.PLAIN),
            theirs=large(files.OFFICIAL),
            goal=self._goal("files", "1 GiB up, time ours / fal-client", "of fal-client's time"),
        )
        goal = self._goal("files", "time fal-client / ours", "times as fast as fal-client")
        yield Row(
            f"{FILES} files of 20 KB up at once",
            small(files.OURS),
            plain=small(files.PLAIN),
            theirs=small(files.OFFICIAL),
            goal=goal,
        )

    def _streams(self, report: streaming.Report) -> Iterator[Row]:
        goal = self._goal("streaming", "events a second, by fal-client's", "times fal-client's")
        yield Row(
            "events a second of a fast stream",
            f"{median(report.rates[FAL_ASYNC]):,.0f}",
            theirs=f"{median(report.rates[FAL_CLIENT]):,.0f}",
            goal=goal,
        )
        yield Row(
            "an event is passed on in, median",
            f"{median(report.late[FAL_ASYNC]):.2f} ms",
            theirs=f"{median(report.late[FAL_CLIENT]):.2f} ms",
            goal=self._goal("streaming", "an event is passed on, median ms"),
        )

    def _imports(self, report: imports.Report) -> Iterator[Row]:
        yield Row(
            "importing ``AsyncFal`` takes beyond importing aiohttp",
            f"{report.more():.0f} ms",
            goal=self._goal("imports", "ms more than import aiohttp"),
        )

    # --- parts --------------------------------------------------------------------------------------

    def _report(self, name: str, kind: type[T]) -> T | None:
        part = self._parts.get(name)
        return None if part is None else cattrs.structure(part.measured, kind)

    def _targets(self) -> list[Target]:
        return [
            attrs.evolve(target, name=f"{_before(name, part)}{target.name}")
            for name, part in self._parts.items()
            for target in part.targets
        ]

    def _goal(self, part: str, name: str, of: str = "") -> str:
        """What was asked for, by how the target's name ends, and whether it was reached."""
        (target,) = (t for t in self._parts[part].targets if t.name.endswith(name))
        reached = f"{target.shown} {of} ".lstrip() if of else ""
        asked = f"({_bound(target)})" if of else _bound(target)
        return f"{reached}{asked}{'' if target.met else ', **missed**'}"


def _before(name: str, part: Part) -> str:
    """What stands before the targets of a measurement that was repeated on another Python."""
    return f"Python {part.versions['Python']}, " if "-" in name else ""


def _bound(target: Target) -> str:
    return target.wanted.replace(">=", "≥").replace("<=", "≤")
