"""What a fault makes of an answer: another answer, or a script of what goes over the wire.

Pure: bytes in, bytes and instructions out. ``breaking`` acts the script out.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import attrs
from multidict import CIMultiDict

from fal_async.emulator.faults import Fault
from fal_async.emulator.misreporting import MISREPORTS, misreport
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import Headers, HttpResponse

__all__ = ["Close", "Hang", "Reset", "Send", "Step", "Wait", "distort"]


@attrs.frozen
class Send:
    """These bytes."""

    data: bytes = attrs.field(repr=False)


@attrs.frozen
class Wait:
    """Seconds of the emulator's clock."""

    seconds: float


@attrs.frozen
class Hang:
    """Nothing more, until the caller leaves or the emulator stops."""


@attrs.frozen
class Close:
    """FIN."""


@attrs.frozen
class Reset:
    """RST."""


Step = Send | Wait | Hang | Close | Reset
Script = tuple[Step, ...]


def distort(fault: Fault, answer: HttpResponse, request_id: str) -> HttpResponse | Script:
    """What the caller gets instead of ``answer``.

    :param answer: the model's own; for faults before the model has run it is not looked at.
    """
    if fault.kind in wire.REQUEST_ERROR_STATUS:
        failure = failures.request_error(
            fault.kind, status=fault.status, needs_retry=fault.needs_retry
        )
        return _identified(failure, request_id)
    answered = _ANSWERS.get(fault.kind)
    if answered is not None:
        return _identified(answered(fault), request_id)
    ingress = _INGRESS.get(fault.kind)
    if ingress is not None:
        return failures.ingress_error(ingress)
    changed = _CHANGES.get(fault.kind)
    if changed is not None:
        return changed(fault, answer)
    return _SCRIPTS[fault.kind](fault, answer)


def _identified(answer: HttpResponse, request_id: str) -> HttpResponse:
    return _with(answer, {wire.REQUEST_ID: request_id})


def _with(answer: HttpResponse, headers: dict[str, str], body: bytes | None = None) -> HttpResponse:
    merged = CIMultiDict(answer.headers)
    for name, value in headers.items():  # later names win, whatever their case
        merged[name.lower()] = value
    return HttpResponse(answer.status, merged, answer.body if body is None else body)


# --- answers of their own ---------------------------------------------------------------------------

_INGRESS: Final = {"ingress_502": 502, "ingress_503": 503, "ingress_504": 504}


def _too_many(fault: Fault) -> HttpResponse:
    needs_retry = True if fault.needs_retry is None else fault.needs_retry
    return failures.concurrency_limit_reached(
        fault.limit, needs_retry=needs_retry, retry_after=fault.retry_after
    )


_ANSWERS: Final[dict[str, Callable[[Fault], HttpResponse]]] = {
    "answer": lambda f: HttpResponse(f.status or 200, Headers(f.headers), f.body),
    "redirect": lambda f: failures.redirect(f.status or 307, f.location),
    "too_many_requests": _too_many,
    "start_timeout": lambda _: failures.start_timed_out(),
    "token_expired": lambda _: failures.json_answer(
        401, {"detail": "The token is missing, unknown or has expired"}
    ),
    "stream_refused": lambda f: failures.json_answer(
        f.status or 405, {"detail": HTTPStatus(f.status or 405).phrase}
    ),
}

# --- the model's answer, changed --------------------------------------------------------------------


def _gzipped(answer: HttpResponse, change: Callable[[bytes], bytes]) -> HttpResponse:
    body = gzip.compress(answer.body, mtime=0)
    return _with(answer, {"Content-Encoding": "gzip"}, change(body))


def _json_with(answer: HttpResponse, extra: bytes) -> HttpResponse:
    """The answer with one more field, if it is an object; else an object of that field."""
    body = answer.body.strip()
    if body.startswith(b"{") and body.endswith(b"}"):
        inner = body[1:-1].strip()
        body = b"{" + inner + (b"," if inner else b"") + extra + b"}"
    else:
        body = b"{" + extra + b"}"
    return _with(answer, {"Content-Type": "application/json"}, body)


def _misreported(fault: Fault, answer: HttpResponse) -> HttpResponse:
    return _with(answer, {}, misreport(fault.kind, answer.body))


