"""The failures that PROTOCOL documents, as answers: the server's side of what ``outcome`` reads.

Pure: facts in, status, headers and body out. The request id is not set here: whoever answers knows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final

import msgspec

from fal_async.errors import ErrorDetail
from fal_async.protocol import wire
from fal_async.protocol.messages import Headers, HttpResponse

__all__ = [
    "app_error",
    "application_not_found",
    "build_detail",
    "build_units",
    "concurrency_limit_reached",
    "gpu_fault",
    "ingress_error",
    "invalid_input",
    "json_answer",
    "locked",
    "malformed_key",
    "method_not_allowed",
    "model_error",
    "no_credentials",
    "path_not_found",
    "queue_full",
    "redirect",
    "request_error",
    "start_timed_out",
    "unhandled_exception",
    "unknown_key",
]

_encode: Final = msgspec.json.Encoder().encode


def json_answer(
    status: int, content: object, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """An answer whose body is ``content`` as JSON."""
    named = {"Content-Type": "application/json", **(headers or {})}
    try:
        body = _encode(content)
    except UnicodeEncodeError:  # a lone surrogate, which an escape can say
        body = json.dumps(content).encode()
    return HttpResponse(status, Headers(named), body)


def build_units(units: Decimal) -> str:
    """``x-fal-billable-units`` as fal writes it (PROTOCOL 3.1): ``1``, or eight decimals."""
    return str(int(units)) if units == units.to_integral_value() else f"{units:.8f}"


def _units(units: Decimal | None) -> dict[str, str]:
    return {} if units is None else {wire.BILLABLE_UNITS: build_units(units)}


_NOTHING: Final = Decimal(0)

# --- who is asking (PROTOCOL 2.1; the wording of no_credentials is known in part) -------------------


def unknown_key() -> HttpResponse:
    """401: a key that belongs to nobody."""
    return json_answer(401, {"detail": "No user found for Key ID and Secret"})


def malformed_key() -> HttpResponse:
    """401: a key without its colon."""
    detail = "Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'."
    return json_answer(401, {"detail": detail})


def no_credentials(application: str) -> HttpResponse:
    """401: no key, and the application is not public."""
    detail = f'Cannot access application "{application}". Authentication is required.'
    return json_answer(401, {"detail": detail})


def locked(reason: str) -> HttpResponse:
    """403: the account is locked. The reasons are fal's own sentences."""
    return json_answer(403, {"detail": f"{wire.LOCKED_PREFIX}{reason.removesuffix('.')}."})


def application_not_found(name: str) -> HttpResponse:
    """404 of the platform: no such application."""
    return json_answer(404, {"detail": f'Application "{name}" not found'})


# --- the platform (PROTOCOL 3.3, 5.2) ---------------------------------------------------------------

#: The sheet has the words of error types, not of their texts: these are ours.
_SENTENCES: Final = {
    wire.REQUEST_TIMEOUT: "Request exceeded the application's time limit",
    wire.STARTUP_TIMEOUT: "Runner did not start in time",
    wire.RUNNER_SCHEDULING_FAILURE: "No runner could be allocated",
    wire.RUNNER_CONNECTION_TIMEOUT: "Timed out connecting to the runner",
    wire.RUNNER_DISCONNECTED: "Runner disconnected",
    wire.RUNNER_CONNECTION_REFUSED: "Runner refused the connection",
    wire.RUNNER_CONNECTION_ERROR: "Error connecting to the runner",
    wire.RUNNER_INCOMPLETE_RESPONSE: "Runner closed the connection before the answer was complete",
    wire.RUNNER_SERVER_ERROR: "Runner failed",
    wire.INTERNAL_ERROR: "Internal error",
    wire.CLIENT_DISCONNECTED: "Client closed the connection",
    wire.CLIENT_CANCELLED: "Request was cancelled",
    wire.BAD_REQUEST: "Bad request",
}


def concurrency_limit_reached(
    limit: int | None, *, needs_retry: bool | None = True, retry_after: float | None = None
) -> HttpResponse:
    """429: too many direct calls in progress.

    :param limit: named in the body. None leaves its number out of the text and ``data`` out of the
        body: that such answers exist is known, how they look is not.
    :param retry_after: seconds; documented for no 429 of fal's, but an intermediary may add it.
    """
    content: dict[str, object] = {"detail": "Reached concurrent requests limit"}
    content["type"] = wire.CONCURRENCY_LIMIT
    if limit is not None:
        content["detail"] = f"Reached concurrent requests limit of {limit}"
        content["data"] = {"limit": limit}
    headers = _needs_retry(needs_retry)
    if retry_after is not None:
        headers["Retry-After"] = f"{retry_after:g}"
    return json_answer(429, content, headers)


def queue_full() -> HttpResponse:
    """429: more requests wait than the caller allowed; nothing was enqueued (its body is not known: 18)."""
    return json_answer(429, {"detail": "Queue is full", "error_type": wire.BAD_REQUEST})


