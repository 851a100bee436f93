"""Callers of the queue: ``run(durable=True)``, ``subscribe``, ``submit`` and what is done with a handle."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.soaking.caller import Caller, caller
from benchmarks.soaking.story import Story
from fal_async import CancelOutcome, RequestHandle

__all__: list[str] = []

#: Who leaves has his request cancelled first, for up to five seconds.
_GRACE = 6.0
#: What takes no timeout is given up after this.
_PATIENCE = 5.0


@caller(weight=8, seconds=4 + 2 * _GRACE)
async def durable_run(c: Caller) -> None:
    model = c.chance.choice(["soak/plain", "soak/job", "soak/halting", "soak/few"])
    story = c.book.open("durable run", model)
    with c.book.telling(story):
        given = c.input(story, fails_first=c.chance.choice([0, 0, 0, 1]))
        stays = c.chance.random() < 0.2
        options = {**c.options(), "cancel_on_exit": not stays}
        c.book.compare(story, await c.fal.run(model, given, durable=True, **options))


@caller(weight=6, seconds=4 + 2 * _GRACE)
async def subscribe(c: Caller) -> None:
    told: list[Any] = []
    handles: list[RequestHandle] = []
    story = c.book.open("subscribe", "soak/job")
    with c.book.telling(story):
        output = await c.fal.subscribe(
            "soak/job",
            c.input(story, padding=c.chance.choice([0, 20_000])),
            logs=True,
            on_submitted=handles.append,
            on_update=told.append,
            priority=c.chance.choice([None, "low"]),
            **c.options(),
        )
        c.book.compare(story, output)
        story.succeeded(handles[0].request_id)


@caller(weight=12, seconds=4 + 4 * _PATIENCE)
async def submit(c: Caller) -> None:
    model = c.chance.choice(["soak/plain", "soak/job", "soak/halting", "soak/few"])
    then = c.chance.choice([_result, _result, _updates, _statuses, _cancel, _carry, _leave])
    story = c.book.open("submit", f"{model}, {then.__name__}")
    with c.book.telling(story):
        more = {"max_queue_length": 3} if c.chance.random() < 0.1 else {}
        handle = await c.fal.submit(model, c.input(story), **{**c.options(), **more})
        story.promised = False
        story.request_id = handle.request_id
        async with asyncio.timeout(_PATIENCE):
            await then(c, story, handle)


async def _result(c: Caller, story: Story, handle: RequestHandle) -> None:
    for _ in range(c.chance.choice([1, 1, 2])):  # it may be had again
        c.book.compare(story, await handle.result())


async def _updates(c: Caller, story: Story, handle: RequestHandle) -> None:
    async with handle.updates(logs=True) as updates:
        async for _ in updates:
            if c.chance.random() < 0.1:
                break
    await _result(c, story, handle)


async def _statuses(c: Caller, story: Story, handle: RequestHandle) -> None:
    for _ in range(c.chance.randrange(4)):
        await handle.status(logs=True)
    await _result(c, story, handle)


async def _cancel(c: Caller, story: Story, handle: RequestHandle) -> None:
    await asyncio.sleep(c.chance.choice([0.0, 0.0, 0.03]))
    if await handle.cancel() is CancelOutcome.UNKNOWN:
        c.book.wrong.append(f"{story}\n    was not known when it was cancelled")
    await _result(c, story, handle)


async def _carry(c: Caller, story: Story, handle: RequestHandle) -> None:
    """Into another session, as plain JSON."""
    await _result(c, story, c.other.handle(handle.to_dict()))


async def _leave(_: Caller, story: Story, __: RequestHandle) -> None:
    story.dropped()
