"""The emulator in a process of its own, with an account limit and a model that takes its time.

Prints its URL; for every line it is given, what it has counted so far. ``limit 10`` sets the limit as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from benchmarks.machine import pin
from fal_async.emulator import Emulator, Model

__all__ = ["INSTANT", "JOB"]

JOB = "bench/job"
INSTANT = "bench/instant"


def _echo(content: Any) -> Any:
    return content


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
        while order := await asyncio.to_thread(sys.stdin.readline):
            word, _, number = order.strip().partition(" ")
            if word == "limit":
                emulator.limit = int(number)
            counts = {
                "received": emulator.received,
                "refused": emulator.refused,
                "peak": emulator.peak_in_flight,
            }
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
