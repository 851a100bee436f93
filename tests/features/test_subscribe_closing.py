"""A session that is closed cancels what is waited for in it; who waits ends at once, with his handle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fal_async import AsyncFal, Billing, FalError, RequestHandle, SessionError
from fal_async.emulator import Emulator, Model, RunnerSettings
from tests.support.queue_script import ACCEPTED, DONE, QUEUED, RUNNING, polled, streamed
from tests.support.scripted_server import (
    MODEL,
    REQUEST_ID,
    Script,
    answer,
    message,
    say_and,
    silence,
)
from tests.support.virtual_time import VirtualTimeLoop, in_virtual_time, turns

NOT, MAYBE, YES = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED
ONE = RunnerSettings(count=1)
HANDLE = RequestHandle(model=MODEL, request_id=REQUEST_ID)


def job(**settings: Any) -> Model:
    return Model(id=MODEL, function=lambda _: {}, **{"run_time": 1000.0, **settings})


def now() -> float:
    return asyncio.get_running_loop().time()


async def closed_error(task: asyncio.Future[Any]) -> SessionError:
    with pytest.raises(SessionError, match="closed") as raised:
        await task
    assert isinstance(raised.value, RuntimeError)
    return raised.value


@pytest.mark.parametrize("streams", [True, False], ids=["streams", "polls"])
@in_virtual_time
async def test_all_who_wait_end_at_once_and_their_requests_are_cancelled(streams: bool) -> None:
    async with Emulator(models=[job(runners=ONE)]) as emu:
        if not streams:
            emu.faults.add("stream_refused")
        fal = AsyncFal(hosts=emu.hosts)
        tasks = [asyncio.create_task(fal.run(MODEL, {}, durable=True)) for _ in range(20)]
        asyncio.get_running_loop().call_later(30, (later := asyncio.Event()).set)
        await later.wait()
        begun = now()
        await fal.close()
        assert now() - begun < 0.1
        errors = [await closed_error(task) for task in tasks]
        assert emu.requests["cancel"] == 20
        assert [error.billing for error in errors].count(NOT) == 19
        ids = {error.handle.request_id for error in errors}
        assert ids == {request.request_id for request in emu.queue}
        assert all(error.request_id == error.handle.request_id for error in errors)
        assert [task.cancelling() for task in tasks] == [0] * 20
        # What they have in hand is of use in another session.
        async with AsyncFal(hosts=emu.hosts) as other:
            await other.handle(errors[0].handle).status()


@in_virtual_time
async def test_who_wants_his_request_to_stay_ends_at_once_all_the_same() -> None:
    async with Emulator(models=[job(run_time=60)]) as emu:
        fal = AsyncFal(hosts=emu.hosts)
        task = asyncio.create_task(fal.subscribe(MODEL, {}, cancel_on_exit=False))
        await emu.until(lambda: emu.requests["status_stream"] == 1)
        await fal.close()
        error = await closed_error(task)
        assert emu.requests["cancel"] == 0
        async with AsyncFal(hosts=emu.hosts) as other:
            assert await other.handle(error.handle).result() == {}


@in_virtual_time
async def test_a_close_waits_for_cancels_and_not_for_ever() -> None:
    async with Script(ACCEPTED, streamed(QUEUED, then="hold"), silence()) as server:
        fal = AsyncFal(hosts=server.hosts)
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        await server.arrival(2)
        await turns()
        begun = now()
        await fal.close()
        assert 5 <= now() - begun < 6
        error = await closed_error(task)
        assert (error.billing, error.handle, error.attempts) == (MAYBE, HANDLE, 1)


@in_virtual_time
async def test_a_submit_in_flight_is_waited_for_by_the_close_and_cancelled() -> None:
    go = asyncio.Event()
    accepted = answer(content={"request_id": REQUEST_ID}, go=go)
    async with Script(accepted, answer(200, {"status": "OK"})) as server:
        fal = AsyncFal(hosts=server.hosts)
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        await server.arrival()
        asyncio.get_running_loop().call_later(3, go.set)
        begun = now()
        await fal.close()
        assert now() - begun == pytest.approx(3, abs=0.1)
        error = await closed_error(task)
        assert (error.billing, error.handle) == (NOT, HANDLE)
        assert server.requests[1].line.startswith("PUT ")


@in_virtual_time
async def test_a_submit_that_is_not_answered_holds_up_no_close_for_long() -> None:
    async with Script(silence()) as server:
        fal = AsyncFal(hosts=server.hosts)
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        await server.arrival()
        begun = now()
        await fal.close()
        assert 5 <= now() - begun < 6
        error = await closed_error(task)
        assert (error.billing, error.handle, error.attempts) == (MAYBE, None, 1)


@in_virtual_time
async def test_a_result_that_is_being_fetched_is_left_with_its_handle() -> None:
    acts = [ACCEPTED, streamed(DONE), say_and(message()[:-4], "hold")]
    async with Script(*acts, answer(400, {"status": "ALREADY_COMPLETED"}), polled(DONE)) as server:
        fal = AsyncFal(hosts=server.hosts)
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        await server.arrival(3)
        await turns()
        await fal.close()
        error = await closed_error(task)
        assert (error.billing, error.handle) == (YES, HANDLE)


@in_virtual_time
async def test_a_callback_that_waits_is_interrupted() -> None:
    async def forever(_: Any) -> None:
        await asyncio.Event().wait()

    async with Emulator(models=[job()]) as emu:
        fal = AsyncFal(hosts=emu.hosts)
        task = asyncio.create_task(fal.subscribe(MODEL, {}, on_update=forever))
        await emu.until(lambda: emu.requests["status_stream"] == 1)
        await turns()
        await fal.close()
        assert (await closed_error(task)).handle is not None
        assert emu.requests["cancel"] == 1


@in_virtual_time
async def test_a_callback_may_close_the_session() -> None:
    async with Emulator(models=[job(runners=ONE)]) as emu:
        fal = AsyncFal(hosts=emu.hosts)
        await fal.submit(MODEL, {})

        async def close(_: Any) -> None:
            await fal.close()

        for callback in ("on_submitted", "on_update"):
            fal = AsyncFal(hosts=emu.hosts)
            with pytest.raises(SessionError) as raised:
                await fal.subscribe(MODEL, {}, **{callback: close})
            assert raised.value.handle is not None
        assert emu.requests["cancel"] == 2
        assert len(emu.queue.requests(state="COMPLETED")) == 2


@in_virtual_time
async def test_two_closings_at_a_time_are_one() -> None:
    async with Emulator(models=[job(runners=ONE)]) as emu:
        fal = AsyncFal(hosts=emu.hosts)
        tasks = [asyncio.create_task(fal.subscribe(MODEL, {})) for _ in range(3)]
        await emu.until(lambda: emu.requests["status_stream"] == 3)
        await asyncio.gather(fal.close(), fal.close())
        for task in tasks:
            await closed_error(task)
        assert emu.requests["cancel"] == 3
        await fal.close()


@in_virtual_time
async def test_who_is_cancelled_while_the_session_closes_is_cancelled() -> None:
    async with Script(ACCEPTED, streamed(QUEUED, then="hold"), silence()) as server:
        fal = AsyncFal(hosts=server.hosts)
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        await server.arrival(2)
        closing = asyncio.create_task(fal.close())
        await server.arrival(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        assert raised.value.verdict.handle == HANDLE
        await closing


@in_virtual_time
async def test_who_is_leaving_already_goes_when_the_session_closes() -> None:
    async with Script(ACCEPTED, streamed(QUEUED, then="hold"), silence()) as server:
        fal = AsyncFal(hosts=server.hosts)
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        await server.arrival(2)
        task.cancel()
        await server.arrival(3)
        await fal.close()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        assert raised.value.verdict.handle == HANDLE


# --- without a subscriber -------------------------------------------------------------------------------


async def _follow(handle: RequestHandle) -> None:
    async for _ in handle.updates():
        pass


WAITS: dict[str, Callable[[RequestHandle], Coroutine[Any, Any, Any]]] = {
    "updates": _follow,
    "result": RequestHandle.result,
}


@pytest.mark.parametrize("streams", [True, False], ids=["streams", "polls"])
@pytest.mark.parametrize("what", WAITS)
@in_virtual_time
async def test_who_waits_by_a_handle_ends_at_once_and_his_request_goes_on(
    what: str, streams: bool
) -> None:
    async with Emulator(models=[job(run_time=100)]) as emu:
        if not streams:
            emu.faults.add("stream_refused")
        fal = AsyncFal(hosts=emu.hosts)
        handle = await fal.submit(MODEL, {})
        tasks = [asyncio.create_task(WAITS[what](handle)) for _ in range(3)]
        asyncio.get_running_loop().call_later(30, (later := asyncio.Event()).set)
        await later.wait()
        begun = now()
        await fal.close()
        for task in tasks:
            error = await closed_error(task)
            assert (error.handle, error.billing) == (handle, MAYBE)
        assert now() - begun < 0.1
        assert emu.requests["cancel"] == 0


@pytest.mark.parametrize("how", ["status", "result", "cancel"])
@in_virtual_time
async def test_a_question_that_waits_to_be_put_again_ends_at_once(how: str) -> None:
    async with Script(answer(503, headers={"Retry-After": "100"})) as server:
        fal = AsyncFal(hosts=server.hosts)
        task = asyncio.create_task(getattr(fal.handle(MODEL, REQUEST_ID), how)())
        await server.arrival()
        await turns()
        begun = now()
        await fal.close()
        error = await closed_error(task)
        assert (error.handle, now()) == (HANDLE, begun)


@pytest.mark.parametrize("how", ["status", "result", "cancel", "subscribe", "updates"])
async def test_in_a_closed_session_nothing_can_be_asked(how: str) -> None:
    async with Emulator(models=[job()]) as emu:
        fal = AsyncFal(hosts=emu.hosts)
        handle = await fal.submit(MODEL, {})
        asked = emu.requests.total()
        await fal.close()
        if how == "subscribe":
            work: Any = fal.subscribe(MODEL, {})
        elif how == "updates":
            work = anext(handle.updates())
        else:
            work = getattr(handle, how)()
        with pytest.raises(SessionError, match="this AsyncFal is closed"):
            await work
        assert emu.requests.total() == asked


@in_virtual_time
async def test_what_begins_while_the_session_closes_is_refused() -> None:
    async with Script(ACCEPTED, streamed(RUNNING, then="hold"), silence()) as server:
        fal = AsyncFal(hosts=server.hosts)
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        await server.arrival(2)
        closing = asyncio.create_task(fal.close())
        await server.arrival(3)
        for work in (fal.subscribe(MODEL, {}), fal.handle(MODEL, "r-2").result()):
            with pytest.raises(SessionError, match="closed"):
                await work
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await fal.close()


# --- event loops ----------------------------------------------------------------------------------------


def test_a_session_follows_requests_in_one_loop_after_the_other() -> None:
    """What those who waited in the first loop were waiting for does not bind those in the second."""

    async def some(fal: AsyncFal | None, port: int) -> tuple[AsyncFal, int]:
        emu = Emulator(models=[job(run_time=5.0)], port=port)
        async with emu:
            emu.faults.add("stream_refused")
            fal = fal or AsyncFal(hosts=emu.hosts)
            waits = [fal.subscribe(MODEL, {}) for _ in range(3)]
            assert await asyncio.gather(*waits) == [{}] * 3
            return fal, int(emu.url.rpartition(":")[2])

    fal, port = None, 0
    for _ in range(3):
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            fal, port = runner.run(some(fal, port))
    assert fal is not None
    asyncio.run(fal.close())


async def test_a_close_from_another_loop_does_not_touch_who_waits_here() -> None:
    async with Emulator(models=[job(run_time=0.2)]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        task = asyncio.create_task(fal.subscribe(MODEL, {}))
        await emu.until(lambda: emu.requests["status_stream"] == 1)
        said: list[FalError] = []

        def elsewhere() -> None:
            try:
                asyncio.run(fal.close())
            except SessionError as error:
                said.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert "another event loop" in str(said[0])
        assert await task == {}
        assert await fal.subscribe(MODEL, {}) == {}
