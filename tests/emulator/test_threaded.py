"""The emulator in a thread: for callers that block, and for those on any loop."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from urllib.request import Request, urlopen

import pytest

from fal_async import AsyncFal
from fal_async.emulator.asgi.mounting import asgi_model
from fal_async.emulator.model import Model
from fal_async.emulator.threaded import ThreadedEmulator
from tests.support.virtual_time import turns


def call(emulator: ThreadedEmulator, model: str, input: object) -> object:
    """A call that blocks."""
    body = json.dumps(input).encode()
    with urlopen(Request(f"{emulator.url}/fal.run/{model}", data=body), timeout=30) as answer:
        return json.load(answer)


def test_code_that_blocks_can_call_it() -> None:
    with ThreadedEmulator() as emulator:
        assert call(emulator, "emulator/echo", {"a": 1}) == {"a": 1}
        assert emulator.ledger.billed("emulator/echo") == 1


def test_its_thread_ends_with_it() -> None:
    before = threading.active_count()
    with ThreadedEmulator() as emulator:
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    emulator.close()


async def test_it_serves_every_loop_and_is_asked_from_each() -> None:
    emulator = ThreadedEmulator(limit=0)
    async with emulator, AsyncFal(hosts=emulator.hosts) as fal:
        handle = await fal.submit("emulator/echo", {"a": 1})
        assert len(emulator.queue) == 1
        assert emulator.queue.line("emulator/echo") == [handle.request_id]
        assert emulator.queue.position(handle.request_id) == 0
        assert [job.state for job in emulator.queue] == ["IN_QUEUE"]
        assert "IN_QUEUE" in repr(emulator.queue) or "1" in repr(emulator.queue)
        emulator.limit = None  # what waits in line starts at once
        assert await handle.result() == {"a": 1}
        await emulator.until(lambda: emulator.in_flight == 0)
        assert emulator.queue.request(handle.request_id).state == "COMPLETED"
        assert len(emulator.queue.requests("emulator/echo", state="COMPLETED")) == 1


def test_models_and_their_limits_may_be_added_while_it_runs() -> None:
    with ThreadedEmulator(models=[]) as emulator:
        emulator.register(Model(id="you/one", function=lambda given: [given]))
        emulator.model("you/two")(lambda given: {"two": given})
        emulator.model_limit("you/one", 1)
        assert call(emulator, "you/one", {}) == [{}]
        assert call(emulator, "you/two", {}) == {"two": {}}


async def test_virtual_time_moves_when_it_is_told_to_from_another_loop() -> None:
    emulator = ThreadedEmulator(clock="virtual")
    async with emulator, AsyncFal(hosts=emulator.hosts) as fal:
        answer = asyncio.create_task(fal.run("emulator/sleep", {"seconds": 3600}))
        await emulator.advance(3599)
        assert not answer.done()
        await emulator.advance(1)
        assert await answer == {"slept": 3600}


def test_who_blocks_can_wait_for_what_is_to_be_awaited() -> None:
    with ThreadedEmulator(clock="virtual") as emulator:
        emulator.wait(emulator.advance(60))
        assert emulator.time == 60


async def test_real_time_cannot_be_advanced() -> None:
    async with ThreadedEmulator() as emulator:
        with pytest.raises(RuntimeError, match="virtual"):
            await emulator.advance(1)


def test_one_that_does_not_run_says_so() -> None:
    emulator = ThreadedEmulator()
    with pytest.raises(RuntimeError, match="has not been started"):
        emulator.wait(emulator.until(lambda: True))
    with emulator, pytest.raises(RuntimeError, match="running already"):
        emulator.open()


def test_an_address_that_is_taken_is_told_where_it_was_opened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        emulator = ThreadedEmulator(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="address"):
            emulator.open()
    with emulator:
        assert call(emulator, "emulator/echo", {}) == {}


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


def mounted(starting: Callable[[], Awaitable[None]]) -> Model:
    """An application that does this as it starts."""

    async def app(scope: object, receive: Callable[[], Awaitable[object]], send: object) -> None:
        await receive()
        await starting()

    return asgi_model("me/app", app)


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_one_ctrl_c_ends_a_start_that_hangs() -> None:
    heard = threading.Event()

    def hear(*_: object) -> None:
        if not heard.is_set():
            heard.set()
            raise KeyboardInterrupt

    async def interrupt() -> None:
        while not heard.is_set():  # one that comes just before a thread waits does not wake it
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            await turns(1)
        await hang()

    usual = signal.signal(signal.SIGINT, hear)
    try:
        with pytest.raises(KeyboardInterrupt):
            ThreadedEmulator(models=[mounted(interrupt)]).open()
    finally:
        signal.signal(signal.SIGINT, usual)
    assert "fal-emulator" not in names_of_threads()


async def test_a_start_that_is_cancelled_leaves_no_thread() -> None:
    begun = threading.Event()

    async def begin() -> None:
        begun.set()
        await hang()

    starting = asyncio.create_task(ThreadedEmulator(models=[mounted(begin)]).start())
    await asyncio.to_thread(begun.wait)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert "fal-emulator" not in names_of_threads()
