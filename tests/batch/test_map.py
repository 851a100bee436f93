"""A map: as many calls as there are slots, an outcome for each input, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import attrs
import pytest

from fal_async import (
    AsyncFal,
    Billing,
    Call,
    Failed,
    InputError,
    InterruptedCallError,
    MissingKeyError,
    ModelError,
    SessionError,
    StructureError,
    Succeeded,
)
from fal_async.emulator import Emulator, Model, RefusedError
from tests.support.virtual_time import in_virtual_time, seconds, turns

MODEL = "owner/app"


def echo(content: Any) -> Any:
    if content.get("fail"):
        raise RefusedError("content_policy_violation")
    return {"ok": True, "echo": content}


def service(**settings: Any) -> Emulator:
    model = {name: settings.pop(name) for name in ("run_time", "function") if name in settings}
    return Emulator(models=[Model(id=MODEL, **{"function": echo, **model})], **settings)


def numbers(most: int) -> list[dict[str, Any]]:
    return [{"n": n} for n in range(most)]


def n_of(outcome: Any) -> int:
    return int(outcome.output["echo"]["n"])


# --- outcomes -------------------------------------------------------------------------------------------


async def test_every_input_has_one_outcome_that_tells_all_of_its_call() -> None:
    async with service() as emu, AsyncFal(hosts=emu.hosts) as fal:
        results = await fal.map(MODEL, numbers(30)).collect()
        assert [outcome.index for outcome in results] == list(range(30))
        for outcome in results:
            assert isinstance(outcome, Succeeded)
            assert outcome.ok
            assert n_of(outcome) == outcome.index
            assert outcome.input == {"n": outcome.index}
            assert outcome.request_id
            assert (outcome.attempts, outcome.billing) == (1, Billing.BILLED)
            assert outcome.elapsed > 0
            assert outcome.billable_units == 1
        assert len({outcome.request_id for outcome in results}) == 30


async def test_a_failure_is_an_outcome_and_stops_nobody() -> None:
    inputs = [{"n": 0}, {"fail": True}, {"n": float("nan")}, "no input", {"n": 4}]
    async with service() as emu, AsyncFal(hosts=emu.hosts) as fal:
        results = await fal.map(MODEL, inputs).collect()
    assert [outcome.ok for outcome in results] == [True, False, False, False, True]
    refused, not_a_number, no_input = results[1:4]
    assert isinstance(refused, Failed)
    assert isinstance(refused.error, ModelError)
    assert refused.billing is refused.error.billing
    assert refused.request_id
    for outcome in (not_a_number, no_input):
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, InputError)
        assert (outcome.attempts, outcome.billing) == (0, Billing.NOT_BILLED)


@attrs.frozen
class Echo:
    n: int


@attrs.frozen
class Output:
    ok: bool
    echo: Echo


async def test_outputs_and_inputs_are_of_the_callers_own_types() -> None:
    async with service() as emu, AsyncFal(hosts=emu.hosts) as fal:
        results = await fal.map(MODEL, [Echo(1), {"n": "x"}], result_type=Output).collect()
    good, paid = results
    assert isinstance(good, Succeeded)
    assert good.output == Output(ok=True, echo=Echo(1))
    assert good.input == Echo(1)
    assert isinstance(paid, Failed)
    assert isinstance(paid.error, StructureError)
    assert paid.error.value["echo"] == {"n": "x"}
    assert paid.billing is Billing.BILLED


@in_virtual_time
async def test_outcomes_come_as_they_finish_or_in_the_order_of_the_inputs() -> None:
    async with (
        service(run_time=lambda content: 10 - content["n"]) as emu,
        AsyncFal(hosts=emu.hosts) as fal,
    ):
        for ordered, expected in ((False, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]), (True, list(range(10)))):
            async with fal.map(MODEL, numbers(10), ordered=ordered) as outcomes:
                assert [n_of(outcome) async for outcome in outcomes] == expected


async def test_an_input_may_carry_options_that_win_over_those_of_the_map() -> None:
    seen: list[str | None] = []

    def look(content: Any, call: Any) -> Any:
        seen.append(call.headers.get("x-fal-runner-hint"))
        return {}

    inputs = [{}, Call({}, hint="own"), Call({}, nonsense=1)]
    async with service(function=look) as emu, AsyncFal(hosts=emu.hosts) as fal:
        results = await fal.map(MODEL, inputs, hint="all").collect()
    assert sorted(seen, key=str) == ["all", "own"]
    assert isinstance(results[2], Failed)
    assert "nonsense" in str(results[2].error)
    assert "own" not in repr(inputs[1])


async def test_what_no_call_could_be_made_with_is_told_at_once() -> None:
    fal = AsyncFal("key")
    with pytest.raises(InputError, match="model"):
        fal.map("no model id", [])
    for inputs in ({"prompt": "a single one"}, "text", 3):
        with pytest.raises(InputError, match="inputs is"):
            fal.map(MODEL, inputs)  # type: ignore[arg-type]
    for settings in ({"in_flight": 0}, {"stop_after_errors": True}, {"in_doubt": "guess"}):
        with pytest.raises(InputError):
            fal.map(MODEL, [], **settings)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_update"):
        fal.map(MODEL, [], on_update=print)
    await fal.close()


async def test_the_queue_serves_a_map_as_well() -> None:
    async with service(limit=1) as emu, AsyncFal(hosts=emu.hosts) as fal:
        inputs = [*numbers(8), {"fail": True}, Call({"n": 9}, priority="low")]
        results = await fal.map(MODEL, inputs, durable=True).collect()
        assert emu.requests["submit"] == 10
        assert emu.requests["run"] == 0
    assert [outcome.ok for outcome in results] == [True] * 8 + [False, True]
    assert [outcome.attempts for outcome in results] == [1] * 10


# --- inputs ---------------------------------------------------------------------------------------------


def endless(taken: list[int]) -> Iterator[dict[str, int]]:
    for n in count():
        taken.append(n)
        yield {"n": n}


async def endless_later(taken: list[int]) -> AsyncIterator[dict[str, int]]:
    try:
        for item in endless(taken):
            yield item
    finally:
        taken.append(-1)


@in_virtual_time
async def test_an_input_is_taken_when_there_is_a_slot_for_it_and_not_before() -> None:
    for source in (endless, endless_later):
        taken: list[int] = []
        async with (
            service(run_time=1.0, limit=3) as emu,
            AsyncFal(hosts=emu.hosts, limit=3) as fal,
            fal.map(MODEL, source(taken)) as outcomes,
        ):
            await emu.until(lambda: emu.in_flight == 3)
            await turns()
            assert taken == [0, 1, 2]
            assert {n_of(await anext(outcomes)) for _ in range(3)} == {0, 1, 2}
            await emu.until(lambda: emu.in_flight == 3)
            await turns()
            assert taken == [0, 1, 2, 3, 4, 5]
            assert (outcomes.taken, outcomes.in_flight) == (6, 3)
        assert taken[6:] == ([] if source is endless else [-1])  # an async generator is closed


@in_virtual_time
async def test_a_slow_consumer_holds_the_inputs_back() -> None:
    taken: list[int] = []
    async with (
        service() as emu,
        AsyncFal(hosts=emu.hosts, limit=4) as fal,
        fal.map(MODEL, endless(taken)) as outcomes,
    ):
        await seconds(60)
        held = len(taken)
        assert 200 < held < 300
        await seconds(60)
        assert len(taken) == held
        for _ in range(50):
            await anext(outcomes)
        await seconds(60)
        assert (
            abs(len(taken) - held - 50) <= 4
        )  # as many as were taken out, but for those in flight


@in_virtual_time
async def test_never_more_are_under_way_than_asked_for() -> None:
    for settings in ({}, {"durable": True}):
        async with (
            service(run_time=1.0) as emu,
            AsyncFal(hosts=emu.hosts, limit=None) as fal,
        ):
            await fal.map(MODEL, numbers(20), in_flight=4, **settings).collect()  # type: ignore[arg-type]
            assert emu.peak_in_flight == 4


@in_virtual_time
async def test_two_maps_on_a_session_share_its_slots_evenly() -> None:
    async with (
        service(run_time=1.0, limit=10) as emu,
        AsyncFal(hosts=emu.hosts, limit=10) as fal,
        fal.map(MODEL, endless([])) as first,
    ):
        await emu.until(lambda: emu.in_flight == 10)
        async with fal.map(MODEL, endless([])) as second:

            async def drain(outcomes: Any) -> None:
                async for _ in outcomes:
                    pass

            drains = [asyncio.create_task(drain(outcomes)) for outcomes in (first, second)]
            await seconds(20.5)
            assert abs(first.in_flight - second.in_flight) <= 2
            for task in drains:
                task.cancel()
            await asyncio.gather(*drains, return_exceptions=True)


@in_virtual_time
async def test_a_source_that_lets_wait_gives_its_slot_to_others_meanwhile() -> None:
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[dict[str, int]]:
        await gate.wait()
        yield {"n": 1}

    async with (
        service(limit=1) as emu,
        AsyncFal(hosts=emu.hosts, limit=1) as fal,
        fal.map(MODEL, slow()) as outcomes,
    ):
        await turns()
        assert await fal.run(MODEL, {"n": 2})
        gate.set()
        assert [n_of(outcome) async for outcome in outcomes] == [1]


@in_virtual_time
async def test_a_source_that_breaks_is_told_after_what_is_in_flight_has_landed() -> None:
    def broken() -> Iterator[dict[str, int]]:
        yield from numbers(3)
        raise LookupError("no more rows")

    async with service(run_time=1.0) as emu, AsyncFal(hosts=emu.hosts) as fal:
        async with fal.map(MODEL, broken(), ordered=True) as outcomes:
            found = [n_of(await anext(outcomes)) for _ in range(3)]
            with pytest.raises(LookupError, match="no more rows"):
                await anext(outcomes)
        assert found == [0, 1, 2]


# --- the end --------------------------------------------------------------------------------------------


@in_virtual_time
async def test_leaving_the_block_ends_what_is_in_flight_and_says_what_it_may_have_cost() -> None:
    async with service(run_time=10.0, limit=3) as emu, AsyncFal(hosts=emu.hosts, limit=3) as fal:
        async with fal.map(MODEL, endless([])) as outcomes:
            await emu.until(lambda: emu.in_flight == 3)
            await turns()
        assert not [task for task in asyncio.all_tasks() if "fal_async/batch" in repr(task)]
        assert [type(outcome) for outcome in outcomes.leftover] == [Failed] * 3
        for outcome in outcomes.leftover:
            assert isinstance(outcome, Failed)
            assert isinstance(outcome.error, InterruptedCallError)
            assert outcome.billing is Billing.UNKNOWN
        limits = fal.limits
        assert limits is not None
        assert (limits.in_flight, limits.waiting) == (0, 0)


async def test_what_had_finished_and_nobody_took_is_left_over() -> None:
    async with service() as emu, AsyncFal(hosts=emu.hosts) as fal:
        async with fal.map(MODEL, numbers(20), ordered=True) as outcomes:
            await anext(outcomes)
            await emu.until(lambda: emu.received == 20)
            while outcomes.in_flight:
                await turns(1)
        assert sorted(outcome.index for outcome in outcomes.leftover) == list(range(1, 20))


@in_virtual_time
async def test_stopping_takes_no_more_and_lets_the_flying_ones_land() -> None:
    taken: list[int] = []
    async with service(run_time=1.0, limit=3) as emu, AsyncFal(hosts=emu.hosts, limit=3) as fal:
        async with fal.map(MODEL, endless_later(taken)) as outcomes:
            await anext(outcomes)
            outcomes.stop()
            rest = [outcome async for outcome in outcomes]
        assert all(outcome.ok for outcome in rest)
        assert len(rest) + 1 + len(outcomes.leftover) == outcomes.taken
        assert taken[-1] == -1
        assert len(emu.ledger) == len(rest) + 1


@in_virtual_time
async def test_after_so_many_errors_no_more_inputs_are_taken() -> None:
    def some_bad() -> Iterator[dict[str, Any]]:
        for n in count():
            yield {"n": n, "fail": n in {3, 5}}

    async with service(run_time=1.0, limit=2) as emu, AsyncFal(hosts=emu.hosts, limit=2) as fal:
        results = await fal.map(MODEL, some_bad(), stop_after_errors=2).collect()
        assert sum(not outcome.ok for outcome in results) == 2
        assert 6 <= len(results) <= 8


@in_virtual_time
async def test_the_first_error_is_raised_if_asked_for_and_what_had_come_is_kept() -> None:
    inputs = [{"n": 0}, {"fail": True}, *numbers(5)]
    async with service(run_time=1.0, limit=1) as emu, AsyncFal(hosts=emu.hosts, limit=1) as fal:
        outcomes = fal.map(MODEL, inputs, raise_on_error=True)
        with pytest.raises(ModelError):
            await outcomes.collect()
        kept = outcomes.leftover
        assert [outcome.index for outcome in kept if outcome.ok] == [0]
        assert emu.received <= 3


@in_virtual_time
async def test_a_cancelled_consumer_leaves_nothing_behind() -> None:
    async with service(run_time=10.0, limit=3) as emu, AsyncFal(hosts=emu.hosts, limit=3) as fal:
        task = asyncio.create_task(fal.map(MODEL, endless([])).collect())
        await emu.until(lambda: emu.in_flight == 3)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        await emu.until(lambda: emu.in_flight == 0 or emu.time > 100)
        assert fal.limits is not None
        assert fal.limits.in_flight == 0


@in_virtual_time
async def test_a_closed_session_ends_its_maps() -> None:
    async with service(run_time=10.0, limit=3) as emu:
        fal = AsyncFal(hosts=emu.hosts, limit=3)
        async with fal.map(MODEL, endless([])) as outcomes:
            await emu.until(lambda: emu.in_flight == 3)
            await turns()
            await fal.close()
            landed = [await anext(outcomes) for _ in range(3)]
            with pytest.raises(SessionError, match="closed"):
                await anext(outcomes)
            assert [outcome.billing for outcome in landed] == [Billing.UNKNOWN] * 3


async def test_without_a_key_no_input_is_taken() -> None:
    taken: list[int] = []
    async with AsyncFal(lambda: None) as fal:  # type: ignore[arg-type,return-value]
        outcomes = fal.map(MODEL, endless(taken))
        with pytest.raises(MissingKeyError):
            await outcomes.collect()
    assert taken == []


async def test_a_map_runs_once_and_is_entered_first() -> None:
    async with service() as emu, AsyncFal(hosts=emu.hosts) as fal:
        outcomes = fal.map(MODEL, numbers(1))
        with pytest.raises(SessionError, match="entered"):
            await anext(outcomes)
        await outcomes.collect()
        with pytest.raises(SessionError, match="once"):
            await outcomes.collect()


async def test_an_outcome_shows_neither_input_nor_output() -> None:
    async with service() as emu, AsyncFal(hosts=emu.hosts) as fal:
        results = await fal.map(MODEL, [{"n": "secret"}, {"n": "secret", "fail": 1}]).collect()
    assert "secret" not in repr(results)


async def test_the_calls_own_generator_is_closed_in_the_task_that_ran_it() -> None:
    tasks: list[Any] = []

    async def rows() -> AsyncIterator[dict[str, int]]:
        tasks.append(asyncio.current_task())
        try:
            yield {"n": 1}
            tasks.append(asyncio.current_task())
            yield {"n": 2}
        finally:
            tasks.append(asyncio.current_task())

    async with (
        service() as emu,
        AsyncFal(hosts=emu.hosts) as fal,
        fal.map(MODEL, rows()) as outcomes,
    ):
        assert len([outcome async for outcome in outcomes]) == 2
    assert len(set(tasks)) == 1
