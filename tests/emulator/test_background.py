"""What runs beside the handlers ends whole, whenever that is."""

from __future__ import annotations

import asyncio

from fal_async.emulator.background import Background


async def test_what_has_not_begun_yet_is_begun_before_it_is_ended_and_gives_back_what_it_holds() -> (
    None
):
    held = ["a slot"]

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            held.clear()

    background = Background()
    background.spawn(work())
    await background.close()
    assert held == []


async def test_what_is_spawned_while_others_end_is_ended_too() -> None:
    ended = []
    background = Background()

    async def last() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("last")

    async def first() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            background.spawn(last())
            ended.append("first")

    background.spawn(first())
    await background.close()
    assert ended == ["first", "last"]
