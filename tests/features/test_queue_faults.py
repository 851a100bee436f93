"""Every fault on every question about a queued request: the result arrives, and was paid for once.

All kinds of an operation at once, each on a model of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fal_async import AsyncFal, Billing, CallTimeoutError, CancelOutcome, Completed, RequestHandle
from fal_async.emulator import Emulator, Model, RunnerSettings
from fal_async.emulator.faults import KINDS
from tests.support.virtual_time import in_virtual_time

OUTPUT = {"answer": 42}
SIZES = {"huge_header": 64 * 1024, "huge_body": 256 * 1024}
#: Answers that say something of the request or the caller, whatever it is.
SPEAKING = {"answer", "redirect"}


def kinds(operation: str) -> list[str]:
    return sorted(
        kind
        for kind, facts in KINDS.items()
        if kind not in SPEAKING and (not facts.where or operation in facts.where)
    )


def model_of(kind: str) -> str:
    return f"owner/{kind}"


def emulator(names: Iterable[str], **settings: Any) -> Emulator:
    models = [
        Model(id=model_of(name), function=lambda _: OUTPUT, **{"run_time": 1.0, **settings})
        for name in names
    ]
    return Emulator(models=models)


def break_all(emu: Emulator, operation: str, times: int) -> None:
    for kind in kinds(operation):
        size = {"size": SIZES[kind]} if kind in SIZES else {}
        emu.faults.add(kind, operation=operation, model=model_of(kind), times=times, **size)


async def of_each(names: list[str], make: Callable[[str], Awaitable[Any]]) -> dict[str, Any]:
    outcomes = await asyncio.gather(*map(make, names), return_exceptions=True)
    return dict(zip(names, outcomes, strict=True))


def assert_all(outcomes: dict[str, Any], expected: Any) -> None:
    assert {kind: it for kind, it in outcomes.items() if it != expected} == {}


def assert_each_paid_once(emu: Emulator, names: Iterable[str]) -> None:
    assert {n: emu.ledger.billed(model_of(n)) for n in names} == dict.fromkeys(names, 1)
    assert {n: len(emu.ledger.executions(model_of(n))) for n in names} == dict.fromkeys(names, 1)


@in_virtual_time
async def test_whatever_befalls_its_streams_the_result_of_a_request_arrives() -> None:
    names = kinds("status_stream")
    async with emulator(names) as emu, AsyncFal(hosts=emu.hosts) as fal:
        break_all(emu, "status_stream", times=3)
        assert_all(await of_each(names, lambda n: fal.subscribe(model_of(n), {})), OUTPUT)
        assert_each_paid_once(emu, names)
        assert {f.kind for f in emu.faults if emu.faults.fired(f)} == set(names)


@in_virtual_time
async def test_whatever_befalls_its_polls_the_result_of_a_request_arrives() -> None:
    names = kinds("status")
    async with emulator(names, run_time=5.0) as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("stream_refused")
        break_all(emu, "status", times=4)
        assert_all(await of_each(names, lambda n: fal.subscribe(model_of(n), {})), OUTPUT)
        assert_each_paid_once(emu, names)
        assert {f.kind for f in emu.faults if emu.faults.fired(f) > 1} >= {*names}


@in_virtual_time
async def test_whatever_befalls_a_question_for_its_status_it_is_answered() -> None:
    names = kinds("status")
    async with emulator(names) as emu, AsyncFal(hosts=emu.hosts) as fal:
        handles = {name: await fal.submit(model_of(name), {}) for name in names}
        await emu.until(lambda: emu.ledger.billed() == len(names))
        break_all(emu, "status", times=4)
        statuses = await of_each(names, lambda n: handles[n].status())
        assert {n for n, status in statuses.items() if not isinstance(status, Completed)} <= {
            "unknown_status"
        }


#: Nothing tells these from what a model may have made.
LIKE_AN_OUTPUT = {"not_json", "nan", "lone_surrogate", "huge_body", "extra_fields"}


@in_virtual_time
async def test_whatever_befalls_the_answer_a_result_is_asked_for_until_it_is_there() -> None:
    names = [k for k in kinds("result") if k not in LIKE_AN_OUTPUT | {"start_timeout"}]
    async with emulator(names) as emu, AsyncFal(hosts=emu.hosts) as fal:
        break_all(emu, "result", times=2)
        outcomes = await of_each(names, lambda n: fal.subscribe(model_of(n), {}, result_type=dict))
        assert_all(outcomes, OUTPUT)
        assert_each_paid_once(emu, names)
        # Two of them change nothing that matters.
        assert {f.kind for f in emu.faults if emu.faults.fired(f) == 2} >= {*names} - {
            "byte_order_mark",
            "huge_header",
            "slow",
            "wrong_content_type",
        }


@in_virtual_time
async def test_whatever_befalls_a_cancel_the_request_is_out_of_the_queue_unpaid() -> None:
    names = kinds("cancel")
    one = RunnerSettings(count=1)
    async with emulator(names, run_time=1e6, runners=one) as emu, AsyncFal(hosts=emu.hosts) as fal:
        handles: dict[str, RequestHandle] = {}
        for name in names:
            await fal.submit(model_of(name), {})  # the runner is busy with it
            handles[name] = await fal.submit(model_of(name), {})
        break_all(emu, "cancel", times=3)
        outcomes = await of_each(names, lambda n: handles[n].cancel())
        assert {emu.queue.request(h.request_id).state for h in handles.values()} == {"COMPLETED"}
        assert {n: len(emu.ledger.executions(model_of(n))) for n in names} == dict.fromkeys(
            names, 1
        )
        # After one that was lost, the next one finds it ended.
        known = {CancelOutcome.REMOVED, CancelOutcome.SIGNALLED, CancelOutcome.TOO_LATE}
        assert {n: o for n, o in outcomes.items() if o not in known} == {}
        in_vain = {n for n in names if not KINDS[n].ran}
        assert {n: outcomes[n] for n in in_vain if outcomes[n] is not CancelOutcome.REMOVED} == {}


@in_virtual_time
async def test_whatever_befalls_its_cancel_a_subscriber_leaves_in_time() -> None:
    names = kinds("cancel")
    one = RunnerSettings(count=1)
    async with emulator(names, run_time=1e6, runners=one) as emu, AsyncFal(hosts=emu.hosts) as fal:
        for name in names:
            await fal.submit(model_of(name), {})
        break_all(emu, "cancel", times=3)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        outcomes = await of_each(names, lambda n: fal.subscribe(model_of(n), {}, timeout=10))
        assert loop.time() - begun < 16
        assert {n: e for n, e in outcomes.items() if not isinstance(e, CallTimeoutError)} == {}
        assert {e.billing for e in outcomes.values()} <= {Billing.NOT_BILLED, Billing.UNKNOWN}
        assert all(error.handle.request_id == error.request_id for error in outcomes.values())
        assert len(emu.ledger) == len(names)
