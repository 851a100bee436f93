"""``AsyncFal`` as a whole: what it is made from, and what a call takes."""

from __future__ import annotations

import attrs
import pytest

from fal_async import (
    AsyncFal,
    Billing,
    Hosts,
    InputError,
    MissingKeyError,
)
from tests.support.scripted_server import (
    MODEL,
    Script,
    answer,
)
from tests.support.secrets import KEY, assert_discreet

INPUT = {"prompt": "a cat"}
OK = {"ok": True}
NOT, MAYBE, YES = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED


# --- the environment ------------------------------------------------------------------------------------

ENVIRONMENT = (
    "FAL_KEY",
    "FAL_KEY_ID",
    "FAL_KEY_SECRET",
    "FAL_RUN_HOST",
    "FAL_QUEUE_RUN_HOST",
    "FAL_EMULATOR_URL",
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"FAL_KEY": KEY}, KEY),
        ({"FAL_KEY_ID": "an-id", "FAL_KEY_SECRET": "s"}, "an-id:s"),
        ({"FAL_KEY": KEY, "FAL_KEY_ID": "an-id", "FAL_KEY_SECRET": "s"}, KEY),
        ({"FAL_KEY_ID": "an-id"}, None),
        ({"FAL_KEY": ""}, None),
        ({}, None),
    ],
)
async def test_the_key_is_looked_for_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], key: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        await fal.run(MODEL, INPUT)
        sent = server.requests[0].headers.get("authorization")
    assert sent == (None if key is None else f"Key {key}")


async def test_a_key_that_is_given_comes_before_the_environment_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAL_KEY", "env:key")
    async with Script(answer()) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        await fal.run(MODEL, INPUT)
        assert server.requests[0].headers["authorization"] == f"Key {KEY}"


async def test_the_environment_is_read_when_the_object_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Script(answer()) as server:
        fal = AsyncFal(hosts=server.hosts)
        monkeypatch.setenv("FAL_KEY", KEY)
        await fal.run(MODEL, INPUT)
        await fal.close()
        assert "authorization" not in server.requests[0].headers


async def test_without_a_key_nothing_is_sent_and_the_error_says_where_one_was_sought() -> None:
    async with AsyncFal() as fal:
        with pytest.raises(MissingKeyError, match="FAL_KEY") as raised:
            await fal.run(MODEL, INPUT)
    assert raised.value.billing is NOT
    assert raised.value.attempts == 0


async def test_the_emulator_s_address_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Script(answer()) as server:
        monkeypatch.setenv("FAL_EMULATOR_URL", server.url)
        async with AsyncFal() as fal:
            assert fal.hosts == Hosts.local(server.url)
            assert await fal.run(MODEL, INPUT) == OK
        assert server.requests[0].line == f"POST /fal.run/{MODEL} HTTP/1.1"


def test_the_hosts_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAL_RUN_HOST", "runs.example")
    assert AsyncFal().hosts.run == "https://runs.example"
    assert AsyncFal().hosts.queue == "https://queue.runs.example"
    monkeypatch.setenv("FAL_QUEUE_RUN_HOST", "waits.example")
    assert AsyncFal().hosts.queue == "https://waits.example"
    assert AsyncFal(hosts=Hosts()).hosts.run == "https://fal.run"


