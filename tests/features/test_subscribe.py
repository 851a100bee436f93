"""Submit, wait and fetch in one call: what the caller is told on the way, and what his callbacks may do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fal_async import (
    AsyncFal,
    CallTimeoutError,
    Completed,
    ConnectionLostError,
    FalError,
    InProgress,
    InQueue,
    ModelError,
    RequestHandle,
)
from fal_async.emulator import Call, Emulator, Model, RunnerSettings
from tests.support.queue_script import ACCEPTED, DONE, streamed
from tests.support.scripted_server import REQUEST_ID, Script, answer
from tests.support.virtual_time import in_virtual_time, turns

MODEL = "owner/app"
OUTPUT = {"ok": True}
ONE = RunnerSettings(count=1)


def job(**settings: Any) -> Model:
    return Model(id=MODEL, function=lambda _: OUTPUT, **{"run_time": 10.0, **settings})


def words(updates: list[Any]) -> list[str]:
    return [type(update).__name__ for update in updates]


# --- what is told ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_the_handle_is_given_before_the_first_wait_and_every_change_after_it() -> None:
    told: list[Any] = []
    async with Emulator(models=[job(runners=ONE)]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        first = await fal.submit(MODEL, {})

        def submitted(handle: RequestHandle) -> None:
            assert emu.requests == {"submit": 2}
            told.append(handle)

        output = await fal.subscribe(MODEL, {}, on_submitted=submitted, on_update=told.append)
        assert output == OUTPUT
        assert emu.requests == {"submit": 2, "status_stream": 1, "result": 1}
        handle, *updates = told
        assert handle.request_id != first.request_id
        assert {update.request_id for update in updates} == {handle.request_id}
        assert words(updates) == ["InQueue", "InProgress", "Completed"]
        assert updates[0] == InQueue(request_id=handle.request_id, queue_position=0)
        assert updates[2].inference_time == pytest.approx(10)
        assert await handle.result() == OUTPUT


@in_virtual_time
async def test_async_callbacks_are_awaited_one_after_the_other() -> None:
    told: list[str] = []

    async def submitted(_: RequestHandle) -> None:
        await turns()
        told.append("submitted")

    async def update(status: Any) -> None:
        told.append(f"{type(status).__name__} begins")
        asyncio.get_running_loop().call_later(60, (later := asyncio.Event()).set)
        await later.wait()
        told.append("ends")

    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        assert (
            await fal.run(MODEL, {}, durable=True, on_submitted=submitted, on_update=update)
            == OUTPUT
        )
    assert told[0] == "submitted"
    assert told[1::2] == ["InProgress begins", "Completed begins"]
    assert set(told[2::2]) == {"ends"}


@in_virtual_time
async def test_each_update_brings_the_log_lines_that_are_new() -> None:
    async def talk(_: Any, call: Call) -> Any:
        for n in range(6):
            call.log(f"line {n}")
            await call.sleep(4)
        return OUTPUT

    for streams in (True, False):
        told: list[Any] = []
        model = Model(id=MODEL, function=talk)
        async with Emulator(models=[model]) as emu, AsyncFal(hosts=emu.hosts) as fal:
            if not streams:
                emu.faults.add("stream_refused")
            await fal.subscribe(MODEL, {}, logs=True, on_update=told.append)
            lines = [line.message for update in told for line in update.logs]
            assert lines == [f"line {n}" for n in range(6)]
            assert len([u for u in told if u.logs]) > 3
            told.clear()
            await fal.subscribe(MODEL, {}, on_update=told.append)
            assert [u.logs for u in told] == [()] * len(told)
            assert words(told)[-1] == "Completed"


@in_virtual_time
async def test_a_request_that_goes_back_into_the_queue_is_told_so() -> None:
    told: list[Any] = []

    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("runner_disconnected", operation="attempt", times=2)
        assert await fal.subscribe(MODEL, {}, on_update=told.append) == OUTPUT
    assert words(told) == ["InProgress", "InQueue"] * 2 + ["InProgress", "Completed"]


# --- callbacks that fail --------------------------------------------------------------------------------


class MineError(Exception):
    pass


FAILURES = {
    "its own": MineError("mine"),
    "one that looks like our timeout": TimeoutError("of the database"),
    "one of ours": ConnectionLostError("of another call"),
    "one of ours, and of a model": ModelError("of another call", request_id="other"),
    "a StopAsyncIteration": StopAsyncIteration(),
}


@pytest.mark.parametrize("which", ["on_submitted", "on_update"])
@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("what", FAILURES)
@in_virtual_time
async def test_a_callback_that_fails_has_the_request_cancelled_and_its_error_passed_on(
    what: str, kind: str, which: str
) -> None:
    error = FAILURES[what]

    def plain(_: Any) -> None:
        raise error

    async def asynchronous(_: Any) -> None:
        raise error

    callback: dict[str, Any] = {which: plain if kind == "plain" else asynchronous}
    one = job(runners=ONE)
    async with Emulator(models=[one]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        await fal.submit(MODEL, {})
        with pytest.raises(type(error)) as raised:
            await fal.subscribe(MODEL, {}, timeout=100, **callback)
        assert raised.value is error
        assert raised.value.__context__ is None
        assert getattr(error, "handle", None) is None
        assert getattr(error, "request_id", "other") in {None, "other"}
        assert emu.requests["cancel"] == 1
        assert len(emu.queue.requests(state="COMPLETED")) == 1
        assert len(emu.ledger) == 1
        assert asyncio.current_task().cancelling() == 0


@in_virtual_time
async def test_a_callback_that_fails_leaves_the_request_running_if_told_so() -> None:
    def fail(_: Any) -> None:
        raise MineError

    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        with pytest.raises(MineError):
            await fal.subscribe(MODEL, {}, on_update=fail, cancel_on_exit=False)
        (request,) = emu.queue
        assert await fal.handle(MODEL, request.request_id).result() == OUTPUT
        assert emu.requests["cancel"] == 0


@in_virtual_time
async def test_a_callback_that_fails_at_the_end_is_too_late_to_save_anything() -> None:
    def fail(status: Any) -> None:
        if isinstance(status, Completed):
            raise MineError

    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        with pytest.raises(MineError):
            await fal.subscribe(MODEL, {}, on_update=fail)
        (request,) = emu.queue
        assert await fal.handle(MODEL, request.request_id).result() == OUTPUT


@in_virtual_time
async def test_a_callback_may_subscribe_to_another_request() -> None:
    inner: list[Any] = []

    async def another(_: RequestHandle) -> None:
        inner.append(await fal.subscribe(MODEL, {"n": 2}))

    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        assert await fal.subscribe(MODEL, {"n": 1}, on_submitted=another) == OUTPUT
        assert inner == [OUTPUT]
        with pytest.raises(CallTimeoutError) as raised:
            await fal.subscribe(MODEL, {"n": 1}, on_submitted=another, timeout=5)
        # Both have been left, and it is the outer one's handle that the caller gets.
        assert emu.requests["cancel"] == 2
        assert raised.value.handle.request_id == [*emu.queue][2].request_id


# --- errors after the submit ----------------------------------------------------------------------------


async def test_an_error_while_waiting_carries_the_handle_and_leaves_the_request_alone() -> None:
    """The network or the key is at fault, not the request: it goes on, and can be collected."""
    refused = answer(403, {"detail": "User is locked. Reason: Admin lock."})
    async with Script(ACCEPTED, refused) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(FalError) as raised:
            await fal.subscribe(MODEL, {})
        assert [request.line.split()[0] for request in server.requests] == ["POST", "GET", "GET"]
    error = raised.value
    assert error.handle == RequestHandle(model=MODEL, request_id=REQUEST_ID)
    assert (error.billing, error.request_id, error.attempts) == ("unknown", REQUEST_ID, 1)


async def test_an_error_of_the_submit_carries_none() -> None:
    async with Script(answer(422)) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(ModelError) as raised:
            await fal.subscribe(MODEL, {})
        assert len(server.requests) == 1
    assert (raised.value.handle, raised.value.billing) == (None, "not_billed")


async def test_status_before_the_first_is_never_made_up() -> None:
    told: list[Any] = []
    async with (
        Script(ACCEPTED, streamed({"status": "STARTING"}, DONE), answer()) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        await fal.subscribe(MODEL, {}, on_update=told.append)
    assert told == [
        InProgress(request_id=REQUEST_ID),
        Completed(request_id=REQUEST_ID, inference_time=1.0),
    ]
