"""The emulator with its queue in a process of its own, and a model that takes its time.

Prints its URL; for every line it is given, the requests it has counted by operation, and when each queued
request ended, in seconds of this machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

from benchmarks.machine import open_files, pin
from fal_async.emulator import Emulator, Model

__all__ = ["JOB"]

JOB = "bench/job"


def _echo(content: Any) -> Any:
    return content


async def _serve(options: argparse.Namespace) -> None:
    model = Model(id=JOB, function=_echo, run_time=options.seconds)
    async with Emulator(models=(model,)) as emulator:
        began = time.monotonic() - emulator.time
        if options.no_streams:
            emulator.faults.add("stream_refused", operation="status_stream")
        print(emulator.url, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            counts = {
                "requests": dict(emulator.requests),
                "ended": {
                    e.request_id: began + e.ended for e in emulator.ledger if e.ended is not None
                },
            }
            print(json.dumps(counts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True, help="of a job")
    parser.add_argument("--no-streams", action="store_true")
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    pin(options.core)
    open_files()
    asyncio.run(_serve(options))


if __name__ == "__main__":
    main()
