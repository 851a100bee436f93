"""Before anything is written: DNS, TCP, TLS, and the time they may take. Never billed, always resent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from fal_async import (
    AsyncFal,
    Billing,
    CallTimeoutError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    Hosts,
    RetryPolicy,
)
from fal_async.transport.http import connect_timeout
from tests.support.scripted_server import MODEL, Script, Wire, answer, unread_and
from tests.support.secrets import KEY, PROMPT, assert_discreet
from tests.support.tls import server_context, trusting_context
from tests.support.virtual_time import in_virtual_time

INPUT = {"prompt": PROMPT}
TWICE = RetryPolicy(sends=2, backoff=0)
ONCE = RetryPolicy.never()


def now() -> float:
    return asyncio.get_running_loop().time()


class Resolver(AbstractResolver):
    """Knows one address; or none, or never answers."""

    def __init__(self, way: str = "find") -> None:
        self.way = way
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if self.way == "fail":
            raise OSError(None, "no such name")
        if self.way == "stall":
            await asyncio.Event().wait()
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None: ...


@asynccontextmanager
async def resolving(resolver: Resolver, **more: Any) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0, resolver=resolver, **more)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def test_a_name_that_does_not_resolve_is_not_billed_and_is_asked_for_again() -> None:
    resolver = Resolver("fail")
    async with resolving(resolver) as session, AsyncFal(KEY, http_session=session) as fal:
        with pytest.raises(ConnectError, match="does not resolve") as raised:
            await fal.run(MODEL, INPUT, retry=TWICE)
    assert resolver.asked == ["fal.run", "falrun.com"]
    assert raised.value.billing is Billing.NOT_BILLED
    assert raised.value.attempts == 2
    assert_discreet(raised.value)


@in_virtual_time
async def test_resolving_is_part_of_connecting_and_ends_after_ten_seconds() -> None:
    hosts = Hosts(run="https://runs.example")
    async with (
        resolving(Resolver("stall")) as session,
        AsyncFal(KEY, hosts=hosts, http_session=session, limit=None) as fal,
    ):
        begun = now()
        with pytest.raises(ConnectTimeoutError) as raised:
            await fal.run(MODEL, INPUT, retry=ONCE)
        assert 10 <= now() - begun <= 11
    assert isinstance(raised.value, TimeoutError)
    assert raised.value.billing is Billing.NOT_BILLED
    assert raised.value.retryable
    assert_discreet(raised.value)


@in_virtual_time
async def test_where_a_backup_domain_exists_connecting_ends_after_five_seconds() -> None:
    resolver = Resolver("stall")
    async with (
        resolving(resolver) as session,
        AsyncFal(KEY, http_session=session, limit=None) as fal,
    ):
        begun = now()
        with pytest.raises(ConnectTimeoutError):
            await fal.run(MODEL, INPUT, retry=ONCE)
        assert 5 <= now() - begun <= 6
        with pytest.raises(ConnectTimeoutError):
            await fal.run(MODEL, INPUT, retry=TWICE)
    assert resolver.asked == ["fal.run", "falrun.com"]  # the first question still stood open


def full_backlog() -> tuple[socket.socket, list[socket.socket]]:
    """A listener that accepts nobody and has no room left, so that the next connection stalls."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
        waiting.append(sock)
    return listener, waiting


@in_virtual_time
async def test_a_server_that_never_accepts_is_given_up_after_ten_seconds() -> None:
    listener, waiting = full_backlog()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with AsyncFal(hosts=Hosts.local(url), limit=None) as fal:
            begun = now()
            with pytest.raises(ConnectTimeoutError) as raised:
                await fal.run(MODEL, INPUT, retry=ONCE)
            assert 10 <= now() - begun <= 11
            with pytest.raises(CallTimeoutError) as cut:
                await fal.run(MODEL, INPUT, timeout=3)
    finally:
        for sock in (listener, *waiting):
            sock.close()
    assert raised.value.billing is Billing.NOT_BILLED
    assert cut.value.billing is Billing.NOT_BILLED
    assert cut.value.attempts == 1


@in_virtual_time
async def test_a_tls_handshake_that_stalls_is_part_of_connecting() -> None:
    async with Script(unread_and("hold")) as server:
        hosts = Hosts.local(server.url.replace("http:", "https:"))
        async with AsyncFal(KEY, hosts=hosts, limit=None) as fal:
            begun = now()
            with pytest.raises(ConnectTimeoutError) as raised:
                await fal.run(MODEL, INPUT, retry=ONCE)
            assert 10 <= now() - begun <= 11
        assert server.begun == 1
    assert raised.value.billing is Billing.NOT_BILLED
    assert_discreet(raised.value)


