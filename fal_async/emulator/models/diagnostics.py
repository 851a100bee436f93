"""Models that exist to be tested against: they echo, wait, refuse and crash as told. Ours, not fal's.

========================  ==================================================================
``emulator/echo``         the input again; on realtime connections, too
``emulator/request``      what arrived: method, path, headers (without the key), key id, input
``emulator/sleep``        ``{"seconds": 2}``: runs that long
``emulator/raw``          ``{"text": …}`` or ``{"base64": …}``, ``content_type``, ``status``,
                          ``headers``: answers exactly that
``emulator/refuse``       ``{"type": "content_policy_violation"}``: any model error of PROTOCOL 5.1,
                          with ``msg``, ``loc``, ``ctx``, ``status``, ``retryable``, ``billed``,
                          ``units`` and ``tell_units`` as told
``emulator/crash``        ``{"error_type": "runner_disconnected", "needs_retry": true}``: any failure
                          of the platform (PROTOCOL 5.2), or ``"how"``: ``"exception"`` (500),
                          ``"gpu"`` (503), ``"declared"`` (``status`` and ``message``)
========================  ==================================================================
"""

from __future__ import annotations

from base64 import b64decode
from decimal import Decimal
from typing import Any, Final

from fal_async.emulator.answers import Answer
from fal_async.emulator.model import Call, Model
from fal_async.emulator.models.checking import Fields
from fal_async.emulator.raising import (
    AppError,
    GpuFaultError,
    RefusedError,
    RunnerError,
    UnhandledError,
)
from fal_async.emulator.realtime import Realtime
from fal_async.protocol import wire

__all__ = ["diagnostic_models"]

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


def _echo(content: Any) -> Any:
    return content


def _request(content: Any, call: Call) -> dict[str, Any]:
    return {
        "request_id": call.request_id,
        "method": call.method,
        "path": call.path,
        "headers": dict(call.headers),
        "key_id": call.key_id,
        "input": content,
    }


def _sleep(content: dict[str, Any]) -> dict[str, Any]:
    return {"slept": _seconds(content)}


def _seconds(content: Any) -> float:
    seconds = content.get("seconds", 1)
    return float(seconds) if isinstance(seconds, (int, float)) else 1.0


def _raw(content: dict[str, Any]) -> Answer:
    encoded = content.get("base64")
    body = str(content.get("text", "")).encode("utf-8", "surrogatepass")
    return Answer(
        body=body if encoded is None else b64decode(encoded),
        content_type=content.get("content_type", "application/octet-stream"),
        status=content.get("status", 200),
        headers=content.get("headers", {}),
    )


def _refuse(content: dict[str, Any]) -> Any:
    kind = content.get("type", "content_policy_violation")
    units = content.get("units")
    raise RefusedError(
        kind,
        content.get("msg", _sentence(kind)),
        loc=content.get("loc", ("body", "prompt")),
        ctx=content.get("ctx", _context(kind)),
        status=content.get("status"),
        retryable=content.get("retryable", False),
        billed=content.get("billed", True),
        units=None if units is None else Decimal(str(units)),
        tell_units=content.get("tell_units", True),
    )


def _sentence(kind: str) -> str:
    return kind.replace("_", " ").capitalize() + "."


#: What stands in the ``ctx`` of a refusal: something of the right form for each name.
_CONTEXT: Final[dict[str, Any]] = {
    "expected": ["a", "b"],
    "supported_extensions": [".zip"],
    "supported_formats": ["png", "jpeg"],
}


def _context(kind: str) -> dict[str, Any]:
    _, names = wire.MODEL_ERRORS.get(kind, (422, ()))
    return {name: _CONTEXT.get(name, 1) for name in names}


def _crash(content: dict[str, Any]) -> Any:
    fields = Fields(content)
    how = fields.one_of("how", ("platform", "exception", "gpu", "declared"), "platform")
    fields.done()
    match how:
        case "exception":
            raise UnhandledError
        case "gpu":
            raise GpuFaultError
        case "declared":
            raise AppError(content.get("status", 400), content.get("message", "It cannot be done"))
        case _:
            kind = content.get("error_type", wire.RUNNER_DISCONNECTED)
            raise RunnerError(kind, needs_retry=content.get("needs_retry"))


def diagnostic_models() -> list[Model]:
    """All of the above."""
    return [
        Model(
            id="emulator/echo",
            function=_echo,
            takes_any=True,
            subpaths=True,
            realtime=Realtime(function=_echo),
        ),
        Model(
            id="emulator/request",
            function=_request,
            takes_any=True,
            subpaths=True,
            methods=_METHODS,
        ),
        Model(id="emulator/sleep", function=_sleep, run_time=_seconds, unit="second"),
        Model(id="emulator/raw", function=_raw, methods=_METHODS),
        Model(id="emulator/refuse", function=_refuse),
        Model(id="emulator/crash", function=_crash),
    ]
