"""What was paid for outlives the process that waited for it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fal_async import AsyncFal
from fal_async.emulator import Call, Emulator, Model
from tests.architecture.sources import CHECKOUT

MODEL = "owner/app/path"
OUTPUT = {"answer": 42}


@asynccontextmanager
async def waiting_client(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = (sys.executable, "-W", "error", "-m", "tests.support.waiting_client", url, MODEL)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=CHECKOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await process.wait()


class Gate:
    """A model that works until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, _: Any, call: Call) -> Any:
        await self.go.wait()
        return OUTPUT


@pytest.mark.parametrize("streams", [True, False], ids=["streams", "polls"])
async def test_a_client_killed_while_it_waits_has_its_result_collected_by_another(
    streams: bool,
) -> None:
    gate = Gate()
    async with Emulator(models=[Model(id=MODEL, function=gate)]) as emu:
        if not streams:
            emu.faults.add("stream_refused")
        async with waiting_client(emu.url) as process:
            assert process.stdout is not None
            told = json.loads(await process.stdout.readline())
            await emu.until(lambda: emu.requests["status_stream" if streams else "status"] >= 1)
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
        # It could send no cancel, and nothing was lost.
        assert emu.requests["cancel"] == 0
        gate.go.set()
        async with AsyncFal(hosts=emu.hosts) as fal:
            assert await fal.handle(told).result() == OUTPUT
        assert emu.ledger.billed() == len(emu.ledger) == 1
    assert set(told) == {"model", "request_id", "status_url", "response_url", "cancel_url"}


async def test_a_client_interrupted_while_it_waits_cancels_its_request() -> None:
    """Ctrl-C: asyncio cancels the main task, and the cancel is sent before the process ends."""
    gate = Gate()
    model = Model(id=MODEL, function=gate, cancellable=True)
    async with Emulator(models=[model]) as emu, waiting_client(emu.url) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = json.loads(await process.stdout.readline())
        await emu.until(lambda: emu.requests["status_stream"] == 1)
        process.send_signal(signal.SIGINT)
        errors = await process.stderr.read()
        assert await process.wait() == -signal.SIGINT
        assert b"KeyboardInterrupt" in errors
        assert b"Warning" not in errors
        assert emu.requests["cancel"] == 1
        assert emu.queue.request(told["request_id"]).state == "COMPLETED"
