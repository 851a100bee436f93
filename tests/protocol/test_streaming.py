"""From the pieces of a body to events, and from an event's bytes to what it says."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import attrs
import pytest

from fal_async.errors import InputError, StructureError
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.streaming import Intake, event_reader, stream_id
from fal_async.protocol.workflow import WorkflowOutput

SSE = {"Content-Type": "text/event-stream;charset=utf-8"}
WIRE = b"data: 1\n\ndata: 2\n\n"


@attrs.frozen
class Number:
    n: int


def taken(intake: Intake, *pieces: bytes) -> list[bytes]:
    for piece in pieces:
        intake.take(piece)
    return [event.data for event in intake.ready]


@pytest.mark.parametrize(
    ("model", "streams"),
    [
        ("owner/app", "owner/app/stream"),
        ("owner/app/fast", "owner/app/fast/stream"),
        ("owner/app/fast/stream", "owner/app/fast/stream"),
        ("owner/stream", "owner/stream/stream"),
        ("123-app", "123/app/stream"),
    ],
)
def test_a_model_streams_under_an_id_that_ends_in_stream(model: str, streams: str) -> None:
    assert stream_id(model) == streams


def test_what_is_no_id_does_not_stream() -> None:
    with pytest.raises(InputError):
        stream_id("nothing")


@pytest.mark.parametrize(
    ("result_type", "data", "value"),
    [
        (None, b'{"n": 1}', {"n": 1}),
        (None, b"[DONE", b"[DONE"),
        (bytes, b'{"n": 1}', b'{"n": 1}'),
        (Number, b'{"n": 1}', Number(1)),
        (str, b'"x"', "x"),
    ],
)
def test_a_payload_is_read_as_was_asked_for(result_type: Any, data: bytes, value: Any) -> None:
    assert event_reader("owner/app", result_type, None)(data) == value


def test_a_payload_that_does_not_fit_is_kept_in_the_error() -> None:
    with pytest.raises(StructureError) as raised:
        event_reader("owner/app", Number, None)(b'{"n": "x"}')
    assert (raised.value.value, raised.value.path) == ({"n": "x"}, "n")
    assert raised.value.body == b'{"n": "x"}'


def test_only_a_workflows_events_have_classes_of_their_own() -> None:
    data = b'{"type": "output", "output": 1}'
    assert event_reader("workflows/me/mine", None, None)(data) == WorkflowOutput(output=1)
    assert event_reader("owner/app", None, None)(data) == {"type": "output", "output": 1}
    assert event_reader("workflows/me/mine", dict, None)(data) == {"type": "output", "output": 1}


def test_events_are_taken_from_a_stream_of_them() -> None:
    intake = Intake(SSE, 100, whole=True)
    assert (intake.has_events, intake.is_whole) == (True, False)
    assert taken(intake, WIRE[:5], b"", WIRE[5:]) == [b"1", b"2"]
    assert intake.end() is None


@pytest.mark.parametrize(
    ("rest", "cut", "events"),
    [(b"", None, 2), (b"data: 3\n", None, 3), (b'data: {"', b'{"', 2), (b": x", None, 2)],
)
def test_what_stands_at_the_end_is_an_event_if_it_is_whole(
    rest: bytes, cut: bytes | None, events: int
) -> None:
    intake = Intake(SSE, 100, whole=False)
    taken(intake, WIRE + rest)
    assert intake.end() == cut
    assert len(intake.ready) == events


def test_another_body_is_its_pieces_or_one_event() -> None:
    assert taken(Intake({}, 100, whole=False), b"a", b"b") == [b"a", b"b"]
    whole = Intake({}, 100, whole=True)
    assert taken(whole, b"a", b"b") == []
    assert whole.end() is None
    assert taken(whole) == [b"ab"]


@pytest.mark.parametrize("headers", [SSE, {}])
def test_nothing_larger_than_the_limit_is_held(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="larger than 10 bytes"):
        taken(Intake(headers, 10, whole=True), b"data: ", b"x" * 11)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_a_packed_body_is_unpacked_as_it_comes(pack: Any) -> None:
    packed = pack(WIRE)
    headers = {**SSE, "Content-Encoding": "gzip"}
    intake = Intake(headers, 100, whole=False)
    assert taken(intake, *(packed[i : i + 1] for i in range(len(packed)))) == [b"1", b"2"]
    assert intake.end() is None
    cut = Intake(headers, 100, whole=False)
    taken(cut, packed[:4])
    assert cut.end() == b""
    with pytest.raises(Undecodable):
        taken(Intake(headers, 100, whole=False), b"nonsense")
