"""What ``import fal_async`` takes, beside ``import aiohttp``: fresh interpreters, turn by turn."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from statistics import median
from typing import Final

import attrs

from benchmarks.figures import TARGET_HEADINGS, Target, table

__all__ = ["Report", "main", "measure"]

_MODULES: Final = ("aiohttp", "fal_async")
_CODE: Final = """
import time
began = time.perf_counter()
import {}
print(time.perf_counter() - began)
"""


@attrs.frozen
class Report:
    """Seconds of each import."""

    seconds: dict[str, list[float]]

    def more(self) -> float:
        """Milliseconds that ours takes longer, the median of the pairs."""
        theirs, ours = (self.seconds[module] for module in _MODULES)
        return 1000 * median(mine - other for mine, other in zip(ours, theirs, strict=True))

    def targets(self) -> list[Target]:
        return [Target("import fal_async: ms more than import aiohttp", self.more(), most=60)]

    def text(self) -> str:
        rows = [
            [
                f"import {module}",
                *(f"{1000 * t:.0f}" for t in (median(times), min(times), max(times))),
            ]
            for module, times in self.seconds.items()
        ]
        return "\n\n".join(
            (
                table(("milliseconds", "median", "least", "most"), rows),
                table(TARGET_HEADINGS, [target.row() for target in self.targets()]),
            )
        )


def _import(module: str) -> float:
    run = [sys.executable, "-c", _CODE.format(module)]
    return float(subprocess.run(run, check=True, capture_output=True, text=True).stdout)


def measure(*, rounds: int = 21) -> Report:
    """Import each that many times; about ten seconds."""
    print(f"imports: {rounds} rounds", file=sys.stderr)
    seconds: dict[str, list[float]] = {module: [] for module in _MODULES}
    for number in range(rounds + 1):
        for module in _MODULES:
            took = _import(module)
            if number:  # the first one reads the files and compiles
                seconds[module].append(took)
    return Report(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description="The time that importing takes.")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--json", action="store_true", help="everything measured, as JSON")
    options = parser.parse_args()
    report = measure(rounds=options.rounds)
    if options.json:
        targets = [attrs.asdict(target) | {"met": target.met} for target in report.targets()]
        print(json.dumps(attrs.asdict(report) | {"targets": targets}, indent=2))
    else:
        print(report.text())
    return 0 if all(target.met for target in report.targets()) else 1


if __name__ == "__main__":
    sys.exit(main())
