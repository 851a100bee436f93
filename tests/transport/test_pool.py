"""The pool: how its connections are made, whose session it is, and that it is never heard of again."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import aiohttp
import pytest

from fal_async import (
    AsyncFal,
    BadRequestError,
    Billing,
    BodyBrokenError,
    ConnectionLostError,
    FalError,
    Hosts,
    InputError,
    ServerError,
    SessionError,
)
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.transport import owned
from fal_async.transport.base import Call
from fal_async.transport.owned import OwnedSession, Sockets
from tests.support.left_alone import PROGRAMS
from tests.support.scripted_server import MODEL, Act, Script, answer, message, say_and, silence
from tests.support.virtual_time import in_virtual_time, turns

INPUT = {"prompt": "a cat"}
OK = {"ok": True}
T = TypeVar("T")


# --- connections ----------------------------------------------------------------------------------------


async def test_connections_stay_open_through_minutes_of_silence_and_notice_a_dead_end() -> None:
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        await fal.run(MODEL, INPUT)
        (sock,) = fal._pool._owned._sockets._alive
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for name, value in {
            "TCP_KEEPIDLE": 30,
            "TCP_KEEPINTVL": 10,
            "TCP_KEEPCNT": 3,
            "TCP_USER_TIMEOUT": 60_000,
        }.items():
            if hasattr(socket, name):
                assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_a_connection_is_used_again() -> None:
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        for _ in range(3):
            await fal.run(MODEL, INPUT)
        assert server.connections == 1


async def test_a_session_of_ours_keeps_idle_connections_four_seconds_and_remembers_names() -> None:
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        connector = fal._pool.session().connector
        assert isinstance(connector, aiohttp.TCPConnector)
        assert connector._keepalive_timeout == 4.0
        assert connector.use_dns_cache
        assert (connector.limit, connector.limit_per_host) == (0, 0)


async def test_three_hundred_calls_are_truly_in_flight_at_once() -> None:
    go = asyncio.Event()
    async with (
        Script(answer(go=go)) as server,
        AsyncFal(hosts=server.hosts, limit=None) as fal,
    ):
        calls = [asyncio.create_task(fal.run(MODEL, {"n": n})) for n in range(300)]
        await server.arrival(300)
        assert server.connections == 300
        go.set()
        assert await asyncio.gather(*calls) == [OK] * 300


async def test_cookies_are_not_kept() -> None:
    async with (
        Script(answer(headers={"Set-Cookie": "who=me; Path=/"})) as server,
        AsyncFal(hosts=Hosts.local(f"http://localhost:{server.port}")) as fal,
    ):
        await fal.run(MODEL, INPUT)
        await fal.run(MODEL, INPUT)
        assert "cookie" not in server.requests[1].headers


class Looking:
    """A transport that notes how long each call took to connect."""

    def __init__(self, fal: AsyncFal) -> None:
        self._inner = fal._brake._inner
        fal._brake._inner = self
        self.seen: list[float | None] = []

    async def send(self, request: HttpRequest, call: Call) -> HttpResponse:
        response = await self._inner.send(request, call)
        self.seen.append(call.connected_in)
        return response


async def test_it_is_known_how_long_a_new_connection_took_and_an_old_one_took_nothing() -> None:
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        looking = Looking(fal)
        for _ in range(2):
            await fal.run(MODEL, INPUT)
    first, second = looking.seen
    assert first is not None
    assert 0 < first < 1
    assert second is None


async def test_a_connection_made_for_another_call_meanwhile_is_not_taken_for_one_s_own() -> None:
    go = asyncio.Event()
    async with (
        Script(answer(), answer(go=go), answer()) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        looking = Looking(fal)
        await fal.run(MODEL, INPUT)
        old = asyncio.create_task(fal.run(MODEL, INPUT))
        await server.arrival(2)
        await fal.run(MODEL, INPUT)  # on a new connection, since the old one is taken
        go.set()
        await old
    assert [seconds is None for seconds in looking.seen] == [False, False, True]


# --- a session of the caller's --------------------------------------------------------------------------


async def never_asked(
    _: aiohttp.ClientRequest, __: Callable[..., Awaitable[aiohttp.ClientResponse]]
) -> aiohttp.ClientResponse:
    raise AssertionError("a middleware of the borrowed session was asked")


@pytest.fixture
async def hostile() -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose every default is against us."""
    async with aiohttp.ClientSession(
        "https://elsewhere.example/",
        raise_for_status=True,
        middlewares=(never_asked,),
        headers={
            "Authorization": "Basic c3RvbGVu",
            "User-Agent": "mine",
            "Accept": "text/html",
            "Accept-Encoding": "gzip",
            "Content-Type": "text/plain",
        },
        skip_auto_headers=["Content-Type", "User-Agent"],
        timeout=aiohttp.ClientTimeout(total=1e-6, connect=1e-6, sock_read=1e-6, sock_connect=1e-6),
        max_line_size=64,
        max_field_size=64,
        read_bufsize=16,
        cookies={"a": "b"},
    ) as session:
        yield session


