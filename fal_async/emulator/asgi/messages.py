"""What an application is told of a call, and what it says in return: ASGI's values, read and built.

Pure. The platform stands between the two: it takes out what is its own, and adds what the application is to
know (PROTOCOL 3.1).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import unquote

import attrs
from multidict import CIMultiDict

from fal_async.emulator.asgi.model import Message
from fal_async.emulator.platform import Arrival
from fal_async.emulator.scenario import Caller
from fal_async.emulator.verdicts import read_verdict, seen_by_callers
from fal_async.protocol import wire
from fal_async.protocol.messages import HttpResponse

__all__ = ["Head", "build_scope", "read_head"]

#: The version of the HTTP part is that of servers whose ``send`` is silent once a caller has left.
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
#: Where fal's own server listens: inside the runner.
_SERVER: Final = ("127.0.0.1", 8080)

#: Of one connection, not of a call (RFC 9110, 7.6.1); and the credentials, which are the platform's to know.
_ENDS_HERE: Final = frozenset(
    (
        "authorization",
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
#: What a header's name is made of, and what its value must not hold (RFC 9110, 5.1 and 5.5).
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_CONTROLS: Final = re.compile(r"[\r\n\0]")
#: What the emulator's server has undone before anybody sees the body.
_DECODED: Final = frozenset(("br", "deflate", "gzip", "zstd"))
#: fal's framework reads this one of the caller's reserved headers in its applications.
_KEPT: Final = wire.LIFECYCLE.lower()
#: What curl says of a body by itself.
_FORM: Final = "application/x-www-form-urlencoded"
_OF_PLATFORM: Final = frozenset(
    (wire.WEBHOOK_PARAMETER, wire.MAX_QUEUE_LENGTH_PARAMETER, wire.TOKEN_PARAMETER)
)


def build_scope(
    arrival: Arrival,
    caller: Caller,
    path: str,
    *,
    application: str,
    state: Mapping[str, Any],
    kind: str = "http",
    method: str | None = None,
    body: bytes | None = None,
    subprotocols: Iterable[str] = (),
) -> dict[str, Any]:
    """The scope of one call.

    :param path: behind the application's id, as it came in the URL: percent-encoded.
    :param method: in place of that of the call.
    :param body: what is sent with it; None is a call that has none.
    """
    raw = path if path.startswith("/") else f"/{path}"
    told = {wire.REQUEST_ID: arrival.request_id, wire.ENDPOINT: f"{application}{raw}"}
    if caller.key_id:
        told[wire.CALLER] = hashlib.sha256(caller.key_id.encode()).hexdigest()[:32]
    if body is not None:
        told["content-length"] = str(len(body))
        # The documented calls by curl send JSON, and say it is a form (PROTOCOL 3).
        if body.startswith(b"{") and arrival.headers.get("Content-Type", _FORM) == _FORM:
            told["content-type"] = "application/json"
    scope = {
        "type": kind,
        "asgi": dict(_ASGI),
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": unquote(raw),
        "raw_path": _b(raw),
        "root_path": "",
        "query_string": _b(_query(arrival.query)),
        "headers": [(_b(k), _b(v)) for k, v in (*_passed_on(arrival.headers, told), *told.items())],
        "client": ("127.0.0.1", 0),
        "server": _SERVER,
        "state": dict(state),
    }
    if kind == "http":
        return {**scope, "method": method or arrival.method}
    return {**scope, "subprotocols": list(subprotocols)}


def _passed_on(headers: Mapping[str, str], told: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for name, value in headers.items():
        low = name.lower()
        ours = low.startswith(wire.RESERVED_PREFIX) and low != _KEPT
        decoded = low == "content-encoding" and value.lower() in _DECODED
        ours = ours or low in told or low.startswith("sec-websocket-")
        if not (ours or decoded or low in _ENDS_HERE):
            yield low, value


def _query(text: str) -> str:
    pairs = (pair for pair in text.split("&") if pair.partition("=")[0] not in _OF_PLATFORM)
    return "&".join(pairs)


def _b(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@attrs.frozen
class Head:
    """How an application's answer begins."""

    status: int
    headers: Mapping[str, str]
    """As callers get them: without what is of one connection, or meant for the platform."""
    length: int | None = None
    """Of the body, where the application says it."""
    units: Decimal | None = None
    """What it costs, where the application says it (PROTOCOL 3.1)."""
    stop_runner: bool | None = None
    """Whether its runner is to be stopped, where the application says it (PROTOCOL 5.4)."""
    too_large: bool = False
    """Whether the headers are more than the platform passes on."""

    def answer(self, body: bytes = b"") -> HttpResponse:
        """The whole answer."""
        return HttpResponse(self.status, self.headers, body)


def read_head(message: Message) -> Head:
    """Read ``http.response.start``.

    :raises ValueError: HTTP cannot say it.
    """
    status = int(message["status"])
    if not 200 <= status <= 599:
        raise ValueError(f"an answer has no status {status}")
    pairs = [
        (bytes(name).decode("latin-1").lower(), bytes(value).decode("utf-8", "surrogateescape"))
        for name, value in message.get("headers", ())
    ]
    for name, value in pairs:
        if not _NAME.fullmatch(name) or _CONTROLS.search(value):
            raise ValueError(f"the header {name!r} is one that HTTP cannot carry")
    said = {name: value.strip() for name, value in pairs}
    length = said.get("content-length", "")
    return Head(
        status,
        _joined((k, v) for k, v in pairs if _for_caller(k, status)),
        length=int(length) if length.isdecimal() else None,
        units=_units(said.get(wire.BILLABLE_UNITS)),
        stop_runner=read_verdict(said.get(wire.STOP_RUNNER)),
        too_large=sum(len(k) + len(v) + 4 for k, v in pairs) > wire.RESPONSE_HEADERS_MAX,
    )


def _joined(pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Each name once, but for the one whose values must not be joined (RFC 9110, 5.3)."""
    values: CIMultiDict[str] = CIMultiDict()
    for name, value in pairs:
        if name == "set-cookie":
            values.add(name, value)
        else:
            values[name] = f"{values[name]}, {value}" if name in values else value
    return values


def _for_caller(name: str, status: int) -> bool:
    return name not in _ENDS_HERE and seen_by_callers(name, status)


def _units(text: str | None) -> Decimal | None:
    try:
        units = None if text is None else Decimal(text)
    except InvalidOperation:
        return None
    return units if units is not None and units.is_finite() and units >= 0 else None
