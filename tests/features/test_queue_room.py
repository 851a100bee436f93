"""A room full of people who wait: all can be sent away, and nobody's own cancellation is taken for that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fal_async import Billing, SessionError, Verdict
from fal_async.features.room import Room
from tests.support.virtual_time import in_virtual_time, turns


async def wait_in(room: Room, log: list[str] | None = None) -> str:
    with room.inside():
        try:
            await asyncio.Event().wait()
        finally:
            if log is not None:
                log.append("left")
    return "never"


async def test_who_waits_ends_with_an_error_and_is_not_cancelled() -> None:
    room = Room()
    tasks = [asyncio.create_task(wait_in(room)) for _ in range(3)]
    await turns()
    await room.clear(1)
    for task in tasks:
        with pytest.raises(SessionError, match="closed") as raised:
            await task
        assert raised.value.billing is Billing.UNKNOWN
        assert raised.value.__cause__ is None
        assert task.cancelling() == 0


async def test_the_verdict_of_the_wait_is_in_the_error() -> None:
    room = Room()

    async def wait() -> None:
        with room.inside():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as cancelled:
                cancelled.verdict = Verdict(  # type: ignore[attr-defined]
                    billing=Billing.BILLED, attempts=2, request_id="r-1", handle="handle"
                )
                raise

    task = asyncio.create_task(wait())
    await turns()
    await room.clear(1)
    with pytest.raises(SessionError) as raised:
        await task
    e = raised.value
    assert (e.billing, e.attempts, e.request_id, e.handle) == ("billed", 2, "r-1", "handle")


async def test_entering_twice_is_entering_once() -> None:
    room = Room()
    log: list[str] = []

    async def wait() -> None:
        with room.inside():
            with room.inside():
                pass
            await wait_in(room, log)

    task = asyncio.create_task(wait())
    await turns()
    await room.clear(1)
    assert log == ["left"]
    with pytest.raises(SessionError):
        await task


async def test_what_is_done_after_it_is_not_touched() -> None:
    room = Room()
    seen: list[BaseException] = []

    async def wait_and_go_on() -> str:
        try:
            await wait_in(room)
        except SessionError as error:
            seen.append(error)
        await turns()
        return "went on"

    task = asyncio.create_task(wait_and_go_on())
    await turns()
    await room.clear(1)
    assert await task == "went on"
    assert len(seen) == 1


async def test_who_is_cancelled_by_others_is_cancelled() -> None:
    room = Room()
    for also_cleared in (False, True):
        task = asyncio.create_task(wait_in(room))
        await turns()
        task.cancel()
        if also_cleared:
            await room.clear(1)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_timeout_around_it_stays_one() -> None:
    room = Room()

    async def wait() -> Any:
        async with asyncio.timeout(0):
            await wait_in(room)

    task = asyncio.create_task(wait())
    with pytest.raises(TimeoutError):
        await task


async def test_who_clears_it_stays() -> None:
    room = Room()
    with room.inside():
        await room.clear(1)
        await turns()


@in_virtual_time
async def test_who_does_not_leave_is_left_to_himself() -> None:
    room = Room()

    async def stay() -> None:
        with room.inside():
            for _ in range(3):
                try:
                    asyncio.get_running_loop().call_later(50, (go := asyncio.Event()).set)
                    await go.wait()
                    break
                except asyncio.CancelledError:
                    continue

    task = asyncio.create_task(stay())
    await turns()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.gather(room.clear(5), room.clear(7))
    assert loop.time() - begun == 7
    await task


async def test_nobody_enters_while_it_is_cleared_and_anybody_does_afterwards() -> None:
    room = Room()
    let_go = asyncio.Event()

    async def linger() -> None:
        with room.inside():
            try:
                await asyncio.Event().wait()
            finally:
                await let_go.wait()

    task = asyncio.create_task(linger())
    await turns()
    clearing = asyncio.create_task(room.clear(60))
    await turns()
    with pytest.raises(SessionError, match="make a new one"), room.inside():
        pass
    let_go.set()
    await clearing
    with pytest.raises(SessionError):
        await task
    with room.inside():
        pass


def test_outside_of_any_task_there_is_nothing_to_wait_in() -> None:
    loop = asyncio.new_event_loop()
    said: list[BaseException] = []

    def callback() -> None:
        try:
            with Room().inside():
                pass
        except SessionError as error:
            said.append(error)
        loop.stop()

    loop.call_soon(callback)
    loop.run_forever()
    loop.close()
    assert "outside of any" in str(said[0])
