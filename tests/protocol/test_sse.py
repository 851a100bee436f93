"""Server-sent events: one meaning, however the bytes are cut and whichever way lines end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import InputError
from fal_async.protocol.sse import Event, EventParser, encode_comment, encode_event

TABLE: list[tuple[str, bytes, list[Event]]] = [
    ("one line", b"data: x\n\n", [Event(b"x")]),
    ("no space after the colon", b"data:x\n\n", [Event(b"x")]),
    ("only the first space goes", b"data:  x\n\n", [Event(b" x")]),
    ("several lines", b"data: a\ndata: b\n\n", [Event(b"a\nb")]),
    ("an empty payload", b"data:\n\n", [Event(b"")]),
    ("a field without a colon", b"data\n\n", [Event(b"")]),
    ("CRLF", b"data: x\r\n\r\n", [Event(b"x")]),
    ("CR", b"data: x\r\r", [Event(b"x")]),
    ("mixed ends", b"data: a\rdata: b\r\n\n", [Event(b"a\nb")]),
    ("a name", b"event: error\ndata: x\n\n", [Event(b"x", "error")]),
    (
        "a name is for one event",
        b"event: a\ndata: x\n\ndata: y\n\n",
        [Event(b"x", "a"), Event(b"y")],
    ),
    ("a name without data is no event", b"event: a\n\ndata: y\n\n", [Event(b"y")]),
    ("an id lasts", b"id: 7\ndata: x\n\ndata: y\n\n", [Event(b"x", "", "7"), Event(b"y", "", "7")]),
    ("an id with a NUL is none", b"id: \x00\ndata: x\n\n", [Event(b"x")]),
    ("comments", b": ping\n\n: ping\ndata: x\n\n", [Event(b"x")]),
    ("unknown fields and retry", b"retry: 10\nfoo: bar\ndata: x\n\n", [Event(b"x")]),
    ("a byte order mark", b"\xef\xbb\xbfdata: x\n\n", [Event(b"x")]),
    ("no end, no event", b"data: x\n", []),
    ("NEL and LS end no line", "data: a\x85\u2028b\n\n".encode(), [Event("a\x85\u2028b".encode())]),
    ("nothing", b"", []),
]


def parse(*chunks: bytes) -> list[Event]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("wire", "events"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_a_stream_means_the_same_whole_and_byte_by_byte(wire: bytes, events: list[Event]) -> None:
    assert parse(wire) == events
    assert parse(*(wire[i : i + 1] for i in range(len(wire)))) == events
    assert parse(wire, b"data: after\n\n")[: len(events)] == events


def reference(wire: bytes) -> list[bytes]:
    """The standard's own words, slowly: the payloads of a whole stream."""
    text = wire.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    payloads, data = [], []
    for line in text.split("\n")[:-1]:
        name, _, value = line.partition(":")
        if not line:
            if data:
                payloads.append("\n".join(data).encode())
            data = []
        elif name == "data":
            data.append(value[1:] if value[:1] == " " else value)
    return payloads


LINES = st.sampled_from(
    ["data: a", "data:b", "data", ": c", "event: e", "id: 1", "", "", "x", "data: é"]
)


@given(st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r", "\r\n"])), max_size=30), st.data())
def test_however_it_is_cut_a_stream_means_what_the_standard_says(
    lines: list[tuple[str, str]], data: st.DataObject
) -> None:
    wire = "".join(line + end for line, end in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    chunks = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]

    # A CR at the very end is an end of line; the reference must see it as one, too.
    assert [event.data for event in parse(*chunks)] == reference(wire)


# --- against an encoder that shares nothing with ours but the standard ------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=5)
PAYLOADS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20)
NOISE = st.sampled_from(["", ":", ": ping", "retry: 5", "retry", "dat", "datax: 1", "foo: data: 1"])


