"""The key: where it comes from, and that it goes to fal and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest

from fal_async import (
    AsyncFal,
    Billing,
    FalError,
    Hosts,
    InputError,
    MissingKeyError,
    RedirectError,
    RetryPolicy,
)
from fal_async.transport.authorizing import Authorizing, KeySource
from fal_async.transport.base import Call
from tests.support.fakes import FakeTransport, post, respond
from tests.support.scripted_server import MODEL, Script, answer
from tests.support.secrets import KEY, PROMPT, assert_discreet, chain_of

OTHER_KEY = "other-id:other-secret"
INPUT = {"prompt": PROMPT}


async def sent_to(url: str, source: KeySource = KEY, hosts: Hosts | None = None) -> dict[str, str]:
    """The headers with which a request to ``url`` goes on."""
    inner = FakeTransport([respond()])
    call = Call(RetryPolicy())
    await Authorizing(inner, source, hosts or Hosts()).send(post(url, X="y"), call)
    return inner.sent[0].headers


# --- where it goes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://fal.run/owner/app",
        "https://falrun.com/owner/app",
        "https://queue.fal.run/owner/app/requests/1",
        "https://rest.fal.ai/tokens/",
        "https://fal.run:443/owner/app",
    ],
)
async def test_fal_gets_the_key(url: str) -> None:
    assert await sent_to(url) == {"X": "y", "Authorization": f"Key {KEY}"}


@pytest.mark.parametrize(
    "url",
    [
        "https://evilfal.run/owner/app",
        "https://fal.run.evil.example/owner/app",
        "https://fal.run@evil.example/owner/app",
        "http://fal.run/owner/app",
        "https://fal.run:8443/owner/app",
        "https://v3.fal.media/files/rabbit/x.png",
        "https://storage.example/upload?to=fal.run",
        "https://127.0.0.1/owner/app",
    ],
)
async def test_strangers_do_not(url: str) -> None:
    assert await sent_to(url) == {"X": "y"}


async def test_a_key_that_a_request_already_carries_is_taken_off_before_it_goes_to_a_stranger() -> (
    None
):
    inner = FakeTransport([respond()])
    request = post("https://evil.example/x", Authorization=f"Key {KEY}")
    await Authorizing(inner, KEY, Hosts()).send(request, Call(RetryPolicy()))
    assert inner.sent[0].headers == {}


async def test_a_stranger_is_not_worth_asking_for_a_key() -> None:
    def source() -> str:
        raise AssertionError

    assert await sent_to("https://evil.example/x", source) == {"X": "y"}


async def test_two_servers_and_only_the_one_that_is_fal_sees_the_key() -> None:
    """The first sends the client on to the second; the second hears nothing at all."""
    async with Script(answer()) as stranger:
        for status in (301, 302, 303, 307, 308):
            to_the_stranger = answer(status, headers={"Location": f"{stranger.url}/{MODEL}"})
            async with Script(to_the_stranger) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
                with pytest.raises(RedirectError) as raised:
                    await fal.run(MODEL, INPUT, retry=RetryPolicy(backoff=0, resend=["lost"]))
                assert [r.headers["authorization"] for r in server.requests] == [f"Key {KEY}"]
            error = raised.value
            assert error.status == status
            assert error.location == f"{stranger.url}/{MODEL}"
            assert error.billing is Billing.UNKNOWN
            assert_discreet(error)
        assert stranger.connections == 0


async def test_a_session_of_the_caller_s_follows_no_redirect_either() -> None:
    async with Script(answer()) as stranger, aiohttp.ClientSession() as session:
        on = answer(307, headers={"Location": stranger.url})
        async with (
            Script(on) as server,
            AsyncFal(KEY, hosts=server.hosts, http_session=session) as fal,
        ):
            with pytest.raises(RedirectError):
                await fal.run(MODEL, INPUT)
        assert stranger.connections == 0


async def test_another_path_on_the_same_server_is_no_reason_to_follow() -> None:
    async with (
        Script(answer(302, headers={"Location": "/elsewhere"}), answer()) as server,
        AsyncFal(KEY, hosts=server.hosts) as fal,
    ):
        with pytest.raises(RedirectError):
            await fal.run(MODEL, INPUT)
        assert server.begun == 1


async def test_the_backup_domain_of_a_local_host_does_not_exist_and_gets_nothing() -> None:
    inner = FakeTransport([respond()])
    authorizing = Authorizing(inner, KEY, Hosts.local("http://127.0.0.1:1"))
    await authorizing.send(post("https://fal.run/owner/app"), Call(RetryPolicy()))
    assert inner.sent[0].headers == {}


# --- where it comes from --------------------------------------------------------------------------------


async def test_a_callable_is_asked_for_every_request() -> None:
    keys = iter(["a:1", "b:2", "c:3"])
    again = answer(503, headers={"X-Fal-Needs-Retry": "1"})
    async with (
        Script(answer(), again, answer()) as server,
        AsyncFal(lambda: next(keys), hosts=server.hosts, retry=RetryPolicy(backoff=0)) as fal,
    ):
        await fal.run(MODEL, INPUT)
        await fal.run(MODEL, INPUT)
        assert [r.headers["authorization"] for r in server.requests] == [
            "Key a:1",
            "Key b:2",
            "Key c:3",
        ]


async def test_a_callable_may_be_async() -> None:
    async def source() -> str:
        return KEY

    assert (await sent_to("https://fal.run/a/b", source))["Authorization"] == f"Key {KEY}"


async def test_a_key_for_one_call_is_for_that_call_alone() -> None:
    async with Script(answer()) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        await fal.run(MODEL, INPUT, key=OTHER_KEY)
        await fal.run(MODEL, INPUT)
        seen = [request.headers["authorization"] for request in server.requests]
    assert seen == [f"Key {OTHER_KEY}", f"Key {KEY}"]


async def test_a_key_for_one_call_spares_the_callable() -> None:
    def source() -> str:
        raise AssertionError

    async with Script(answer()) as server, AsyncFal(source, hosts=server.hosts) as fal:
        await fal.run(MODEL, INPUT, key=OTHER_KEY)


def failing() -> str:
    raise LookupError("the vault is locked")


@pytest.mark.parametrize(
    ("source", "kind", "text"),
    [
        (failing, MissingKeyError, "the key callable failed with LookupError"),
        (lambda: None, MissingKeyError, "the key callable returned None"),
        (lambda: "", InputError, "the key is empty"),
        (lambda: f"{KEY}\n", InputError, "control character"),
        (KEY.encode, InputError, "key is a string, not bytes"),
    ],
    ids=["failing", "none", "empty", "line break", "bytes"],
)
async def test_a_callable_that_gives_no_key_costs_nothing_and_is_not_asked_again(
    source: KeySource, kind: type[FalError], text: str
) -> None:
    asked = 0

    def counted() -> object:
        nonlocal asked
        asked += 1
        return source()

    async with Script(answer()) as server, AsyncFal(counted, hosts=server.hosts) as fal:
        with pytest.raises(kind, match=text) as raised:
            await fal.run(MODEL, INPUT)
        assert server.begun == 0
    assert asked == 1
    assert raised.value.billing is Billing.NOT_BILLED
    assert raised.value.attempts == 0
    assert_discreet(raised.value)


async def test_what_the_caller_s_callable_raised_is_the_cause() -> None:
    async with Script(answer()) as server, AsyncFal(failing, hosts=server.hosts) as fal:
        with pytest.raises(MissingKeyError) as raised:
            await fal.run(MODEL, INPUT)
    assert isinstance(raised.value.__cause__, LookupError)


async def test_a_cancelled_callable_is_a_cancelled_call() -> None:
    async def source() -> str:
        raise asyncio.CancelledError

    async with Script(answer()) as server, AsyncFal(source, hosts=server.hosts) as fal:
        with pytest.raises(asyncio.CancelledError) as raised:
            await fal.run(MODEL, INPUT)
    assert raised.value.verdict.billing is Billing.NOT_BILLED


@pytest.mark.parametrize("key", ["", "  ", f"{KEY}\r\nX: y", 5, b"bytes"])
async def test_what_cannot_be_a_key_is_refused_before_anything_is_sent(key: object) -> None:
    with pytest.raises(InputError, match="key"):
        AsyncFal(key)
    async with Script(answer()) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        with pytest.raises(InputError, match="key") as raised:
            await fal.run(MODEL, INPUT, key=key)
        assert server.begun == 0
    assert_discreet(raised.value)


async def test_a_key_of_any_form_is_a_key() -> None:
    assert (await sent_to("https://fal.run/a/b", "no-colon"))["Authorization"] == "Key no-colon"


async def test_without_a_key_the_error_lists_every_place_that_was_looked_in() -> None:
    with pytest.raises(MissingKeyError) as raised:
        await sent_to("https://fal.run/a/b", None)
    for place in ("AsyncFal(key=", "key=", "FAL_KEY", "FAL_KEY_ID", "FAL_KEY_SECRET"):
        assert place in str(raised.value)
    assert raised.value.billing is Billing.NOT_BILLED


async def test_on_this_machine_no_key_is_needed() -> None:
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        await fal.run(MODEL, INPUT)
        assert "authorization" not in server.requests[0].headers


async def test_a_key_is_needed_if_any_service_is_elsewhere() -> None:
    hosts = Hosts(run="http://127.0.0.1:1/fal.run")
    with pytest.raises(MissingKeyError):
        await sent_to("http://127.0.0.1:1/fal.run/a/b", None, hosts)


# --- what is said of it ---------------------------------------------------------------------------------


ECHOES = {
    "in the body": answer(401, {"detail": f"No user found for Key {KEY}"}),
    "in the input's words": answer(422, {"detail": [{"msg": f"{PROMPT} is bad", "loc": ["body"]}]}),
    "in a header": answer(400, {"detail": "x"}, headers={"X-Echo": "nothing"}),
}


@pytest.mark.parametrize("where", ECHOES)
async def test_an_answer_that_repeats_key_or_input_is_repeated_without_them(where: str) -> None:
    async with Script(ECHOES[where]) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        with pytest.raises(FalError) as raised:
            await fal.run(MODEL, INPUT)
    for each in chain_of(raised.value):
        for secret in (*KEY.split(":"), PROMPT):
            assert secret not in str(each)
            assert secret not in repr(each)


async def test_nobody_s_repr_shows_the_key() -> None:
    async with Script(answer()) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        await fal.run(MODEL, INPUT)
        assert all(KEY not in text for text in reprs(fal))


def reprs(root: object) -> Iterator[str]:
    """What the object and its parts say of themselves, three levels down."""
    level = [root]
    for _ in range(3):
        yield from map(repr, level)
        level = [
            part
            for each in level
            for part in getattr(each, "__dict__", {}).values()
            if type(part).__module__.startswith("fal_async")
        ]
