"""The emulator in a process of its own, with an account limit and a model that takes its time.

Prints its URL; for every line it is given, what it has counted so far. ``limit 10`` sets the limit as well;
after ``watch`` the calls in flight are looked at all the time, and each line tells what was seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any, Final

from benchmarks.machine import pin
from fal_async.emulator import Emulator, Model

__all__ = ["INSTANT", "JOB"]

JOB: Final = "bench/job"
INSTANT: Final = "bench/instant"
#: Seconds between two looks.
_LOOK: Final = 0.1


def _echo(content: Any) -> Any:
    return content


class _Watch:
    """The limit and the calls in flight, look by look."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._loop = asyncio.get_running_loop()
        self._began = time.monotonic()
        self.seen: list[tuple[float, int, int]] = []
        self._look()

    def _look(self) -> None:
        emulator, at = self._emulator, time.monotonic() - self._began
        self.seen.append((at, emulator.limit or 0, emulator.in_flight))
        self._loop.call_later(_LOOK, self._look)


async def _serve(options: argparse.Namespace) -> None:
    models = (
        Model(id=JOB, function=_echo, run_time=options.seconds),
        Model(id=INSTANT, function=_echo),
    )
    async with Emulator(
        limit=options.limit or None,
        name_limit=options.named,
        latency=options.latency,
        models=models,
    ) as emulator:
        print(emulator.url, flush=True)
        watch: _Watch | None = None
        while order := await asyncio.to_thread(sys.stdin.readline):
            word, _, number = order.strip().partition(" ")
            if word == "limit":
                emulator.limit = int(number)
            elif word == "watch":
                watch = _Watch(emulator)
            counts: dict[str, Any] = {
                "received": emulator.received,
                "refused": emulator.refused,
                "peak": emulator.peak_in_flight,
            }
            if watch is not None:
                counts["seen"] = watch.seen
            print(json.dumps(counts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, required=True, help="0 for none")
    parser.add_argument("--core", type=int, help="the core to stay on")
    parser.add_argument("--named", action="store_true")
    parser.add_argument("--seconds", type=float, required=True, help="of a job")
    parser.add_argument("--latency", type=float, default=0.0)
    options = parser.parse_args()
    pin(options.core)
    asyncio.run(_serve(options))


if __name__ == "__main__":
    main()
