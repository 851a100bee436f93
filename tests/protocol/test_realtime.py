"""Realtime: control messages, URLs and the codec."""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import InputError
from fal_async.protocol.closing import explain_close
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.realtime import (
    AppFailed,
    Control,
    SessionEnded,
    Timings,
    TokenRefused,
    UnknownControl,
    build_control,
    decode_message,
    encode_message,
    read_control,
    realtime_url,
)
from fal_async.protocol.structuring import default_converter
from tests.support.secrets import PROMPT

BASE = "wss://fal.run"

CONTROLS: dict[str, tuple[str, Control]] = {
    "timings": ('{"type":"x-fal-message","action":"timings","timing":0.123}', Timings(0.123)),
    "an error": (
        '{"type":"x-fal-error","error":"INTERNAL_ERROR","reason":"it broke"}',
        AppFailed("INTERNAL_ERROR", "it broke"),
    ),
    "the end": (
        '{"type":"x-fal-error","error":"TIMEOUT","reason":"no inputs"}',
        SessionEnded("no inputs"),
    ),
    "a token refused": ('{"status":"error","error":"Unauthorized"}', TokenRefused("Unauthorized")),
}


@pytest.mark.parametrize(("text", "control"), CONTROLS.values(), ids=CONTROLS)
def test_control_messages_are_read_and_built(text: str, control: Control) -> None:
    assert read_control(text) == control
    assert read_control(build_control(control)) == control


UNKNOWN = {
    "another action": '{"type":"x-fal-message","action":"news"}',
    "timings without a number": '{"type":"x-fal-message","action":"timings"}',
    "another of fal's types": '{"type":"x-fal-news","text":"hello"}',
}


@pytest.mark.parametrize("text", UNKNOWN.values(), ids=UNKNOWN)
def test_control_messages_nobody_knows_are_known_as_such(text: str) -> None:
    control = read_control(text)
    assert isinstance(control, UnknownControl)
    assert read_control(build_control(control)) == control


def test_a_refusal_with_more_fields_is_one_still() -> None:
    assert read_control('{"status":"error","error":"Unauthorized","x":1}') == TokenRefused(
        "Unauthorized"
    )


def test_an_error_of_another_word_is_the_applications() -> None:
    assert read_control('{"status":"error","error":"Busy"}') == AppFailed("ERROR", "Busy")


RESULTS = [
    '{"images":[]}',
    '{"type":"image"}',
    '{"type":1}',
    '{"status":"error","error":"none","images":[]}',
    '{"status":"error","error":1}',
    '{"status":"ok","error":"none"}',
    "[1]",
    "hello",
    "{broken",
    "",
    "null",
]


@pytest.mark.parametrize("text", RESULTS)
def test_everything_else_is_no_control_message(text: str) -> None:
    assert read_control(text) is None


def test_an_error_without_words_is_one_still() -> None:
    assert read_control('{"type":"x-fal-error"}') == AppFailed("UNKNOWN", "")


@given(st.text())
def test_no_text_breaks_the_reading(text: str) -> None:
    read_control(text)


# --- urls -----------------------------------------------------------------------------------------------


def test_a_url_has_the_path_and_says_what_is_wanted() -> None:
    url, application = realtime_url(BASE, "me/app", "/realtime", max_buffering=5, token="a&b=c")
    parts = urlsplit(url)
    assert (parts.netloc, parts.path, application) == ("fal.run", "/me/app/realtime", "me/app")
    assert parse_qs(parts.query) == {"fal_jwt_token": ["a&b=c"], "max_buffering": ["5"]}


PATHS = {"/realtime": "/realtime", "ws": "/ws", "": "", "/": "", "/a/b/": "/a/b"}


@pytest.mark.parametrize(("path", "there"), PATHS.items())
def test_a_path_may_be_written_in_several_ways(path: str, there: str) -> None:
    assert realtime_url(BASE, "me/app", path)[0] == f"wss://fal.run/me/app{there}"


@pytest.mark.parametrize("path", ["/a?b", "/..", "/a b", None, 1])
def test_a_path_that_leads_elsewhere_is_refused(path: Any) -> None:
    with pytest.raises(InputError):
        realtime_url(BASE, "me/app", path)


@pytest.mark.parametrize("number", [0, 61, -1, True, 1.0, "5"])
def test_a_buffering_is_from_1_to_60(number: Any) -> None:
    with pytest.raises(InputError):
        realtime_url(BASE, "me/app", "/realtime", max_buffering=number)


# --- messages -------------------------------------------------------------------------------------------

unstructure = default_converter().unstructure

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text()
    | st.binary()
    # codec of msgspec: no NaN, which is unlike itself
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), plain, max_size=4))
def test_what_is_encoded_is_decoded(message: dict[str, Any]) -> None:
    assert decode_message(encode_message(message, unstructure)) == message


@attrs.frozen
class Point:
    x: int
    when: datetime.date | None = None


def test_classes_are_messages_and_may_stand_in_them() -> None:
    assert decode_message(encode_message(Point(1), unstructure)) == {"x": 1}
    nested = {"points": [Point(1), Point(2)]}
    assert decode_message(encode_message(nested, unstructure)) == {"points": [{"x": 1}, {"x": 2}]}


BAD: dict[str, Any] = {
    "text": PROMPT,
    "a list": [PROMPT],
    "nothing": None,
    "an integer of more than 64 bits": {"a": 2**64},
    "an object": {"prompt": PROMPT, "a": object()},
}


@pytest.mark.parametrize("message", BAD.values(), ids=BAD)
def test_what_cannot_be_said_is_refused_and_not_shown(message: Any) -> None:
    with pytest.raises(InputError) as caught:
        encode_message(message, unstructure)
    assert PROMPT not in str(caught.value)


def test_a_message_that_holds_itself_is_refused() -> None:
    message: dict[str, Any] = {}
    message["self"] = message
    with pytest.raises(InputError):
        encode_message(message, unstructure)


def test_text_is_json_or_itself() -> None:
    assert decode_message('{"a": 1}') == {"a": 1}
    assert decode_message("hello") == "hello"


def test_binary_that_is_no_message_pack_is_told_so() -> None:
    with pytest.raises(Undecodable, match="MessagePack"):
        decode_message(b"\xc1")


# --- closing --------------------------------------------------------------------------------------------

CLOSES = [
    (None, "", "the connection was lost"),
    (1006, "", "the connection was lost"),
    (1000, "", "it was done"),
    (1011, "oh no", "internal error): oh no"),
    (3000, "", "unauthorized"),
    (4001, "", "the application's own"),
    (2999, "", "unknown code"),
]


@pytest.mark.parametrize(("code", "reason", "said"), CLOSES)
def test_close_codes_are_explained(code: int | None, reason: str, said: str) -> None:
    assert said in explain_close(code, reason)