_CHANGES: Final[dict[str, Callable[[Fault, HttpResponse], HttpResponse]]] = {
    "huge_header": lambda f, a: _with(a, {"x-huge": "x" * f.size}),
    "empty_body": lambda _, a: _with(a, {}, b""),
    "bad_json": lambda _, a: _with(a, {}, (a.body[: len(a.body) // 2] or b"{") + b"\n<oops>"),
    "bad_gzip": lambda _, a: _gzipped(a, lambda b: b"this is not gzip " + b),
    "cut_gzip": lambda _, a: _gzipped(a, _half),
    "nan": lambda _, a: _json_with(a, b'"score": NaN, "worst": -Infinity'),
    "lone_surrogate": lambda _, a: _json_with(a, rb'"lone": "\ud800"'),
    "byte_order_mark": lambda _, a: _with(a, {}, b"\xef\xbb\xbf" + a.body),
    "huge_body": lambda f, a: _json_with(a, b'"huge": "' + b"x" * f.size + b'"'),
    "not_json": lambda f, a: _with(
        a, {"Content-Type": "application/octet-stream", **f.headers}, f.body or b"\x00\x01fal\xff"
    ),
    "wrong_content_type": lambda _, a: _with(a, {"Content-Type": "text/html"}),
    "no_etag": lambda _, a: HttpResponse(a.status, Headers(), b""),
    **dict.fromkeys(MISREPORTS, _misreported),
}

# --- the wire ---------------------------------------------------------------------------------------


def _head(answer: HttpResponse, *framing: str) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join((*lines, *framing, "", "")).encode("latin-1", "replace")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _sized(answer: HttpResponse) -> bytes:
    return _head(answer, f"content-length: {len(answer.body)}")


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_CHUNKED: Final = "transfer-encoding: chunked"
_DRIPS: Final = 10


def _slow(fault: Fault, answer: HttpResponse) -> Script:
    size = max(1, -(-len(answer.body) // _DRIPS))
    pieces = [answer.body[i : i + size] for i in range(0, len(answer.body), size)]
    steps: list[Step] = [
        Send(_head(answer, f"content-length: {len(answer.body)}", "connection: close"))
    ]
    for piece in pieces:
        steps += [Wait(fault.seconds / len(pieces)), Send(piece)]
    return (*steps, Close())


def _half_chunk(_: Fault, answer: HttpResponse) -> Script:
    chunk = _chunk(answer.body)
    return (Send(_head(answer, _CHUNKED) + chunk[: -len(answer.body) // 2 - 2]), Close())


def _bad_chunk(_: Fault, answer: HttpResponse) -> Script:
    first = _chunk(_half(answer.body) or b" ")
    return (Send(_head(answer, _CHUNKED) + first + b"zz\r\nrest\r\n"), Close())


_SCRIPTS: Final[dict[str, Callable[[Fault, HttpResponse], Script]]] = {
    "reset_on_arrival": lambda _, __: (Reset(),),
    "close_on_arrival": lambda _, __: (Close(),),
    "reset_midway": lambda _, __: (Reset(),),
    "stall_midway": lambda _, __: (Hang(),),
    "reset": lambda _, __: (Reset(),),
    "close": lambda _, __: (Close(),),
    "half_head": lambda _, __: (Send(b"HTTP/1.1 200 OK\r\ncontent-type: appl"), Close()),
    "stall": lambda _, __: (Hang(),),
    "stall_after_head": lambda _, a: (Send(_sized(a)), Hang()),
    "stall_in_body": lambda _, a: (Send(_sized(a) + _half(a.body)), Hang()),
    "half_body": lambda _, a: (Send(_sized(a) + _half(a.body)), Close()),
    "reset_in_body": lambda _, a: (Send(_sized(a) + _half(a.body)), Reset()),
    "half_chunk": _half_chunk,
    "bad_chunk": _bad_chunk,
    "cut_short": lambda _, a: (Send(_head(a, "connection: close") + _half(a.body)), Close()),
    "slow": _slow,
    "bad_status_line": lambda _, __: (Send(b"HTTP/1.1 two hundred\r\n\r\n"), Close()),
}
