"""Calls in doubt are put to fal's history together, and called again only if it says they never ran."""

from __future__ import annotations

import asyncio
import json
import time  # noqa: TID251 - intents were written just now
from collections.abc import AsyncIterator, Callable, Container, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from fal_async import (
    AccessDeniedError,
    AsyncFal,
    Billing,
    InDoubtError,
    ModelError,
    Reconcile,
    ResultGoneError,
)
from fal_async.batch.identity import call_key
from fal_async.batch.journal.journal import Journal
from fal_async.emulator import Emulator, HistorySettings, Model, RefusedError
from fal_async.protocol.history import Ended, HistoryItem, OutputGone
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.reconciling import Doubt, Doubtful, Found, NotFound, Unknown
from tests.support.virtual_time import in_virtual_time, turns

MODEL = "owner/app"


async def killed_with(path: Path, *inputs: dict[str, Any], model: str = MODEL) -> None:
    """A journal as a program leaves it that was killed when it was about to send these."""
    journal = await Journal.open(path, model=model, now=time.time)
    for index, content in enumerate(inputs):
        await journal.claim(call_key(model, {}, json.dumps(content).encode()), index)
    await journal.close()


def numbers(*values: int) -> list[dict[str, int]]:
    return [{"n": value} for value in values]


Decide = Callable[[Doubtful], Any]


@attrs.define
class ScriptedHistory:
    """Says of each call in doubt what ``decide`` says; remembers what it was asked."""

    decide: Decide
    ends: dict[str, Any] = attrs.field(factory=dict)
    asked: list[list[int]] = attrs.field(factory=list)
    known: Container[str] = ()
    error: Exception | None = None

    async def settle(
        self, endpoint_id: str, doubtful: Sequence[Doubtful], *, known: Container[str], **_: Any
    ) -> list[Any]:
        assert endpoint_id == MODEL
        self.known = known
        self.asked.append([json.loads(one.input)["n"] for one in doubtful])
        if self.error is not None:
            raise self.error
        return [self.decide(one) for one in doubtful]

    async def end(self, endpoint_id: str, request_id: str, *, key: str | None) -> Any:
        return self.ends.get(request_id)


def echo() -> Model:
    return Model(id=MODEL, function=lambda content: {"echo": content})


@pytest.fixture
async def emu() -> Any:
    async with Emulator(models=[echo()]) as emulator:
        yield emulator


async def resume(
    emu: Emulator, journal: Path, history: Any, inputs: Any, **options: Any
) -> list[Any]:
    async with AsyncFal(hosts=emu.hosts) as fal:
        if history is not None:
            fal._history = history
        options = {"in_doubt": "reconcile", **options}
        return await fal.map(MODEL, inputs, journal=journal, **options).collect()


def found(request_id: str) -> Decide:
    return lambda one: Found(one, HistoryItem(request_id=request_id))


async def test_what_never_ran_is_called_again_and_what_is_unknown_is_left_alone(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(0, 1, 2))
    history = ScriptedHistory(
        lambda one: Unknown(one, Doubt.TOO_EARLY) if b"1" in one.input else NotFound(one)
    )
    results = await resume(emu, journal, history, numbers(0, 1, 2, 3))
    assert [outcome.ok for outcome in results] == [True, False, True, True]
    assert isinstance(results[1].error, InDoubtError)
    assert "too_early" in str(results[1].error)
    assert results[1].billing is Billing.UNKNOWN
    assert emu.received == 3
    assert [sorted(asked) for asked in history.asked] == [[0, 1, 2]]  # all of them together


async def test_who_leaves_while_it_is_looked_for_is_not_told_that_it_was_free(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(0))
    looking = asyncio.Event()

    class Endless(ScriptedHistory):
        async def settle(self, *_: Any, **__: Any) -> list[Any]:
            looking.set()
            await asyncio.Event().wait()
            raise AssertionError

    async with AsyncFal(hosts=emu.hosts) as fal:
        fal._history = Endless(found("r0"))
        async with fal.map(MODEL, numbers(0), journal=journal, in_doubt="reconcile") as outcomes:
            await looking.wait()
    (outcome,) = outcomes.leftover
    assert outcome.billing is Billing.UNKNOWN
    (again,) = await resume(emu, journal, None, numbers(0), in_doubt="report")
    assert isinstance(again.error, InDoubtError)
    assert emu.received == 0


