"""Time that stands still until it is moved, for calls and for those who wait."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from fal_async.emulator import Emulator
from fal_async.emulator.clock import RealClock, VirtualClock, one_turn
from tests.emulator.raw import ask, post


def sleeping(emu: Emulator, seconds: float) -> asyncio.Task[float]:
    async def run() -> float:
        heard = await ask(
            emu, post("/fal.run/emulator/sleep", json.dumps({"seconds": seconds}).encode())
        )
        assert heard.status == 200
        return emu.time

    return asyncio.create_task(run())


async def test_calls_end_in_the_order_of_their_times_each_at_its_own(frozen: Emulator) -> None:
    calls = [sleeping(frozen, seconds) for seconds in (3, 1, 2)]
    await frozen.advance(2.5)
    assert [call.done() for call in calls] == [False, True, True]
    await frozen.advance(7.5)
    assert await asyncio.gather(*calls) == [3, 1, 2]
    assert frozen.time == 10


async def test_what_follows_from_one_instant_happens_before_the_next(frozen: Emulator) -> None:
    async def one_after_the_other() -> list[float]:
        return [await sleeping(frozen, 1), await sleeping(frozen, 1)]

    both = asyncio.create_task(one_after_the_other())
    await frozen.advance(2)
    assert await both == [1, 2]


async def test_a_function_in_a_thread_is_waited_for(frozen: Emulator) -> None:
    go_on = threading.Event()
    frozen.model("me/blocking", thread=True)(lambda content: go_on.wait(5))
    call = asyncio.create_task(ask(frozen, post("/fal.run/me/blocking")))
    advancing = asyncio.create_task(frozen.advance(0))
    await frozen.until(lambda: frozen.ledger.running() == 1)
    for _ in range(200):
        await one_turn()
    assert not advancing.done()
    go_on.set()
    await advancing
    assert call.done()
    assert (await call).status == 200


async def test_a_real_clock_cannot_be_moved(emu: Emulator) -> None:
    with pytest.raises(RuntimeError, match="virtual"):
        await emu.advance(1)
    assert emu.time >= 0


async def test_a_sleeper_that_is_cancelled_leaves_no_alarm() -> None:
    clock = VirtualClock()
    sleeper = asyncio.create_task(clock.sleep_until(5))
    done, _ = await asyncio.wait([sleeper], timeout=0)
    assert not done
    sleeper.cancel()
    await asyncio.wait([sleeper])
    assert not clock.step(10)
    assert clock.now() == 10


async def test_who_wakes_too_late_is_not_woken_twice() -> None:
    clock = VirtualClock()
    rung: list[str] = []
    clock.call_at(1, lambda: (rung.append("first"), timer.cancel())[0])
    timer = clock.call_at(1, lambda: rung.append("cancelled"))
    clock.call_at(1, lambda: rung.append("second"))
    sleeper = asyncio.create_task(clock.sleep_until(1))
    await asyncio.wait([sleeper], timeout=0)
    sleeper.cancel()
    assert clock.step(3)
    assert rung == ["first", "second"]
    await asyncio.wait([sleeper])
    await clock.sleep_until(0.5)
    assert not clock.step(3)


async def test_a_real_clock_rings_and_lets_sleep() -> None:
    clock, rung = RealClock(), asyncio.Event()
    clock.call_at(clock.now(), rung.set)
    await rung.wait()
    before = clock.now()
    await clock.sleep_until(before + 0.002)
    await clock.sleep_until(before)
    assert clock.now() - before >= 0.001