async def test_none_of_its_defaults_changes_what_is_sent(hostile: aiohttp.ClientSession) -> None:
    async with Script(answer()) as server:
        for session in (None, hostile):
            async with AsyncFal("a:b", hosts=server.hosts, http_session=session) as fal:
                assert await fal.run(MODEL, INPUT) == OK
        ours, through_it = server.requests
    assert through_it.line == ours.line
    assert through_it.body == ours.body
    names = set(ours.headers) - {"host"}
    assert {n: through_it.headers[n] for n in names} == {n: ours.headers[n] for n in names}
    assert through_it.headers["authorization"] == "Key a:b"
    assert through_it.headers["content-type"] == "application/json"


async def test_none_of_its_defaults_changes_what_is_made_of_the_answer(
    hostile: aiohttp.ClientSession,
) -> None:
    long_header = {"X-Long": "x" * 16_000}
    long_line = message().replace(b"200 OK", b"200 " + b"o" * 16_000)
    acts = [
        answer(500, {"detail": "x"}),
        answer(400, {"detail": "x", "error_type": "bad_request"}),
        answer(content={"text": "x" * 100_000}, headers=long_header),
        say_and(long_line, "go_on"),
    ]
    async with (
        Script(*acts) as server,
        AsyncFal(hosts=server.hosts, http_session=hostile) as fal,
    ):
        with pytest.raises(ServerError) as raised:
            await fal.run(MODEL, INPUT)
        assert raised.value.billing is Billing.NOT_BILLED
        with pytest.raises(BadRequestError):
            await fal.run(MODEL, INPUT)
        result = await fal.run_detailed(MODEL, INPUT)
        assert await fal.run(MODEL, INPUT) == OK
    assert len(result.output["text"]) == 100_000
    assert len(result.headers["X-Long"]) == 16_000


@in_virtual_time
async def test_its_timeouts_are_not_ours() -> None:
    go = asyncio.Event()
    timeout = aiohttp.ClientTimeout(total=5, connect=5, sock_read=5)
    async with (
        Script(answer(go=go)) as server,
        aiohttp.ClientSession(timeout=timeout) as session,
        AsyncFal(hosts=server.hosts, http_session=session) as fal,
    ):
        asyncio.get_running_loop().call_later(3600, go.set)
        assert await fal.run(MODEL, INPUT) == OK


async def test_it_is_never_closed_by_us() -> None:
    async with Script(answer()) as server, aiohttp.ClientSession() as session:
        async with AsyncFal(hosts=server.hosts, http_session=session) as fal:
            await fal.run(MODEL, INPUT)
        with pytest.raises(SessionError, match="closed"):
            await fal.run(MODEL, INPUT)
        assert not session.closed
        async with session.post(server.url) as response:
            assert response.status == 200


async def test_our_closing_ends_our_calls_in_it() -> None:
    async with Script(silence()) as server, aiohttp.ClientSession() as session:
        fal = AsyncFal(hosts=server.hosts, http_session=session)
        task = asyncio.create_task(fal.run(MODEL, INPUT))
        await server.arrival()
        await fal.close()
        with pytest.raises(SessionError) as raised:
            await task
    assert raised.value.billing is Billing.UNKNOWN


@pytest.mark.parametrize(
    ("act", "kind", "billing"),
    [
        (silence(), ConnectionLostError, Billing.UNKNOWN),
        (say_and(message()[:-3], "hold"), BodyBrokenError, Billing.BILLED),
    ],
    ids=["before the answer", "in its body"],
)
async def test_its_owner_s_closing_loses_the_call(
    act: Act, kind: type[FalError], billing: Billing
) -> None:
    async with Script(act) as server:
        async with aiohttp.ClientSession() as session:
            fal = AsyncFal(hosts=server.hosts, http_session=session)
            task = asyncio.create_task(fal.run(MODEL, INPUT))
            await server.arrival()
            await turns()
        with pytest.raises(kind) as raised:
            await task
        await fal.close()
    assert raised.value.billing is billing


