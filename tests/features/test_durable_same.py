"""A durable run gives what a direct one gives: the same output, and the same failures with the same facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from fal_async import (
    AsyncFal,
    Billing,
    BodyTooLargeError,
    Completed,
    DecodeError,
    FalError,
    InputError,
    MissingKeyError,
    ModelError,
    NotFoundError,
    RequestCancelledError,
    RetryPolicy,
    ServerError,
    ServerTimeoutError,
    StartTimeoutError,
    StructureError,
)
from fal_async.emulator import (
    Answer,
    AppError,
    Call,
    CallCancelledError,
    Emulator,
    GpuFaultError,
    InvalidInputError,
    Model,
    RefusedError,
    RequeueSettings,
    RunnerError,
    RunnerSettings,
)
from fal_async.emulator.raising import UnhandledError
from fal_async.errors import ErrorDetail
from tests.support.secrets import KEY, PROMPT, assert_discreet
from tests.support.virtual_time import in_virtual_time

MODEL = "owner/app/path"
SEED = 15860307465884635512
INPUT = {"prompt": PROMPT}


def served(function: Callable[..., Any], **settings: Any) -> Emulator:
    return Emulator(models=[Model(id=MODEL, function=function, **settings)])


def failing(error: Exception) -> Callable[[Any], Any]:
    def fail(_: Any) -> Any:
        raise error

    return fail


# --- outputs --------------------------------------------------------------------------------------------


@attrs.frozen
class Made:
    seed: int
    kind: str | None = None


OUTPUTS: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "JSON": ({"seed": SEED, "more": [1.5, None]}, {}, {"seed": SEED, "more": [1.5, None]}),
    "a type": ({"seed": SEED}, {"result_type": Made}, Made(SEED)),
    "raw": ({"seed": 1}, {"result_type": bytes}, b'{"seed":1}'),
    "null": (None, {}, None),
    "a list": ([1], {}, [1]),
    "bytes": (Answer(body=b"\x89PNG", content_type="image/png"), {}, b"\x89PNG"),
}


@pytest.mark.parametrize("what", OUTPUTS)
@in_virtual_time
async def test_the_output_is_the_same(what: str) -> None:
    output, options, expected = OUTPUTS[what]
    async with served(lambda _: output) as emu, AsyncFal(hosts=emu.hosts) as fal:
        direct = await fal.run(MODEL, INPUT, **options)
        durable = await fal.run(MODEL, INPUT, durable=True, **options)
        subscribed = await fal.subscribe(MODEL, INPUT, **options)
        assert direct == durable == subscribed == expected
        assert emu.requests["run"] == 1
        assert emu.requests["submit"] == emu.ledger.billed() - 1 == 2


@in_virtual_time
async def test_what_comes_beside_the_output_is_the_same() -> None:
    async with served(lambda _: {"seed": 1}, units=2.5, run_time=10) as emu:
        async with AsyncFal(hosts=emu.hosts) as fal:
            direct = await fal.run_detailed(MODEL, INPUT, result_type=Made)
            durable = await fal.run_detailed(MODEL, INPUT, result_type=Made, durable=True)
        (_, job) = emu.ledger
    assert durable.output == direct.output
    assert durable.billable_units == direct.billable_units
    assert durable.attempts == direct.attempts == 1
    assert durable.elapsed == pytest.approx(direct.elapsed, abs=0.1)
    assert durable.request_id == job.request_id
    assert {*durable.headers} >= {*direct.headers} - {"date", "server"}


@in_virtual_time
async def test_every_option_of_a_direct_call_reaches_the_model() -> None:
    seen: list[Call] = []

    def look(content: Any, call: Call) -> Any:
        seen.append(call)
        return {}

    options: dict[str, Any] = {
        "expire": "1h",
        "start_timeout": 5,
        "hint": "h",
        "store_io": True,
        "disable_fallback": True,
        "tags": {"a": "b"},
        "headers": {"X-Mine": "1"},
    }
    async with served(look) as emu, AsyncFal(hosts=emu.hosts) as fal:
        await fal.run(MODEL, INPUT, **options)
        await fal.run(MODEL, INPUT, durable=True, **options)
    direct, durable = (
        {k: v for k, v in call.headers.items() if k not in {"host", "x-fal-request-id"}}
        for call in seen
    )
    assert durable == direct


# --- failures -------------------------------------------------------------------------------------------

FAILURES: dict[str, tuple[Exception, type[FalError]]] = {
    "refused, billed": (RefusedError("content_policy_violation"), ModelError),
    "refused, not billed": (RefusedError("image_too_large", billed=False), ModelError),
    "refused, silent": (RefusedError("file_too_large", tell_units=False), ModelError),
    "retryable": (RefusedError("internal_server_error", retryable=True), ServerError),
    "a teapot": (AppError(418, "short and stout"), ModelError),
    "the app's 400": (AppError(400, "no such style"), ModelError),
    "the app's 404": (AppError(404, "no such style", billed=True), NotFoundError),
    "the app's 500": (AppError(500, "oh no"), ServerError),
    "a bug": (UnhandledError(), ServerError),
    "cancelled by itself": (CallCancelledError("enough"), RequestCancelledError),
}
#: These have the queue try again; then they are the last word.
TRIED_AGAIN: dict[str, tuple[Exception, type[FalError]]] = {
    "GPU": (GpuFaultError(), ServerError),
    "disconnected": (RunnerError("runner_disconnected"), ServerError),
    "invited": (RunnerError("runner_connection_refused", needs_retry=True), ServerError),
    "startup": (RunnerError("startup_timeout"), ServerTimeoutError),
    "too long": (RunnerError("request_timeout"), ServerTimeoutError),
}


async def both(emu: Emulator, fal: AsyncFal, **options: Any) -> tuple[FalError, FalError]:
    """What a direct run and a durable one raise, of which the result was asked for once."""
    with pytest.raises(FalError) as direct:
        await fal.run(MODEL, INPUT, retry=RetryPolicy.never(), **options)
    with pytest.raises(FalError) as durable:
        await fal.run(MODEL, INPUT, durable=True, **options)
    assert emu.requests["result"] == 1
    assert durable.value.handle.request_id == durable.value.request_id
    assert direct.value.handle is None
    assert_discreet(durable.value)
    assert type(durable.value) is type(direct.value)
    assert facts(durable.value) == facts(direct.value)
    return direct.value, durable.value


def facts(error: FalError) -> dict[str, Any]:
    names = ("billing", "status", "error_type", "details", "retryable", "retry_after", "attempts")
    return {name: getattr(error, name) for name in (*names, "body", "what")}


@pytest.mark.parametrize("name", FAILURES)
@in_virtual_time
async def test_a_model_s_failure_is_the_same_error_at_once(name: str) -> None:
    error, kind = FAILURES[name]
    async with served(failing(error)) as emu, AsyncFal(KEY, hosts=emu.hosts) as fal:
        _, durable = await both(emu, fal)
        assert emu.time < 1
    assert type(durable) is kind


@pytest.mark.parametrize("name", TRIED_AGAIN)
@in_virtual_time
async def test_what_the_platform_fails_at_is_the_same_error_once_it_gives_up(name: str) -> None:
    """Even where the answer invites to send it again: fal has done so itself, and it is its last word."""
    error, kind = TRIED_AGAIN[name]
    model = Model(id=MODEL, function=failing(error))
    twice = RequeueSettings(attempts=2)
    async with Emulator(models=[model], requeue=twice) as emu:
        async with AsyncFal(KEY, hosts=emu.hosts) as fal:
            _, durable = await both(emu, fal)
        assert len(emu.ledger) == 3
        assert emu.ledger.billed() == 0
    assert type(durable) is kind


@in_virtual_time
async def test_a_model_s_words_about_the_prompt_are_masked_as_in_a_direct_call() -> None:
    quoting = failing(RefusedError("content_policy_violation", msg=f"refused: {PROMPT}"))
    async with served(quoting) as emu, AsyncFal(KEY, hosts=emu.hosts) as fal:
        with pytest.raises(ModelError) as raised:
            await fal.run(MODEL, INPUT, durable=True)
    assert PROMPT not in str(raised.value)
    assert "content_policy_violation" in str(raised.value)


@in_virtual_time
async def test_an_input_that_does_not_validate_is_the_same_error() -> None:
    detail = ErrorDetail(loc=("body", "prompt"), msg="Field required", type="missing")
    invalid = failing(InvalidInputError([(detail, {})]))
    async with served(invalid) as emu, AsyncFal(KEY, hosts=emu.hosts) as fal:
        _, durable = await both(emu, fal)
    assert type(durable) is ModelError
    assert (durable.details[0].path, durable.billing) == ("body.prompt", Billing.NOT_BILLED)


@in_virtual_time
async def test_a_start_timeout_is_the_same_error() -> None:
    nobody = RunnerSettings(count=0)
    async with served(lambda _: {}, runners=nobody) as emu, AsyncFal(KEY, hosts=emu.hosts) as fal:
        _, durable = await both(emu, fal, start_timeout=2)
    assert type(durable) is StartTimeoutError
    assert durable.billing is Billing.NOT_BILLED


ANSWERS: dict[str, tuple[Any, dict[str, Any], type[FalError]]] = {
    "a misfit": ({"seed": "no number"}, {"result_type": Made}, StructureError),
    "bytes for a type": (
        Answer(body=b"\x89PNG", content_type="image/png"),
        {"result_type": Made},
        StructureError,
    ),
}


@pytest.mark.parametrize("what", ANSWERS)
@in_virtual_time
async def test_a_paid_answer_that_cannot_be_given_is_kept_in_the_same_error(what: str) -> None:
    output, options, kind = ANSWERS[what]
    async with served(lambda _: output) as emu, AsyncFal(KEY, hosts=emu.hosts) as fal:
        direct, durable = await both(emu, fal, **options)
    assert type(durable) is kind
    assert (durable.value, durable.path) == (direct.value, direct.path)
    assert durable.billing is Billing.BILLED
    assert "billed on its own" in direct.advice
    assert "Fetch the result with .handle: that costs nothing" in str(durable)


@pytest.mark.parametrize("body", [b"", b'{"a": ', b"<html>"])
@in_virtual_time
async def test_an_answer_that_does_not_decode_is_asked_for_again_and_then_kept(body: bytes) -> None:
    """One that was cut short on its way may look whole; a model's own does not get better."""
    broken = Answer(body=body, content_type="application/json")
    async with served(lambda _: broken) as emu, AsyncFal(KEY, hosts=emu.hosts) as fal:
        with pytest.raises(DecodeError) as direct:
            await fal.run(MODEL, INPUT)
        with pytest.raises(DecodeError) as durable:
            await fal.run(MODEL, INPUT, durable=True)
        assert emu.requests["result"] == 3
        assert emu.time < 10
    assert facts(durable.value) == facts(direct.value)
    assert durable.value.handle is not None