@st.composite
def wires(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """A stream as somebody else might write it, and what it says."""
    ends = st.sampled_from(["\n", "\r", "\r\n"])
    text, events, last_id = draw(st.sampled_from(["", "\ufeff"])), [], ""
    for _ in range(draw(st.integers(0, 5))):
        name, number, payload = draw(NAMES), draw(st.none() | NAMES), draw(PAYLOADS)
        space = draw(st.sampled_from(["", " "]))
        lines = [f"data:{' ' if line[:1] == ' ' else space}{line}" for line in payload.split("\n")]
        if name:
            lines.insert(draw(st.integers(0, len(lines))), f"event: {name}")
        if number is not None:
            lines.insert(draw(st.integers(0, len(lines))), f"id: {number}")
            last_id = last_id if "\0" in number else number
        for noise in draw(st.lists(NOISE.filter(bool), max_size=2)):
            lines.insert(draw(st.integers(0, len(lines))), noise)
        for line in [*draw(st.lists(NOISE, max_size=2)), *lines, ""]:
            end = draw(ends)
            # CR and then LF would be one end of line, not two.
            text += line + ("\r\n" if not line and end == "\n" and text[-1:] == "\r" else end)
        events.append(Event(payload.encode(), name, last_id))
    return text.encode(), events


@given(wires(), st.data())
def test_what_another_encoder_writes_is_read_as_it_was_meant(
    written: tuple[bytes, list[Event]], data: st.DataObject
) -> None:
    wire, events = written
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    chunks = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert parse(wire) == events
    assert parse(*(wire[i : i + 1] for i in range(len(wire)))) == events
    assert parse(*chunks) == events


# --- the ends of it -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "left"),
    [
        (b"data: 1\n\n", None),
        (b"data: 1\n\ndata: 2\n", Event(b"2")),
        (b"data: 1\n\nevent: e\ndata: 2", Event(b"2", "e")),
        (b"data: 1\n\nda", None),
        (b"data: 1\n\n: comment", None),
        (b"\xef\xbb", None),
        (b"", None),
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_an_event_without_its_blank_line_can_be_had_at_the_end(
    wire: bytes, left: Event | None, step: int
) -> None:
    parser = EventParser()
    for start in range(0, len(wire), step):
        parser.feed(wire[start : start + step])
    assert parser.end() == left


def test_what_came_before_an_event_beyond_the_limit_is_handed_over() -> None:
    taken: list[Event] = []
    with pytest.raises(ValueError, match="larger than 10 bytes"):
        EventParser(limit=10).feed_into(taken.append, b"data: 1\n\ndata: " + b"x" * 20 + b"\n\n")
    assert taken == [Event(b"1")]


def test_an_event_in_very_many_pieces_is_put_together_once() -> None:
    parser = EventParser()
    piece = b"x" * 1000
    assert parser.feed(b"data: ") == []
    for _ in range(20_000):  # 20 MB: if each were added to those before, this would take minutes
        assert parser.feed(piece) == []
    [event] = parser.feed(b"\n\n")
    assert len(event.data) == 20_000_000


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=50))
def test_what_is_encoded_is_parsed_back(text: str) -> None:
    assert parse(encode_event(text, event="e", id="1")) == [Event(text.encode(), "e", "1")]


def test_a_comment_is_no_event() -> None:
    assert parse(encode_comment("ping"), encode_event(b"x")) == [Event(b"x")]


def test_a_name_of_two_lines_is_refused() -> None:
    with pytest.raises(InputError):
        encode_event("x", event="a\nb")


@pytest.mark.parametrize("wire", [b"data: " + b"x" * 20, b"data: xxxxxx\n" * 3])
def test_an_event_without_an_end_fills_no_memory(wire: bytes) -> None:
    with pytest.raises(ValueError, match="larger than 10 bytes"):
        EventParser(limit=10).feed(wire)


def test_an_events_payload_stays_out_of_its_repr() -> None:
    assert "secret" not in repr(Event(b"secret"))
