"""The history's question, its pages, and what an item says (PROTOCOL 14)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import ModelError, ServerError
from fal_async.protocol import wire
from fal_async.protocol.history import (
    Ended,
    HistoryItem,
    OutputGone,
    StillRunning,
    end_of,
    history_url,
    read_page,
)
from fal_async.protocol.messages import Headers, HttpRequest
from fal_async.protocol.outcome import error_from_response, read_answer
from fal_async.protocol.platform import (
    build_platform_error,
    build_time,
    parse_drift,
    parse_reset,
    parse_time,
    read_platform_error,
)

ITEM = {
    "request_id": "r-1",
    "endpoint_id": "fal-ai/flux/dev",
    "sent_at": "2026-01-01T00:00:01.250Z",
    "started_at": "2026-01-01T00:00:02Z",
    "ended_at": "2026-01-01T00:00:03+00:00",
    "status_code": 200,
    "duration": 1.0,
    "json_input": {"prompt": "a cat"},
    "json_output": {"seed": 15860307465884635512},
}
NEW_YEAR = 1_767_225_600.0


def page(*items: Any, **more: Any) -> bytes:
    content = {"items": list(items), "next_cursor": None, "has_more": False}
    return json.dumps(content | more).encode()


# --- the question


def test_a_question_says_what_is_asked_for_and_no_more() -> None:
    url = history_url("https://api.fal.ai", "fal-ai/flux/dev", start=NEW_YEAR + 0.0019)
    assert urlsplit(url).path == "/v1/models/requests/by-endpoint"
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "endpoint_id": "fal-ai/flux/dev",
        "start": "2026-01-01T00:00:00.001Z",
        "expand": "payloads",
        "limit": "100",
    }
    url = history_url(
        "http://127.0.0.1:1/api.fal.ai",
        "a/b",
        end=NEW_YEAR,
        request_id="r-1",
        status="error",
        payloads=False,
        limit=7,
        cursor="a=&b",
    )
    assert url.startswith("http://127.0.0.1:1/api.fal.ai/v1/")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "endpoint_id": "a/b",
        "end": "2026-01-01T00:00:00.000Z",
        "request_id": "r-1",
        "status": "error",
        "limit": "7",
        "cursor": "a=&b",
    }


# --- pages


def test_an_item_is_read_with_its_payloads_as_they_stand() -> None:
    text = page(ITEM).replace(
        b'"a cat"}', b'"a cat" , "n": 1.0, "big": 123456789012345678901234567890}'
    )
    read = read_page(text)
    assert read is not None
    assert read.whole
    assert read.items == (
        HistoryItem(
            request_id="r-1",
            endpoint_id="fal-ai/flux/dev",
            sent_at=NEW_YEAR + 1.25,
            started_at=NEW_YEAR + 2,
            ended_at=NEW_YEAR + 3,
            status_code=200,
            input=b'{"prompt": "a cat" , "n": 1.0, "big": 123456789012345678901234567890}',
            output=b'{"seed": 15860307465884635512}',
        ),
    )


def test_an_items_text_shows_no_payload() -> None:
    read = read_page(page(ITEM))
    assert read is not None
    assert "a cat" not in repr(read)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"ended_at": None, "status_code": None, "duration": None},
            {"ended_at": None, "status_code": None},
        ),
        ({"json_input": None, "json_output": None}, {"input": None, "output": None}),
        ({"sent_at": "yesterday", "started_at": 7}, {"sent_at": None, "started_at": None}),
        ({"sent_at": "2026-01-01T00:00:01"}, {"sent_at": NEW_YEAR + 1}),
        ({"sent_at": "0001-01-01T00:00:00+23:00"}, {"sent_at": -62135679600.0}),
        ({"status_code": "200"}, {"status_code": None}),
        ({"status_code": True}, {"status_code": None}),
        ({"status_code": 7}, {"status_code": None}),
        ({"endpoint_id": None}, {"endpoint_id": ""}),
        ({"from_the_future": [{}]}, {}),
    ],
)
def test_what_cannot_be_read_of_an_item_is_none(
    change: dict[str, Any], expected: dict[str, Any]
) -> None:
    read = read_page(page(ITEM | change))
    assert read is not None
    assert {name: getattr(read.items[0], name) for name in expected} == expected


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{}", b"<html>", b"\xff", b"[" * 10**5, b'{"x": NaN}'),
        *(b'{"items": null}', b'{"items": {}}', b'{"items": "x"}', b'{"items": NaN}'),
        *(b'{"items": [NaN, {]}', b'[{"items": [NaN]}]'),
    ],
)
def test_what_is_no_page_is_none(body: bytes) -> None:
    assert read_page(body) is None


def test_an_item_that_cannot_be_named_makes_its_page_incomplete() -> None:
    odd: Any
    for odd in ({}, {"request_id": 7}, {"request_id": ""}, None, "x", [], float("nan")):
        read = read_page(page(ITEM, odd))
        assert read is not None
        assert (len(read.items), read.whole) == (1, False)


@pytest.mark.parametrize(
    ("more", "cursor", "whole"),
    [
        ({}, None, True),
        ({"next_cursor": "c", "has_more": True}, "c", True),
        ({"next_cursor": "c", "has_more": False}, None, True),
        ({"next_cursor": "c", "has_more": None}, "c", True),
        ({"next_cursor": None, "has_more": True}, None, False),
        ({"next_cursor": 7, "has_more": True}, None, False),
    ],
)
def test_a_page_says_whether_more_can_be_asked_for(
    more: dict[str, Any], cursor: str | None, whole: bool
) -> None:
    read = read_page(page(**more))
    assert read is not None
    assert (read.cursor, read.whole) == (cursor, whole)


def test_one_odd_payload_does_not_hide_the_others() -> None:
    odd = page(ITEM, ITEM | {"request_id": "r-2", "json_output": {"x": "?", "y": "?"}})
    text = odd.replace(b'"x": "?"', b'"x": NaN').replace(b'"y": "?"', b'"y": 1' + b"0" * 5000)
    read = read_page(text)
    assert read is not None
    assert [item.request_id for item in read.items] == ["r-1", "r-2"]
    assert read.items[0].output == b'{"seed": 15860307465884635512}'
    assert read.items[1].output is None  # its integer is longer than Python writes


def test_a_page_in_an_odd_spelling_is_read_all_the_same() -> None:
    for text in (b"\xef\xbb\xbf" + page(ITEM), page(ITEM).replace(b"1.0", b"Infinity")):
        read = read_page(text)
        assert read is not None
        assert (read.items[0].request_id, read.whole) == ("r-1", True)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_payload_is_brought_as_it_was_sent(value: Any) -> None:
    read = read_page(page(ITEM | {"json_output": value}))
    assert read is not None
    output = read.items[0].output
    assert (None if output is None else json.loads(output)) == value


# --- how it ended


def item(**facts: Any) -> HistoryItem:
    return HistoryItem(request_id="r-1", **facts)


def test_an_output_is_read_as_the_answer_to_a_call_is() -> None:
    end = end_of(item(status_code=200, ended_at=1.0, output=b'{"seed": 15860307465884635512}'))
    assert isinstance(end, Ended)
    assert end.response.headers[wire.REQUEST_ID] == "r-1"
    assert read_answer(end.response, None, None, 1000) == {"seed": 15860307465884635512}
    assert "seed" not in repr(end)


def test_a_failure_is_the_error_that_the_call_would_have_raised() -> None:
    detail = b'{"detail": [{"loc": ["body"], "msg": "no", "type": "one_of"}]}'
    request = HttpRequest(method="POST", url="")
    end = end_of(item(status_code=422, ended_at=1.0, output=detail))
    assert isinstance(end, Ended)
    error = error_from_response(end.response, request)
    assert isinstance(error, ModelError)
    assert (error.error_type, error.billing, error.request_id) == ("one_of", "unknown", "r-1")
    end = end_of(item(status_code=503, ended_at=1.0))
    assert isinstance(end, Ended)
    error = error_from_response(end.response, request)
    assert isinstance(error, ServerError)
    assert error.billing == "not_billed"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, StillRunning()),
        ({"started_at": 1.0}, StillRunning()),
        ({"status_code": 200}, OutputGone(200)),
        ({"status_code": 200, "ended_at": 1.0}, OutputGone(200)),
        ({"ended_at": 1.0}, OutputGone(200)),
    ],
)
def test_what_has_no_answer_says_why(facts: dict[str, Any], expected: Any) -> None:
    assert end_of(item(**facts)) == expected


@pytest.mark.parametrize(
    ("status", "unbilled"),
    [
        (None, False),
        (200, False),
        (422, False),
        (404, False),
        (499, False),
        (429, True),
        (503, True),
    ],
)
def test_only_what_fal_never_charges_counts_as_unbilled(status: int | None, unbilled: bool) -> None:
    assert item(status_code=status).is_unbilled is unbilled


# --- what all of the platform API has in common


def test_a_failure_of_the_platform_is_read_as_it_is_built() -> None:
    answer = build_platform_error("rate_limited", "slow down")
    assert (answer.status, read_platform_error(answer.body)) == (429, ("rate_limited", "slow down"))
    assert build_platform_error("authorization_error", "", status=401).status == 401


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b'{"error": "x"}', b'{"error": {"type": 1, "message": []}}']
)
def test_a_failure_that_says_nothing_is_read_as_nothing(body: bytes) -> None:
    assert read_platform_error(body) == ("", "")


@given(st.floats(-6e10, 2e11))
def test_a_time_is_read_as_it_is_built_to_the_millisecond_below(unix: float) -> None:
    back = parse_time(build_time(unix))
    assert back is not None
    assert unix - 0.002 <= back <= unix


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"X-RateLimit-Reset": "12.5"}, 12.5),
        ({"X-RateLimit-Reset": "0"}, 0.0),
        ({"X-RateLimit-Reset": str(NEW_YEAR + 30)}, 30.0),
        ({"X-RateLimit-Reset": str(NEW_YEAR - 30)}, 0.0),
        ({"X-RateLimit-Reset": "-1"}, None),
        ({"X-RateLimit-Reset": "inf"}, None),
        ({"X-RateLimit-Reset": "soon"}, None),
    ],
)
def test_the_end_of_a_pause_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_reset(Headers(headers), NEW_YEAR) == seconds


@pytest.mark.parametrize(
    ("asked", "answered", "drift"),
    [(0.0, 0.5, 0.0), (0.9, 2.0, 0.0), (-9.5, -9.0, 9.0), (11.0, 12.0, 10.0), (-1.0, 5.0, 0.0)],
)
def test_clocks_that_differ_for_certain_are_seen(
    asked: float, answered: float, drift: float
) -> None:
    headers = Headers({"Date": "Thu, 01 Jan 2026 00:00:00 GMT"})
    assert parse_drift(headers, NEW_YEAR + asked, NEW_YEAR + answered) == drift


@pytest.mark.parametrize("date", [None, "", "noon", "Thu, 99 Jan 2026 00:00:00 GMT"])
def test_an_answer_without_a_date_shows_no_difference(date: str | None) -> None:
    assert parse_drift(Headers({} if date is None else {"Date": date}), 0.0, 1.0) == 0.0