def test_nothing_but_connecting_is_bounded() -> None:
    timeout = connect_timeout("https://fal.run/owner/app", pool_waits=False)
    assert (timeout.connect, timeout.total, timeout.sock_read) == (5.0, None, None)
    assert connect_timeout("http://127.0.0.1:8000/owner/app", pool_waits=False).connect == 10.0


# --- TLS ------------------------------------------------------------------------------------------------


async def tls_alert(wire: Wire) -> None:
    await wire.say(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal: handshake failure
    await wire.finish()


TLS_FAILURES = {
    "a certificate nobody trusts": (lambda: Script(answer(), tls=server_context()), "not trusted"),
    "a server that does not speak TLS": (
        lambda: Script(answer_to_anything),
        "TLS could not be agreed on",
    ),
    "an alert in the handshake": (lambda: Script(tls_alert), "TLS could not be agreed on"),
    "a reset in the handshake": (lambda: Script(unread_and("reset")), "no connection to the host"),
    "an end in the handshake": (lambda: Script(unread_and("finish")), "no connection to the host"),
}


async def answer_to_anything(wire: Wire) -> None:
    await wire.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await wire.finish()


@pytest.mark.parametrize("name", TLS_FAILURES)
async def test_where_tls_fails_nothing_was_written_and_it_is_tried_again(name: str) -> None:
    script, text = TLS_FAILURES[name]
    async with script() as server:
        hosts = Hosts.local(server.url.replace("http:", "https:"))
        async with AsyncFal(KEY, hosts=hosts, limit=None) as fal:
            with pytest.raises(ConnectError, match=text) as raised:
                await fal.run(MODEL, INPUT, retry=TWICE)
        assert server.requests == []
    assert raised.value.billing is Billing.NOT_BILLED
    assert raised.value.attempts == 2
    assert_discreet(raised.value)


async def test_a_certificate_of_another_host_is_not_trusted() -> None:
    async with Script(answer(), tls=server_context()) as server:
        hosts = Hosts(run=f"https://runs.example:{server.port}")
        async with (
            resolving(Resolver(), ssl=trusting_context()) as session,
            AsyncFal(KEY, hosts=hosts, http_session=session) as fal,
        ):
            with pytest.raises(ConnectError, match="not trusted") as raised:
                await fal.run(MODEL, INPUT, retry=ONCE)
        assert server.requests == []
    assert isinstance(raised.value.__cause__, ssl.CertificateError)
    assert_discreet(raised.value)


async def test_an_alert_after_the_handshake_comes_too_late_to_say_that_nothing_was_written() -> (
    None
):
    """TLS 1.3: the client is done, and writes, before the server has looked at its certificate."""
    context = server_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    async with Script(answer(), tls=context) as server:
        hosts = Hosts(run=f"https://localhost:{server.port}")
        async with (
            resolving(Resolver(), ssl=trusting_context()) as session,
            AsyncFal(KEY, hosts=hosts, http_session=session) as fal,
        ):
            with pytest.raises(ConnectionLostError) as raised:
                await fal.run(MODEL, INPUT, retry=TWICE)
        assert server.requests == []
    assert raised.value.billing is Billing.UNKNOWN
    assert raised.value.attempts == 1
    assert_discreet(raised.value)


async def test_a_trusted_certificate_is_all_it_takes() -> None:
    async with Script(answer(), tls=server_context()) as server:
        hosts = Hosts(run=f"https://localhost:{server.port}")
        async with (
            resolving(Resolver(), ssl=trusting_context()) as session,
            AsyncFal(KEY, hosts=hosts, http_session=session) as fal,
        ):
            assert await fal.run(MODEL, INPUT) == {"ok": True}
        assert server.requests[0].headers["authorization"] == f"Key {KEY}"


@in_virtual_time
async def test_waiting_for_a_connection_of_a_borrowed_pool_is_not_connecting() -> None:
    go = asyncio.Event()
    async with (
        Script(answer(go=go)) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
        AsyncFal(hosts=server.hosts, http_session=session, limit=None) as fal,
    ):
        calls = [asyncio.create_task(fal.run(MODEL, INPUT)) for _ in range(2)]
        asyncio.get_running_loop().call_later(120, go.set)
        assert await asyncio.gather(*calls) == [{"ok": True}, {"ok": True}]
