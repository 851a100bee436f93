"""A map with a journal: run again, and nothing is paid for twice or lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import pytest

from fal_async import (
    AsyncFal,
    Billing,
    Call,
    ConnectionLostError,
    Failed,
    InDoubtError,
    JournalError,
    ModelError,
    StructureError,
    Succeeded,
)
from fal_async.batch.journal.journal import Journal
from fal_async.emulator import Emulator, Fault, Model, RefusedError
from tests.support.virtual_time import in_virtual_time, turns

MODEL = "owner/app"


@attrs.define
class World:
    """An emulator, and a map that is run again and again on the same journal."""

    emu: Emulator
    journal: Path
    asked: list[Any] = attrs.field(factory=list)

    async def run(self, inputs: Any, *, model: str = MODEL, **options: Any) -> list[Any]:
        async with AsyncFal(hosts=self.emu.hosts) as fal:
            return await fal.map(model, inputs, journal=self.journal, **options).collect()


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    asked: list[Any] = []

    def echo(content: Any) -> Any:
        asked.append(content)
        if content.get("refuse"):
            raise RefusedError("content_policy_violation", billed=content["refuse"] == "billed")
        return {"echo": content, "nth": len(asked)}

    model = Model(id=MODEL, function=echo)
    async with Emulator(models=[model, Model(id="other/app", function=echo)]) as emu:
        yield World(emu, tmp_path / "run.sqlite", asked)


def numbers(*values: int) -> list[dict[str, int]]:
    return [{"n": value} for value in values]


async def test_what_was_answered_comes_from_the_journal_and_is_not_called_again(
    world: World,
) -> None:
    first = await world.run(numbers(0, 1, 2))
    again = await world.run(numbers(0, 1, 2))
    assert len(world.asked) == 3
    for old, new in zip(first, again, strict=True):
        assert isinstance(new, Succeeded)
        assert (old.replayed, new.replayed) == (False, True)
        for fact in ("index", "input", "output", "request_id", "attempts", "billable_units"):
            assert getattr(new, fact) == getattr(old, fact)
        assert new.elapsed == pytest.approx(old.elapsed)


async def test_inputs_may_be_added_reordered_and_repeated(world: World) -> None:
    first = await world.run(numbers(0, 1, 1))
    again = await world.run(numbers(1, 2, 1, 0, 1))
    assert [outcome.output["echo"]["n"] for outcome in again] == [1, 2, 1, 0, 1]
    assert [outcome.replayed for outcome in again] == [True, False, True, True, False]
    assert len(world.asked) == 5
    ones = {outcome.request_id for outcome in again if outcome.output["echo"]["n"] == 1}
    assert {outcome.request_id for outcome in first[1:]} < ones
    assert len(ones) == 3


async def test_the_order_of_names_makes_no_difference_and_an_option_does(world: World) -> None:
    await world.run([{"a": 1, "b": {"c": 2, "d": 3}}])
    await world.run([{"b": {"d": 3, "c": 2}, "a": 1}])
    assert len(world.asked) == 1
    for other in ({"a": True, "b": {"c": 2, "d": 3}}, {"a": 1.0, "b": {"c": 2, "d": 3}}):
        await world.run([other])
    await world.run([Call({"a": 1, "b": {"c": 2, "d": 3}}, hint="x")])
    assert len(world.asked) == 4
    await world.run([Call({"a": 1, "b": {"c": 2, "d": 3}}, timeout=9.0)])
    assert len(world.asked) == 4


async def test_a_failure_that_was_not_billed_is_called_again_and_any_other_is_told_again(
    world: World,
) -> None:
    inputs = [{"refuse": "billed"}, {"refuse": "free"}]
    first = await world.run(inputs)
    assert [outcome.billing for outcome in first] == [Billing.BILLED, Billing.NOT_BILLED]
    billed, free = await world.run(inputs)
    assert [content["refuse"] for content in world.asked] == ["billed", "free", "free"]
    assert isinstance(billed, Failed)
    assert (billed.replayed, free.replayed) == (True, False)
    assert isinstance(billed.error, ModelError)
    assert str(billed.error) == str(first[0].error)
    assert billed.error.details == first[0].error.details
    assert billed.request_id == first[0].request_id


async def test_a_lost_answer_is_told_again_and_not_sent_again(world: World) -> None:
    world.emu.faults.add(Fault(kind="close", times=1))
    first = (await world.run(numbers(1)))[0]
    assert isinstance(first.error, ConnectionLostError)
    again = (await world.run(numbers(1)))[0]
    assert isinstance(again.error, ConnectionLostError)
    assert again.billing is Billing.UNKNOWN
    assert len(world.asked) == 1


@attrs.frozen
class Wrong:
    missing: int


@attrs.frozen
class Right:
    nth: int


async def test_an_answer_that_did_not_structure_is_kept_and_structured_again(world: World) -> None:
    first = (await world.run(numbers(1), result_type=Wrong))[0]
    assert isinstance(first.error, StructureError)
    again = (await world.run(numbers(1), result_type=Wrong))[0]
    assert isinstance(again.error, StructureError)
    assert again.error.value == {"echo": {"n": 1}, "nth": 1}
    assert again.replayed
    right = (await world.run(numbers(1), result_type=Right))[0]
    assert right.output == Right(1)
    assert len(world.asked) == 1


async def test_bad_input_is_told_each_time(world: World) -> None:
    for _ in range(2):
        assert [outcome.ok for outcome in await world.run([3, {"n": 1}])] == [False, True]
    assert len(world.asked) == 1


async def test_equal_inputs_may_share_a_call_now_and_in_the_next_run(world: World) -> None:
    for _ in range(2):
        results = await world.run(numbers(1, 1, 1), coalesce=True)
        assert [outcome.output["nth"] for outcome in results] == [1, 1, 1]
        assert [outcome.billing for outcome in results[1:]] == [Billing.NOT_BILLED] * 2
        assert all(outcome.replayed for outcome in results[1:])
    assert len(world.asked) == 1


async def test_the_queue_and_direct_calls_may_take_turns(world: World) -> None:
    first = await world.run(numbers(0, 1), durable=True)
    again = await world.run(numbers(0, 1, 2))
    last = await world.run(numbers(0, 1, 2), durable=True)
    assert [outcome.request_id for outcome in again[:2]] == [o.request_id for o in first]
    assert all(outcome.replayed for outcome in last)
    assert len(world.asked) == 3


# --- interrupted ----------------------------------------------------------------------------------------


def endless() -> Iterator[dict[str, int]]:
    return ({"n": n} for n in count())


def four_quick_ones() -> Model:
    return Model(
        id=MODEL,
        function=lambda content: content,
        run_time=lambda content: 1.0 if content["n"] < 4 else 50.0,
    )


async def left_in_the_middle(journal: Path, emu: Emulator, **options: Any) -> int:
    """A map that is left while three of its calls are in flight; how many it had taken."""
    async with (
        AsyncFal(hosts=emu.hosts, limit=3) as fal,
        fal.map(MODEL, endless(), journal=journal, **options) as outcomes,
    ):
        for _ in range(4):
            await anext(outcomes)
        operation = "submit" if options.get("durable") else "run"
        await emu.until(lambda: emu.in_flight == 3 and emu.requests[operation] == outcomes.taken)
        await turns()
        return outcomes.taken


@in_virtual_time
async def test_direct_calls_that_were_cut_off_are_in_doubt_and_left_alone_unless_told(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    journal = tmp_path_factory.mktemp("journal") / "run.sqlite"
    async with Emulator(models=[four_quick_ones()], limit=3) as emu:
        taken = await left_in_the_middle(journal, emu)
        await emu.until(lambda: emu.in_flight == 0)
        before = emu.received
        inputs = [{"n": n} for n in range(taken)]
        world = World(emu, journal)
        for _ in range(2):
            results = await world.run(inputs)
            doubtful = [outcome for outcome in results if not outcome.ok]
            assert len(doubtful) == 3
            for outcome in doubtful:
                assert isinstance(outcome.error, InDoubtError)
                assert outcome.billing is Billing.UNKNOWN
                assert outcome.error.intended_at
            assert emu.received == before
        results = await world.run(inputs, in_doubt="retry")
        assert all(outcome.ok for outcome in results)
        assert emu.received == before + 3


@in_virtual_time
async def test_queued_requests_are_collected_by_their_id(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    journal = tmp_path_factory.mktemp("journal") / "run.sqlite"
    async with Emulator(models=[four_quick_ones()], limit=3) as emu:
        taken = await left_in_the_middle(journal, emu, durable=True, in_flight=6)
        submitted = emu.requests["submit"]
        results = await World(emu, journal).run([{"n": n} for n in range(taken)], durable=True)
        assert all(outcome.ok for outcome in results)
        assert [outcome.output["n"] for outcome in results] == list(range(taken))
        assert emu.requests["submit"] == submitted
        assert len(list(emu.ledger)) == taken


@in_virtual_time
async def test_a_request_whose_id_comes_while_its_map_is_left_is_collected_too(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    journal = tmp_path_factory.mktemp("journal") / "run.sqlite"
    model = Model(id=MODEL, function=lambda content: content)
    async with Emulator(models=[model]) as emu:
        emu.faults.add(Fault(kind="slow", operation="submit", seconds=2.0))
        async with (
            AsyncFal(hosts=emu.hosts) as fal,
            fal.map(MODEL, [{"n": 7}], journal=journal, durable=True) as outcomes,
        ):
            await emu.until(lambda: emu.requests["submit"] == 1)
        assert outcomes.leftover[0].request_id
        (outcome,) = await World(emu, journal).run([{"n": 7}], durable=True)
        assert outcome.ok
        assert outcome.request_id == outcomes.leftover[0].request_id
        assert emu.requests["submit"] == 1


@in_virtual_time
async def test_queued_requests_that_were_cancelled_on_leaving_are_called_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    journal = tmp_path_factory.mktemp("journal") / "run.sqlite"
    async with Emulator(models=[four_quick_ones()], limit=3) as emu:
        taken = await left_in_the_middle(
            journal, emu, durable=True, cancel_on_exit=True, in_flight=6
        )
        results = await World(emu, journal).run([{"n": n} for n in range(taken)], durable=True)
        assert all(outcome.ok for outcome in results)
        assert [outcome.output["n"] for outcome in results] == list(range(taken))
        charged = [execution for execution in emu.ledger if execution.billed]
        assert len(charged) == taken


# --- a journal that cannot be used ----------------------------------------------------------------------


async def test_a_journal_of_another_model_is_refused_and_nothing_is_sent(world: World) -> None:
    await world.run(numbers(1))
    with pytest.raises(JournalError, match="owner/app"):
        await world.run(numbers(1), model="other/app")
    assert len(world.asked) == 1


async def test_a_journal_in_use_is_refused(world: World) -> None:
    async with (
        AsyncFal(hosts=world.emu.hosts) as fal,
        fal.map(MODEL, numbers(1), journal=world.journal) as outcomes,
    ):
        with pytest.raises(JournalError, match="use"):
            await world.run(numbers(1))
        assert [outcome.ok async for outcome in outcomes] == [True]


async def test_a_journal_that_can_no_longer_be_written_stops_the_map_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Journal.ended

    async def full(self: Journal, ticket: Any, answer: Any) -> None:
        if b'"n":3' in answer.body:
            raise JournalError("the disk is full")
        await real(self, ticket, answer)

    monkeypatch.setattr(Journal, "ended", full)
    async with AsyncFal(hosts=world.emu.hosts, limit=1) as fal:
        outcomes = fal.map(MODEL, endless(), journal=world.journal)
        with pytest.raises(JournalError, match="full"):
            await outcomes.collect()
    found = outcomes.leftover
    assert [outcome.output["echo"]["n"] for outcome in found][:4] == [0, 1, 2, 3]
    assert len(found) == len(world.asked)
    assert len(found) < 8


async def test_leaving_is_not_held_up_by_the_journal(world: World) -> None:
    async with AsyncFal(hosts=world.emu.hosts) as fal:
        task = asyncio.create_task(fal.map(MODEL, endless(), journal=world.journal).collect())
        await world.emu.until(lambda: world.emu.received > 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
