from __future__ import annotations

import io

import click
import pytest

from fal_async.cli.options import build_input, parse_lifetime, parse_tags, parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a cat", "a cat"),
        ("2", 2),
        ("-1.5e3", -1500.0),
        ("340282366920938463463374607431768211455", 2**128 - 1),
        ("true", True),
        ("null", None),
        ('"42"', "42"),
        ('{"width": 512}', {"width": 512}),
        ("[1, 2]", [1, 2]),
        ("", ""),
        ("True", "True"),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ("{not json", "{not json"),
        ("[" * 100_000, "[" * 100_000),
        ("köttbullar", "köttbullar"),
    ],
)
def test_a_value_that_is_json_is_json_and_all_else_is_text(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert (parsed, type(parsed)) == (value, type(value))


def test_words_become_an_input() -> None:
    words = ["prompt=a cat = a mammal", "num_images=2"]
    assert build_input(words) == {"prompt": "a cat = a mammal", "num_images": 2}


def test_words_win_over_the_document_they_start_from() -> None:
    document = io.BytesIO(b'{"prompt": "a cat", "seed": 1}')
    assert build_input(["seed=2"], document) == {"prompt": "a cat", "seed": 2}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["prompt"], "is no name=value"),
        (["=5"], "is no name=value"),
        (["seed=1", "seed=2"], "seed is given twice"),
        (["image_url=@photo.png"], "will upload a file one day"),
        (["prompt=\udcff"], "prompt is not UTF-8"),
    ],
)
def test_a_word_that_cannot_be_sent_is_refused_by_name(words: list[str], complaint: str) -> None:
    with pytest.raises(click.UsageError, match=complaint):
        build_input(words)


def test_a_text_that_starts_with_an_at_sign_can_be_sent_in_quotes() -> None:
    assert build_input(['prompt="@home"']) == {"prompt": "@home"}


@pytest.mark.parametrize(
    ("document", "complaint"), [(b"[1]", "no JSON object"), (b"{", "does not decode")]
)
def test_a_document_that_is_no_object_is_refused(document: bytes, complaint: str) -> None:
    with pytest.raises(click.UsageError, match=complaint):
        build_input([], io.BytesIO(document))


@pytest.mark.parametrize(
    ("text", "lifetime"),
    [
        (None, None),
        ("1h", "1h"),
        ("never", "never"),
        ("90m", 5400),
        ("12h", 43_200),
        ("3d", 259_200),
        ("45s", 45),
        ("3600", 3600.0),
        ("0", 0.0),
    ],
)
def test_a_lifetime_is_seconds_a_duration_or_a_word_of_fals(
    text: str | None, lifetime: object
) -> None:
    assert parse_lifetime(text) == lifetime


def test_a_lifetime_that_is_none_of_them_is_refused() -> None:
    with pytest.raises(click.UsageError, match="neither seconds, nor a duration"):
        parse_lifetime("3 weeks")


def test_tags_are_pairs() -> None:
    assert parse_tags(["team=art", "note=a=b"]) == {"team": "art", "note": "a=b"}
    assert parse_tags([]) is None
    with pytest.raises(click.UsageError, match="no key=value"):
        parse_tags(["team"])
