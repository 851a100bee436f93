"""The API key: where it is looked for, what makes one, and the header it travels in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import InputError, MissingKeyError
from fal_async.protocol.auth import (
    authorization,
    check_key,
    key_from_environment,
    missing_key,
    parse_authorization,
)

KEYS = ["id:secret", "x", "no colon", ":", "a:b:c", "clé", "schlüssel:ключ", "k" * 5000]
NO_KEYS = [
    ("", "is empty"),
    (" ", "is empty"),
    ("\n", "is empty"),
    ("secret\n", "control character"),
    ("sec\rret", "control character"),
    ("sec\tret", "control character"),
    ("sec\x00ret", "control character"),
    ("sec\x7fret", "control character"),
    ("sec\x85ret", "control character"),
    ("sec\ud800ret", "lone surrogate"),
]


@pytest.mark.parametrize("key", KEYS)
def test_any_text_without_control_characters_is_a_key_and_survives_the_header(key: str) -> None:
    assert check_key(key) == key
    assert authorization(key) == f"Key {key}"
    assert parse_authorization(authorization(key)) == key


@pytest.mark.parametrize(("key", "why"), NO_KEYS)
def test_what_cannot_travel_in_a_header_is_no_key_and_is_not_shown(key: str, why: str) -> None:
    with pytest.raises(InputError, match=f"the key .*{why}") as caught:
        check_key(key)
    assert "sec" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("key", [None, 5, b"id:secret", ["id:secret"]])
def test_only_text_is_a_key(key: Any) -> None:
    with pytest.raises(InputError, match=f"not {type(key).__name__}"):
        check_key(key)


@given(st.text())
def test_every_text_is_a_key_as_it_stands_or_a_bad_argument(text: str) -> None:
    try:
        assert check_key(text) is text
    except InputError:
        return
    authorization(text).encode()


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({}, None),
        ({"FAL_KEY": "id:secret"}, "id:secret"),
        ({"FAL_KEY": ""}, None),
        ({"FAL_KEY_ID": "id", "FAL_KEY_SECRET": "secret"}, "id:secret"),
        ({"FAL_KEY": "", "FAL_KEY_ID": "id", "FAL_KEY_SECRET": "secret"}, "id:secret"),
        ({"FAL_KEY": "a:b", "FAL_KEY_ID": "id", "FAL_KEY_SECRET": "secret"}, "a:b"),
        ({"FAL_KEY_ID": "id"}, None),
        ({"FAL_KEY_SECRET": "secret"}, None),
        ({"FAL_KEY_ID": "id", "FAL_KEY_SECRET": ""}, None),
        ({"FAL_KEY_ID": "", "FAL_KEY_SECRET": "secret"}, None),
    ],
)
def test_the_environment_has_a_whole_key_or_both_halves_or_none(
    environ: dict[str, str], key: str | None
) -> None:
    assert key_from_environment(environ) == key


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"FAL_KEY": "secret\n"}, "FAL_KEY"),
        ({"FAL_KEY_ID": "secret\n", "FAL_KEY_SECRET": "x"}, "FAL_KEY_ID"),
        ({"FAL_KEY_ID": "x", "FAL_KEY_SECRET": "secret\n"}, "FAL_KEY_SECRET"),
    ],
)
def test_a_key_of_the_environment_that_is_none_is_named_by_its_variable(
    environ: dict[str, str], name: str
) -> None:
    with pytest.raises(InputError, match=f"^{name} holds a control character") as caught:
        key_from_environment(environ)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Key id:secret", "id:secret"),
        ("key id:secret", "id:secret"),
        ("KEY  id:secret ", "id:secret"),
        ("Bearer id:secret", None),
        ("Keyid:secret", None),
        ("Key", None),
        ("Key ", None),
        ("", None),
        (None, None),
    ],
)
def test_the_other_end_reads_the_key_of_that_scheme_only(
    header: str | None, key: str | None
) -> None:
    assert parse_authorization(header) == key


def test_the_error_for_a_missing_key_lists_every_place_looked_in() -> None:
    error = missing_key()
    assert isinstance(error, MissingKeyError)
    for place in ("AsyncFal(key=...)", "key=...", "FAL_KEY ", "FAL_KEY_ID", "FAL_KEY_SECRET"):
        assert place in str(error)
    assert "Not billed." in str(error)
