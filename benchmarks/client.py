"""One client under measurement, in a process of its own: takes orders on standard input, answers in JSON.

An order is a line ``round`` or ``wave`` with its numbers; see :func:`_round` and :func:`_wave`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from typing import Any, Final

from benchmarks.bodies import AT_ONCE, LATER
from benchmarks.machine import open_files, peak_memory, pin, resident_memory
from benchmarks.peers import PEERS, Call

#: Seconds for what is in flight at the end of a round; then it is cancelled.
_DRAIN: Final = 5.0


async def _round(
    call: Call, *, in_flight: int, warm: float, seconds: float, drain: bool
) -> dict[str, Any]:
    """A closed loop: ``in_flight`` tasks, each making one call after another.

    The first ``warm`` seconds open the connections and are not counted. Without ``drain`` this process
    is of no use afterwards.
    """
    done = 0
    stopped = False

    async def work() -> None:
        nonlocal done
        while not stopped:
            await call(AT_ONCE)
            done += 1

    gc.collect()
    tasks = [asyncio.create_task(work()) for _ in range(in_flight)]
    await asyncio.sleep(warm)
    before, began, spent = done, time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    calls, took, cpu = done - before, time.perf_counter() - began, time.process_time() - spent
    stopped = True
    if drain:
        _, late = await asyncio.wait(tasks, timeout=_DRAIN)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    return {"calls": calls, "seconds": took, "cpu": cpu, "failures": _failures(tasks)}


async def _wave(call: Call, *, calls: int) -> dict[str, Any]:
    """Many calls of a second each, all begun at once; what they took in time and memory."""
    await call(AT_ONCE)
    gc.collect()
    memory, began, spent = resident_memory(), time.perf_counter(), time.process_time()
    tasks = [asyncio.create_task(call(LATER)) for _ in range(calls)]
    await asyncio.wait(tasks)
    took, cpu, most = time.perf_counter() - began, time.process_time() - spent, peak_memory()
    failures = _failures(tasks)
    return {
        "calls": calls - len(failures),
        "seconds": took,
        "cpu": cpu,
        "bytes_per_call": None if memory is None or most is None else (most - memory) / calls,
        "failures": failures,
    }


def _failures(tasks: list[asyncio.Task[None]] | list[asyncio.Task[Any]]) -> list[str]:
    ended = (task for task in tasks if task.done() and not task.cancelled())
    return [f"{type(error).__name__}: {error}" for t in ended if (error := t.exception())]


async def _obey(peer: str, url: str) -> None:
    async with PEERS[peer](url) as call:
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            kind = order.pop("kind")
            result = await (_round(call, **order) if kind == "round" else _wave(call, **order))
            result["failures"] = [len(result["failures"]), *result["failures"][:1]]
            print(json.dumps(result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=list(PEERS))
    parser.add_argument("url")
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    pin(options.core)
    open_files()
    asyncio.run(_obey(options.peer, options.url))


if __name__ == "__main__":
    main()
