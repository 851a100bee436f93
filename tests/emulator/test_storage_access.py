"""Who may read what was uploaded: access lists, tokens, signed URLs, the platform's API (PROTOCOL 11)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from fal_async.emulator import Emulator
from fal_async.protocol import storage
from fal_async.protocol.lifecycle import AclRule, Decision, InitialAcl, LifecyclePreference
from fal_async.protocol.upload_facts import UploadFacts
from tests.emulator.storage_caller import FRIEND, Caller, Got, calling

pytestmark = pytest.mark.usefixtures("silent", "unheard")


@pytest.fixture
async def me(frozen: Emulator) -> AsyncIterator[Caller]:
    async with calling(frozen) as caller:
        yield caller


@pytest.fixture
def friend(me: Caller) -> Caller:
    return Caller(me.emu, me.http, FRIEND)


def restricted(default: Decision, *rules: AclRule) -> UploadFacts:
    return UploadFacts("a/b", None, LifecyclePreference(initial_acl=InitialAcl(default, rules)))


async def read(caller: Caller, url: str, *, with_token: bool = True) -> int:
    headers = {"Authorization": (await caller.token()).authorization} if with_token else {}
    return (await caller.ask("GET", url, headers)).status


@pytest.mark.parametrize(("default", "status"), [("allow", 200), ("forbid", 403), ("hide", 404)])
async def test_strangers_get_what_the_list_says_and_the_owner_always_gets_the_file(
    me: Caller, friend: Caller, default: Decision, status: int
) -> None:
    url = await me.upload(b"abc", restricted(default))
    assert await read(me, url) == 200
    assert await read(me, url, with_token=False) == status
    assert await read(friend, url) == status


async def test_the_most_permissive_rule_of_several_wins(me: Caller, friend: Caller) -> None:
    rules = [AclRule("friend", "hide"), AclRule("friend", "allow"), AclRule("friend", "forbid")]
    url = await me.upload(b"abc", restricted("hide", *rules))
    assert await read(friend, url) == 200
    assert await read(friend, url, with_token=False) == 404
    assert await read(friend, await me.upload(b"abc", restricted("hide", *rules[::2]))) == 403


async def test_a_token_that_is_none_any_more_is_refused_and_a_key_is_nobody(me: Caller) -> None:
    url = await me.upload(b"abc", restricted("hide"))
    token = await me.token(seconds=1)
    await me.emu.advance(1.0)
    assert (await me.ask("GET", url, {"Authorization": token.authorization})).status == 401
    assert (await me.ask("GET", url, me.keyed)).status == 404


# --- signed URLs --------------------------------------------------------------------------------------


async def test_a_signed_url_lets_anybody_read_for_a_while(me: Caller) -> None:
    url = await me.upload(b"abc", restricted("forbid"))
    got = await me.send(storage.sign_request(url, await me.token(), seconds=60))
    signed = storage.parse_signed(got.body)
    assert signed.startswith(f"{url}?identity=")
    assert (await me.ask("GET", signed)).body == b"abc"
    other = await me.upload(b"other", restricted("forbid"))
    assert (await me.ask("GET", f"{other}?{signed.partition('?')[2]}")).status == 403
    await me.emu.advance(60.0)
    assert (await me.ask("GET", signed)).status == 403


async def test_by_itself_it_lets_them_for_a_day_and_a_week_at_most(me: Caller) -> None:
    url = await me.upload(b"abc", restricted("hide"))
    headers = {"Authorization": (await me.token()).authorization}
    got = await me.ask("POST", f"{url}/sign", headers, b"{}")
    too_long = b'{"duration":604801}'
    assert (await me.ask("POST", f"{url}/sign", headers, too_long)).status == 400
    await me.emu.advance(86_399.0)
    assert (await me.ask("GET", got.json["url"])).status == 200
    await me.emu.advance(1.0)
    assert (await me.ask("GET", got.json["url"])).status == 404


async def test_only_the_owner_signs(me: Caller, friend: Caller) -> None:
    for default, status in (("forbid", 403), ("hide", 404)):
        url = await me.upload(b"abc", restricted(default))  # type: ignore[arg-type]
        request = storage.sign_request(url, await friend.token())
        assert (await friend.send(request)).status == status
    assert (await me.ask("POST", f"{url}/sign", me.keyed)).status == 401
    nothing = f"{me.emu.hosts.cdn}/files/nothing"
    assert (await me.send(storage.sign_request(nothing, await me.token()))).status == 404


# --- the platform's API -------------------------------------------------------------------------------


async def api(
    caller: Caller, method: str, path: str, url: str | None = None, content: Any = None
) -> Got:
    query = "" if url is None else f"?url={quote(url, safe='')}"
    body = b"" if content is None else json.dumps(content).encode()
    return await caller.ask(method, f"{caller.emu.hosts.api}/v1{path}{query}", caller.keyed, body)


async def test_an_access_list_is_read_and_replaced(me: Caller, friend: Caller) -> None:
    url = await me.upload(b"abc")
    got = await api(me, "GET", "/storage/files/acl", url)
    assert got.json == {"default": "allow", "rules": []}
    wish = {"default": "hide", "rules": [{"user": "friend", "decision": "allow"}]}
    assert (await api(me, "PUT", "/storage/files/acl", url, wish)).json == wish
    assert (await api(me, "GET", "/storage/files/acl", url)).json == wish
    assert await read(friend, url) == 200
    assert await read(friend, url, with_token=False) == 404
    assert me.emu.requests["acl"] == 3


async def test_rules_for_users_that_do_not_exist_are_dropped_where_it_is_known_who_does() -> None:
    async with Emulator(keys=["me:secret", FRIEND]) as emu, calling(emu) as me:
        rules = (AclRule("friend", "allow"), AclRule("nobody", "allow"))
        url = await me.upload(b"abc", restricted("hide", *rules))
        assert emu.storage[url].acl == InitialAcl("hide", rules[:1])
        wish = {"default": "hide", "rules": [{"user": "nobody", "decision": "allow"}]}
        got = await api(me, "PUT", "/storage/files/acl", url, wish)
        assert got.json == {"default": "hide", "rules": []}


async def test_it_signs_urls_too(me: Caller) -> None:
    url = await me.upload(b"abc", restricted("forbid"))
    got = await api(me, "POST", "/storage/files/sign", url, {"expiration_seconds": 60})
    assert (await me.ask("GET", got.json["signed_url"])).body == b"abc"
    for content in ({}, {"expiration_seconds": 604_801}):
        assert (await api(me, "POST", "/storage/files/sign", url, content)).status == 400


async def test_it_is_for_owners_with_keys_and_for_files_there_are(
    me: Caller, friend: Caller
) -> None:
    url = await me.upload(b"abc")
    path = "/storage/files/acl"
    assert (await api(friend, "GET", path, url)).status == 403
    assert (await api(me, "GET", path, f"{url}x")).status == 404
    for wrong in (None, f"{url}?identity=1", "https://[x", "nonsense"):
        assert (await api(me, "GET", path, wrong)).status == 400
    for content in (None, [], {"default": "maybe"}):
        assert (await api(me, "PUT", path, url, content)).status == 400
    assert (await api(me, "POST", path, url)).status == 405
    assert (await api(me, "GET", "/storage/other")).status == 404


async def test_without_a_key_it_says_so() -> None:
    async with Emulator(keys=["me:1"], locked={"locked:1": "Admin lock."}) as emu:
        for key, status in ((None, 401), ("locked:1", 403)):
            async with calling(emu, key) as caller:
                got = await api(caller, "GET", "/storage/settings")
                assert (got.status, got.json["error"]["type"]) == (status, "authorization_error")


async def test_the_accounts_settings_hold_where_an_upload_does_not_say(me: Caller) -> None:
    nothing = {"expiration_duration_seconds": None, "initial_acl": None}
    assert (await api(me, "GET", "/storage/settings")).json == nothing
    wish = {"expiration_duration_seconds": 60, "initial_acl": {"default": "forbid", "rules": []}}
    assert (await api(me, "PUT", "/storage/settings", content=wish)).json == wish
    assert (await api(me, "PUT", "/storage/settings", content=[])).status == 400
    silent = await me.upload(b"abc")
    said = await me.upload(b"abc", UploadFacts("a/b", None, LifecyclePreference(600)))
    assert await read(me, silent, with_token=False) == 403
    await me.emu.advance(60.0)
    assert await read(me, silent) == 404
    assert await read(me, said) == 200
    assert (await api(me, "PUT", "/storage/settings", content=nothing)).json == nothing
    assert await read(me, await me.upload(b"abc"), with_token=False) == 200