async def test_a_direct_call_that_is_found_gets_the_output_that_the_history_keeps(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(5))
    headers = {"content-type": "application/json", "x-fal-request-id": "r5"}
    body = b'{"from": "history"}'
    history = ScriptedHistory(found("r5"), {"r5": Ended(HttpResponse(200, headers, body))})
    for attempt in range(2):  # the second time from the journal
        (outcome,) = await resume(emu, journal, history, numbers(5))
        assert outcome.ok
        assert outcome.output == {"from": "history"}
        assert outcome.request_id == "r5"
        assert outcome.replayed is bool(attempt)
    assert emu.received == 0
    assert len(history.asked) == 1


async def test_a_failure_that_is_found_is_told_and_called_again_only_if_it_was_free(
    emu: Emulator, tmp_path: Path
) -> None:
    entry = {"loc": ["body"], "msg": "no", "type": "content_policy_violation"}
    refused = json.dumps({"detail": [entry]}).encode()
    headers = {"content-type": "application/json", "x-fal-request-id": "r5"}
    for status, again in ((422, False), (500, True)):
        journal = tmp_path / f"{status}.sqlite"
        await killed_with(journal, *numbers(5))
        ends = {"r5": Ended(HttpResponse(status, headers, refused))}
        before = emu.received
        (outcome,) = await resume(emu, journal, ScriptedHistory(found("r5"), ends), numbers(5))
        assert outcome.ok is again
        assert emu.received - before == int(again)
        if not again:
            assert isinstance(outcome.error, ModelError)
            assert outcome.error.details[0].type == "content_policy_violation"


async def test_an_output_that_nobody_keeps_is_paid_for_and_gone(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(5))
    history = ScriptedHistory(found("r5"), {"r5": OutputGone(200)})
    (outcome,) = await resume(emu, journal, history, numbers(5))
    assert isinstance(outcome.error, ResultGoneError)
    assert outcome.billing is Billing.BILLED
    assert emu.received == 0


async def test_a_queued_request_that_is_found_is_collected_from_the_queue(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(5))
    async with AsyncFal(hosts=emu.hosts) as fal:
        lost = await fal.submit(MODEL, {"n": 5})
    history = ScriptedHistory(found(lost.request_id))
    (outcome,) = await resume(emu, journal, history, numbers(5), durable=True)
    assert outcome.output == {"echo": {"n": 5}}
    assert outcome.request_id == lost.request_id
    assert emu.requests["submit"] == 1


async def test_an_equal_call_waits_until_the_doubt_is_settled(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(5))
    called: list[int] = []
    history = ScriptedHistory(lambda one: called.append(emu.received) or NotFound(one))  # type: ignore[func-returns-value]
    results = await resume(emu, journal, history, numbers(5, 5, 5))
    assert called == [0]
    assert emu.received == 3
    assert len({outcome.request_id for outcome in results}) == 3


async def test_a_doubt_whose_input_was_taken_out_holds_up_no_equal_call(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(5, 5))
    async with asyncio.timeout(20):
        (outcome,) = await resume(emu, journal, ScriptedHistory(NotFound), numbers(5))
    assert outcome.ok


async def test_a_doubt_waits_until_an_equal_call_is_known(tmp_path: Path) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(5, 5))
    called, go_on = asyncio.Event(), asyncio.Event()

    async def slow(content: Any) -> Any:
        called.set()
        await go_on.wait()
        return content

    async def slow_inputs() -> AsyncIterator[dict[str, int]]:
        yield {"n": 5}
        await called.wait()  # the first is called again, and the history may list it
        yield {"n": 5}

    known: list[set[str]] = []
    history = ScriptedHistory(lambda one: known.append(set(history.known)) or NotFound(one))  # type: ignore[func-returns-value,arg-type]
    async with (
        Emulator(models=[Model(id=MODEL, function=slow)]) as emu,
        AsyncFal(hosts=emu.hosts) as fal,
    ):
        fal._history = history  # type: ignore[assignment]
        outcomes = fal.map(MODEL, slow_inputs(), journal=journal, in_doubt="reconcile")
        async with asyncio.TaskGroup() as group:
            task = group.create_task(outcomes.collect())
            while outcomes.taken < 2:
                await turns(1)
            await turns(50)
            assert len(history.asked) == 1
            go_on.set()
        first, second = task.result()
    assert known == [set(), {first.request_id}]
    assert second.request_id != first.request_id


async def test_requests_that_the_journal_knows_are_nobodys_in_doubt(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(5))
    history = ScriptedHistory(lambda one: Unknown(one, Doubt.NO_LIMIT))
    first = await resume(emu, journal, history, numbers(5, 6))
    await resume(emu, journal, history, numbers(5, 6))
    assert first[1].request_id in history.known
    assert "no_limit" in str(first[0].error)


