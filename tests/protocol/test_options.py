"""Request options as headers, both directions."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import InputError
from fal_async.protocol.lifecycle import InitialAcl, LifecyclePreference
from fal_async.protocol.messages import Headers
from fal_async.protocol.options import (
    RequestOptions,
    build_option_headers,
    check_headers,
    parse_lifecycle_header,
    parse_start_timeout,
)

HUGE = pytest.param(10**400, id="beyond floats")


def headers(**options: Any) -> dict[str, str]:
    return build_option_headers(RequestOptions(**options))


LIFECYCLE = "X-Fal-Object-Lifecycle-Preference"
START, START_NEW = "X-Fal-Request-Timeout", "X-Fal-Request-Start-Timeout"

TABLE: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {}),
    ({"expire": 3600}, {LIFECYCLE: '{"expiration_duration_seconds":3600}'}),
    ({"expire": "7d"}, {LIFECYCLE: '{"expiration_duration_seconds":604800}'}),
    ({"expire": "never"}, {}),
    (
        {"expire": LifecyclePreference(60, InitialAcl("hide"))},
        {
            LIFECYCLE: (
                '{"expiration_duration_seconds":60,"initial_acl":{"default":"hide","rules":[]}}'
            )
        },
    ),
    ({"start_timeout": 1}, {START: "1", START_NEW: "1"}),
    ({"start_timeout": 30.0}, {START: "30", START_NEW: "30"}),
    ({"start_timeout": 30.25}, {START: "30.25", START_NEW: "30.25"}),
    ({"start_timeout": 1e9}, {START: "1000000000", START_NEW: "1000000000"}),
    ({"hint": "session 5"}, {"X-Fal-Runner-Hint": "session 5"}),
    ({"store_io": True}, {"X-Fal-Store-IO": "1"}),
    ({"store_io": False}, {"X-Fal-Store-IO": "0"}),
    (
        {"disable_fallback": True},
        {"x-app-fal-disable-fallback": "true", "x-fal-disable-fallbacks": "true"},
    ),
    ({"disable_fallback": False}, {}),
    ({"tags": {}}, {}),
    ({"tags": {"Team": "a b=c", "job.id_1-x": "5"}}, {"X-Fal-Tags": "team=a b=c,job.id_1-x=5"}),
]


@pytest.mark.parametrize(("options", "expected"), TABLE)
def test_each_option_is_said_in_its_headers(
    options: dict[str, Any], expected: dict[str, str]
) -> None:
    assert headers(**options) == expected


def test_all_options_together_are_said_in_one_go() -> None:
    assert headers(
        expire=60, start_timeout=5, hint="h", store_io=False, disable_fallback=True, tags={"a": "b"}
    ) == {
        LIFECYCLE: '{"expiration_duration_seconds":60}',
        START: "5",
        START_NEW: "5",
        "X-Fal-Runner-Hint": "h",
        "X-Fal-Store-IO": "0",
        "x-app-fal-disable-fallback": "true",
        "x-fal-disable-fallbacks": "true",
        "X-Fal-Tags": "a=b",
    }


def test_options_are_a_value_whose_headers_are_made_anew_each_time() -> None:
    options = RequestOptions(expire=60, tags={"a": "b"})
    assert options == RequestOptions(expire=60, tags={"a": "b"})
    assert hash(options) == hash(attrs.evolve(options, tags={"a": "b"}))
    assert build_option_headers(options) is not build_option_headers(options)


# --- the start timeout ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 0.5, 0.999, -1, math.nan, -math.inf])
def test_a_start_timeout_below_a_second_is_not_sent(value: float) -> None:
    with pytest.raises(InputError, match="at least 1 second"):
        RequestOptions(start_timeout=value)


@pytest.mark.parametrize("value", [math.inf, 1e300, HUGE])
def test_a_start_timeout_beyond_all_sense_is_not_sent(value: float) -> None:
    with pytest.raises(InputError, match="leave it out"):
        RequestOptions(start_timeout=value)


@pytest.mark.parametrize("value", ["30", True, b"31", [30]])
def test_a_start_timeout_is_a_number(value: Any) -> None:
    with pytest.raises(InputError, match=f"not {type(value).__name__}"):
        RequestOptions(start_timeout=value)


class Seconds(float):
    """A float of somebody else's, as numpy has them."""

    def __repr__(self) -> str:
        return f"Seconds({float(self)})"


def test_a_start_timeout_of_another_kind_of_float_is_written_as_a_number() -> None:
    assert headers(start_timeout=Seconds(1.5))[START] == "1.5"


@given(st.floats(1, 1e9) | st.integers(1, 10**9))
def test_every_start_timeout_survives_its_header(seconds: float) -> None:
    sent = headers(start_timeout=seconds)
    assert parse_start_timeout(Headers(sent)) == seconds
    assert sent[START] == sent[START_NEW]


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        ({}, None),
        ({START: "30"}, 30.0),
        ({START: "30.0"}, 30.0),
        ({START: "0.11"}, 0.11),
        ({START_NEW: "5"}, 5.0),
        ({START: "30", START_NEW: "5"}, 5.0),
        ({START: "rubbish", START_NEW: "5"}, 5.0),
        ({START: "30", START_NEW: ""}, 30.0),
    ],
)
def test_the_platform_reads_the_newer_name_first(
    sent: dict[str, str], seconds: float | None
) -> None:
    assert parse_start_timeout(Headers(sent)) == seconds


@pytest.mark.parametrize("text", ["0.1", "0", "-1", "inf", "nan", "1e400"])
def test_the_platform_wants_more_than_a_tenth_of_a_second(text: str) -> None:
    with pytest.raises(InputError, match=r"greater than 0\.1"):
        parse_start_timeout(Headers({START: text}))


