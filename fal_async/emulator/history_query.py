"""A question to the history, and the page that answers it (PROTOCOL 14). Pure: text and time in, values out.

Not documented, and so chosen here: ``start`` and ``end`` are about the time a request was sent; the newest
end comes first, and what has not ended before it; a cursor goes on in the history as its first page saw it.
"""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NoReturn

import attrs
import msgspec

from fal_async.emulator.history import Entry, RequestHistory
from fal_async.errors import InputError
from fal_async.protocol import wire
from fal_async.protocol.platform import build_time, parse_time

__all__ = ["HistoryQuery", "build_page", "parse_query"]

_STATUSES: Final = ("success", "error", "user_error")
_ORDERS: Final = ("ended_at", "duration")
_LIST_MAX: Final = 50


@attrs.frozen
class _Cursor:
    """Where a page ended: the time all pages are of, and the last request's place."""

    moment: float
    place: tuple[float, int]


@attrs.frozen(kw_only=True)
class HistoryQuery:
    """What is asked for. Times are Unix seconds."""

    endpoints: frozenset[str]
    requests: frozenset[str]
    statuses: frozenset[str]
    start: float
    end: float
    sort_by: str
    limit: int
    payloads: bool
    cursor: _Cursor | None


def parse_query(pairs: Iterable[tuple[str, str]], now: float) -> HistoryQuery:
    """Read a URL's query; names that nobody knows are passed over.

    :raises InputError: for what fal would refuse; its text says why.
    """
    given: dict[str, list[str]] = {}
    for name, text in pairs:
        given.setdefault(name, []).extend(filter(None, text.split(",")))
    endpoints = frozenset(_several(given, "endpoint_id"))
    if not endpoints:
        raise InputError("endpoint_id is required")
    requests = frozenset(_several(given, "request_id"))
    span = wire.HISTORY_SPAN_NAMED if requests else wire.HISTORY_SPAN
    return HistoryQuery(
        endpoints=endpoints,
        requests=requests,
        statuses=frozenset(_words(given, "status", _STATUSES)),
        start=_time(given, "start", now - span),
        end=_time(given, "end", math.inf),
        sort_by=(_words(given, "sort_by", _ORDERS) or ["ended_at"])[-1],
        limit=_limit(given),
        payloads="payloads" in _words(given, "expand", ("payloads",)),
        cursor=_cursor(given),
    )


def _several(given: dict[str, list[str]], name: str) -> list[str]:
    values = given.get(name, [])
    if len(values) > _LIST_MAX:
        raise InputError(f"{name} names at most {_LIST_MAX}")
    return values


def _words(given: dict[str, list[str]], name: str, known: tuple[str, ...]) -> list[str]:
    words = given.get(name, [])
    if set(words) - set(known):
        raise InputError(f"{name} is one of {', '.join(known)}")
    return words


def _time(given: dict[str, list[str]], name: str, usual: float) -> float:
    if name not in given:
        return usual
    moment = parse_time("".join(given[name]))
    if moment is None:
        raise InputError(f"{name} is a time in ISO 8601")
    return moment


def _limit(given: dict[str, list[str]]) -> int:
    text = "".join(given.get("limit", [str(wire.HISTORY_LIMIT)]))
    if not (text.isdecimal() and text.isascii() and 1 <= int(text[:9]) <= wire.HISTORY_LIMIT_MAX):
        raise InputError(f"limit is a whole number from 1 to {wire.HISTORY_LIMIT_MAX}")
    return int(text)


def _cursor(given: dict[str, list[str]]) -> _Cursor | None:
    if "cursor" not in given:
        return None
    try:
        moment, key, number = json.loads(urlsafe_b64decode("".join(given["cursor"])))
        return _Cursor(float(moment), (float(key), int(number)))
    except (TypeError, ValueError):
        raise InputError("cursor is not one of ours") from None


# --- the answer -------------------------------------------------------------------------------------


def build_page(query: HistoryQuery, history: RequestHistory, now: float) -> dict[str, Any]:
    """One page."""
    moment = now if query.cursor is None else query.cursor.moment
    place = _PLACES[query.sort_by]
    found = sorted(_found(query, history.listed(moment)), key=place, reverse=True)
    if query.cursor is not None:
        last = query.cursor.place
        found = [entry for entry in found if place(entry) < last]
    page, more = found[: query.limit], len(found) > query.limit
    following = None
    if more:
        text = json.dumps([moment, *place(page[-1])])
        following = urlsafe_b64encode(text.encode()).decode()
    kept_since = now - wire.PAYLOAD_KEPT
    items = [_item(e, payloads=query.payloads and e.sent > kept_since) for e in page]
    return {"items": items, "next_cursor": following, "has_more": more}


def _found(query: HistoryQuery, entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        if (
            entry.endpoint_id in query.endpoints
            and (not query.requests or entry.request_id in query.requests)
            and (not query.statuses or _word(entry) in query.statuses)
            and query.start <= entry.sent < query.end
        ):
            yield entry


def _word(entry: Entry) -> str:
    if entry.status is None:
        return ""
    return "success" if entry.status < 400 else "user_error" if entry.status < 500 else "error"


def _duration(entry: Entry) -> float | None:
    if entry.started is None or entry.ended is None:
        return None
    return entry.ended - entry.started


#: sort_by → what is sorted by; the number makes it definite.
_PLACES: Final[dict[str, Callable[[Entry], tuple[float, int]]]] = {
    "ended_at": lambda e: (math.inf if e.ended is None else e.ended, e.number),
    "duration": lambda e: (-1.0 if (took := _duration(e)) is None else took, e.number),
}


def _item(entry: Entry, *, payloads: bool) -> dict[str, Any]:
    began = next(t for t in (entry.started, entry.ended, entry.sent) if t is not None)
    item: dict[str, Any] = {
        "request_id": entry.request_id,
        "endpoint_id": entry.endpoint_id,
        "sent_at": build_time(entry.sent),
        "started_at": build_time(began),  # is never null, whatever it says of one that waits
        "ended_at": None if entry.ended is None else build_time(entry.ended),
        "status_code": entry.status,
        "duration": _duration(entry),
    }
    if payloads:
        said = {"json_input": entry.input, "json_output": entry.output}
        item.update({k: msgspec.Raw(v) for k, v in said.items() if v is not None and _is_json(v)})
    return item


def _is_json(body: bytes) -> bool:
    """Whether a body can stand in an answer as it is."""
    try:
        json.loads(
            body.decode(), parse_int=len, parse_float=len, parse_constant=_refuse
        )  # numbers may be of any size
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
