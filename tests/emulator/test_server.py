"""The emulator's life: it starts, stops at once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import fal_async.emulator
from fal_async.emulator import Account, Emulator, Fault, RunnerSettings
from tests.emulator.raw import ask, connected, post

PATIENCE = 5.0  # far more than it takes, far less than what would be waited for


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """No task, thread or connection more than before; and it took no time."""
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    async with asyncio.timeout(PATIENCE):
        yield
    assert asyncio.all_tasks() <= tasks
    assert set(threading.enumerate()) <= threads


async def test_it_listens_where_its_url_says_until_it_stops() -> None:
    async with nothing_left():
        emu = await Emulator().start()
        assert emu.url.startswith("http://127.0.0.1:")
        assert emu.hosts.run == f"{emu.url}/fal.run"
        assert emu.hosts.is_local
        assert (await ask(emu)).status == 200
        await emu.stop()
        with pytest.raises(ConnectionRefusedError):
            await ask(emu)


async def test_it_listens_on_the_port_it_is_given() -> None:
    async with Emulator() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await Emulator(port=port).start()
    async with Emulator(port=port, host="localhost") as second:
        assert second.url == f"http://localhost:{port}"


@pytest.mark.parametrize(("host", "found"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")])
async def test_its_url_can_be_reached_wherever_it_listens(host: str, found: str) -> None:
    async with Emulator(host=host) as emu:
        assert emu.url.startswith(f"http://{found}:")
        assert (await ask(emu)).status == 200


def test_an_address_with_colons_is_bracketed() -> None:
    assert Emulator(host="::", port=80).url == "http://[::1]:80"


@pytest.mark.parametrize("more", [{"limit": 1}, {"locked": {}}, {"name_limit": False}])
def test_an_account_is_not_said_twice(more: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="an Account says itself"):
        Emulator(keys=Account(), **more)


@pytest.mark.usefixtures("silent", "unheard")
async def test_stopping_cuts_off_whatever_is_in_flight() -> None:
    fault = Fault("stall", model="emulator/echo")
    settings = RunnerSettings(count=1)
    async with nothing_left():
        emu = await Emulator(faults=[fault], runners=settings, latency=0.001).start()
        requests = (
            post("/fal.run/emulator/sleep", b'{"seconds": 1000}'),  # runs
            post("/fal.run/emulator/sleep", b'{"seconds": 1000}'),  # waits for a runner
            post("/fal.run/emulator/echo"),  # stalls
        )
        calls = [asyncio.create_task(ask(emu, request)) for request in requests]
        async with connected(emu) as (_, idle), connected(emu) as (_, halfway):
            idle.write(b"")
            halfway.write(post()[:-3])
            await emu.until(lambda: emu.received == 4 and emu.ledger.running() == 1)
            await emu.until(lambda: emu.in_flight == 2)
            await emu.stop()
        heard = await asyncio.gather(*calls)
        assert {h.data for h in heard} == {b""}
        assert emu.in_flight == 0
        assert (emu.ledger.running(), emu.ledger.billed("emulator/sleep")) == (0, 0)


async def test_stopping_does_not_wait_for_a_caller_who_does_not_read() -> None:
    async with nothing_left():
        emu = await Emulator(faults=[Fault("huge_body")]).start()
        async with connected(emu) as (_, writer):
            writer.write(post())
            await emu.until(lambda: emu.ledger.billed() == 1)
            await emu.stop()


async def test_stopping_waits_for_a_function_in_a_thread() -> None:
    asked, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def block(content: object) -> object:
        asked.set()
        go_on.wait(PATIENCE)
        ended.set()
        return content

    async with nothing_left():
        emu = await Emulator().start()
        emu.model("me/blocking", thread=True)(block)
        call = asyncio.create_task(ask(emu, post("/fal.run/me/blocking")))
        await emu.until(lambda: emu.ledger.running() == 1)
        await asyncio.to_thread(asked.wait, PATIENCE)
        stopping = asyncio.create_task(emu.stop())
        await call
        assert not ended.is_set()
        go_on.set()
        await stopping
        assert ended.is_set()
        await asyncio.get_running_loop().shutdown_default_executor()


async def test_it_starts_once_and_stops_as_often_as_one_likes() -> None:
    emu = Emulator()
    await emu.stop()
    async with emu:
        with pytest.raises(RuntimeError, match="running already"):
            await emu.start()
    await emu.stop()


def test_it_can_be_started_again_in_another_loop_and_remembers() -> None:
    emu = Emulator(runners=RunnerSettings(keep_warm=0.01))

    async def use() -> None:
        async with emu:
            assert (await ask(emu)).status == 200

    asyncio.run(use())
    asyncio.run(use())
    assert emu.ledger.billed() == 2
    assert emu.received == 2


def test_nothing_of_it_belongs_to_a_loop_before_it_is_started() -> None:
    emu = Emulator(limit=3)
    assert (emu.limit, emu.in_flight, emu.peak_in_flight, emu.refused) == (3, 0, 0, 0)
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = emu.time


async def test_waiting_for_something_ends_with_who_waits(emu: Emulator) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await emu.until(lambda: emu.received == 1)
    await ask(emu)
    await emu.until(lambda: emu.received == 1)


async def test_a_condition_that_fails_fails_who_waits_for_it(emu: Emulator) -> None:
    waiting = asyncio.create_task(emu.until(lambda: emu.received > 0 and 1 / 0 > 0))
    waiting_too = asyncio.create_task(emu.until(lambda: emu.received > 0))
    await asyncio.wait([waiting, waiting_too], timeout=0)
    assert (await ask(emu)).status == 200
    await waiting_too
    with pytest.raises(ZeroDivisionError):
        await waiting


def test_its_package_is_a_list_of_names_that_are_loaded_when_asked_for() -> None:
    assert set(fal_async.emulator.__all__) <= set(dir(fal_async.emulator))
    assert all(hasattr(fal_async.emulator, name) for name in fal_async.emulator.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Emulater'"):
        _ = fal_async.emulator.Emulater  # type: ignore[attr-defined]
    code = "import sys, fal_async.emulator; sys.exit('fal_async.emulator.server' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