def request_error(
    error_type: str,
    detail: str | None = None,
    *,
    status: int | None = None,
    needs_retry: bool | None = None,
    units: Decimal | None = None,
) -> HttpResponse:
    """A failure of the platform; its status is that of the sheet's table unless given.

    :param needs_retry: what ``X-Fal-Needs-Retry`` says. None: yes, where no runner ever had the call, which
        is a temporary failure if any is (PROTOCOL 3); else nothing.
    """
    if needs_retry is None and error_type in wire.NEVER_STARTED:
        needs_retry = True
    content = {
        "detail": detail or _SENTENCES.get(error_type, "Request failed"),
        "error_type": error_type,
    }
    headers = {wire.ERROR_TYPE: error_type, **_needs_retry(needs_retry), **_units(units)}
    return json_answer(status or wire.REQUEST_ERROR_STATUS.get(error_type, 500), content, headers)


def start_timed_out() -> HttpResponse:
    """504: the caller's own start timeout passed (PROTOCOL 3; the shape of the body: 18)."""
    answer = request_error(wire.REQUEST_TIMEOUT, "Request did not start in time")
    named = {**answer.headers, wire.TIMEOUT_TYPE: wire.TIMEOUT_TYPE_USER}
    return HttpResponse(answer.status, Headers(named), answer.body)


def _needs_retry(verdict: bool | None) -> dict[str, str]:  # noqa: FBT001  # the value of the header
    return {} if verdict is None else {wire.NEEDS_RETRY: "1" if verdict else "0"}


# --- the application (PROTOCOL 5.1) -----------------------------------------------------------------


def build_detail(detail: ErrorDetail, **more: object) -> dict[str, object]:
    """One entry of a ``detail`` array; ``more`` may be ``input``.

    Optional fields only if they say
    something.
    """
    entry: dict[str, object] = {"loc": list(detail.loc), "msg": detail.msg, "type": detail.type}
    if detail.url is not None:
        entry["url"] = detail.url
    if detail.ctx:
        entry["ctx"] = dict(detail.ctx)
    return {**entry, **more}


def model_error(
    details: Iterable[ErrorDetail],
    *,
    status: int | None = None,
    retryable: bool | None = False,
    units: Decimal | None = None,
) -> HttpResponse:
    """The model's own refusal or failure.

    :param status: that of the first entry's type unless given; 422 for types nobody documented.
    :param units: billable units; None leaves the header out, as older endpoints do.
    """
    entries = tuple(details)
    known, _ = wire.MODEL_ERRORS.get(entries[0].type if entries else "", (422, ()))
    headers = _units(units)
    if retryable is not None:
        headers[wire.RETRYABLE] = "true" if retryable else "false"
    content = {"detail": [build_detail(entry) for entry in entries]}
    return json_answer(status or known, content, headers)


def invalid_input(entries: Iterable[tuple[ErrorDetail, Any]]) -> HttpResponse:
    """422: the input failed the application's validation; nothing is charged.

    Each entry comes with the part of the input that was wrong, which is echoed; bytes are not.
    """
    content = {"detail": [build_detail(detail, input=_shown(value)) for detail, value in entries]}
    return json_answer(422, content, _units(_NOTHING))


def _shown(value: Any) -> Any:
    return f"<binary {len(value)} bytes>" if isinstance(value, bytes) else value


def path_not_found(path: str) -> HttpResponse:
    """404 of the application: it has no such route; nothing is charged."""
    return json_answer(404, {"detail": f"Path {path} not found"}, _units(_NOTHING))


def method_not_allowed() -> HttpResponse:
    """405 of the application's web framework; nothing is charged (not in the sheet)."""
    return json_answer(405, {"detail": "Method Not Allowed"}, _units(_NOTHING))


def app_error(status: int, message: str, *, units: Decimal | None = None) -> HttpResponse:
    """An error that the application declared."""
    return json_answer(status, {"detail": message}, _units(units))


def gpu_fault(
    message: str = "CUDA error: an illegal memory access was encountered",
) -> HttpResponse:
    """503: the runner's GPU failed."""
    return json_answer(503, {"detail": message})


def unhandled_exception() -> HttpResponse:
    """500: the application raised what it did not handle."""
    return json_answer(500, {"detail": "Internal Server Error"})


# --- in front of the platform (PROTOCOL 5.3, 18) ----------------------------------------------------


def ingress_error(status: int) -> HttpResponse:
    """The load balancer's page: HTML, and nothing of fal's in the headers."""
    title = f"{status} {_INGRESS_PHRASES.get(status) or HTTPStatus(status).phrase}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return HttpResponse(status, Headers({"Content-Type": "text/html"}), page.encode())


#: nginx has words of its own for these.
_INGRESS_PHRASES: Final = {503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}


def redirect(status: int, location: str) -> HttpResponse:
    """A 3xx to another place, as applications may answer (PROTOCOL 3)."""
    return HttpResponse(status, Headers({"Location": location}), b"")