async def test_one_that_is_closed_says_so() -> None:
    async with Script(answer()) as server:
        async with aiohttp.ClientSession() as session:
            used = AsyncFal(hosts=server.hosts, http_session=session)
            await used.run(MODEL, INPUT)
        unused = AsyncFal(hosts=server.hosts, http_session=session)
        for fal, text in ((used, "Session is closed"), (unused, "http_session given .* is closed")):
            with pytest.raises(SessionError, match=text) as raised:
                await fal.run(MODEL, INPUT)
            assert raised.value.billing is Billing.NOT_BILLED
        assert len(server.requests) == 1


async def make_session(**options: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(**options)


def test_one_of_another_event_loop_says_so() -> None:
    async def main(session: aiohttp.ClientSession) -> None:
        async with Script(answer()) as server:
            fal = AsyncFal(hosts=server.hosts, http_session=session)
            with pytest.raises(SessionError, match="belongs to another event loop"):
                await fal.run(MODEL, INPUT)

    with asyncio.Runner() as first:
        session = first.run(make_session())
        with asyncio.Runner() as second:
            second.run(main(session))
        first.run(session.close())


async def test_one_that_reads_netrc_is_refused() -> None:
    async with aiohttp.ClientSession(trust_env=True) as session:
        with pytest.raises(InputError, match="trust_env=True"):
            AsyncFal(http_session=session)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_one_with_credentials_is_refused() -> None:
    async with aiohttp.ClientSession(auth=aiohttp.BasicAuth("me", "secret")) as session:
        with pytest.raises(InputError, match="credentials of its own") as raised:
            AsyncFal(http_session=session)
    assert "secret" not in str(raised.value)


# --- left alone -----------------------------------------------------------------------------------------


#: Those of a group run one after the other in one process: starting a process takes longest.
GROUPS = {
    "a loop closed by hand": [name for name in PROGRAMS if name.startswith("loop")],
    "a fork": [name for name in PROGRAMS if name.startswith("forked")],
    "all else": [name for name in PROGRAMS if not name.startswith(("loop", "forked"))],
}


@pytest.fixture(scope="module")
def groups() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All at once, with every warning an error."""
    command = [sys.executable, "-W", "error", "-m", "tests.support.left_alone"]
    running = {
        group: subprocess.Popen(
            [*command, *names], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for group, names in GROUPS.items()
    }
    yield running
    for process in running.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("group", GROUPS)
def test_a_program_that_does_not_clean_up_is_not_told_so(
    group: str, groups: dict[str, subprocess.Popen[str]]
) -> None:
    assert GROUPS[group]
    output, _ = groups[group].communicate(timeout=60)
    assert output == ""
    assert groups[group].returncode == 0


def in_a_loop_closed_by_hand(main: Coroutine[Any, Any, T]) -> T:
    """Run it, and close the loop without asking its generators to end."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


async def make_owned() -> OwnedSession:
    return OwnedSession(Sockets())


def test_a_session_whose_loop_was_closed_by_hand_is_let_go_by_the_next() -> None:
    first = in_a_loop_closed_by_hand(make_owned())
    assert first in owned._open

    async def main() -> None:
        second = OwnedSession(Sockets())
        assert first not in owned._open
        assert first.session.closed
        await second.close()
        assert second not in owned._open

    asyncio.run(main())


def test_a_session_whose_loop_was_closed_by_hand_can_be_let_go_at_once_and_twice() -> None:
    first = in_a_loop_closed_by_hand(make_owned())
    first.let_go()
    assert first.session.closed
    first.let_go()
    assert first not in owned._open


async def test_a_session_that_is_let_go_is_closed_by_its_own_loop() -> None:
    async with Script(answer()) as server:
        made = OwnedSession(Sockets())
        async with made.session.post(server.url) as response:
            await response.read()
        await asyncio.to_thread(made.let_go)
        await turns()
        assert made.session.closed
        assert made not in owned._open


def test_what_is_open_at_the_end_of_the_program_is_let_go() -> None:
    async def main() -> None:
        async with Script(answer()) as server:
            made = OwnedSession(Sockets())
            async with made.session.post(server.url) as response:
                await response.read()
            owned._at_exit()
            assert made.session.closed
            (connector,) = (conn for one, conn in owned._abandoned if one is made)
            await connector.close()

    asyncio.run(main())
