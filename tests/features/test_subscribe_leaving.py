"""Who leaves before the end has the request cancelled, in a bounded time, and takes its handle along."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fal_async import (
    AsyncFal,
    Billing,
    CallTimeoutError,
    RequestHandle,
    Resend,
    RetryPolicy,
    Verdict,
)
from fal_async.emulator import Emulator, Model, RunnerSettings
from tests.support.queue_script import ACCEPTED, DONE, QUEUED, RUNNING, polled, streamed
from tests.support.scripted_server import (
    MODEL,
    REQUEST_ID,
    Act,
    Script,
    answer,
    head,
    message,
    say_and,
    silence,
)
from tests.support.virtual_time import in_virtual_time, seconds, turns

NOT, MAYBE, YES = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED
OUTPUT = {"ok": True}
ONE = RunnerSettings(count=1)
HANDLE = RequestHandle(model=MODEL, request_id=REQUEST_ID)


def job(**settings: Any) -> Model:
    return Model(id=MODEL, function=lambda _: OUTPUT, **{"run_time": 1000.0, **settings})


def now() -> float:
    return asyncio.get_running_loop().time()


async def verdict_of(task: asyncio.Future[Any]) -> Verdict:
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    verdict: Verdict = raised.value.verdict
    return verdict


# --- ways to leave --------------------------------------------------------------------------------------


async def cancelled(fal: AsyncFal, **options: Any) -> Verdict:
    task = asyncio.create_task(fal.subscribe(MODEL, {}, **options))
    asyncio.get_running_loop().call_later(5, task.cancel, "enough")
    with pytest.raises(asyncio.CancelledError, match="enough") as raised:
        await task
    assert task.cancelled()
    verdict: Verdict = raised.value.verdict
    return verdict


async def out_of_its_timeout(fal: AsyncFal, **options: Any) -> Verdict:
    with pytest.raises(
        CallTimeoutError, match="no result within the call's timeout of 5 s"
    ) as raised:
        await fal.subscribe(MODEL, {}, timeout=5, **options)
    error = raised.value
    assert isinstance(error, TimeoutError)
    assert error.retryable
    assert asyncio.current_task().cancelling() == 0
    return Verdict(
        billing=error.billing,
        attempts=error.attempts,
        request_id=error.request_id,
        handle=error.handle,
    )


async def out_of_a_timeout_around(fal: AsyncFal, **options: Any) -> Verdict:
    with pytest.raises(TimeoutError) as raised:
        async with asyncio.timeout(5):
            await fal.subscribe(MODEL, {}, **options)
    assert type(raised.value) is TimeoutError
    return cut_of(raised.value)


async def out_of_wait_for(fal: AsyncFal, **options: Any) -> Verdict:
    with pytest.raises(TimeoutError) as raised:
        await asyncio.wait_for(fal.subscribe(MODEL, {}, **options), 5)
    return cut_of(raised.value)


def cut_of(error: TimeoutError) -> Verdict:
    """The verdict of the cancellation it was made from: its cause from Python 3.11.3 on."""
    verdict: Verdict = (error.__cause__ or error.__context__).verdict
    return verdict


WAYS: dict[str, Callable[..., Awaitable[Verdict]]] = {
    "cancelled": cancelled,
    "timeout": out_of_its_timeout,
    "a timeout around it": out_of_a_timeout_around,
    "wait_for": out_of_wait_for,
}


@pytest.mark.parametrize("way", WAYS)
@in_virtual_time
async def test_a_request_left_in_the_queue_is_out_of_it_and_not_billed(way: str) -> None:
    async with Emulator(models=[job(runners=ONE)]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        await fal.submit(MODEL, {})
        begun = now()
        verdict = await WAYS[way](fal)
        assert now() - begun < 5.1
        (_, left) = emu.queue
        assert (left.state, left.attempts) == ("COMPLETED", 0)
        assert (verdict.billing, verdict.attempts) == (NOT, 1)
        assert verdict.request_id == verdict.handle.request_id == left.request_id
        assert emu.requests["cancel"] == 1


@pytest.mark.parametrize("way", WAYS)
@in_virtual_time
async def test_a_request_left_on_its_runner_is_told_to_stop_and_may_be_billed(way: str) -> None:
    models = [job(cancellable=True)]
    async with Emulator(models=models) as emu, AsyncFal(hosts=emu.hosts) as fal:
        verdict = await WAYS[way](fal)
        (left,) = emu.queue
        assert verdict.billing is MAYBE
        assert verdict.handle.request_id == left.request_id
        await emu.until(lambda: left.state == "COMPLETED")
        assert emu.time < 5.1


@pytest.mark.parametrize("way", WAYS)
@in_virtual_time
async def test_a_request_is_left_running_if_told_so(way: str) -> None:
    async with Emulator(models=[job(run_time=50)]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        verdict = await WAYS[way](fal, cancel_on_exit=False)
        assert verdict.billing is MAYBE
        assert await fal.handle(verdict.handle).result() == OUTPUT
        assert emu.requests["cancel"] == 0
        assert emu.ledger.billed() == len(emu.ledger) == 1


@in_virtual_time
async def test_a_durable_run_is_left_at_the_session_s_timeout_like_a_subscriber() -> None:
    async with (
        Emulator(models=[job(runners=ONE)]) as emu,
        AsyncFal(hosts=emu.hosts, timeout=5) as fal,
    ):
        await fal.submit(MODEL, {})
        for run in (fal.run, fal.run_detailed):
            with pytest.raises(CallTimeoutError) as raised:
                await run(MODEL, {}, durable=True)
            assert (raised.value.billing, raised.value.handle.model) == (NOT, MODEL)
        assert emu.requests["cancel"] == 2


# --- what it cost ---------------------------------------------------------------------------------------

LATE = answer(400, {"status": "ALREADY_COMPLETED"})

COSTS: dict[str, tuple[list[Act], Billing]] = {
    "removed": ([answer(200, {"status": "OK"})], NOT),
    "signalled": ([answer(202, {"status": "CANCELLATION_REQUESTED"})], MAYBE),
    "too late": ([LATE, polled(DONE)], YES),
    "too late, and failed": ([LATE, polled({**DONE, "error": "Request was cancelled"})], MAYBE),
    "too late, it seems": ([LATE, polled(RUNNING)], MAYBE),
    "unknown": ([answer(404, {"status": "NOT_FOUND"})], MAYBE),
    "not allowed": ([answer(403)], MAYBE),
    "lost once": ([answer(500), answer(200, {"status": "OK"})], NOT),
}


@pytest.mark.parametrize("found", COSTS)
@in_virtual_time
async def test_what_it_cost_is_what_the_cancel_found(found: str) -> None:
    acts, billing = COSTS[found]
    async with (
        Script(ACCEPTED, streamed(RUNNING, then="hold"), *acts) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        verdict = await out_of_its_timeout(fal)
    assert verdict == Verdict(billing=billing, attempts=1, request_id=REQUEST_ID, handle=HANDLE)
    assert server.requests[2].line.startswith("PUT ")


# --- bounded in time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@in_virtual_time
async def test_a_cancel_that_is_not_answered_holds_up_nobody_for_long(way: str) -> None:
    async with (
        Script(ACCEPTED, streamed(QUEUED, then="hold"), silence()) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        begun = now()
        verdict = await WAYS[way](fal)
        assert now() - begun == pytest.approx(10, abs=0.2)
        assert verdict == Verdict(billing=MAYBE, attempts=1, request_id=REQUEST_ID, handle=HANDLE)
    assert now() - begun < 16


@in_virtual_time
async def test_a_cancel_goes_on_after_its_caller_has_gone_until_it_is_heard() -> None:
    """The one who leaves waits for five seconds; fal hears of it all the same."""
    trouble = [answer(503)] * 5
    async with (
        Script(ACCEPTED, streamed(QUEUED, then="hold"), *trouble, answer(200)) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        verdict = await out_of_its_timeout(fal)
        assert verdict.billing is MAYBE
        assert len(server.requests) < 8
        await server.arrival(8)
        await turns()
        assert fal._subscriber._tasks == set()


@in_virtual_time
async def test_a_cancel_that_is_never_heard_is_given_up() -> None:
    async with (
        Script(ACCEPTED, streamed(QUEUED, then="hold"), answer(503)) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        begun = now()
        await out_of_its_timeout(fal)
        (task,) = fal._subscriber._tasks
        await asyncio.wait({task})
        assert now() - begun == pytest.approx(65, abs=1)
        assert task.result().billing is MAYBE


@in_virtual_time
async def test_who_is_cancelled_again_while_the_cancel_is_sent_goes_at_once() -> None:
    async with (
        Script(ACCEPTED, streamed(QUEUED, then="hold"), silence(), answer(200)) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        await server.arrival(2)
        task.cancel()
        await server.arrival(3)
        begun = now()
        task.cancel()
        verdict = await verdict_of(task)
        assert now() == begun
        assert verdict == Verdict(billing=MAYBE, attempts=1, request_id=REQUEST_ID, handle=HANDLE)
        # It is not given up for that.
        await server.arrival(4)
        assert server.requests[3].line.startswith("PUT ")


@in_virtual_time
async def test_a_timeout_that_passes_while_the_cancel_is_sent_is_told_with_the_handle() -> None:
    """Both want it to end; whichever is told, the handle is there."""
    async with (
        Script(ACCEPTED, streamed(QUEUED, then="hold"), silence()) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        task = asyncio.create_task(fal.subscribe(MODEL, {}, timeout=5))
        asyncio.get_running_loop().call_later(4, task.cancel)
        assert (await verdict_of(task)).handle == HANDLE


@in_virtual_time
async def test_leaving_at_once_leaves_nothing() -> None:
    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await turns()
        assert emu.requests == {}


# --- while the submit is under way ----------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@in_virtual_time
async def test_a_submit_that_finds_no_connection_is_not_sent_after_its_caller_has_gone(
    way: str,
) -> None:
    async with Script(ACCEPTED) as server:
        hosts, port = server.hosts, server.port
    patient = RetryPolicy(sends=100, budget=1000.0)
    async with AsyncFal(hosts=hosts, retry=patient) as fal:
        begun = now()
        verdict = await WAYS[way](fal)
        assert now() - begun == pytest.approx(5, abs=0.1)
        assert (verdict.billing, verdict.handle) == (NOT, None)
        async with Script(ACCEPTED, port=port) as server:
            asyncio.get_running_loop().call_later(30, (later := asyncio.Event()).set)
            await later.wait()
            assert server.begun == 0


@pytest.mark.parametrize("way", WAYS)
@in_virtual_time
async def test_a_submit_in_flight_is_waited_for_and_its_request_cancelled(way: str) -> None:
    go = asyncio.Event()
    asyncio.get_running_loop().call_later(7, go.set)
    accepted = answer(content={"request_id": REQUEST_ID}, go=go)
    async with (
        Script(accepted, answer(200, {"status": "OK"})) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        begun = now()
        verdict = await WAYS[way](fal)
        assert now() - begun == pytest.approx(7, abs=0.1)
        assert verdict == Verdict(billing=NOT, attempts=1, request_id=REQUEST_ID, handle=HANDLE)
        assert [request.line.split()[0] for request in server.requests] == ["POST", "PUT"]


@pytest.mark.parametrize("way", WAYS)
@in_virtual_time
async def test_a_submit_that_is_not_answered_is_not_waited_for_for_ever(way: str) -> None:
    async with Script(silence()) as server, AsyncFal(hosts=server.hosts) as fal:
        begun = now()
        verdict = await WAYS[way](fal)
        assert now() - begun == pytest.approx(10, abs=0.1)
        assert verdict == Verdict(billing=MAYBE, attempts=1)
    assert now() - begun < 16


@in_virtual_time
async def test_a_submit_that_is_never_answered_is_given_up_in_the_end() -> None:
    async with Script(silence()) as server, AsyncFal(hosts=server.hosts) as fal:
        begun = now()
        await out_of_its_timeout(fal)
        await asyncio.wait(fal._subscriber._tasks)
        assert now() - begun == pytest.approx(5 + 60, abs=0.1)


@in_virtual_time
async def test_a_submit_that_is_answered_after_its_caller_has_gone_is_cancelled_too() -> None:
    go = asyncio.Event()
    asyncio.get_running_loop().call_later(30, go.set)
    accepted = answer(content={"request_id": REQUEST_ID}, go=go)
    async with Script(accepted, answer(200)) as server, AsyncFal(hosts=server.hosts) as fal:
        verdict = await out_of_its_timeout(fal)
        assert (verdict.billing, verdict.handle) == (MAYBE, None)
        await server.arrival(2)
        assert server.requests[1].line.startswith("PUT ")
        assert now() == pytest.approx(1030, abs=0.1)


@in_virtual_time
async def test_a_submit_whose_answer_has_begun_has_named_its_request() -> None:
    begun = head(200, {"Content-Length": "100", "x-fal-request-id": REQUEST_ID})
    async with (
        Script(say_and(begun, "hold"), answer(200, {"status": "OK"})) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        start = now()
        verdict = await out_of_its_timeout(fal)
        assert now() - start == pytest.approx(5, abs=0.1)
        assert verdict == Verdict(billing=NOT, attempts=1, request_id=REQUEST_ID, handle=HANDLE)


@pytest.mark.parametrize("leave", [cancelled, out_of_its_timeout])
@in_virtual_time
async def test_a_failure_that_has_only_begun_does_not_say_that_nothing_was_queued(
    leave: Callable[[AsyncFal], Awaitable[Verdict]],
) -> None:
    """... though of a direct call it would say that nothing ran."""
    begun = head(503, {"Content-Length": "100", "x-fal-request-id": REQUEST_ID})
    async with (
        Script(say_and(begun, "hold")) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        assert (await leave(fal)).billing is MAYBE


@in_virtual_time
async def test_who_leaves_between_two_submits_is_not_told_that_the_first_was_free() -> None:
    """It may have been queued: the caller takes that risk, and hears of it."""
    policy = RetryPolicy(
        resend={Resend.LOST, Resend.SERVER_ERROR}, backoff=1000, backoff_max=1000, budget=1000
    )
    async with Script(answer(503)) as server, AsyncFal(hosts=server.hosts) as fal:
        assert (await cancelled(fal, retry=policy)).billing is MAYBE


@pytest.mark.parametrize(
    ("act", "billing"),
    [
        (answer(422), NOT),
        (answer(503), MAYBE),
        (say_and(b"", "reset"), MAYBE),
    ],
    ids=["refused", "failed", "lost"],
)
@in_virtual_time
async def test_a_submit_that_fails_while_its_caller_leaves_says_what_it_cost(
    act: Act, billing: Billing
) -> None:
    async def later(wire: Any) -> Any:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(6, event.set)
        await event.wait()
        return await act(wire)

    async with Script(later) as server, AsyncFal(hosts=server.hosts) as fal:
        verdict = await cancelled(fal)
    assert verdict == Verdict(billing=billing, attempts=1)


@in_virtual_time
async def test_who_is_cancelled_again_while_the_id_is_waited_for_goes_and_the_request_is_cancelled() -> (
    None
):
    go = asyncio.Event()
    accepted = answer(content={"request_id": REQUEST_ID}, go=go)
    async with Script(accepted, answer(200)) as server, AsyncFal(hosts=server.hosts) as fal:
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        await server.arrival()
        task.cancel()
        await turns()
        task.cancel()
        assert await verdict_of(task) == Verdict(billing=MAYBE, attempts=1)
        go.set()
        await server.arrival(2)
        assert server.requests[1].line.startswith("PUT ")


@pytest.mark.parametrize("instant", range(10))
@in_virtual_time
async def test_who_is_cancelled_again_is_told_of_no_submit_as_free_that_is_written_yet(
    instant: int,
) -> None:
    for turns_between in range(3):
        async with Emulator() as emu, AsyncFal(hosts=emu.hosts) as fal:
            task = asyncio.create_task(fal.subscribe("emulator/echo", {}))
            await turns(instant + 1)
            task.cancel()
            await turns(turns_between)
            task.cancel()
            told = (await verdict_of(task)).billing
            await seconds(1)
            assert told is not Billing.NOT_BILLED or not list(emu.ledger)


@pytest.mark.parametrize("instant", range(16))
@in_virtual_time
async def test_who_is_cancelled_again_as_the_submit_fails_is_told_what_it_may_have_cost(
    instant: int,
) -> None:
    go = asyncio.Event()
    failed = answer(500, {"detail": "no"}, go=go)
    async with Script(failed) as server, AsyncFal(hosts=server.hosts) as fal:
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        await server.arrival()
        task.cancel()
        await turns()
        go.set()
        await turns(instant)
        task.cancel()
        assert (await verdict_of(task)).billing is MAYBE


@in_virtual_time
async def test_a_submit_in_flight_is_left_as_it_is_if_told_so_and_its_id_is_brought() -> None:
    go = asyncio.Event()
    asyncio.get_running_loop().call_later(7, go.set)
    accepted = answer(content={"request_id": REQUEST_ID}, go=go)
    async with Script(accepted) as server, AsyncFal(hosts=server.hosts) as fal:
        verdict = await cancelled(fal, cancel_on_exit=False)
        assert verdict == Verdict(billing=MAYBE, attempts=1, request_id=REQUEST_ID, handle=HANDLE)
        assert len(server.requests) == 1


# --- in company -----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_task_group_that_fails_has_all_its_requests_cancelled() -> None:
    async with Emulator(models=[job(runners=ONE)]) as emu, AsyncFal(hosts=emu.hosts) as fal:

        async def fail() -> None:
            await emu.until(lambda: emu.requests["status_stream"] == 20)
            raise LookupError

        async def together() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(fal.subscribe(MODEL, {}))
                group.create_task(fail())

        with pytest.raises(ExceptionGroup):
            await together()
        assert emu.requests["cancel"] == 20
        assert len(emu.queue.requests(state="COMPLETED")) == 19
        assert emu.time < 1


@in_virtual_time
async def test_a_callback_that_is_interrupted_is_left_like_any_other_wait() -> None:
    async def forever(_: Any) -> None:
        await asyncio.Event().wait()

    async with Emulator(models=[job(runners=ONE)]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        await fal.submit(MODEL, {})
        verdict = await out_of_its_timeout(fal, on_update=forever)
        assert verdict.billing is NOT


@in_virtual_time
async def test_a_result_that_is_fetched_while_time_is_up_was_paid_for() -> None:
    head_only = say_and(message()[:-4], "hold")
    acts = [ACCEPTED, streamed(DONE), head_only, LATE, polled(DONE), answer()]
    async with Script(*acts) as server, AsyncFal(hosts=server.hosts) as fal:
        verdict = await out_of_its_timeout(fal)
        assert verdict.billing is YES
        assert server.requests[3].line.startswith("PUT ")
