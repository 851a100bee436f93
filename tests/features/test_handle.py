"""A queued request in the caller's hands: what a handle is, and what it does."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import Any

import attrs
import pytest

from fal_async import (
    AsyncFal,
    AuthenticationError,
    Billing,
    CancelOutcome,
    Completed,
    FalError,
    InProgress,
    InputError,
    InQueue,
    NotFoundError,
    RequestCancelledError,
    RequestHandle,
    ResultGoneError,
    SessionError,
    StructureError,
)
from fal_async.emulator import Call, Emulator, Model, RunnerSettings
from tests.support.scripted_server import REQUEST_ID, Script, answer, say_and, silence
from tests.support.secrets import KEY
from tests.support.virtual_time import in_virtual_time, turns

MODEL = "owner/app/path"
OUTPUT = {"images": [{"url": "u", "width": 1}]}
ONE = RunnerSettings(count=1)
URLS = {
    "status_url": "https://queue.fal.run/owner/app/requests/r-1/status",
    "response_url": "https://queue.fal.run/owner/app/requests/r-1",
    "cancel_url": "https://queue.fal.run/owner/app/requests/r-1/cancel",
}
HANDLE = RequestHandle(model=MODEL, request_id="r-1", **URLS)


def job(**settings: Any) -> Model:
    return Model(id=MODEL, function=lambda _: OUTPUT, **{"run_time": 10.0, **settings})


# --- carried elsewhere ----------------------------------------------------------------------------------


async def test_a_handle_is_plain_json_and_holds_neither_key_nor_session() -> None:
    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        handle = await fal.submit(MODEL, {}, key=KEY)
        assert handle.key == KEY
        parts = json.loads(json.dumps(handle.to_dict()))
        assert parts == {
            "model": MODEL,
            "request_id": handle.request_id,
            "status_url": f"{emu.hosts.queue}/owner/app/requests/{handle.request_id}/status",
            "response_url": f"{emu.hosts.queue}/owner/app/requests/{handle.request_id}",
            "cancel_url": f"{emu.hosts.queue}/owner/app/requests/{handle.request_id}/cancel",
        }
        for carried in (RequestHandle.from_dict(parts), pickle.loads(pickle.dumps(handle))):
            assert carried == handle
            assert hash(carried) == hash(handle)
            assert carried.key is None
            with pytest.raises(SessionError):
                await carried.status()
        for told in (repr(handle), str(handle), repr(pickle.dumps(handle))):
            assert KEY not in told
            assert KEY.split(":")[1] not in told


def test_copies_are_pickles_too() -> None:
    assert copy.deepcopy(HANDLE) == copy.copy(HANDLE) == HANDLE


def test_urls_that_fal_did_not_name_are_left_out() -> None:
    handle = RequestHandle(model=MODEL, request_id="r-1")
    assert handle.to_dict() == {"model": MODEL, "request_id": "r-1"}
    assert RequestHandle.from_dict(handle.to_dict()) == handle


def test_what_others_have_put_beside_its_parts_is_passed_over() -> None:
    parts: dict[str, Any] = {**HANDLE.to_dict(), "note": "mine"}
    assert RequestHandle.from_dict(parts) == HANDLE


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"model": MODEL},
        {"request_id": "r-1"},
        {"model": None, "request_id": "r-1"},
        {"model": "no-model-id", "request_id": "r-1"},
        {"model": MODEL, "request_id": "../r-1"},
        {"model": MODEL, "request_id": ""},
        {"model": MODEL, "request_id": 7},
        {"model": MODEL, "request_id": "r-1", "status_url": 7},
        [],
        ["model", "request_id"],
        7,
    ],
)
async def test_what_names_no_request_is_refused(parts: Any) -> None:
    with pytest.raises(InputError):
        RequestHandle.from_dict(parts)
    fal = AsyncFal(KEY)
    with pytest.raises(InputError):
        fal.handle(parts)


@pytest.mark.parametrize(("model", "request_id"), [(MODEL, None), (MODEL, "a b"), ("app", "r-1")])
def test_a_model_and_a_request_id_are_checked(model: str, request_id: str | None) -> None:
    with pytest.raises(InputError):
        AsyncFal(KEY).handle(model, request_id)


@pytest.mark.parametrize(
    ("model", "application"),
    [
        ("fal-ai/flux/dev", "fal-ai/flux"),
        ("workflows/me/mine", "workflows/me/mine"),
        ("comfy/me/mine/path", "comfy/me/mine"),
        ("12345-my-app", "12345/my-app"),
    ],
)
def test_a_request_lives_under_its_application(model: str, application: str) -> None:
    assert RequestHandle(model=model, request_id="r-1").application == application


@pytest.mark.parametrize("method", ["status", "result", "cancel"])
async def test_a_handle_without_a_session_says_what_to_do(method: str) -> None:
    with pytest.raises(SessionError, match=r"use fal\.handle\(handle\)"):
        await getattr(HANDLE, method)()
    with pytest.raises(SessionError, match=r"use fal\.handle\(handle\)"):
        HANDLE.updates()


@in_virtual_time
async def test_a_request_is_found_again_by_model_and_id_by_handle_and_by_dict() -> None:
    async with Emulator(models=[job()]) as emu:
        async with AsyncFal(hosts=emu.hosts) as fal:
            first = await fal.submit(MODEL, {})
        async with AsyncFal(hosts=emu.hosts) as other:
            for found in (
                other.handle(MODEL, first.request_id),
                other.handle("owner/app", first.request_id),
                other.handle(first),
                other.handle(first.to_dict()),
            ):
                assert await found.result() == OUTPUT
        assert emu.ledger.billed() == 1


async def test_a_handle_asks_with_the_key_it_was_submitted_with() -> None:
    done = answer(content={"status": "COMPLETED"})
    async with Script(answer(content={"request_id": "r-1"}), done) as server:
        async with AsyncFal("session:key", hosts=server.hosts) as fal:
            handle = await fal.submit(MODEL, {}, key=KEY)
            await handle.status()
            await fal.handle(handle).status()
            await fal.handle(handle, key="another:key").status()
            await fal.handle(handle.to_dict()).status()
        sent = [request.headers["authorization"] for request in server.requests]
    assert sent == [f"Key {KEY}"] * 3 + ["Key another:key", "Key session:key"]


# --- asked after ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_status_is_one_of_three_and_brings_logs_only_if_asked() -> None:
    def talk(_: Any, call: Call) -> Any:
        call.log("one")
        call.log("two", "ERROR")
        return OUTPUT

    model = Model(id=MODEL, function=talk, run_time=10.0, runners=ONE)
    async with Emulator(models=[model]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        first, second = [await fal.submit(MODEL, {}) for _ in range(2)]
        assert await second.status() == InQueue(request_id=second.request_id, queue_position=0)
        assert await first.status() == InProgress(request_id=first.request_id)
        running = await first.status(logs=True)
        assert [line.message for line in running.logs] == ["one", "two"]
        assert [line.level for line in running.logs] == ["INFO", "ERROR"]
        await first.result()
        ended = await first.status(logs=True)
        assert isinstance(ended, Completed)
        assert (ended.error, ended.error_type) == (None, None)
        assert ended.inference_time == pytest.approx(10)
        assert len(ended.logs) == 2
        await second.cancel()


TOLD: dict[str, tuple[Any, Any]] = {
    "nothing but the word": ({"status": "IN_QUEUE"}, InQueue(request_id="r-1")),
    "no keys": ({"status": "COMPLETED"}, Completed(request_id="r-1")),
    "nulls": (
        {"status": "COMPLETED", "logs": None, "metrics": None, "error": None},
        Completed(request_id="r-1"),
    ),
    "unknown fields": (
        {"status": "IN_PROGRESS", "eta": {"s": 1}, "logs": [{"message": "a", "labels": {}}, 7]},
        InProgress,
    ),
    "an unknown word": (
        {"status": "WARMING_UP", "queue_position": 3},
        InProgress(request_id="r-1"),
    ),
    "a failure": (
        {"status": "COMPLETED", "error": "no", "error_type": "runner_server_error"},
        Completed(request_id="r-1", error="no", error_type="runner_server_error"),
    ),
}


@pytest.mark.parametrize("http", [200, 202])
@pytest.mark.parametrize("what", TOLD)
async def test_a_status_is_read_by_its_body_whatever_is_missing_or_more(
    what: str, http: int
) -> None:
    content, expected = TOLD[what]
    async with Script(answer(http, content)) as server, AsyncFal(hosts=server.hosts) as fal:
        status = await fal.handle(MODEL, "r-1").status(logs=True)
    assert type(status) is expected if isinstance(expected, type) else status == expected


# --- the result -----------------------------------------------------------------------------------------


@attrs.frozen
class Picture:
    url: str
    width: int


@attrs.frozen
class Pictures:
    images: list[Picture]


@attrs.frozen
class Misfit:
    images: str


@in_virtual_time
async def test_a_result_comes_in_the_type_asked_for_and_a_misfit_keeps_it() -> None:
    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        handle = await fal.submit(MODEL, {})
        assert await handle.result() == OUTPUT
        assert await handle.result(result_type=Pictures) == Pictures([Picture("u", 1)])
        assert json.loads(await handle.result(result_type=bytes)) == OUTPUT
        with pytest.raises(StructureError) as raised:
            await handle.result(result_type=Misfit)
    error = raised.value
    assert (error.value, error.path, error.billing) == (OUTPUT, "images", Billing.BILLED)
    assert (error.handle, error.request_id) == (handle, handle.request_id)
    assert json.loads(error.body or b"") == OUTPUT


async def test_a_type_that_cannot_be_made_is_refused_before_hours_are_waited() -> None:
    class Opaque:
        def __init__(self, what: object) -> None: ...

    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(InputError):
            await fal.handle(MODEL, "r-1").result(result_type=Opaque)
        assert server.begun == 0


# --- cancelled ------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_cancel_tells_what_it_found() -> None:
    models = [job(runners=ONE, cancellable=True)]
    async with Emulator(models=models) as emu, AsyncFal(hosts=emu.hosts) as fal:
        running, queued = [await fal.submit(MODEL, {}) for _ in range(2)]
        assert await queued.cancel() is CancelOutcome.REMOVED
        assert await queued.cancel() is CancelOutcome.TOO_LATE
        assert await running.cancel() is CancelOutcome.SIGNALLED
        with pytest.raises(RequestCancelledError):
            await running.result()
        assert await running.cancel() is CancelOutcome.TOO_LATE
        unknown = fal.handle(MODEL, "4d6f6e74-0000-4000-8000-000000000000")
        assert await unknown.cancel() is CancelOutcome.UNKNOWN


CANCELS: dict[str, tuple[Any, CancelOutcome]] = {
    "older pages: 202 for all": (answer(202, {}), CancelOutcome.SIGNALLED),
    "no JSON": (answer(200, body=b"OK"), CancelOutcome.SIGNALLED),
    "a bare 404": (answer(404, body=b""), CancelOutcome.UNKNOWN),
    "a word beside another status": (
        answer(409, {"status": "ALREADY_COMPLETED"}),
        CancelOutcome.TOO_LATE,
    ),
}


@pytest.mark.parametrize("what", CANCELS)
async def test_a_cancel_is_read_by_its_word_else_by_its_status(what: str) -> None:
    act, outcome = CANCELS[what]
    async with Script(act) as server, AsyncFal(hosts=server.hosts) as fal:
        assert await fal.handle(MODEL, "r-1").cancel() is outcome
        assert server.begun == 1


@in_virtual_time
async def test_a_400_without_a_word_may_be_about_anything_and_is_asked_again() -> None:
    bad = answer(400, {"detail": "Bad request"})
    removed = answer(200, {"status": "OK"})
    async with Script(bad, bad, removed, bad) as server, AsyncFal(hosts=server.hosts) as fal:
        assert await fal.handle(MODEL, "r-1").cancel() is CancelOutcome.REMOVED
        assert await fal.handle(MODEL, "r-2").cancel() is CancelOutcome.TOO_LATE
        assert server.begun == 3 + 8


async def test_a_cancel_that_is_not_allowed_is_an_error_and_says_nothing_of_cost() -> None:
    async with Script(answer(401)) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(AuthenticationError) as raised:
            await fal.handle(MODEL, "r-1").cancel()
    assert raised.value.billing is Billing.UNKNOWN


# --- unknown --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["status", "result", "updates"])
@in_virtual_time
async def test_a_request_that_fal_does_not_know_is_gone(how: str) -> None:
    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        handle = fal.handle(MODEL, REQUEST_ID)
        ask = {
            "status": handle.status,
            "result": handle.result,
            "updates": handle.updates().__anext__,
        }
        with pytest.raises(ResultGoneError, match="knows no such request") as raised:
            await ask[how]()
    assert raised.value.handle == handle
    assert raised.value.billing is Billing.UNKNOWN
    assert raised.value.request_id == REQUEST_ID


@in_virtual_time
async def test_a_result_that_is_kept_no_longer_is_gone() -> None:
    large = Model(id=MODEL, function=lambda _: {"text": "a" * 20_000})
    async with Emulator(models=[large]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        handle = await fal.submit(MODEL, {}, store_io=False)
        await handle.result()
        asyncio.get_running_loop().call_later(370, (late := asyncio.Event()).set)
        await late.wait()
        with pytest.raises(ResultGoneError):
            await handle.result()


async def test_a_model_that_does_not_exist_is_no_request_that_is_gone() -> None:
    nothing = answer(404, {"detail": 'Application "app" not found'})
    async with Script(nothing) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(NotFoundError) as raised:
            await fal.handle(MODEL, "r-1").status()
    assert type(raised.value) is NotFoundError


# --- what an error of it holds --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["status", "result", "cancel"])
@in_virtual_time
async def test_a_question_that_stays_unanswered_is_told_with_the_handle(how: str) -> None:
    """Ten minutes of asking, and the request may still be running."""
    async with Script(say_and(b"", "reset")) as server, AsyncFal(hosts=server.hosts) as fal:
        handle = fal.handle(MODEL, "r-1")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(FalError) as raised:
            await getattr(handle, how)()
        assert 580 < loop.time() - begun < 650
        assert raised.value.attempts > 50
    error = raised.value
    assert (error.handle, error.request_id) == (handle, "r-1")
    assert error.billing is Billing.UNKNOWN
    assert pickle.loads(pickle.dumps(error)).handle == handle


@in_virtual_time
async def test_silence_is_a_lost_answer_and_longer_each_time() -> None:
    done = answer(content={"status": "COMPLETED"})
    async with Script(silence(), silence(), done) as server, AsyncFal(hosts=server.hosts) as fal:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        assert isinstance(await fal.handle(MODEL, "r-1").status(), Completed)
        assert 60 < loop.time() - begun < 62


@pytest.mark.parametrize("how", ["status", "result", "cancel"])
async def test_a_cancelled_question_carries_the_handle(how: str) -> None:
    async with Script(silence()) as server, AsyncFal(hosts=server.hosts) as fal:
        handle = fal.handle(MODEL, "r-1")
        task = asyncio.create_task(getattr(handle, how)())
        await server.arrival()
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
    verdict = raised.value.verdict
    assert (verdict.handle, verdict.billing) == (handle, Billing.UNKNOWN)
