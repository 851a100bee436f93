"""Proxies: which one, found once; what goes through it; and what its failures mean."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from fal_async import (
    AsyncFal,
    Billing,
    ConnectError,
    ConnectionLostError,
    FalError,
    Hosts,
    InputError,
    RetryPolicy,
)
from fal_async.transport.proxies import ProxyRouter
from tests.support.scripted_server import (
    MODEL,
    Act,
    Script,
    Wire,
    answer,
    say_and,
    unread_and,
)
from tests.support.secrets import KEY, assert_discreet, chain_of
from tests.support.tls import server_context, trusting_context

INPUT = {"prompt": "a cat"}
OK = {"ok": True}
FAL = "https://fal.run/owner/app"
PROXY = "http://proxy.example:8080"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "NETRC")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


# --- which one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, PROXY)
    assert ProxyRouter("env").proxy_of(FAL) == PROXY


def test_http_and_https_have_a_proxy_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", PROXY)
    router = ProxyRouter("env")
    assert router.proxy_of("http://runs.example/a/b") == PROXY
    assert router.proxy_of("ws://runs.example/a/b") == PROXY
    assert router.proxy_of(FAL) is None
    assert router.proxy_of("wss://fal.run/a/b") is None


@pytest.mark.parametrize(
    ("listed", "bypassed"),
    [
        ("fal.run", True),
        (".fal.run,other", True),
        ("queue.fal.run", False),
        ("run", True),
        ("*", True),
        ("fal.run:443", False),
        ("evilfal.run", False),
    ],
)
def test_no_proxy_lists_who_is_reached_directly(
    monkeypatch: pytest.MonkeyPatch, listed: str, bypassed: bool
) -> None:
    monkeypatch.setenv("https_proxy", PROXY)
    monkeypatch.setenv("no_proxy", listed)
    assert ProxyRouter("env").proxy_of(FAL) == (None if bypassed else PROXY)


def test_the_environment_is_asked_once_per_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    router = ProxyRouter("env")
    assert router.proxy_of(FAL) is None
    monkeypatch.setenv("https_proxy", PROXY)
    assert router.proxy_of(FAL + "/another/path") is None
    assert router.proxy_of("https://queue.fal.run/a/b") == PROXY


def test_a_url_is_for_everything_and_a_mapping_for_its_schemes() -> None:
    assert ProxyRouter(PROXY).proxy_of(FAL) == PROXY
    assert ProxyRouter(PROXY).proxy_of("http://runs.example/a/b") == PROXY
    assert ProxyRouter({"https": PROXY}).proxy_of(FAL) == PROXY
    assert ProxyRouter({"https": PROXY}).proxy_of("http://runs.example/a/b") is None


def test_what_is_given_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://other.example:1")
    monkeypatch.setenv("no_proxy", "*")
    assert ProxyRouter(PROXY).proxy_of(FAL) == PROXY
    assert ProxyRouter(None).proxy_of(FAL) is None


@pytest.mark.parametrize("url", ["http://localhost:8000/a", "http://127.0.0.1/a", "http://[::1]/a"])
def test_this_machine_is_never_reached_through_a_proxy(url: str) -> None:
    assert ProxyRouter(PROXY).proxy_of(url) is None


def test_a_mapping_is_taken_as_it_is_now() -> None:
    given = {"https": PROXY}
    router = ProxyRouter(given)
    given.clear()
    assert router.proxy_of(FAL) == PROXY


@pytest.mark.parametrize(
    "proxies",
    [
        "proxy.example:8080",
        "socks5://me:secret@proxy.example",
        "",
        "http://",
        "http://me:secret@proxy:many",
        "http://[::1",
        5,
        ["http://proxy"],
        {"https": None},
        {"https": "ftp://me:secret@proxy"},
        {"https://": PROXY},
        {"all": PROXY},
    ],
)
def test_what_is_no_proxy_is_refused_and_not_repeated(proxies: object) -> None:
    with pytest.raises(InputError, match="prox") as raised:
        ProxyRouter(proxies)
    assert "secret" not in str(raised.value)


def test_a_proxy_of_the_environment_that_is_none_says_where_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "socks5://me:secret@proxy.example")
    router = ProxyRouter("env")
    with pytest.raises(InputError, match="the environment's proxy for https is a URL") as raised:
        router.proxy_of(FAL)
    assert "secret" not in str(raised.value)


# --- through it -----------------------------------------------------------------------------------------


def tunnel_to(port: int) -> Act:
    """A proxy that connects to this port of this machine, whoever is asked for."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # one end is gone: so is the other, in a moment
        finally:
            writer.close()

    async def act(wire: Wire) -> None:
        await wire.request()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await wire.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pipe(wire.reader, writer), pipe(reader, wire.writer))

    return act


@asynccontextmanager
async def trusting() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=trusting_context())
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def test_https_goes_through_a_tunnel_and_the_proxy_sees_neither_key_nor_input() -> None:
    async with (
        Script(answer(), tls=server_context()) as server,
        Script(tunnel_to(server.port)) as proxy,
        trusting() as session,
        AsyncFal(KEY, http_session=session, proxies=proxy.url) as fal,
    ):
        assert await fal.run(MODEL, INPUT) == OK
        assert [request.line for request in proxy.requests] == ["CONNECT fal.run:443 HTTP/1.1"]
        assert KEY not in str(proxy.requests[0].headers)
        assert server.requests[0].headers["authorization"] == f"Key {KEY}"
        assert server.requests[0].line == f"POST /{MODEL} HTTP/1.1"


