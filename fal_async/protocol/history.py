"""The history of an account's requests: the question, its pages, and what an item says (PROTOCOL 14).

Pure. Read tolerantly: what cannot be read of an item is None. What follows from it for a call whose end
is unknown is told by ``reconciling``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlencode

import attrs
import msgspec

from fal_async.protocol import codec, wire
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.platform import build_time, parse_time

__all__ = [
    "Ended",
    "HistoryItem",
    "HistoryPage",
    "OutputGone",
    "StillRunning",
    "end_of",
    "history_url",
    "read_page",
]


def history_url(
    base: str,
    endpoint_id: str,
    *,
    start: float | None = None,
    end: float | None = None,
    request_id: str | None = None,
    status: str | None = None,
    payloads: bool = True,
    limit: int = wire.HISTORY_LIMIT_MAX,
    cursor: str | None = None,
) -> str:
    """Where a page of the history is. Times are Unix seconds.

    ``end`` is best left out when looking for something: whether it is about the time a request was sent,
    started or ended is not documented, and what has not ended might fall to it. With ``start`` it does not
    matter which it is: a request is sent before the others.

    :param start: from when on; None: a day, or 90 where ``request_id`` is given.
    :param status: ``success``, ``error`` or ``user_error``.
    """
    query: dict[str, str | None] = {
        "endpoint_id": endpoint_id,
        "start": None if start is None else build_time(start),
        "end": None if end is None else build_time(end),
        "request_id": request_id,
        "status": status,
        "expand": "payloads" if payloads else None,
        "limit": str(limit),
        "cursor": cursor,
    }
    given = {name: text for name, text in query.items() if text is not None}
    return f"{base}{wire.HISTORY_PATH}?{urlencode(given)}"


@attrs.frozen(kw_only=True)
class HistoryItem:
    """A request as the history tells it. Times are Unix seconds of fal's clock.

    :ivar input: its JSON, as the page has it; None if it is not stored, or was not asked for.
    :ivar output: likewise, and None while there is none.
    """

    request_id: str
    endpoint_id: str = ""
    sent_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    status_code: int | None = None
    input: bytes | None = attrs.field(default=None, repr=False)
    output: bytes | None = attrs.field(default=None, repr=False)

    @property
    def is_unbilled(self) -> bool:
        """Whether it ended in a way that is never charged (PROTOCOL 3.2, 3.3)."""
        return self.status_code == 429 or (self.status_code or 0) >= 500


@attrs.frozen(kw_only=True)
class HistoryPage:
    """Some of the requests asked for.

    :ivar cursor: what the next page is asked for with; None if there is none, or none can be had.
    :ivar whole: whether all that it should hold could be read, and what follows can be asked for.
    """

    items: tuple[HistoryItem, ...]
    cursor: str | None
    whole: bool


def read_page(body: bytes) -> HistoryPage | None:
    """A page of the history; None if it is none."""
    try:
        content, entries = _parts(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        content, entries = _parts_leniently(body)
    if entries is None:
        return None
    items = tuple(item for entry in entries if (item := _read_item(entry)) is not None)
    said, more = _value(content.get("next_cursor")), _value(content.get("has_more"))
    cursor = said if isinstance(said, str) and said and more is not False else None
    whole = len(items) == len(entries) and (cursor is not None or not more)
    return HistoryPage(items=items, cursor=cursor, whole=whole)


def _read_item(entry: Mapping[str, bytes]) -> HistoryItem | None:
    plain = {name: _value(text) for name, text in entry.items() if not name.startswith("json_")}
    request_id, status = plain.get("request_id"), plain.get("status_code")
    if not isinstance(request_id, str) or not request_id:
        return None
    endpoint_id = plain.get("endpoint_id")
    return HistoryItem(
        request_id=request_id,
        endpoint_id=endpoint_id if isinstance(endpoint_id, str) else "",
        sent_at=parse_time(plain.get("sent_at")),
        started_at=parse_time(plain.get("started_at")),
        ended_at=parse_time(plain.get("ended_at")),
        status_code=status if type(status) is int and 100 <= status <= 999 else None,
        input=_payload(entry.get("json_input")),
        output=_payload(entry.get("json_output")),
    )


def _payload(text: bytes | None) -> bytes | None:
    return None if text in {None, b"null"} else text


_Parts = tuple[dict[str, bytes], list[dict[str, bytes]] | None]
"""A page's members, and those of its items; None if it has none."""

# They stay the text that they are, so that no number of a payload is touched.
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])


def _parts(body: bytes) -> _Parts:
    content = _members(body)
    if not content.get("items", b"").startswith(b"["):
        return content, None
    return content, [
        _members(text) if text.startswith(b"{") else {}
        for text in (bytes(raw).strip() for raw in _array.decode(content["items"]))
    ]


def _members(text: bytes) -> dict[str, bytes]:
    return {name: bytes(raw).strip() for name, raw in _object.decode(text).items()}


def _parts_leniently(body: bytes) -> _Parts:
    """For what only a lenient reader reads, such as a NaN in somebody's output."""
    content = _value(body)
    entries = content.get("items") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        return {}, None
    said = {name: value for name, value in content.items() if name != "items"}
    return _written(said), [_written(entry) if isinstance(entry, dict) else {} for entry in entries]


def _written(members: dict[str, Any]) -> dict[str, bytes]:
    written = {}
    for name, value in members.items():
        with suppress(ValueError, RecursionError):  # an integer of thousands of digits
            written[name] = json.dumps(value).encode()
    return written


def _value(text: bytes | None) -> Any:
    try:
        return None if text is None else codec.decode_json(text)
    except codec.Undecodable:
        return None


# --- how it ended -----------------------------------------------------------------------------------


@attrs.frozen
class StillRunning:
    """It has not ended, as far as the history knows."""


@attrs.frozen
class Ended:
    """It ended so: the answer that a caller would have got, as far as the history keeps it.

    Its headers are not kept: what it was billed is not in it, and the 504 of a ``start_timeout`` is like any
    other.
    """

    response: HttpResponse


@attrs.frozen
class OutputGone:
    """It succeeded, and was billed, and the history does not keep its output.

    A queued one may still be had from the queue (PROTOCOL 6.4).
    """

    status: int


def end_of(item: HistoryItem) -> Ended | OutputGone | StillRunning:
    """What became of a request. An ``Ended`` is read by ``read_answer`` or ``error_from_response``."""
    status = item.status_code
    if status is None:
        if item.ended_at is None:
            return StillRunning()
        status = 200  # it has ended, and nothing says how: its output, if there is one
    if status < 300 and item.output is None:
        return OutputGone(status)
    headers = {"Content-Type": "application/json", wire.REQUEST_ID: item.request_id}
    return Ended(HttpResponse(status, Headers(headers), item.output or b""))
