"""An emulator that is reset is as new, under the same url."""

from __future__ import annotations

import asyncio

import pytest

from fal_async import AsyncFal, NotFoundError, TransportError
from fal_async.emulator import Emulator, Fault, Model


def shout(input: dict[str, str]) -> str:
    return input["text"].upper()


async def test_nothing_is_remembered() -> None:
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        await fal.run("fal-ai/fast-sdxl", {"prompt": "a cat"})
        await fal.run("emulator/echo", {}, durable=True)
        before = emulator.url
        await emulator.reset()
        assert emulator.url == before
        assert (len(emulator.ledger), len(emulator.queue), len(emulator.storage)) == (0, 0, 0)
        assert (emulator.received, emulator.peak_in_flight, +emulator.requests) == (0, 0, {})
        await fal.run("emulator/echo", {})  # by the connection that was open
        assert emulator.ledger.billed() == 1


async def test_what_it_was_made_with_holds_again() -> None:
    reset = Fault("too_many_requests", times=1)
    async with Emulator(limit=3, faults=iter([reset])) as emulator:
        emulator.limit = 1
        emulator.faults.clear()
        emulator.model("you/shout")(shout)
        await emulator.reset()
        assert emulator.limit == 3
        assert list(emulator.faults) == [reset]
        async with AsyncFal(hosts=emulator.hosts) as fal:
            with pytest.raises(NotFoundError):
                await fal.run("you/shout", {"text": "hello"})


async def test_settings_may_differ_until_the_next_reset() -> None:
    async with Emulator(limit=3) as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        await emulator.reset(limit=5, models=[Model(id="you/shout", function=shout)])
        assert emulator.limit == 5
        assert await fal.run("you/shout", {"text": "hello"}) == "HELLO"
        await emulator.reset()
        assert emulator.limit == 3


async def test_calls_in_flight_are_cut_off() -> None:
    async with Emulator() as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        running = asyncio.create_task(fal.run("emulator/sleep", {"seconds": 3600}))
        await emulator.until(lambda: emulator.ledger.running() == 1)
        await emulator.reset()
        with pytest.raises(TransportError):
            await running
        assert emulator.in_flight == 0


async def test_one_that_does_not_run_can_be_reset() -> None:
    emulator = Emulator(limit=2)
    emulator.limit = 7
    await emulator.reset()
    assert emulator.limit == 2