async def test_a_tunnel_is_used_again() -> None:
    async with (
        Script(answer(), tls=server_context()) as server,
        Script(tunnel_to(server.port)) as proxy,
        trusting() as session,
        AsyncFal(KEY, http_session=session, proxies=proxy.url) as fal,
    ):
        for _ in range(3):
            await fal.run(MODEL, INPUT)
        assert proxy.connections == 1


async def test_the_proxy_s_credentials_go_to_the_proxy_alone() -> None:
    async with (
        Script(answer(), tls=server_context()) as server,
        Script(tunnel_to(server.port)) as proxy,
        trusting() as session,
    ):
        url = proxy.url.replace("http://", "http://me:p%40ss@")
        async with AsyncFal(KEY, http_session=session, proxies=url) as fal:
            await fal.run(MODEL, INPUT)
        said = proxy.requests[0].headers["proxy-authorization"]
        assert base64.b64decode(said.removeprefix("Basic ")) == b"me:p@ss"
        assert "proxy-authorization" not in server.requests[0].headers


async def test_a_session_of_ours_goes_through_the_environment_s_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Script(answer(), tls=server_context()) as server:
        async with Script(tunnel_to(server.port)) as proxy:
            monkeypatch.setenv("https_proxy", proxy.url)
            async with AsyncFal(KEY) as fal:
                with pytest.raises(ConnectError, match="certificate is not trusted") as raised:
                    await fal.run(MODEL, INPUT, retry=RetryPolicy(sends=2, backoff=0))
            asked = [request.line.split()[1] for request in proxy.requests]
        assert server.requests == []
    assert asked == ["fal.run:443", "falrun.com:443"]
    assert isinstance(raised.value.__cause__, ssl.CertificateError)
    assert_discreet(raised.value)


async def test_plain_http_that_was_allowed_is_asked_of_the_proxy() -> None:
    hosts = Hosts(run="http://runs.example")
    async with (
        Script(answer()) as proxy,
        AsyncFal(KEY, hosts=hosts, proxies=proxy.url, allow_plain_http=True) as fal,
    ):
        assert await fal.run(MODEL, INPUT) == OK
        assert proxy.requests[0].line == f"POST http://runs.example/{MODEL} HTTP/1.1"


async def test_netrc_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """aiohttp's own reading of it would collide with the key on every call."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with Script(answer()) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        assert await fal.run(MODEL, INPUT) == OK
        assert server.requests[0].headers["authorization"] == f"Key {KEY}"


# --- its failures ---------------------------------------------------------------------------------------


def refusing(status: int) -> Act:
    return answer(status, body=b"no", headers={"Proxy-Authenticate": "Basic"}, request_id=None)


FAILURES: dict[str, tuple[Act, str]] = {
    "it wants credentials": (refusing(407), "the proxy answered 407"),
    "it cannot reach fal": (refusing(502), "the proxy answered 502"),
    "it answers nonsense": (
        say_and(b"what?\r\n\r\n", "finish"),
        "closed before anything was written",
    ),
    "it hangs up": (say_and(b"", "finish"), "closed before anything was written"),
    "it is reset": (unread_and("reset"), "closed before anything was written"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_where_the_tunnel_fails_nothing_was_written_to_fal(name: str) -> None:
    act, text = FAILURES[name]
    async with Script(act) as proxy:
        url = proxy.url.replace("http://", "http://me:hidden@")
        async with AsyncFal(KEY, proxies=url) as fal:
            with pytest.raises(ConnectError, match=text) as raised:
                await fal.run(MODEL, INPUT, retry=RetryPolicy(sends=2, backoff=0))
    error = raised.value
    assert error.billing is Billing.NOT_BILLED
    assert error.attempts == proxy.begun
    assert_discreet(error)
    for each in chain_of(error):
        assert "hidden" not in repr(each) + str(each) + repr(vars(each))


async def test_a_proxy_that_is_not_there_is_told_from_a_host_that_is_not() -> None:
    async with Script(answer()) as gone:
        url = gone.url.replace("http://", "http://me:hidden@")
    async with AsyncFal(KEY, proxies=url) as fal:
        with pytest.raises(ConnectError, match="no connection to the proxy") as raised:
            await fal.run(MODEL, INPUT, retry=RetryPolicy.never())
    assert raised.value.billing is Billing.NOT_BILLED
    for each in chain_of(raised.value):
        assert "hidden" not in repr(each) + str(each) + repr(vars(each))


async def test_a_407_to_plain_http_was_written_and_is_an_answer() -> None:
    hosts = Hosts(run="http://runs.example")
    async with (
        Script(refusing(407)) as proxy,
        AsyncFal(KEY, hosts=hosts, proxies=proxy.url, allow_plain_http=True) as fal,
    ):
        with pytest.raises(FalError) as raised:
            await fal.run(MODEL, INPUT)
        assert proxy.begun == 1
    assert raised.value.status == 407
    assert raised.value.billing is Billing.UNKNOWN


async def test_a_tunnel_that_breaks_after_the_request_is_a_loss() -> None:
    async with (
        Script(say_and(b"", "reset"), tls=server_context()) as server,
        Script(tunnel_to(server.port)) as proxy,
        trusting() as session,
        AsyncFal(KEY, http_session=session, proxies=proxy.url) as fal,
    ):
        with pytest.raises(ConnectionLostError) as raised:
            await fal.run(MODEL, INPUT)
        assert len(server.requests) == 1
    assert raised.value.billing is Billing.UNKNOWN
