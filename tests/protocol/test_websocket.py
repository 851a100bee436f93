"""Answers over the gateway: what is a meta message and what is body, in any order and at any cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.protocol.messages import Headers
from fal_async.protocol.websocket import (
    AnswerReader,
    End,
    Piece,
    Start,
    Stray,
    build_end,
    build_start,
)

START = (
    '{"type":"start","request_id":"r1","status":200,"headers":{"Content-Type":"application/json"}}'
)
END = '{"type":"end","request_id":"r1","status":200,"time_to_first_byte_seconds":0.57}'


def parts(*frames: str | bytes) -> list[Any]:
    reader = AnswerReader()
    return [reader.feed(frame) for frame in frames]


def opened() -> AnswerReader:
    reader = AnswerReader()
    assert isinstance(reader.feed(START), Start)
    return reader


def test_an_answer_is_a_start_its_pieces_and_an_end() -> None:
    start, piece, more, end = parts(START, '{"a":', b"1}", END)
    assert (start.request_id, start.status) == ("r1", 200)
    assert start.headers["content-type"] == "application/json"
    assert (piece, more) == (Piece(b'{"a":'), Piece(b"1}"))
    assert end == End("r1", 200, 0.57)


def test_an_answer_may_have_no_body() -> None:
    assert [type(part) for part in parts(START, END, START, END)] == [Start, End, Start, End]


BODIES = {
    "both keys of a meta message": '{"type":"image","request_id":"r1"}',
    "the end of another request": '{"type":"end","request_id":"r2","status":200}',
    "another start": START,
    "an end without an id": '{"type":"end","status":200}',
    "an end whose id is a number": '{"type":"end","request_id":1}',
    "an end that is binary": END.encode(),
    "a list": '[{"type":"end","request_id":"r1"}]',
    "half of an end": END[:-1],
    "text": "end r1",
    "nothing": "",
    "empty and binary": b"",
    "NaN": '{"type":NaN,"request_id":"r1"}',
    "a lone surrogate": '{"type":"\ud800","request_id":"r1"}',
    "beyond the size of a meta message": END[:-1] + ',"more":"' + "x" * 70_000 + '"}',
}


@pytest.mark.parametrize("frame", BODIES.values(), ids=BODIES)
def test_within_an_answer_only_its_own_end_is_none_of_its_body(frame: str | bytes) -> None:
    reader = opened()
    part = reader.feed(frame)
    assert isinstance(part, Piece)
    assert reader.within
    assert isinstance(reader.feed(END), End)
    assert not reader.within


STRAYS = {
    "a body without a start": '{"images":[]}',
    "an end without a start": END,
    "binary": b"\x00\x01",
    "a start that is binary": START.encode(),
    "an error": '{"status":"error","error":"Unauthorized"}',
    "a meta message of an unknown type": '{"type":"ping","request_id":"r1"}',
    "text": "hello",
}


@pytest.mark.parametrize("frame", STRAYS.values(), ids=STRAYS)
def test_what_begins_no_answer_is_a_stray_and_changes_nothing(frame: str | bytes) -> None:
    reader = AnswerReader()
    assert isinstance(reader.feed(frame), Stray)
    assert isinstance(reader.feed(START), Start)


def test_a_failure_without_a_start_is_an_answer_once() -> None:
    failed = build_end(End("r2", 500))
    assert parts(START, END, failed, failed) == [
        Start("r1", 200, Headers({"Content-Type": "application/json"})),
        End("r1", 200, 0.57),
        End("r2", 500),
        Stray(failed.encode()),
    ]


HEADERS = {
    "strings": ({"A": "1"}, {"a": "1"}),
    "lists": ({"A": ["1", "2"]}, {"a": "1, 2"}),
    "numbers": ({"x-fal-billable-units": 1}, {"x-fal-billable-units": "1"}),
    "null": ({"A": None}, {}),
    "none at all": (None, {}),
    "a list of pairs": ([["A", "1"]], {}),
}


@pytest.mark.parametrize(("said", "read"), HEADERS.values(), ids=HEADERS)
def test_headers_come_in_several_forms(said: Any, read: dict[str, str]) -> None:
    frame = json.dumps({"type": "start", "request_id": "r", "status": 200, "headers": said})
    (start,) = parts(frame)
    assert dict(start.headers) == read


@pytest.mark.parametrize("status", [None, "200", True, 7, 10_000])
def test_a_status_that_is_none_is_that_of_a_success(status: Any) -> None:
    (start,) = parts(json.dumps({"type": "start", "request_id": "r", "status": status}))
    assert start.status == 200


def test_an_end_without_a_status_has_that_of_the_start() -> None:
    start = build_start(Start("r", 503))
    _, end = parts(start, '{"type":"end","request_id":"r","time_to_first_byte_seconds":true}')
    assert end == End("r", 503)


def test_a_failure_on_the_way_has_a_status_of_its_own() -> None:
    _, end = parts(START, build_end(End("r1", 500)))
    assert end.status == 500


ids = st.text(max_size=20)
statuses = st.integers(100, 999)
names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)


@given(ids, statuses, st.dictionaries(names, st.text("0123 ,x", max_size=9)))
def test_what_is_built_is_read(request_id: str, status: int, headers: dict[str, str]) -> None:
    start = Start(request_id, status, Headers(headers))
    read, end = parts(build_start(start), build_end(End(request_id, status, 1.5)))
    assert (read.request_id, read.status, dict(read.headers)) == (request_id, status, headers)
    assert end == End(request_id, status, 1.5)


bodies = st.one_of(st.text(), st.sampled_from([b for b in BODIES.values() if isinstance(b, str)]))


@given(
    st.lists(
        st.tuples(bodies, st.lists(st.integers(0, 200), max_size=4), st.booleans()), max_size=6
    )
)
def test_bodies_come_out_whole_wherever_they_were_cut(
    answers: list[tuple[str, list[int], bool]],
) -> None:
    frames: list[str | bytes] = []
    for number, (body, cuts, binary) in enumerate(answers):
        frames.append(build_start(Start(f"r{number + 10}", 200)))
        data = body.encode("utf-8", "surrogatepass") if binary else body
        at = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        frames += [data[a:b] for a, b in pairwise(at)]
        frames.append(build_end(End(f"r{number + 10}", 200)))
    read: list[bytes] = []
    reader = AnswerReader()
    for frame in frames:
        match reader.feed(frame):
            case Start():
                read.append(b"")
            case Piece(data):
                read[-1] += data
            case Stray():
                raise AssertionError(frame)
            case End():
                pass
    assert read == [body.encode("utf-8", "surrogatepass") for body, _, _ in answers]


@given(st.lists(st.one_of(st.text(), st.binary(), st.sampled_from([START, END])), max_size=12))
def test_no_frame_breaks_it(frames: list[str | bytes]) -> None:
    reader = AnswerReader()
    for frame in frames:
        assert isinstance(reader.feed(frame), Start | Piece | End | Stray)
