"""Tokens: asked for, given, and what they open."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fal_async.errors import InputError
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.model import parse_model_id
from fal_async.protocol.tokens import (
    TokenRequest,
    build_token_request,
    covers,
    parse_token_request,
    read_token,
    token_path,
)

ASKED: list[tuple[Any, Any, Any, dict[str, Any]]] = [
    ("fal-ai/lcm", 120, "classic", {"allowed_apps": ["lcm"], "token_expiration": 120}),
    ("lcm", 1, "classic", {"allowed_apps": ["lcm"], "token_expiration": 1}),
    (
        ["fal-ai/lcm", "me/app/sub"],
        60.0,
        "classic",
        {"allowed_apps": ["lcm", "app"], "token_expiration": 60},
    ),
    ("fal-ai/lcm", 120, "newer", {"allowed_apps": ["fal-ai/lcm/realtime"], "duration": 120}),
    ("me/app/ws", 120, "newer", {"allowed_apps": ["me/app/ws"], "duration": 120}),
]


@pytest.mark.parametrize(("apps", "seconds", "flavour", "said"), ASKED)
def test_a_token_is_asked_for_in_the_words_of_its_flavour(
    apps: Any, seconds: Any, flavour: Any, said: dict[str, Any]
) -> None:
    wanted, body = build_token_request(apps, seconds, flavour)
    assert json.loads(body) == said
    assert parse_token_request(token_path(flavour), body) == wanted


@pytest.mark.parametrize(
    ("apps", "seconds", "flavour"),
    [
        ([], 120, "classic"),
        ("not a model", 120, "classic"),
        ("lcm", 120, "newer"),
        (["fal-ai/lcm", 1], 120, "classic"),
        ("fal-ai/lcm", 0, "classic"),
        ("fal-ai/lcm", 1.5, "classic"),
        ("fal-ai/lcm", True, "classic"),
        ("fal-ai/lcm", "120", "classic"),
        ("fal-ai/lcm", 1e9, "classic"),
        ("fal-ai/lcm", float("nan"), "classic"),
        ("fal-ai/lcm", 120, "modern"),
    ],
)
def test_what_no_token_can_be_asked_for_is_refused(apps: Any, seconds: Any, flavour: Any) -> None:
    with pytest.raises(InputError):
        build_token_request(apps, seconds, flavour)


@pytest.mark.parametrize("body", [b'"eyJ"', b'{"token":"eyJ"}', b'{"detail":"eyJ"}'])
def test_a_token_comes_in_several_forms(body: bytes) -> None:
    assert read_token(body) == "eyJ"


@pytest.mark.parametrize("body", [b"", b"eyJ", b"{}", b"[]", b'""', b'{"token":1}', b"null"])
def test_what_is_no_token_is_told_so_without_being_shown(body: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        read_token(body)
    assert "eyJ" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"allowed_apps":"lcm"}', b'{"allowed_apps":[1]}'],
)
def test_a_request_that_asks_for_nothing_is_refused(body: bytes) -> None:
    with pytest.raises(InputError):
        parse_token_request("/tokens/", body)


def test_a_request_with_a_strange_lifetime_is_refused() -> None:
    with pytest.raises(InputError):
        parse_token_request("/tokens/", b'{"allowed_apps":["lcm"],"token_expiration":"soon"}')


def test_tokens_are_given_at_their_own_paths_only() -> None:
    assert parse_token_request("/tokens/other", b"{}") is None
    assert parse_token_request("/tokens", b'{"allowed_apps":[]}') is not None


def test_a_classic_token_covers_all_paths_of_an_alias_and_a_newer_one_its_own() -> None:
    classic = TokenRequest(allowed=("app",), seconds=1)
    newer = TokenRequest(allowed=("me/app/realtime",), seconds=1, flavour="newer")
    realtime, other = parse_model_id("me/app/realtime"), parse_model_id("me/app/other")
    assert (covers(classic, realtime), covers(classic, other)) == (True, True)
    assert (covers(newer, realtime), covers(newer, other)) == (True, False)
    assert not covers(classic, parse_model_id("me/another/realtime"))