@in_virtual_time
async def test_an_answer_beyond_the_session_s_limit_is_the_same_error() -> None:
    async with (
        served(lambda _: {"text": "a" * 5_000_000}) as emu,
        AsyncFal(KEY, hosts=emu.hosts, max_answer_bytes=1000) as fal,
    ):
        with pytest.raises(BodyTooLargeError) as raised:
            await fal.run(MODEL, INPUT, durable=True)
        assert emu.requests["result"] == 1
    assert raised.value.billing is Billing.BILLED
    assert raised.value.handle is not None


async def test_arguments_are_checked_before_anything_is_sent() -> None:
    class Opaque:
        def __init__(self, what: object) -> None: ...

    async with served(lambda _: {}) as emu, AsyncFal(hosts=emu.hosts) as fal:
        wrong: list[tuple[Any, dict[str, Any]]] = [
            ({"a": float("nan")}, {}),
            ({}, {"result_type": Opaque}),
            ({}, {"key": "no\nkey"}),
            ({}, {"timeout": 0}),
        ]
        for content, options in wrong:
            with pytest.raises(InputError):
                await fal.run(MODEL, content, durable=True, **options)
        with pytest.raises(InputError):
            await fal.run("no-model-id", {}, durable=True)
        assert emu.requests == {}


async def test_without_a_key_nothing_is_submitted() -> None:
    def no_key() -> str:
        raise LookupError

    async with served(lambda _: {}) as emu, AsyncFal(no_key, hosts=emu.hosts) as fal:
        with pytest.raises(MissingKeyError) as raised:
            await fal.run(MODEL, INPUT, durable=True)
        assert emu.requests == {}
    assert (raised.value.billing, raised.value.handle) == (Billing.NOT_BILLED, None)


@in_virtual_time
async def test_a_failed_request_is_completed_with_an_error_like_any_other() -> None:
    updates: list[Any] = []
    failure = failing(AppError(422, "no"))
    async with served(failure) as emu, AsyncFal(hosts=emu.hosts) as fal:
        with pytest.raises(ModelError):
            await fal.run(MODEL, INPUT, durable=True, on_update=updates.append)
    assert isinstance(updates[-1], Completed)
    assert updates[-1].error == "Invalid status code: 422"
