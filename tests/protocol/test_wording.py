"""A server's words, fit for a log."""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.protocol.messages import HttpRequest
from fal_async.protocol.wording import brief

KEY = "key-id-0123456789:key-secret-abcdef"


def request(input: Any = None, key: str = KEY) -> HttpRequest:
    return HttpRequest(
        method="POST",
        url="https://fal.run/a/b",
        headers={"Authorization": f"Key {key}"},
        body=b"" if input is None else json.dumps(input).encode(),
    )


def said(text: str, input: Any = None, key: str = KEY) -> str:
    return brief(text, request(input, key))


def test_plain_words_stay_as_they_are() -> None:
    text = "image_size: Input should be 'square' or {'width', 'height'} (literal_error)"
    assert said(text, {"prompt": "a cat on a mat", "n": 5, "more": [None, True, 1.5]}) == text
    assert said("") == ""


def test_a_text_is_one_line_of_at_most_200_characters() -> None:
    assert said("a\n\n  b\tc ") == "a b c"
    assert said("x " * 100) == ("x " * 100).strip()
    assert said("ab " * 66 + "ab") == "ab " * 66 + "ab"
    assert said("ab " * 100) == ("ab " * 67)[:199] + "…"
    assert len(said("ab " * 1_000_000)) == 200


def test_what_would_move_a_terminal_or_break_a_log_goes() -> None:
    assert said("a\x1b[31mb\x00c\u202ed\ud800e\x85f") == "a [31mb c d e f"


@pytest.mark.parametrize("key", [KEY, "0123456789", "sk_live_1", "id:secret", "k"])
def test_no_part_of_the_key_is_shown(key: str) -> None:
    for part in (key, *key.split(":")):
        shown = said(f"No user found for {part} here", key=key)
        assert shown == "No user found for … here"


def test_half_a_key_is_not_shown_either() -> None:
    assert said(f"Key {KEY[:14]}... is unknown") == "Key …... is unknown"
    assert said(f"bad token {KEY[-12:]}") == "bad token …"


def test_a_request_without_a_key_has_nothing_to_hide() -> None:
    bare = HttpRequest(method="POST", url="u", headers={}, body=b"")
    assert brief("no key was given", bare) == "no key was given"


PROMPT = 'a tabby cat, asleep on\n the "good" sofa; kätzchen\'s paw'


@pytest.mark.parametrize(
    "echo",
    [
        PROMPT,
        " ".join(PROMPT.split()),
        json.dumps(PROMPT),
        json.dumps(PROMPT, ensure_ascii=False),
        repr(PROMPT),
        PROMPT[:30],
        PROMPT[10:40],
        f"{PROMPT[:25]}...",
    ],
)
def test_no_stretch_of_the_prompt_is_shown_however_it_is_quoted(echo: str) -> None:
    shown = said(f"Refused: {echo} is not allowed", {"a": [{"prompt": PROMPT}]})
    assert shown.startswith("Refused: ")
    assert shown.endswith("is not allowed")
    for word in ("tabby", "asleep", "sofa", "kätzchen", "paw"):
        assert word not in shown


@pytest.mark.parametrize("prompt", ["a cat", "zebra", "cat", "two  words", "10:30", "'q'"])
def test_a_short_input_is_masked_where_it_stands_as_a_word(prompt: str) -> None:
    assert said(f"Bad prompt {prompt}!", {"prompt": prompt}) == "Bad prompt …!"


def test_every_string_of_the_input_is_looked_for() -> None:
    asked = {
        "prompt": "a tabby cat asleep",
        "more": [{"negative": "blurry, out of focus", "style": "zebra"}],
        "short": "a cat",
        "shorter": "cat",
    }
    text = "no blurry, out of focus, no a tabby cat asleep, no zebra, no a cat, no cat"
    assert said(text, asked) == "no …, no …, no …, no …, no …"


def test_a_string_of_some_length_is_found_inside_a_word_too() -> None:
    assert said("--abcdefghijklxx--", {"a": "abcdefghijkl"}) == "--…xx--"
    assert said("--abcdefghijkxx--", {"a": "abcdefghijk"}) == "--abcdefghijkxx--"
    assert said("--01234567xx--", key="01234567") == "--…xx--"