async def test_a_request_of_an_earlier_call_is_not_taken_for_that_of_an_equal_one_in_doubt(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    (first,) = await resume(emu, journal, None, numbers(5), durable=True)
    await killed_with(journal, *numbers(5, 5))  # the second one was never sent
    how = Reconcile(
        settled_after=0.0
    )  # fal's clock, and this one: the first may be of the same minute
    results = await resume(emu, journal, None, numbers(5, 5), in_doubt=how, durable=True)
    assert results[0].request_id == first.request_id
    assert results[1].request_id != first.request_id
    assert emu.requests["submit"] == 2


async def test_a_failure_that_was_called_again_is_not_taken_for_an_equal_call_in_doubt(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    refusals = ["the first time only"]

    def moody(content: Any) -> Any:
        if refusals:
            raise RefusedError(refusals.pop(), billed=False)
        return {"echo": content}

    emu.register(Model(id=MODEL, function=moody))
    (failed,) = await resume(emu, journal, None, numbers(5), durable=True)
    (again,) = await resume(emu, journal, None, numbers(5), durable=True)
    assert (failed.ok, again.ok) == (False, True)
    await killed_with(journal, *numbers(5, 5))
    async with AsyncFal(hosts=emu.hosts) as fal:
        lost = await fal.submit(MODEL, {"n": 5})  # the second one was
    how = Reconcile(settled_after=0.0)
    results = await resume(emu, journal, None, numbers(5, 5), in_doubt=how, durable=True)
    assert [outcome.request_id for outcome in results] == [again.request_id, lost.request_id]
    assert emu.requests["submit"] == 3


@in_virtual_time
async def test_a_request_that_was_found_for_one_call_is_not_found_for_another(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    journal = tmp_path_factory.mktemp("journal") / "run.sqlite"
    await killed_with(journal, *numbers(5, 5))
    first, second = asyncio.Event(), asyncio.Event()

    class Slow(ScriptedHistory):
        async def settle(self, *args: Any, **options: Any) -> list[Any]:
            (second if first.is_set() else first).set()
            return await super().settle(*args, **options)

        async def end(self, *args: Any, **options: Any) -> Any:
            await second.wait()
            return await super().end(*args, **options)

    history = Slow(lambda one: NotFound(one) if "r5" in history.known else found("r5")(one))
    history.ends["r5"] = Ended(HttpResponse(200, {"x-fal-request-id": "r5"}, b"{}"))

    async def slow_inputs() -> AsyncIterator[dict[str, int]]:
        yield {"n": 5}
        await first.wait()
        yield {"n": 5}

    async with Emulator(models=[echo()]) as emu:
        results = await resume(emu, journal, history, slow_inputs())
    assert [outcome.request_id == "r5" for outcome in results] == [True, False]


async def test_a_history_that_cannot_be_read_leaves_all_in_doubt_and_says_why(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(5, 6))
    emu.history.settings = HistorySettings(readable=False)
    results = await resume(emu, journal, None, numbers(5, 6, 7))
    assert [outcome.ok for outcome in results] == [False, False, True]
    for outcome in results[:2]:
        assert isinstance(outcome.error, InDoubtError)
        assert "may not read" in str(outcome.error)
    assert emu.received == 1


async def test_doubts_are_settled_though_they_fill_all_places(
    emu: Emulator, tmp_path: Path
) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(*range(6)))
    history = ScriptedHistory(NotFound)
    results = await resume(emu, journal, history, numbers(*range(8)), in_flight=2)
    assert all(outcome.ok for outcome in results)
    assert sorted(n for asked in history.asked for n in asked) == list(range(6))


async def test_how_sure_one_wants_to_be_may_be_said(emu: Emulator, tmp_path: Path) -> None:
    journal = tmp_path / "run.sqlite"
    await killed_with(journal, *numbers(5))
    how = Reconcile(skew=1.0, settled_after=0.0, witness=False)
    (outcome,) = await resume(emu, journal, None, numbers(5), in_doubt=how)
    assert outcome.ok
    assert emu.received == 1


async def test_a_key_without_the_permission_is_an_error_of_its_own(emu: Emulator) -> None:
    emu.history.settings = HistorySettings(readable=False)
    async with AsyncFal(hosts=emu.hosts) as fal:
        with pytest.raises(AccessDeniedError, match="may not read"):
            await fal._history.read(MODEL, time.time() - 60)
