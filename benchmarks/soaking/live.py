"""Callers of ``websocket`` and ``realtime``, and of tokens for the latter."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.soaking.caller import Caller, caller
from benchmarks.soaking.story import Story
from fal_async import FalError, WebSocketConnection

__all__: list[str] = []

#: After which one is given up, in seconds: a handshake that is not answered takes ninety.
_PATIENCE = 10.0


@caller(weight=5, seconds=30)
async def websocket(c: Caller) -> None:
    """Many calls over one connection: one by one, at the same time, sent ahead, or streamed."""
    how = c.chance.choice([_one_by_one, _together, _ahead, _streamed])
    model = "soak/words" if how is _streamed else c.chance.choice(["soak/plain", "soak/few"])
    options: dict[str, Any] = {
        "ahead": c.chance.choice([1, 3, 8]),
        "timeout": c.chance.choice([0.5, 2.0]),
    }
    stories = [c.book.open("websocket", f"{how.__name__}, {model}, {options}") for _ in range(5)]
    try:
        with c.book.aside("a websocket"):
            async with asyncio.timeout(_PATIENCE), c.fal.websocket(model, **options) as ws:
                await how(c, ws, stories)
    finally:
        for story in stories:
            if story.end == "open":  # never sent
                story.dropped("not_billed")


async def _one(c: Caller, ws: WebSocketConnection[Any], story: Story) -> None:
    with c.book.telling(story):
        c.book.compare(story, await ws.run(c.input(story)))


async def _one_by_one(c: Caller, ws: WebSocketConnection[Any], stories: list[Story]) -> None:
    for story in stories[: c.chance.randrange(6)]:
        await _one(c, ws, story)


async def _together(c: Caller, ws: WebSocketConnection[Any], stories: list[Story]) -> None:
    async with asyncio.TaskGroup() as group:
        for story in stories:
            story.promised = False  # cancelled before it has begun, it could not bring one
            group.create_task(_one(c, ws, story))


async def _ahead(c: Caller, ws: WebSocketConnection[Any], stories: list[Story]) -> None:
    leaves_after = c.chance.choice([2, 5, 5, 5])
    outputs = ws.map([c.input(story) for story in stories], return_errors=True)
    for story in stories:
        story.dropped()  # until its output comes
    for story in stories[:leaves_after]:
        output = await anext(outputs)
        if isinstance(output, FalError):
            story.failed(output)
        else:
            story.succeeded()
            c.book.compare(story, output)


async def _streamed(c: Caller, ws: WebSocketConnection[Any], stories: list[Story]) -> None:
    for story in stories[:3]:
        with c.book.telling(story):
            async for event in ws.stream(c.input(story, events=c.chance.choice([1, 4]))):
                c.book.compare(story, event)


@caller(weight=4, seconds=30)
async def realtime(c: Caller) -> None:
    """Messages both ways; nobody says what a message cost that has no result."""
    count = c.chance.choice([1, 3, 10])
    options: dict[str, Any] = {
        "token": c.chance.choice([None, None, True]),
        "reconnect": c.chance.choice([False, 2]),
    }
    sent: dict[str, Story] = {}
    with c.book.aside("a realtime connection"):
        async with asyncio.timeout(4), c.fal.realtime("soak/live", **options) as connection:
            for _ in range(count):
                story = c.book.open("realtime", f"{options}", promised=False)
                story.dropped()
                sent[story.marker] = story
                await connection.send(c.input(story))
            while any(story.end == "dropped" for story in sent.values()):
                try:
                    result = await anext(connection, None)
                except FalError as error:
                    if error.body is None:
                        raise
                    continue  # a result that does not decode; the connection goes on
                if result is None:
                    break
                if isinstance(result, dict) and result.get("marker") in sent:
                    sent[result["marker"]].succeeded()
                else:
                    c.book.wrong.append(
                        f"a realtime connection got what belongs to {result!r:.100}"
                    )


@caller(weight=1, seconds=20)
async def token(c: Caller) -> None:
    with c.book.aside("a token"):
        async with asyncio.timeout(10):
            await c.fal.token("soak/live", expires=60)
