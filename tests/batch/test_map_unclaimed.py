"""Calls in doubt that no input of a run is are told of, and left alone."""

from __future__ import annotations

import time  # noqa: TID251 - intents were written just now
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fal_async import AsyncFal, Billing, InDoubtError, Outcomes
from fal_async.batch.journal.journal import Journal
from fal_async.emulator import Emulator, Model
from fal_async.errors import JournalError
from tests.batch.test_map_reconcile import killed_with

MODEL = "owner/app"


def numbers(*values: int) -> list[dict[str, int]]:
    return [{"n": value} for value in values]


@pytest.fixture
async def fal() -> Any:
    model = Model(id=MODEL, function=lambda content: content)
    async with Emulator(models=[model]) as emu, AsyncFal(hosts=emu.hosts) as session:
        yield session


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.sqlite"


def check(outcomes: Outcomes[Any], *indices: int) -> None:
    assert [doubt.index for doubt in outcomes.unclaimed] == list(indices)
    for doubt in outcomes.unclaimed:
        assert isinstance(doubt.error, InDoubtError)
        assert doubt.error.intended_at is not None
        assert abs(doubt.error.intended_at - time.time()) < 600
        assert (doubt.input, doubt.billing) == (None, Billing.UNKNOWN)


async def test_those_whose_inputs_were_left_out_are_listed_and_left_alone(
    fal: AsyncFal, journal: Path
) -> None:
    await killed_with(journal, *numbers(0, 1, 2, 3))
    for _ in range(2):
        outcomes = fal.map(MODEL, numbers(2, 0), journal=journal)
        results = await outcomes.collect()
        assert [type(outcome.error) for outcome in results if not outcome.ok] == [InDoubtError] * 2
        check(outcomes, 1, 3)
    retried = fal.map(MODEL, numbers(1), journal=journal, in_doubt="retry")
    assert [outcome.ok for outcome in await retried.collect()] == [True]
    check(retried, 0, 2, 3)  # by the places they were at last


async def test_without_any_there_are_none(fal: AsyncFal, journal: Path) -> None:
    await killed_with(journal, *numbers(0, 1))
    for inputs in (numbers(0, 1), numbers(0, 1, 2)):
        outcomes = fal.map(MODEL, inputs, journal=journal, in_doubt="retry")
        await outcomes.collect()
        check(outcomes)
    unkept = fal.map(MODEL, numbers(0))
    await unkept.collect()
    check(unkept)


async def test_equal_inputs_claim_one_each(fal: AsyncFal, journal: Path) -> None:
    await killed_with(journal, *numbers(5, 5, 5))
    outcomes = fal.map(MODEL, numbers(5), journal=journal)
    await outcomes.collect()
    check(outcomes, 1, 2)


async def test_those_that_a_stopped_map_has_not_come_to_are_among_them(
    fal: AsyncFal, journal: Path
) -> None:
    await killed_with(journal, *numbers(0, 1))
    async with fal.map(MODEL, ({"n": n} for n in count()), journal=journal) as outcomes:
        outcomes.stop()
    check(outcomes, 0, 1)


async def test_a_journal_that_cannot_be_read_any_more_does_not_hide_what_came(
    fal: AsyncFal, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await killed_with(journal, *numbers(0, 1))

    async def damaged(self: Journal) -> Any:
        raise JournalError("the disk is damaged")

    monkeypatch.setattr(Journal, "in_doubt", damaged)
    outcomes = fal.map(MODEL, numbers(7), journal=journal)
    assert [outcome.ok for outcome in await outcomes.collect()] == [True]
    check(outcomes)
    monkeypatch.undo()
    outcomes = fal.map(MODEL, numbers(7), journal=journal)  # nobody holds it
    await outcomes.collect()
    check(outcomes, 0, 1)
