"""Programs that wait for queued requests and do not clean up: ``python -m tests.support.left_waiting ...``.

Each must end in silence, with every warning an error.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from fal_async import AsyncFal
from fal_async.emulator import Model, ThreadedEmulator

KEPT: list[object] = []
MODEL = "owner/app"
Program = Callable[[ThreadedEmulator, AsyncFal], Coroutine[Any, Any, None]]
PROGRAMS: dict[str, Program] = {}


def program(function: Program) -> Program:
    PROGRAMS[function.__name__] = function
    return function


@program
async def a_run_left_in_a_task(emu: ThreadedEmulator, fal: AsyncFal) -> None:
    KEPT.append(asyncio.create_task(fal.run(MODEL, {}, durable=True)))
    await emu.until(lambda: emu.requests["status_stream"] == 1)


@program
async def polls_left_in_a_task(emu: ThreadedEmulator, fal: AsyncFal) -> None:
    emu.faults.add("stream_refused")
    KEPT.append(asyncio.create_task(fal.run(MODEL, {}, durable=True)))
    await emu.until(lambda: emu.requests["status"] == 1)


@program
async def an_iteration_left_in_the_middle(emu: ThreadedEmulator, fal: AsyncFal) -> None:
    updates = (await fal.submit(MODEL, {})).updates()
    await anext(updates)
    KEPT.append(updates)


@program
async def many_iterations_left_in_the_middle(emu: ThreadedEmulator, fal: AsyncFal) -> None:
    for _ in range(20):  # asyncio closes what is left in any order
        await an_iteration_left_in_the_middle(emu, fal)


@program
async def an_iteration_over_polls_left_in_the_middle(emu: ThreadedEmulator, fal: AsyncFal) -> None:
    emu.faults.add("stream_refused")
    await an_iteration_left_in_the_middle(emu, fal)


@program
async def an_iteration_never_begun(emu: ThreadedEmulator, fal: AsyncFal) -> None:
    KEPT.append((await fal.submit(MODEL, {})).updates())


@program
async def an_iteration_broken_off(emu: ThreadedEmulator, fal: AsyncFal) -> None:
    async for _ in (await fal.submit(MODEL, {})).updates():
        break


@program
async def an_iteration_that_outlives_its_session(emu: ThreadedEmulator, fal: AsyncFal) -> None:
    await an_iteration_left_in_the_middle(emu, fal)
    await fal.close()


async def never(_: Any) -> Any:
    await asyncio.Event().wait()


async def unclosed(program: Program, emu: ThreadedEmulator) -> None:
    fal = AsyncFal(hosts=emu.hosts)
    KEPT.append(fal)
    await program(emu, fal)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        with ThreadedEmulator(models=[Model(id=MODEL, function=never)]) as emulator:
            asyncio.run(unclosed(PROGRAMS[argument], emulator))
            KEPT.clear()
            gc.collect()
