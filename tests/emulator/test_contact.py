"""What a running model tells the platform and hears from it."""

from __future__ import annotations

import asyncio

import pytest

from fal_async.emulator import Call, CallCancelledError
from fal_async.emulator.clock import VirtualClock
from fal_async.emulator.contact import Contact
from tests.support.virtual_time import turns

CALL = {"request_id": "r", "model": "a/b"}


async def test_a_call_of_ones_own_making_tells_nobody_and_takes_no_time() -> None:
    call = Call(**CALL)
    call.log("heard by nobody")
    await call.sleep(1000)
    await call.sleep(1000, cancellable=True)
    assert not call.cancelled


async def test_a_cancel_wakes_all_who_wait_for_it_once() -> None:
    contact = Contact()
    waiting = [asyncio.create_task(contact.until_cancelled()) for _ in range(2)]
    await turns()
    contact.cancel()
    contact.cancel()
    await asyncio.gather(*waiting)
    assert Call(**CALL, contact=contact).cancelled


async def test_work_is_given_up_at_a_cancel_and_has_ended_then() -> None:
    clock = VirtualClock()
    contact = Contact(clock)
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await contact.sleep(1000)
        finally:
            ended.set()

    working = asyncio.create_task(contact.unless_cancelled(work()))
    await turns()
    contact.cancel()
    with pytest.raises(CallCancelledError):
        await working
    assert ended.is_set()


async def test_a_line_from_a_thread_is_heard_in_the_loop() -> None:
    heard: list[tuple[str, str]] = []
    contact = Contact(hear=lambda message, level: heard.append((message, level)))
    await asyncio.to_thread(contact.log, "from afar", "WARN")
    contact.log("from near", "INFO")
    assert heard == [("from afar", "WARN"), ("from near", "INFO")]
