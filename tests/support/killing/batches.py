"""Batches that are killed, one after the other, until there were kills enough."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from fal_async.emulator import Emulator
from fal_async.emulator.chance import Chance
from tests.support.killing.inputs import killed_model
from tests.support.killing.judging import Verdict
from tests.support.killing.nursery import Nursery
from tests.support.killing.plans import plan
from tests.support.killing.sitting import LIMIT, Mode, Sitting

__all__ = ["killed_batch", "killed_batches"]


async def killed_batch(
    mode: Mode, nursery: Nursery, journal: Path, chance: Chance, *, inputs: int, kills: int
) -> Verdict:
    """A batch that is killed about so often, and then let be.

    :param journal: where to make it.
    :param chance: what the moments are drawn from.
    """
    ran: dict[str, str] = {}
    async with Emulator(models=[killed_model(ran)], limit=LIMIT, seed=chance.seed) as emulator:
        sitting = Sitting(mode, emulator, ran, nursery, journal, inputs=inputs)
        number = 0
        while not sitting.ended:
            over = sitting.kills >= kills or number > 10 * kills
            planned = plan(chance, journal.name, number, step=max(1, inputs // (kills + 1)))
            await sitting.run(None if over else planned)
            number += 1
        return await sitting.verdict()


async def killed_batches(
    mode: Mode,
    nursery: Nursery,
    folder: Path,
    chance: Chance,
    *,
    inputs: int,
    kills: int,
    each: int,
) -> AsyncIterator[Verdict]:
    """Batches until there were so many kills.

    :param each: kills of one batch, about.
    """
    left, number = kills, 0
    while left > 0:
        number += 1
        journal = folder / f"{mode.name}-{number}.sqlite"
        verdict = await killed_batch(
            mode, nursery, journal, chance, inputs=inputs, kills=min(left, each)
        )
        left -= verdict.kills
        yield verdict
        if verdict.wrong:
            return
