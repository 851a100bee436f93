"""Models that do as they are told, so that others can be tested against them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fal_async.emulator import (
    Answer,
    AppError,
    Call,
    GpuFaultError,
    InvalidInputError,
    RefusedError,
    RunnerError,
    default_models,
)
from fal_async.emulator.raising import UnhandledError
from fal_async.protocol import wire

MODELS = {model.id: model for model in default_models()}


def run(name: str, content: Any) -> Any:
    function = MODELS[f"emulator/{name}"].function
    call = Call(request_id="r", model=name, headers={"x-a": "b"}, path="/p", key_id="me")
    return function(content, call) if MODELS[f"emulator/{name}"].takes_call else function(content)


@pytest.mark.parametrize("content", [{"a": 1}, [], None, "text"])
def test_echo_gives_back_what_it_got(content: object) -> None:
    assert run("echo", content) == content


def test_request_tells_what_arrived() -> None:
    assert run("request", {"a": 1}) == {
        "request_id": "r",
        "method": "POST",
        "path": "/p",
        "headers": {"x-a": "b"},
        "key_id": "me",
        "input": {"a": 1},
    }


@pytest.mark.parametrize(
    ("content", "seconds"), [({}, 1), ({"seconds": 2.5}, 2.5), ({"seconds": "x"}, 1)]
)
def test_sleep_runs_as_long_as_told(content: dict[str, Any], seconds: float) -> None:
    run_time = MODELS["emulator/sleep"].run_time
    assert callable(run_time)
    assert run_time(content) == seconds
    assert run("sleep", content) == {"slept": seconds}


def test_raw_answers_exactly_that() -> None:
    assert run("raw", {}) == Answer()
    assert run("raw", {"base64": "AP8=", "content_type": "image/gif", "status": 201}) == Answer(
        body=b"\0\xff", content_type="image/gif", status=201
    )
    text = {"text": "a", "headers": {"Location": "/b"}}
    assert run("raw", text) == Answer(body=b"a", headers={"Location": "/b"})


@pytest.mark.parametrize(("kind", "row"), wire.MODEL_ERRORS.items())
def test_refuse_knows_every_model_error_with_its_context(
    kind: str, row: tuple[int, tuple[str, ...]]
) -> None:
    with pytest.raises(RefusedError) as caught:
        run("refuse", {"type": kind})
    assert caught.value.detail.type == kind
    assert tuple(caught.value.detail.ctx) == row[1]


def test_refuse_does_the_rest_as_told() -> None:
    told = {"msg": "No.", "loc": ["body", "x", 1], "ctx": {"a": 1}, "status": 418, "units": 0.5}
    with pytest.raises(RefusedError) as caught:
        run("refuse", told | {"retryable": None, "billed": False, "tell_units": False})
    refused = caught.value
    assert (refused.detail.msg, refused.detail.loc) == ("No.", ("body", "x", 1))
    assert (refused.status, refused.retryable, refused.billed) == (418, None, False)
    assert (refused.units, refused.tell_units) == (Decimal("0.5"), False)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({}, RunnerError),
        ({"error_type": "internal_error"}, RunnerError),
        ({"how": "exception"}, UnhandledError),
        ({"how": "gpu"}, GpuFaultError),
        ({"how": "declared", "status": 402}, AppError),
        ({"how": "somehow"}, InvalidInputError),
    ],
)
def test_crash_fails_in_the_way_it_is_told(content: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        run("crash", content)


def test_crash_may_ask_to_be_tried_again() -> None:
    with pytest.raises(RunnerError) as caught:
        run("crash", {"needs_retry": True})
    assert caught.value.needs_retry is True
    assert caught.value.error_type == "runner_disconnected"