@pytest.mark.parametrize("text", ["soon", "30s", "", "1,5"])
def test_the_platform_wants_a_number(text: str) -> None:
    with pytest.raises(InputError, match="not a number"):
        parse_start_timeout(Headers({START: text}))


@given(st.text())
def test_no_start_timeout_makes_the_platform_fail_in_another_way(text: str) -> None:
    try:
        seconds = parse_start_timeout(Headers({START: text}))
    except InputError:
        return
    assert seconds is not None
    assert 0.1 < seconds < math.inf


def test_the_platform_reads_the_lifecycle_of_a_request_whatever_the_case_of_its_name() -> None:
    preference = LifecyclePreference(60, InitialAcl("hide"))
    sent = headers(expire=preference)
    assert parse_lifecycle_header(Headers(sent)) == preference
    assert parse_lifecycle_header(Headers({LIFECYCLE.upper(): sent[LIFECYCLE]})) == preference
    assert parse_lifecycle_header(Headers({})) is None
    assert parse_lifecycle_header(Headers({LIFECYCLE: "rubbish"})) is None


# --- hint and flags ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hint", ["a\nb", "a\r", "é", "a\x00", "\x7f", "\t"])
def test_a_hint_that_no_header_can_say_is_refused(hint: str) -> None:
    with pytest.raises(InputError, match="hint holds a character"):
        RequestOptions(hint=hint)


@pytest.mark.parametrize("hint", ["", "  "])
def test_an_empty_hint_is_refused(hint: str) -> None:
    with pytest.raises(InputError, match="hint is empty"):
        RequestOptions(hint=hint)


def test_a_hint_is_text() -> None:
    with pytest.raises(InputError, match="hint is a string, not int"):
        RequestOptions(hint=5)


@pytest.mark.parametrize("name", ["store_io", "disable_fallback"])
@pytest.mark.parametrize("value", [0, 1, "false", "yes", []])
def test_a_switch_is_true_false_or_not_given(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name} is True, False or None, not"):
        RequestOptions(**{name: value})


# --- tags -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["", "a b", "a=b", "a,b", "é", "fal.x", "FAL.x", "a" * 65, "a\n", 5]
)
def test_a_tags_key_that_fal_would_drop_is_refused(key: Any) -> None:
    with pytest.raises(InputError, match="a tag's key"):
        RequestOptions(tags={key: "x"})


@pytest.mark.parametrize("value", ["", "a,b", "é", "a\n", "a" * 257, 5, None])
def test_a_tags_value_that_fal_would_drop_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="the value of tag a is"):
        RequestOptions(tags={"a": value})


def test_the_longest_tags_and_the_most_of_them_are_sent() -> None:
    assert headers(tags={"a" * 64: "b" * 256})
    assert headers(tags={"falx": "~ !"}) == {"X-Fal-Tags": "falx=~ !"}
    ten = {str(n): "v" * 101 for n in range(9)} | {"ab": "v" * 104}
    assert sum(len(key) + len(value) for key, value in ten.items()) == 1024
    assert headers(tags=ten)["X-Fal-Tags"].count(",") == 9
    with pytest.raises(InputError, match="at most 1024 characters"):
        RequestOptions(tags={**ten, "ab": "v" * 105})
    with pytest.raises(InputError, match="at most 10 tags"):
        RequestOptions(tags={str(n): "v" for n in range(11)})


def test_two_tags_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="two tags are named a"):
        RequestOptions(tags={"a": "1", "A": "2"})


@pytest.mark.parametrize("tags", ["a=b", [("a", "b")], 5, False])
def test_tags_are_a_mapping(tags: Any) -> None:
    with pytest.raises(InputError, match=f"not {type(tags).__name__}"):
        RequestOptions(tags=tags)


# --- the caller's own headers -----------------------------------------------------------------------


def test_the_callers_headers_are_taken_as_they_stand() -> None:
    own = {"X-Mine": "a b, c=~", "accept-encoding": "gzip", "X-Empty": ""}
    checked = check_headers(own)
    assert checked == own
    assert checked is not own


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\n", "é", "(a)", 5, None, b"name"])
def test_a_name_that_no_header_can_have_is_refused(name: Any) -> None:
    with pytest.raises(InputError, match="a header's name"):
        check_headers({name: "x"})


@pytest.mark.parametrize("value", ["a\nb", "a\r", "é", "\x00", "\x7f", 5, None, b"a"])
def test_a_value_that_no_header_can_have_is_refused_and_not_shown(value: Any) -> None:
    with pytest.raises(InputError, match=r"the header X-Mine (holds|is a string)") as caught:
        check_headers({"X-Mine": value})
    assert "a\nb" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "authorization",
        "HOST",
        "Content-Length",
        "Content-Type",
        "Content-Encoding",
        "Transfer-Encoding",
        "Connection",
        "Expect",
        "TE",
        "Trailer",
        "Upgrade",
        "Proxy-Authorization",
    ],
)
def test_a_header_that_decides_who_is_asked_and_as_whom_is_the_clients_own(name: str) -> None:
    with pytest.raises(InputError, match=f"the header {name} is set by the client itself"):
        check_headers({name: "x"})


@pytest.mark.parametrize("own", ["a: b", [("a", "b")], 5])
def test_the_callers_headers_are_a_mapping(own: Any) -> None:
    with pytest.raises(InputError, match=f"not {type(own).__name__}"):
        check_headers(own)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20)))
def test_whatever_headers_are_given_nothing_unsendable_passes(own: dict[str, str]) -> None:
    try:
        checked = check_headers(own)
    except InputError:
        return
    for name, value in checked.items():
        assert name.isascii()
        assert not set(name) & set(" \r\n:")
        assert value == "" or (value.isascii() and value.isprintable())
