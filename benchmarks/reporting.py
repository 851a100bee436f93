"""How what was measured is told: in words or JSON, and by the exit status whether all targets were met."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any, Protocol, cast

import attrs

from benchmarks.figures import Target, target_table
from benchmarks.machine import describe, versions

__all__ = ["Report", "parser", "say", "tell"]


class Report(Protocol):
    """All that one of the measurements has measured: an attrs class."""

    def text(self) -> str:
        """The figures, for people."""
        ...

    def targets(self) -> list[Target]:
        """What is to be reached, and what was."""
        ...


def parser(description: str) -> argparse.ArgumentParser:
    """With the options that all measurements have."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", action="store_true", help="everything measured, as JSON")
    return made


def say(text: str) -> None:
    """Tell what is being done."""
    print(text, file=sys.stderr, flush=True)


def tell(reports: Mapping[str, Report], *, as_json: bool) -> int:
    """Print it all; the exit status."""
    targets = [target for report in reports.values() for target in report.targets()]
    if as_json:
        print(json.dumps(_plain(reports, targets), indent=2))
    else:
        named = ", ".join(f"{name} {version}" for name, version in versions().items())
        texts = [report.text() for report in reports.values()]
        print("\n\n".join([f"{describe()}\n{named}", *texts, target_table(targets)]))
    return 0 if all(target.met for target in targets) else 1


def _plain(reports: Mapping[str, Report], targets: list[Target]) -> dict[str, Any]:
    return {
        "machine": describe(),
        "versions": versions(),
        **{name: attrs.asdict(cast("Any", report)) for name, report in reports.items()},
        "targets": [attrs.asdict(target) | {"met": target.met} for target in targets],
    }