def test_a_short_input_inside_another_word_is_chance() -> None:
    assert said("the category is unknown", {"prompt": "cat"}) == "the category is unknown"
    assert said("a is no b", {"a": "a", "b": "no", "c": "", "d": " "}) == "a is no b"


def test_the_names_of_fields_are_kept() -> None:
    assert said("body.long_field_name: missing", {"long_field_name": 1}) == (
        "body.long_field_name: missing"
    )


@pytest.mark.parametrize(
    "blob",
    [
        base64.b64encode(bytes(range(256))).decode(),
        base64.urlsafe_b64encode(bytes(range(256))).decode(),
        "data:image/png;base64,iVBORw0KGgo=",
        "data:image/svg+xml,%3Csvg%20x%3D%221%22%3E",
        "data:;base64," + "A" * 5000,
        "f" * 60,
    ],
)
def test_no_blob_is_shown(blob: str) -> None:
    assert said(f"cannot read {blob} here") == "cannot read … here"


def test_a_usual_url_is_no_blob() -> None:
    text = "see https://docs.fal.ai/errors#image_too_large"
    assert said(text) == text


def test_an_input_nested_without_end_or_no_json_does_no_harm() -> None:
    depth = sys.getrecursionlimit() - 100
    deep = HttpRequest(method="POST", url="u", body=b"[" * depth + b'"zebra"' + b"]" * depth)
    assert "zebra" not in brief("a zebra", deep)
    assert brief("a zebra", HttpRequest(method="POST", url="u", body=b"{zebra")) == "a zebra"
    assert brief("a zebra", HttpRequest(method="POST", url="u", body=b"5")) == "a zebra"


def test_of_a_very_long_input_the_first_32_ki_characters_are_looked_for() -> None:
    tail = " a dog of some length"
    assert said("and a dog of some length", {"a": "x" * 32_000 + tail}) == "and…"
    assert said("and a dog of some length", {"a": "x" * 32_768 + tail}) == f"and{tail}"
    assert said(f"and{tail}", {"a": tail, "b": "x" * 40_000}) == f"and{tail}"
    assert said(f"and{tail}", {"a": tail, "b": "x" * 32_768}) == f"and{tail}"


#: Letters that no text of ours or of fal's has.
STRANGE = st.text(st.sampled_from("ЖЩЮЯ \"'\\\n\u00df\U0001f600"), min_size=3, max_size=60)


@given(
    prompt=STRANGE.filter(lambda text: len(" ".join(text.split())) >= 3),
    quote=st.sampled_from([str, repr, json.dumps, str.strip]),
    before=st.sampled_from(["", "Refused: ", "x" * 30]),
    after=st.sampled_from(["", " no", "\n\n"]),
)
def test_a_prompt_quoted_whole_never_comes_through(
    prompt: str, quote: Any, before: str, after: str
) -> None:
    shown = said(f"{before} {quote(prompt)} {after}", {"prompt": prompt})
    assert " ".join(prompt.split()) not in shown
    assert len(shown) <= 200


@given(
    prompt=st.text(st.sampled_from("ЖЩЮЯЁЪ "), min_size=40, max_size=300),
    cut=st.integers(0, 30),
    length=st.integers(12, 200),
)
def test_no_long_stretch_of_a_prompt_quoted_in_part_comes_through(
    prompt: str, cut: int, length: int
) -> None:
    plain = " ".join(prompt.split())
    shown = said(f"Refused: {prompt[cut : cut + length]}... (type)", {"prompt": prompt})
    assert not any(plain[i : i + 12] in shown for i in range(len(plain) - 11))


@given(st.text(), st.text() | st.dictionaries(st.text(), st.text()), st.text())
def test_any_text_for_any_request_is_short_and_printable(text: str, input: Any, key: str) -> None:
    shown = said(text, input, key)
    assert len(shown) <= 200
    assert shown.isprintable()
    assert "\n" not in shown
