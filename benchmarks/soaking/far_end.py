"""The far end: an emulator in a process of its own that misbehaves, and tells what it has done.

Orders and answers are lines of JSON: ``round`` begins anew with other models, rules and limits; ``limit``
changes the account's; ``settle`` waits until all has ended, and tells it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from random import Random
from typing import Any, Final

import attrs

from benchmarks.machine import open_files
from benchmarks.soaking.agreeing import Execution
from benchmarks.soaking.complaints import Complaints
from benchmarks.soaking.leaks import map_large_blocks, settled_figures
from benchmarks.soaking.mishaps import mishaps
from benchmarks.soaking.models import Notes, models
from fal_async.emulator import Emulator
from fal_async.emulator.queueing.requeueing import RequeueSettings

__all__: list[str] = []

_REQUEUE: Final = RequeueSettings(attempts=4, pause=0.02, longest_pause=0.1)
#: How long calls that nobody waits for any more may go on.
_PATIENCE: Final = 60.0
_HOT: Final = "soak/hot"


class _FarEnd:
    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._notes = Notes()
        self._complaints = Complaints("far end: ")
        self._idle_tasks = 0

    async def round(self, *, seed: int, limit: int | None, share: float) -> dict[str, Any]:
        """Begin anew, and say what this process holds when nothing has happened yet."""
        chance = Random(seed)
        notes = self._notes = Notes()
        made = models(notes, chance, self._stored)
        await self._emulator.reset(
            seed=seed, limit=limit, models=made, faults=tuple(mishaps(share)), requeue=_REQUEUE
        )
        self._idle_tasks = self._idle_tasks or len(asyncio.all_tasks())
        held = await settled_figures(lambda: len(asyncio.all_tasks()) <= self._idle_tasks)
        return attrs.asdict(held)

    def _stored(self, url: str) -> bytes | None:
        try:
            return self._emulator.storage[url].data
        except KeyError:
            return None

    async def limit(self, *, limit: int | None, hot: int | None) -> None:
        self._emulator.limit = limit
        self._emulator.model_limit(_HOT, hot)

    async def settle(self) -> dict[str, Any]:
        """Wait for the end of all that goes on, and tell what has happened."""
        emulator = self._emulator
        emulator.limit = None
        emulator.model_limit(_HOT, None)
        until = time.monotonic() + _PATIENCE
        while self._goes_on() and time.monotonic() < until:  # noqa: ASYNC110 - see below
            await asyncio.sleep(0.05)  # of streams and sockets nobody is told
        if self._goes_on():
            self._complaints.hear(f"{emulator.in_flight} calls do not end; {emulator.queue!r}")
        ledger, markers = list(emulator.ledger), self._notes.markers
        if len(ledger) != len(markers):
            self._complaints.hear(f"{len(ledger)} executions, {len(markers)} markers")
        fired: Counter[str] = Counter()
        for rule in emulator.faults:
            fired[f"{rule.operation} {rule.kind}"] += emulator.faults.fired(rule)
        heard, self._complaints.wrong = self._complaints.wrong, []
        return {
            "executions": [
                attrs.asdict(
                    Execution(
                        marker=marker,
                        request_id=found.request_id,
                        model=found.model,
                        started=found.started,
                        ended=found.ended,
                        status=found.status,
                        billed=found.billed,
                        fault=found.fault,
                        attempt=found.attempt,
                    )
                )
                for found, marker in zip(ledger, markers, strict=False)
            ],
            "faults": dict(fired),
            "requests": emulator.requests.total(),
            "wrong": [*heard, *self._notes.wrong],
        }

    def _goes_on(self) -> bool:
        emulator = self._emulator
        ended = all(job.ended is not None for job in emulator.queue)
        return bool(emulator.in_flight or emulator.ledger.running() or not ended)


async def _serve() -> None:
    async with Emulator(latency=0.002) as emulator:
        end = _FarEnd(emulator)
        print(emulator.url, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            told = await getattr(end, order.pop("do"))(**order)
            print(json.dumps(told), flush=True)


def main() -> None:
    open_files()
    map_large_blocks()
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
