"""A map that is left at any instant: what was charged for is told as such, and what had come is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fal_async import AsyncFal, Billing, SessionError, Succeeded
from fal_async.emulator import Emulator, MadeFile, Model, RefusedError
from tests.support.virtual_time import turns

MODEL = "owner/app"


def made(content: Any) -> Any:
    if content.get("refuse"):
        raise RefusedError("content_policy_violation")
    return {"image": MadeFile(b"picture", "image/png", "png")}


async def left_after(
    emu: Emulator, instant: int, content: dict[str, Any], **options: Any
) -> tuple[Billing, int]:
    """What is said of an input whose map is left after so many turns, and how often it was charged for."""
    emu.ledger.clear()
    async with AsyncFal(hosts=emu.hosts) as fal:
        async with fal.map(MODEL, [content], **options) as outcomes:
            await turns(instant)
        await emu.until(lambda: emu.in_flight == 0)
    told = [outcome.billing for outcome in outcomes.leftover]
    assert len(told) == outcomes.taken
    return told[0] if told else Billing.NOT_BILLED, emu.ledger.billed()


def options_of(way: str, folder: Path, instant: int) -> dict[str, Any]:
    every: dict[str, Any] = {
        "journal": folder / f"{instant}.sqlite",
        "save": str(folder / f"{instant}-{{n}}.{{ext}}"),
    }
    return {name: every[name] for name in way.split(" and ") if name in every}


@pytest.mark.parametrize("way", ["plain", "save", "journal", "journal and save"])
async def test_what_was_charged_for_is_never_said_to_be_free(way: str, tmp_path: Path) -> None:
    charged = 0
    async with Emulator(models=[Model(id=MODEL, function=made)]) as emu:
        for instant in (
            int(1.3**n) for n in count(3)
        ):  # later and later, until the answer has come some times
            options = options_of(way, tmp_path, instant)
            content = {"i": instant, "refuse": instant % 3 == 0}
            billing, charges = await left_after(emu, instant, content, **options)
            if billing is Billing.NOT_BILLED:
                assert charges == 0
            elif billing is Billing.BILLED:
                assert charges == 1
                charged += 1
            if charged == 4:
                break


async def test_who_leaves_while_files_are_saved_has_the_output() -> None:
    async with Emulator(models=[Model(id=MODEL, function=made)]) as emu:
        emu.faults.add("stall", operation="download")
        async with (
            AsyncFal(hosts=emu.hosts) as fal,
            fal.map(MODEL, [{}], save="never/{n}.{ext}") as outcomes,
        ):
            await emu.until(lambda: emu.requests["download"] == 1)
        (outcome,) = outcomes.leftover
        assert isinstance(outcome, Succeeded)
        assert (outcome.billing, outcome.files) == (Billing.BILLED, ())
        assert outcome.output["image"]["url"]
    assert not await asyncio.to_thread(Path("never").exists)


async def test_who_leaves_while_it_is_noted_what_was_saved_has_the_output(tmp_path: Path) -> None:
    async with Emulator(models=[Model(id=MODEL, function=made)]) as emu:
        for instant in range(0, 60, 3):
            saved = tmp_path / f"{instant}.png"
            options = {"journal": tmp_path / f"{instant}.sqlite", "save": str(saved)}
            async with (
                AsyncFal(hosts=emu.hosts) as fal,
                fal.map(MODEL, [{"i": instant}], **options) as outcomes,
            ):
                while not await asyncio.to_thread(saved.exists):
                    pass
                await turns(instant)
            (outcome,) = outcomes.leftover
            assert isinstance(outcome, Succeeded)
            assert outcome.billing is Billing.BILLED


async def test_a_map_whose_inputs_are_made_by_calls_ends_with_its_session() -> None:
    async with Emulator() as emu, AsyncFal(hosts=emu.hosts) as fal:

        async def inputs() -> AsyncIterator[Any]:
            yield await fal.run("emulator/echo", {"i": 1})
            await asyncio.Event().wait()

        async with fal.map("emulator/echo", inputs()) as outcomes:
            assert (await anext(outcomes)).ok
            await fal.close()
            with pytest.raises(SessionError):
                await asyncio.wait_for(anext(outcomes), 5)
