"""What a run is answered with, and what it costs."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from fal_async.emulator.answers import Answer, MadeFile
from fal_async.emulator.model import Model
from fal_async.emulator.raising import (
    AppError,
    GpuFaultError,
    InvalidInputError,
    RefusedError,
    RunnerError,
    UnhandledError,
)
from fal_async.emulator.settling import Settled, settle_failure, settle_output
from fal_async.errors import ErrorDetail
from fal_async.protocol import wire

MODEL = Model(id="a/model", function=dict, units=2.5)
BY_OUTPUT = Model(id="a/model", function=dict, units=lambda content, output: Decimal(len(output)))


def place(file: MadeFile) -> object:
    return {"url": f"https://cdn/{file.extension}"}


def settle(output: Any, model: Model = MODEL) -> Settled:
    return settle_output(model, {}, output, place)


def units(settled: Settled) -> str | None:
    return settled.response.headers.get(wire.BILLABLE_UNITS)


# --- success


def test_a_success_is_charged_what_the_model_costs() -> None:
    settled = settle({"a": 1})
    assert (settled.response.status, settled.billed, settled.units) == (200, True, Decimal("2.5"))
    assert units(settled) == "2.50000000"
    assert json.loads(settled.response.body) == {"a": 1}
    assert settled.response.headers["content-type"] == "application/json"


def test_what_a_model_costs_may_depend_on_its_output() -> None:
    assert units(settle([1, 2, 3], BY_OUTPUT)) == "3"


def test_files_are_put_somewhere_and_their_objects_stand_in_their_place() -> None:
    output = {"images": [MadeFile(b"", "image/png", "png"), MadeFile(b"", "image/jpeg", "jpeg")]}
    assert json.loads(settle(output).response.body) == {
        "images": [{"url": "https://cdn/png"}, {"url": "https://cdn/jpeg"}]
    }


def test_a_lone_surrogate_is_said_by_an_escape() -> None:
    output = {"text": "\ud800", "file": MadeFile(b"", "image/png", "png")}
    assert json.loads(settle(output).response.body)["text"] == "\ud800"


def test_integers_of_any_size_are_kept() -> None:
    assert json.loads(settle({"seed": 15860307465884635512}).response.body) == {
        "seed": 15860307465884635512
    }


def test_an_output_that_json_cannot_say_is_the_models_bug() -> None:
    with pytest.raises(TypeError, match="holds a object"):
        settle({"a": object()})


def test_an_answer_of_the_models_own_form_goes_out_as_it_is() -> None:
    settled = settle(Answer(body=b"\0", content_type="image/gif", headers={"X-More": "1"}))
    assert settled.response.body == b"\0"
    assert settled.response.headers["content-type"] == "image/gif"
    assert settled.response.headers["x-more"] == "1"
    assert settled.billed


def test_an_error_in_a_form_of_the_models_own_costs_nothing() -> None:
    settled = settle(Answer(status=409))
    assert (settled.response.status, settled.billed, units(settled)) == (409, False, "0")


# --- failure


@pytest.mark.parametrize("error_type", wire.MODEL_ERRORS)
def test_a_refusal_has_its_status_and_is_charged_unless_it_is_a_5xx(error_type: str) -> None:
    settled = settle_failure(MODEL, RefusedError(error_type))
    status, _ = wire.MODEL_ERRORS[error_type]
    assert settled.response.status == status
    assert settled.billed is (status < 500)
    assert settled.units == (Decimal("2.5") if status < 500 else 0)
    assert units(settled) == ("2.50000000" if status < 500 else "0")
    assert settled.response.headers[wire.RETRYABLE] == "false"
    [entry] = json.loads(settled.response.body)["detail"]
    assert entry["type"] == error_type
    assert entry["url"].endswith(f"#{error_type}")


def test_a_refusal_may_be_free_or_silent_about_its_price() -> None:
    free = settle_failure(MODEL, RefusedError("no_media_generated", billed=False))
    assert (free.billed, units(free)) == (False, "0")
    silent = settle_failure(MODEL, RefusedError("no_media_generated", tell_units=False))
    assert (silent.billed, units(silent)) == (True, None)
    dear = settle_failure(MODEL, RefusedError("no_media_generated", units=Decimal(7)))
    assert (dear.units, units(dear)) == (7, "7")


def test_a_refusal_of_a_kind_nobody_documented_is_a_422_without_a_page() -> None:
    settled = settle_failure(BY_OUTPUT, RefusedError("odd", retryable=True, ctx={"n": 1}))
    assert (settled.response.status, settled.units) == (422, 1)
    assert settled.response.headers[wire.RETRYABLE] == "true"
    [entry] = json.loads(settled.response.body)["detail"]
    assert "url" not in entry
    assert entry["ctx"] == {"n": 1}


def test_an_input_that_fails_validation_costs_nothing() -> None:
    detail = ErrorDetail(loc=("body", "prompt"), msg="Field required", type="missing")
    settled = settle_failure(MODEL, InvalidInputError([(detail, {})]))
    assert (settled.response.status, settled.billed, units(settled)) == (422, False, "0")


@pytest.mark.parametrize(
    ("failure", "status", "billed"),
    [
        (AppError(400, "no"), 400, False),
        (AppError(400, "no", billed=True), 400, True),
        (AppError(500, "no", billed=True), 500, False),
    ],
)
def test_an_error_the_application_declares_is_charged_if_it_says_so(
    failure: AppError, status: int, billed: bool
) -> None:
    settled = settle_failure(MODEL, failure)
    assert (settled.response.status, settled.billed) == (status, billed)
    assert json.loads(settled.response.body) == {"detail": "no"}


@pytest.mark.parametrize(
    ("failure", "status", "healthy"),
    [
        (GpuFaultError(), 503, False),
        (GpuFaultError("ECC error"), 503, False),
        (RunnerError("runner_disconnected"), 503, False),
        (RunnerError("runner_incomplete_response", needs_retry=True), 502, False),
        (RunnerError("internal_error"), 500, True),
        (UnhandledError(), 500, True),
        (ZeroDivisionError(), 500, True),
    ],
)
def test_a_crash_is_never_charged_and_may_take_the_runner_along(
    failure: Exception, status: int, healthy: bool
) -> None:
    settled = settle_failure(MODEL, failure)
    assert settled.response.status == status
    assert not settled.billed
    assert settled.healthy is healthy
