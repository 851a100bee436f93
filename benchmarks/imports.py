"""What importing takes, and starting an emulator: fresh interpreters, turn by turn."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from typing import Final

import attrs

from benchmarks.figures import Target, table
from benchmarks.reporting import parser, say, tell

__all__ = ["Report", "main", "measure"]

_AIOHTTP: Final = "import aiohttp"
_PACKAGE: Final = "import fal_async"
_CLIENT: Final = "from fal_async import AsyncFal"
_START: Final = "start an Emulator"
_STATEMENTS: Final = (_AIOHTTP, _PACKAGE, _CLIENT, _START)
_CODE: Final = """
import time
began = time.perf_counter()
{}
print(time.perf_counter() - began)
"""
_STARTED: Final = """
import time
from fal_async.emulator import ThreadedEmulator
began = time.perf_counter()
with ThreadedEmulator():
    print(time.perf_counter() - began)
"""


@attrs.frozen
class Report:
    """Seconds of each statement."""

    seconds: dict[str, list[float]]

    def more(self) -> float:
        """Milliseconds that ours takes longer, the median of the pairs."""
        theirs, ours = self.seconds[_AIOHTTP], self.seconds[_CLIENT]
        return 1000 * median(mine - other for mine, other in zip(ours, theirs, strict=True))

    def targets(self) -> list[Target]:
        package = 1000 * median(self.seconds[_PACKAGE])
        start = 1000 * median(self.seconds[_START])
        return [
            Target(f"{_CLIENT}: ms more than import aiohttp", self.more(), most=60),
            Target(f"{_PACKAGE}: ms, the lazy package alone", package, most=10),
            Target(f"{_START}: ms after its import", start, most=50),
        ]

    def text(self) -> str:
        rows = [
            [
                statement,
                *(f"{1000 * t:.0f}" for t in (median(times), min(times), max(times))),
            ]
            for statement, times in self.seconds.items()
        ]
        return table(("milliseconds", "median", "least", "most"), rows)


def _import(statement: str) -> float:
    program = _STARTED if statement == _START else _CODE.format(statement)
    run = [sys.executable, "-c", program]
    # Compiled files are kept, as they are of what pip has installed.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(run, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout)


def measure(*, rounds: int = 21) -> Report:
    """Import each that many times; about ten seconds."""
    say(f"imports: {rounds} rounds")
    seconds: dict[str, list[float]] = {statement: [] for statement in _STATEMENTS}
    for number in range(rounds + 1):
        for statement in _STATEMENTS:
            took = _import(statement)
            if number:  # the first one reads the files and compiles
                seconds[statement].append(took)
    return Report(seconds)


def main() -> int:
    options = parser("The time that importing takes.", quick=True).parse_args()
    report = measure(rounds=3) if options.quick else measure()
    return tell({"imports": report}, as_json=options.json, quick=options.quick)


if __name__ == "__main__":
    sys.exit(main())
