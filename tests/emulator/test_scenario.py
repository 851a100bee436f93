"""Who is let in, by PROTOCOL 2.1."""

from __future__ import annotations

import json

import pytest

from fal_async.emulator.scenario import Account, Caller
from fal_async.protocol.messages import HttpResponse

KNOWN = Account(keys={"id:secret"}, locked={"broke:secret": "Exhausted balance."})


def judge(account: Account, header: str | None, *, public: bool = False) -> Caller | HttpResponse:
    return account.judge(header, application="fal-ai/flux", public=public)


@pytest.mark.parametrize("header", [None, "Key id:secret", "Key whatever", "Bearer token"])
def test_without_keys_everybody_is_let_in(header: str | None) -> None:
    assert isinstance(judge(Account(), header), Caller)


def test_a_caller_is_known_by_the_part_before_the_colon_only() -> None:
    assert judge(KNOWN, "Key id:secret") == Caller("id")


def test_a_key_without_a_colon_is_all_secret_and_known_by_a_mark() -> None:
    one, again, other = (judge(Account(), f"Key {key}") for key in ("hidden", "hidden", "other"))
    assert isinstance(one, Caller)
    assert one.key_id
    assert "hidden" not in one.key_id
    assert one == again != other


@pytest.mark.parametrize(
    ("header", "status", "says"),
    [
        (None, 401, 'Cannot access application "fal-ai/flux"'),
        ("Key other:secret", 401, "No user found for Key ID and Secret"),
        ("Key no-colon", 401, "Invalid Key Authorization header format"),
        ("Key ", 401, "Invalid Key Authorization header format"),
        ("Key", 401, "Invalid Key Authorization header format"),
        ("Bearer token", 401, "No user found"),
        ("Key broke:secret", 403, "User is locked. Reason: Exhausted balance."),
    ],
)
def test_others_are_turned_away_with_fals_words(header: str | None, status: int, says: str) -> None:
    answer = judge(KNOWN, header)
    assert isinstance(answer, HttpResponse)
    assert answer.status == status
    assert json.loads(answer.body)["detail"].startswith(says)


def test_a_public_application_takes_calls_without_a_key_but_none_with_a_wrong_one() -> None:
    assert judge(KNOWN, None, public=True) == Caller()
    assert isinstance(judge(KNOWN, "Key other:secret", public=True), HttpResponse)


def test_one_string_is_no_collection_of_keys() -> None:
    with pytest.raises(TypeError):
        Account(keys="id:secret")


def test_no_key_is_in_the_repr() -> None:
    assert "secret" not in repr(KNOWN)
