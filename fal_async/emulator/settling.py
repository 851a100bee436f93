"""From what a model returned or raised to the answer, and to what it costs (PROTOCOL 3.1, 3.2, 5.1).

Pure. Whether the answer reaches anybody is not known here: it is charged all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import attrs
import msgspec

from fal_async.emulator.answers import Answer, MadeFile
from fal_async.emulator.model import Model
from fal_async.emulator.raising import (
    AppError,
    CallCancelledError,
    GpuFaultError,
    InvalidInputError,
    RefusedError,
    RunnerError,
)
from fal_async.emulator.verdicts import (
    loses_runner,
    read_verdict,
    runner_survives,
    seen_by_callers,
)
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import Headers, HttpResponse

__all__ = ["Settled", "encode_output", "settle_failure", "settle_output"]

_NOTHING: Final = Decimal(0)
#: nginx's word for a client that has gone; applications use it, too (PROTOCOL 5.1).
_CANCELLED: Final = 499


@attrs.frozen
class Settled:
    """The answer to a run that is over, and what is charged for it."""

    response: HttpResponse
    units: Decimal = _NOTHING
    billed: bool = False
    healthy: bool = True
    """Whether the runner survived."""


def settle_output(
    model: Model, content: Any, output: Any, place: Callable[[MadeFile], object]
) -> Settled:
    """The answer to a run that succeeded.

    :param place: puts a file somewhere and returns the object that stands for it in the output.
    """
    units = model.units(content, output) if callable(model.units) else model.units
    if isinstance(output, Answer):
        said = {"content-type": output.content_type, **Headers(output.headers)}
        status, body = output.status, output.body
        stop = read_verdict(said.get(wire.STOP_RUNNER))
    else:
        said = {"content-type": "application/json"}
        status, body, stop = 200, encode_output(output, place), None
    headers = {name: value for name, value in said.items() if seen_by_callers(name, status)}
    billed = status < 400
    cost = failures.build_units(units if billed else _NOTHING)
    response = HttpResponse(status, Headers({wire.BILLABLE_UNITS: cost, **headers}), body)
    healthy = runner_survives(status, stop)
    return Settled(response, units if billed else _NOTHING, billed, healthy)


def encode_output(output: Any, place: Callable[[MadeFile], object]) -> bytes:
    """What a model made, as JSON; ``place`` gives what stands for a file."""

    def other(value: Any) -> object:
        if isinstance(value, MadeFile):
            return place(value)
        raise TypeError(f"a model's output holds a {type(value).__name__}, which JSON cannot say")

    try:
        return msgspec.json.encode(output, enc_hook=other)
    except UnicodeEncodeError:  # a lone surrogate, which an escape can say
        return json.dumps(output, default=other).encode()


def settle_failure(model: Model, failure: Exception) -> Settled:
    """The answer to a run that failed. What is no failure of ``raising`` is the model's own bug: 500."""
    match failure:
        case InvalidInputError():
            return Settled(failures.invalid_input(failure.entries))
        case RefusedError():
            return _refused(model, failure)
        case AppError():
            billed = failure.billed and failure.status < 500
            units = _flat_units(model) if billed else _NOTHING
            answer = failures.app_error(failure.status, failure.message, units=units)
            return Settled(answer, units, billed, runner_survives(failure.status))
        case CallCancelledError():
            units = _flat_units(model) if failure.billed else _NOTHING
            answer = failures.app_error(_CANCELLED, failure.message, units=units)
            return Settled(answer, units, failure.billed)
        case GpuFaultError():
            return Settled(failures.gpu_fault(*map(str, failure.args[:1])), healthy=False)
        case RunnerError():
            answer = failures.request_error(failure.error_type, needs_retry=failure.needs_retry)
            return Settled(answer, healthy=not loses_runner(failure.error_type))
        case _:
            return Settled(failures.unhandled_exception())


def _refused(model: Model, failure: RefusedError) -> Settled:
    known, _ = wire.MODEL_ERRORS.get(failure.detail.type, (422, ()))
    status = failure.status or known
    billed = failure.billed and status < 500
    units = _NOTHING
    if billed:
        units = _flat_units(model) if failure.units is None else failure.units
    answer = failures.model_error(
        [failure.detail],
        status=status,
        retryable=failure.retryable,
        units=units if failure.tell_units else None,
    )
    return Settled(answer, units, billed, runner_survives(status))


def _flat_units(model: Model) -> Decimal:
    """What a run costs whose output does not exist: one unit, where the price depends on the output."""
    return Decimal(1) if callable(model.units) else model.units
