from __future__ import annotations

import io
import os
from pathlib import Path

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
        (["prompt=\udcff"], "prompt is not UTF-8"),
    ],
)
def test_a_word_that_cannot_be_sent_is_refused_by_name(words: list[str], complaint: str) -> None:
    with pytest.raises(click.UsageError, match=complaint):
        build_input(words)


def test_a_file_is_a_path_for_the_session_to_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my photo.png").touch()
    found = build_input(["a=@my photo.png", f"b=@{tmp_path}/my photo.png", "c=@~/my photo.png"])
    assert list(found.values()) == [Path("my photo.png"), *[tmp_path / "my photo.png"] * 2]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gone.png", "image_url=@gone.png is to upload a file, but: No such file"),
        (".", "a folder"),
        ("", "no file"),
        ("-", "stdin is no file"),
        ("/dev/null", "no regular file"),
        ("a\0b", "that is no path"),
        ("x" * 300, "name too long"),
    ],
)
def test_what_is_no_file_is_refused_with_the_way_to_send_a_text(text: str, complaint: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        build_input([f"image_url=@{text}"])
    assert complaint in refused.value.message
    assert """JSON's quotes: 'image_url="@…"'""" in refused.value.message


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photo.png").touch(mode=0)
    if os.access(tmp_path / "photo.png", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(click.UsageError, match="may not be read"):
        build_input([f"image_url=@{tmp_path}/photo.png"])


def test_what_a_document_says_is_never_a_file() -> None:
    assert build_input([], io.BytesIO(b'{"a": "@gone.png"}')) == {"a": "@gone.png"}


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
