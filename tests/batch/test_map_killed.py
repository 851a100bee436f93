"""A batch that is killed at random instants and run again: nothing lost, nothing paid for twice.

``python -m benchmarks.kill`` is more of the same.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fal_async.emulator import Emulator
from fal_async.emulator.chance import Chance
from tests.support.killing.batches import killed_batches
from tests.support.killing.inputs import inputs_of, killed_model, name_of
from tests.support.killing.nursery import Nursery
from tests.support.killing.plans import Plan
from tests.support.killing.sitting import LIMIT, MODES, Sitting, copied

pytestmark = pytest.mark.skipif(
    not hasattr(os, "waitid"), reason="the program that is killed is a fork, and is waited for"
)

#: Twenty in all.
KILLS = {
    "direct+report": 5,
    "direct+retry": 2,
    "direct+reconcile": 2,
    "queue+report": 2,
    "queue+retry": 2,
    "queue+reconcile": 7,
}


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    async with Nursery() as opened:
        yield opened


@pytest.mark.parametrize("mode", MODES)
async def test_every_input_ends_with_one_result_and_none_is_paid_for_twice(
    mode: str, nursery: Nursery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batches = killed_batches(
        MODES[mode], nursery, tmp_path, Chance(7), inputs=120, kills=KILLS[mode], each=KILLS[mode]
    )
    verdicts = [verdict async for verdict in batches]
    assert [verdict.wrong for verdict in verdicts] == [()] * len(verdicts)
    assert sum(verdict.kills for verdict in verdicts) >= KILLS[mode]
    assert not caplog.records  # of the emulator, which is used to callers that leave


async def test_a_journal_whose_making_was_cut_short_is_made(
    nursery: Nursery, tmp_path: Path
) -> None:
    for step in range(10):
        ran: dict[str, str] = {}
        async with Emulator(models=[killed_model(ran)], limit=LIMIT) as emulator:
            journal = tmp_path / f"{step}.sqlite"
            batch = Sitting(MODES["direct+report"], emulator, ran, nursery, journal, inputs=4)
            await batch.run(Plan(after="opening", count=1, delay=step * 0.0008))
            await batch.run(None)
            assert batch.ended
            assert (await batch.verdict()).wrong == ()


async def test_what_is_on_disk_at_any_instant_holds_all_that_was_handed_out(
    nursery: Nursery, tmp_path: Path
) -> None:
    """As after a power cut, but for what the system has not written: what it was told to write is copied."""
    inputs = inputs_of(80)
    mode = MODES["direct+report"]
    for instant in (1, 9, 30, 50):
        journal = tmp_path / f"{instant}.sqlite"
        async with Emulator(models=[killed_model({})], limit=LIMIT) as emulator:
            run = await nursery.begin(mode.order(emulator.url, journal, inputs))
            said: list[dict[str, Any]] = []
            async for word in run.words():
                if word["say"] == "outcome" and word["billing"] == "billed":
                    said.append(word)
                if len(said) == instant:
                    break
            with copied(journal) as copy:
                run.kill()
                async for _ in run.words():
                    pass
                await resumed_elsewhere(nursery, copy, said)


async def resumed_elsewhere(nursery: Nursery, journal: Path, said: list[dict[str, Any]]) -> None:
    """Resume from a copy, with a fal that knows nothing of the first run."""
    inputs = inputs_of(80)
    ran: dict[str, str] = {}
    async with Emulator(models=[killed_model(ran)], limit=LIMIT) as emulator:
        order = MODES["direct+report"].order(emulator.url, journal, inputs)
        run = await nursery.begin(order)
        outcomes = {w["index"]: w async for w in run.words() if w["say"] == "outcome"}
    assert run.status == 0
    assert len(outcomes) == len(inputs)
    results = {
        (name_of(inputs[index]), word["request_id"], word.get("output"))
        for index, word in outcomes.items()
    }
    assert results >= {
        (name_of(inputs[word["index"]]), word["request_id"], word.get("output")) for word in said
    }
    replayed = [word for word in outcomes.values() if word["replayed"]]
    doubted = [word for word in outcomes.values() if word.get("error") == "InDoubtError"]
    assert len(replayed) >= len(said)
    assert len(replayed) + len(doubted) + len(ran) == len(inputs)
