"""How what was measured is told: in words or JSON, and by the exit status whether all targets were met."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from benchmarks.figures import Target, target_table
from benchmarks.machine import describe, today, versions
from benchmarks.results import Part, dumped, merged, read, write

__all__ = ["STDOUT", "Report", "parser", "say", "tell"]

STDOUT = "-"


class Report(Protocol):
    """All that one of the measurements has measured: an attrs class."""

    def text(self) -> str:
        """The figures, for people."""
        ...

    def targets(self) -> list[Target]:
        """What is to be reached, and what was."""
        ...


def parser(description: str, *, quick: bool = False) -> argparse.ArgumentParser:
    """With the options that all measurements have.

    :param quick: whether there is a form of it that only shows that it works.
    """
    made = argparse.ArgumentParser(description=description)
    made.add_argument(
        "--json",
        metavar="FILE",
        nargs="?",
        const=STDOUT,
        help="everything measured, as JSON: into FILE, beside what is there of other measurements",
    )
    if quick:
        made.add_argument(
            "--quick", action="store_true", help="less of everything: to see that it works"
        )
    return made


def say(text: str) -> None:
    """Tell what is being done."""
    print(text, file=sys.stderr, flush=True)


def tell(reports: Mapping[str, Report], *, as_json: str | None, quick: bool = False) -> int:
    """Print it all, and keep it if there is a file for it; the exit status."""
    parts = {name: _part(report, quick=quick) for name, report in reports.items()}
    if as_json == STDOUT:
        print(dumped(parts), end="")
    else:
        if as_json is not None:
            write(Path(as_json), merged(read(Path(as_json)), parts))
        print(told(parts))
    return 0 if all(target.met for part in parts.values() for target in part.targets) else 1


def told(parts: Mapping[str, Part]) -> str:
    """Parts that were measured on this machine, in words."""
    named = ", ".join(f"{name} {version}" for name, version in versions().items())
    targets = [target for part in parts.values() for target in part.targets]
    texts = [part.text for part in parts.values()]
    ends = [target_table(targets)] if targets else []
    return "\n\n".join([f"{describe()}\n{named}", *texts, *ends])


def _part(report: Report, *, quick: bool) -> Part:
    return Part.of(
        report,
        text=report.text(),
        targets=report.targets(),
        machine=describe(),
        versions=versions(),
        date=today(),
        quick=quick,
    )