# --- settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"limit": 0}, "limit is"),
        ({"limit": -1}, "limit is"),
        ({"limit": True}, "limit is"),
        ({"limit": "all"}, "limit is"),
        ({"limit": 2.5}, "limit is"),
        ({"timeout": -1}, "timeout is"),
        ({"key": "\n"}, "key"),
        ({"proxies": "socks5://proxy"}, "a proxy is a URL"),
        ({"proxies": {"https": "proxy:8080"}}, "a proxy is a URL"),
        ({"proxies": 5}, "proxies is"),
        ({"hosts": Hosts(run="http://runs.example")}, "allow_plain_http=True"),
        ({"hosts": "http://127.0.0.1:8000"}, "hosts is"),
        ({"retry": 3}, "retry is"),
        ({"max_answer_bytes": 0}, "max_answer_bytes is"),
        ({"max_answer_bytes": "1 MB"}, "max_answer_bytes is"),
        ({"http_session": "mine"}, "http_session is"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_once(
    settings: dict[str, object], text: str
) -> None:
    with pytest.raises(InputError, match=text) as raised:
        AsyncFal(**settings)
    assert isinstance(raised.value, ValueError)


def test_plain_http_beyond_this_machine_must_be_allowed() -> None:
    AsyncFal(hosts=Hosts(run="http://runs.example"), allow_plain_http=True)
    AsyncFal(hosts=Hosts(run="http://localhost:8000"))


def test_the_repr_names_the_host_and_the_state() -> None:
    assert repr(AsyncFal(KEY)) == "<AsyncFal https://fal.run open>"


@attrs.frozen
class Prompt:
    prompt: str
    negative_prompt: str | None = None


async def test_every_option_travels_as_its_header() -> None:
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        await fal.run(
            MODEL,
            Prompt("a cat"),
            expire=3600,
            start_timeout=30,
            hint="warm",
            store_io=False,
            disable_fallback=True,
            tags={"team": "art"},
            headers={"X-Own": "1", "accept": "image/png"},
        )
        (request,) = server.requests
    assert request.line == f"POST /fal.run/{MODEL} HTTP/1.1"
    assert request.body == b'{"prompt":"a cat"}'
    expected = {
        "x-fal-object-lifecycle-preference": '{"expiration_duration_seconds":3600}',
        "x-fal-request-timeout": "30",
        "x-fal-request-start-timeout": "30",
        "x-fal-runner-hint": "warm",
        "x-fal-store-io": "0",
        "x-app-fal-disable-fallback": "true",
        "x-fal-tags": "team=art",
        "x-own": "1",
        "accept": "image/png",
        "content-type": "application/json",
    }
    assert {name: request.headers[name].replace(" ", "") for name in expected} == expected
    assert request.headers["user-agent"].startswith("fal-async/")


async def test_options_of_one_call_are_not_those_of_the_next() -> None:
    async with Script(answer()) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        await fal.run(MODEL, INPUT, expire=60, headers={"X-Own": "1"})
        await fal.run(MODEL, INPUT)
        assert "x-own" not in server.requests[1].headers
        assert "x-fal-object-lifecycle-preference" not in server.requests[1].headers


BAD_CALLS: dict[str, tuple[tuple[object, object], dict[str, object]]] = {
    "a model without an owner": (("fast-sdxl", {}), {}),
    "a model that is no string": ((5, {}), {}),
    "a model that climbs": (("owner/app/../other", {}), {}),
    "an input that is no mapping": ((MODEL, ["a"]), {}),
    "an input with NaN": ((MODEL, {"n": float("nan")}), {}),
    "no lifetime": ((MODEL, {}), {"expire": 0}),
    "a start timeout below a second": ((MODEL, {}), {"start_timeout": 0.5}),
    "a header with a line break": ((MODEL, {}), {"headers": {"X": "a\nb"}}),
    "a header of the client's own": ((MODEL, {}), {"headers": {"Authorization": "x"}}),
    "tags that are a list": ((MODEL, {}), {"tags": ["a"]}),
    "a hint that is a list": ((MODEL, {}), {"hint": ["a"]}),
    "a retry that is a number": ((MODEL, {}), {"retry": 3}),
}


@pytest.mark.parametrize("name", BAD_CALLS)
async def test_a_bad_argument_is_a_value_error_and_nothing_is_sent(name: str) -> None:
    arguments, options = BAD_CALLS[name]
    async with Script(answer()) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        for method in (fal.run, fal.run_detailed):
            with pytest.raises(ValueError, match="nothing was sent") as raised:
                await method(*arguments, **options)
            assert isinstance(raised.value, InputError)
            assert raised.value.billing is NOT
            assert_discreet(raised.value)
        assert server.begun == 0


async def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    async with AsyncFal(KEY) as fal:
        for method in (fal.run, fal.run_detailed):
            with pytest.raises(TypeError):
                await method(MODEL, INPUT, colour="blue")
