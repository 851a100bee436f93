"""A map that is stopped writes nothing more to the network, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fal_async import (
    AsyncFal,
    Billing,
    ConnectionLostError,
    Failed,
    InDoubtError,
    InterruptedCallError,
    LocalFile,
    Outcomes,
    Reconcile,
    RetryPolicy,
    ServerError,
)
from fal_async.emulator import Emulator, Fault, Model
from tests.batch.test_map_reconcile import killed_with
from tests.support.virtual_time import in_virtual_time, seconds, turns

MODEL = "owner/app"
PICTURE = LocalFile(b"a picture")


def service(**settings: Any) -> Emulator:
    model = Model(id=MODEL, function=lambda content: content, run_time=settings.pop("run_time", 1))
    return Emulator(models=[model], **settings)


def numbers(most: int) -> list[dict[str, int]]:
    return [{"n": n} for n in range(most)]


def endless() -> Iterator[dict[str, int]]:
    for n in count():
        yield {"n": n}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "run.sqlite"


async def stopped(outcomes: Outcomes[Any], emu: Emulator) -> list[Any]:
    """What lands after a stop; nothing else is sent."""
    before = emu.received
    outcomes.stop()
    landed = [outcome async for outcome in outcomes]
    await seconds(600)
    assert emu.received == before
    return landed


def check_unsent(outcomes: Outcomes[Any], landed: list[Any]) -> None:
    """All that did not land is left over, and cost nothing."""
    ended = [outcome.index for outcome in (*landed, *outcomes.leftover)]
    assert sorted(ended) == list(range(outcomes.taken))
    for outcome in outcomes.leftover:
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, InterruptedCallError)
        assert outcome.billing is Billing.NOT_BILLED
        assert outcome.input == {"n": outcome.index}


async def resumed(emu: Emulator, journal: Path, inputs: Any, **options: Any) -> list[int]:
    """What the same map gives, run again: every input answered."""
    async with AsyncFal(hosts=emu.hosts) as fal:
        results = await fal.map(MODEL, inputs, journal=journal, **options).collect()
    assert all(outcome.ok for outcome in results), results
    return [outcome.output["n"] for outcome in results if outcome.ok]


# --- direct calls ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_calls_that_were_refused_are_not_sent_again(journal: Path) -> None:
    go = asyncio.Event()

    async def held(content: Any) -> Any:
        await go.wait()  # not for a time: it jumps on while the journal's thread is at work
        return content

    async with Emulator(models=[Model(id=MODEL, function=held)], limit=2) as emu:
        async with (
            AsyncFal(hosts=emu.hosts, limit=5) as fal,
            fal.map(MODEL, endless(), journal=journal) as outcomes,
        ):
            await emu.until(lambda: emu.received >= 4)
            await seconds(7.7)
            assert emu.in_flight == 2
            assert outcomes.in_flight > 2  # and all of them have been sent at least once
            outcomes.stop()
            go.set()
            landed = await stopped(outcomes, emu)
        assert len(landed) == 2
        check_unsent(outcomes, landed)
        inputs = numbers(outcomes.taken)
        assert await resumed(emu, journal, inputs) == list(range(len(inputs)))
        assert len(emu.ledger) == len(inputs)


@in_virtual_time
async def test_a_call_that_is_refused_after_the_stop_is_not_sent_again(journal: Path) -> None:
    async with service() as emu:
        emu.faults.add(Fault(kind="too_many_requests", nth=2))
        emu.faults.add(Fault(kind="slow", nth=2, seconds=5.0))
        async with (
            AsyncFal(hosts=emu.hosts, limit=2) as fal,
            fal.map(MODEL, endless(), journal=journal) as outcomes,
        ):
            await emu.until(lambda: emu.received == 2)
            (landed,) = await stopped(outcomes, emu)
        assert landed.ok
        assert len(outcomes.leftover) == 1
        assert outcomes.leftover[0].billing is Billing.NOT_BILLED
        assert await resumed(emu, journal, numbers(2)) == [0, 1]


@in_virtual_time
async def test_without_a_brake_refused_calls_are_not_sent_again_either(journal: Path) -> None:
    async with service(limit=2) as emu:
        async with (
            AsyncFal(hosts=emu.hosts, limit=None) as fal,
            fal.map(MODEL, numbers(4), journal=journal) as outcomes,
        ):
            await emu.until(lambda: emu.received == 4)
            await turns(50)
            landed = await stopped(outcomes, emu)
        assert sorted(outcome.output["n"] for outcome in landed) == [0, 1]
        check_unsent(outcomes, landed)
        assert await resumed(emu, journal, numbers(4)) == [0, 1, 2, 3]


AGAIN = RetryPolicy(backoff=1e9, backoff_max=1e9, budget=1e9, resend=["server_error"])


@in_virtual_time
async def test_a_call_that_waits_to_be_sent_again_is_not_sent_again(journal: Path) -> None:
    async with service() as emu:
        emu.faults.add(Fault(kind="runner_server_error", nth=1))
        async with (
            AsyncFal(hosts=emu.hosts) as fal,
            fal.map(MODEL, numbers(1), journal=journal, retry=AGAIN) as outcomes,
        ):
            await emu.until(lambda: emu.received == 1)
            await seconds(5)
            assert emu.received == outcomes.in_flight == 1
            assert await stopped(outcomes, emu) == []
        check_unsent(outcomes, [])
        assert await resumed(emu, journal, numbers(1)) == [0]


@in_virtual_time
async def test_a_failure_that_lands_after_the_stop_is_an_outcome_and_not_sent_again(
    journal: Path,
) -> None:
    async with service() as emu:
        emu.faults.add(Fault(kind="runner_server_error", nth=1, ran=True))
        async with (
            AsyncFal(hosts=emu.hosts) as fal,
            fal.map(MODEL, numbers(1), journal=journal, retry=AGAIN) as outcomes,
        ):
            await emu.until(lambda: emu.in_flight == 1)
            (failed,) = await stopped(outcomes, emu)
        assert isinstance(failed.error, ServerError)
        assert (failed.attempts, failed.billing) == (1, Billing.NOT_BILLED)
        assert outcomes.leftover == ()
        assert await resumed(emu, journal, numbers(1)) == [0]


@in_virtual_time
async def test_a_send_that_may_have_been_billed_is_not_forgotten_with_the_next_one(
    journal: Path,
) -> None:
    lost = RetryPolicy(backoff=1e9, backoff_max=1e9, budget=1e9, resend=["lost"])
    async with service() as emu:
        emu.faults.add(Fault(kind="close", nth=1))
        async with (
            AsyncFal(hosts=emu.hosts) as fal,
            fal.map(MODEL, numbers(1), journal=journal, retry=lost) as outcomes,
        ):
            await emu.until(lambda: emu.received == 1)
            await seconds(5)
            (failed,) = await stopped(outcomes, emu)
        assert isinstance(failed.error, ConnectionLostError)
        assert (failed.attempts, failed.billing) == (1, Billing.UNKNOWN)
        assert outcomes.leftover == ()
        async with AsyncFal(hosts=emu.hosts) as fal:
            (again,) = await fal.map(MODEL, numbers(1), journal=journal).collect()
        assert (again.replayed, again.billing) == (True, Billing.UNKNOWN)
        assert emu.received == 1


@in_virtual_time
async def test_files_go_up_no_further_and_their_call_is_not_made(journal: Path) -> None:
    async with service() as emu:
        emu.faults.add(Fault(kind="slow", operation="upload", seconds=50.0))
        async with (
            AsyncFal(hosts=emu.hosts) as fal,
            fal.map(MODEL, [{"n": 0, "image": PICTURE}], journal=journal) as outcomes,
        ):
            await emu.until(lambda: emu.requests["upload"] == 1)
            assert await stopped(outcomes, emu) == []
        assert [outcome.billing for outcome in outcomes.leftover] == [Billing.NOT_BILLED]
        assert emu.received == 0
        assert await resumed(emu, journal, [{"n": 0, "image": PICTURE}]) == [0]


@in_virtual_time
async def test_who_leaves_while_files_go_up_leaves_nothing_in_doubt(journal: Path) -> None:
    async with service() as emu:
        emu.faults.add(Fault(kind="slow", operation="upload", seconds=50.0))
        async with (
            AsyncFal(hosts=emu.hosts) as fal,
            fal.map(MODEL, [{"n": 0, "image": PICTURE}], journal=journal) as outcomes,
        ):
            await emu.until(lambda: emu.requests["upload"] == 1)
        assert [outcome.billing for outcome in outcomes.leftover] == [Billing.NOT_BILLED]
        assert await resumed(emu, journal, [{"n": 0, "image": PICTURE}]) == [0]


# --- at every instant -----------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [False, True], ids=["direct", "durable"])
@in_virtual_time
async def test_whenever_the_stop_comes_a_call_lands_or_was_never_sent(
    journal: Path, durable: bool
) -> None:
    unsent = landed = 0
    for after in range(-20, 40):
        path = journal.with_name(f"{after}.sqlite")
        async with service(run_time=0.01) as emu:
            async with (
                AsyncFal(hosts=emu.hosts) as fal,
                fal.map(MODEL, endless(), journal=path, durable=durable, in_flight=2) as outcomes,
            ):
                await turns(after + 20)
                while after >= 0 and not outcomes._making.stopping._stretches:
                    await turns(1)  # until the intent is on disk
                await turns(after)
                outcomes.stop()
                results = [outcome async for outcome in outcomes]
            assert all(outcome.ok for outcome in results)
            assert len(emu.ledger) == len(results)
            assert {outcome.billing for outcome in outcomes.leftover} <= {Billing.NOT_BILLED}
            assert len(results) + len(outcomes.leftover) == outcomes.taken
            unsent, landed = unsent + len(outcomes.leftover), landed + len(results)
            inputs = numbers(outcomes.taken)
            again = await resumed(emu, path, inputs, durable=durable)
            assert again == list(range(len(inputs)))
            assert len(emu.ledger) == len(inputs)
    assert unsent > 4
    assert landed > 4


# --- other ways -----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_submit_that_waits_to_be_sent_again_is_not_and_what_is_queued_lands(
    journal: Path,
) -> None:
    refused = RetryPolicy(backoff=1e9, backoff_max=1e9, budget=1e9, resend=["refused"])
    async with service() as emu:
        emu.faults.add(Fault(kind="too_many_requests", operation="submit", nth=2))
        async with (
            AsyncFal(hosts=emu.hosts) as fal,
            fal.map(
                MODEL, numbers(2), journal=journal, durable=True, retry=refused, ordered=True
            ) as outcomes,
        ):
            await emu.until(lambda: emu.requests["submit"] == 2)
            await turns(50)
            submitted = emu.requests["submit"]
            outcomes.stop()
            landed = [outcome async for outcome in outcomes]
            await seconds(600)
            assert emu.requests["submit"] == submitted
        assert len(landed) == 1
        check_unsent(outcomes, landed)
        assert await resumed(emu, journal, numbers(2), durable=True) == [0, 1]
        assert len(emu.ledger) == 2


@in_virtual_time
async def test_equal_inputs_share_the_end_of_a_call_that_was_not_sent() -> None:
    async with service(limit=1, run_time=50) as emu:
        inputs = [{"n": 0}, {"n": 1}, {"n": 1}, {"n": 1}]
        async with (
            AsyncFal(hosts=emu.hosts, limit=4) as fal,
            fal.map(MODEL, inputs, coalesce=True) as outcomes,
        ):
            await seconds(7.7)
            landed = await stopped(outcomes, emu)
        equal = {outcome.output["n"] for outcome in landed}
        assert len(equal) == len(emu.ledger) == 1
        left = {outcome.input["n"] for outcome in outcomes.leftover}
        assert not left & equal
        assert len(landed) + len(outcomes.leftover) == outcomes.taken
        for outcome in outcomes.leftover:
            assert isinstance(outcome, Failed)
            assert "stopped before" in str(outcome.error)


@in_virtual_time
async def test_calls_in_doubt_that_are_being_looked_for_stay_in_doubt(journal: Path) -> None:
    await killed_with(journal, {"n": 0})
    async with service() as emu:
        how = Reconcile(wait=3600)
        async with (
            AsyncFal(hosts=emu.hosts) as fal,
            fal.map(MODEL, numbers(1), journal=journal, in_doubt=how) as outcomes,
        ):
            await seconds(100)
            (told,) = await stopped(outcomes, emu)
        assert isinstance(told.error, InDoubtError)
        assert told.billing is Billing.UNKNOWN
        assert "when the map was stopped" in str(told.error)
        assert outcomes.leftover == ()
        async with AsyncFal(hosts=emu.hosts) as fal:
            (still,) = await fal.map(MODEL, numbers(1), journal=journal).collect()
        assert isinstance(still.error, InDoubtError)


@in_virtual_time
async def test_what_the_journal_knows_is_given_out_after_a_stop_as_well(journal: Path) -> None:
    async with service() as emu:
        await resumed(emu, journal, numbers(1))
        async with (
            AsyncFal(hosts=emu.hosts) as fal,
            fal.map(MODEL, numbers(1), journal=journal) as outcomes,
        ):
            while not outcomes.taken:
                await turns(1)
            (known,) = await stopped(outcomes, emu)
        assert known.replayed


@in_virtual_time
async def test_an_input_that_waits_for_a_slot_is_left_over(journal: Path) -> None:
    read = asyncio.Event()

    async def slow() -> AsyncIterator[dict[str, int]]:
        await seconds(5)
        read.set()
        yield {"n": 0}

    async with service(run_time=50, limit=1) as emu, AsyncFal(hosts=emu.hosts, limit=1) as fal:
        async with fal.map(MODEL, slow(), journal=journal) as outcomes:
            await seconds(1)  # as long as no slot is kept for an input that does not come
            other = asyncio.create_task(fal.run(MODEL, {}))
            await read.wait()
            await turns()
            assert (outcomes.taken, outcomes.in_flight) == (1, 0)
            outcomes.stop()
            assert [outcome async for outcome in outcomes] == []
        check_unsent(outcomes, [])
        await other


@in_virtual_time
async def test_a_map_that_is_stopped_as_it_is_entered_ends_at_once() -> None:
    async with (
        service() as emu,
        AsyncFal(hosts=emu.hosts) as fal,
        fal.map(MODEL, endless()) as outcomes,
    ):
        outcomes.stop()
        outcomes.stop()
        async with asyncio.timeout(50):
            assert [outcome async for outcome in outcomes] == []
        assert outcomes.taken == emu.received == 0


@in_virtual_time
async def test_who_leaves_in_the_moment_of_the_stop_leaves_nothing_behind() -> None:
    async with service(limit=2, run_time=100) as emu, AsyncFal(hosts=emu.hosts, limit=5) as fal:
        with suppress(KeyError):
            async with fal.map(MODEL, endless()) as outcomes:
                await seconds(7.7)
                outcomes.stop()
                raise KeyError
        costs = sorted(outcome.billing for outcome in outcomes.leftover)
        assert costs[-2:] == [Billing.UNKNOWN] * 2
        assert set(costs[:-2]) == {Billing.NOT_BILLED}
        assert len(costs) == outcomes.taken
        assert fal.limits is not None
        assert (fal.limits.in_flight, fal.limits.waiting) == (0, 0)


async def test_who_makes_the_inputs_may_tidy_up_however_often_it_is_stopped() -> None:
    tidying, tidied = asyncio.Event(), asyncio.Event()

    async def inputs() -> AsyncIterator[dict[str, int]]:
        yield {"n": 0}
        try:
            await asyncio.Event().wait()
        finally:
            tidying.set()
            await turns()
            tidied.set()

    async with (
        service(run_time=0) as emu,
        AsyncFal(hosts=emu.hosts) as fal,
        fal.map(MODEL, inputs()) as outcomes,
    ):
        await anext(outcomes)
        outcomes.stop()
        await tidying.wait()
        outcomes.stop()
        assert [outcome async for outcome in outcomes] == []
        assert tidied.is_set()


@pytest.mark.parametrize("leaves", [False, True])
async def test_inputs_that_swallow_a_cancellation_are_taken_no_further(leaves: bool) -> None:
    async def inputs() -> AsyncIterator[dict[str, int]]:
        for n in count():
            yield {"n": n}
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async with service(run_time=0) as emu, AsyncFal(hosts=emu.hosts) as fal:
        async with asyncio.timeout(5), fal.map(MODEL, inputs()) as outcomes:
            landed = [await anext(outcomes)]
            if not leaves:
                outcomes.stop()
                landed += [outcome async for outcome in outcomes]
        check_unsent(outcomes, landed)
        assert emu.received == 1
