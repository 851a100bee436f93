"""What a connection may begin with, and what becomes of it: in pieces, malformed, given up."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import fal_async.emulator.tls
from fal_async.emulator import Emulator
from tests.emulator.raw import post
from tests.emulator.tls_caller import Line, line, trusting
from tests.support.virtual_time import turns

pytestmark = pytest.mark.usefixtures("silent", "unheard")

ECHO = post("/emulator/echo", b'{"i":1}', headers={"Host": "fal.run"})


@pytest.fixture
async def tls() -> AsyncIterator[Emulator]:
    async with Emulator(tls=True) as emulator:
        yield emulator


@pytest.fixture
async def caller(tls: Emulator) -> AsyncIterator[Line]:
    async with line(tls) as one:
        yield one


async def test_a_tunnel_is_granted_and_leads_to_the_host_by_its_name(
    tls: Emulator, caller: Line
) -> None:
    assert await caller.tunnel() == b"HTTP/1.1 200 Connection established\r\n\r\n"
    certificate = await caller.secure(tls)
    assert ("DNS", "fal.run") in certificate["subjectAltName"]
    assert ("IP Address", "127.0.0.1") in certificate["subjectAltName"]
    caller.say(ECHO)
    assert (await caller.rest()).endswith(b'{"i":1}')


async def test_https_needs_no_tunnel(tls: Emulator, caller: Line) -> None:
    await caller.secure(tls, "queue.fal.run")
    caller.say(post("/emulator/echo", b"{}", headers={"Host": "queue.fal.run"}))
    assert b'"status":"IN_QUEUE"' in await caller.rest()


async def test_plain_http_may_be_spoken_in_a_tunnel_too(caller: Line) -> None:
    await caller.tunnel()
    caller.say(ECHO)
    assert (await caller.rest()).endswith(b'{"i":1}')


@pytest.mark.parametrize(
    ("host", "port", "named"),
    [
        ("example.com", 443, "example.com is not"),
        ("evilfal.run", 443, "evilfal.run is not"),
        ("fal.run.example.com", 443, "fal.run.example.com is not"),
        ("127.0.0.1", 443, "127.0.0.1 is not"),
        ("[::1]", 443, "::1 is not"),
        ("fal.run", 80, "fal.run:80 is not"),
        ("fal.run", 22, "fal.run:22 is not"),
    ],
)
async def test_a_tunnel_to_anywhere_else_is_refused_in_a_sentence(
    caller: Line, host: str, port: int, named: str
) -> None:
    head = await caller.tunnel(host, port)
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    said = (await caller.rest()).decode()
    assert "This proxy is an emulator of fal." in said
    assert named in said


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_whole_url_of_anybody_else_is_refused_and_not_repeated(
    tls: Emulator, caller: Line, method: str
) -> None:
    target = "http://me:word@example.com:8080/a?key=secret"
    caller.say(post(target, b"x", method=method, headers={"Host": "example.com:8080"}))
    said = (await caller.rest()).decode()
    assert said.startswith("HTTP/1.1 403 Forbidden\r\n")
    assert "example.com:8080 is not one of them" in said
    assert "secret" not in said
    assert "word" not in said
    assert tls.received == 0


async def test_a_whole_url_of_fals_is_served_as_its_host_would(caller: Line) -> None:
    caller.say(post("http://fal.run/emulator/echo", b'{"i":1}', headers={"Host": "fal.run"}))
    assert (await caller.rest()).endswith(b'{"i":1}')


async def test_each_request_of_a_connection_is_looked_at(caller: Line) -> None:
    keep = {"Connection": "keep-alive", "Host": "fal.run"}
    caller.say(post("http://fal.run/emulator/echo", b'{"i":1}', headers=keep))
    caller.say(post("http://example.com/emulator/echo", b'{"i":2}'))
    said = await caller.rest()
    assert (said.count(b"HTTP/1.1 200"), said.count(b"HTTP/1.1 403")) == (1, 1)


async def test_a_request_for_a_tunnel_may_come_in_pieces(tls: Emulator, caller: Line) -> None:
    for byte in b"CONNECT fal.run:443 HTTP/1.1\r\nUser-Agent: a\r\nHost: fal.run:443\r\n\r\n":
        caller.say(bytes([byte]))
        await turns(2)
    assert (await caller.head()).startswith(b"HTTP/1.1 200 ")
    await caller.secure(tls)


Handshake = tuple[ssl.MemoryBIO, ssl.MemoryBIO, ssl.SSLObject]


def hello(emu: Emulator) -> tuple[bytes, Handshake]:
    """The first bytes of a handshake, and what goes on with it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secured = trusting(emu).wrap_bio(incoming, outgoing, server_hostname="fal.run")
    with pytest.raises(ssl.SSLWantReadError):
        secured.do_handshake()
    return outgoing.read(), (incoming, outgoing, secured)


async def finish(caller: Line, begun: Handshake) -> bytes:
    """The rest of the handshake, one call, and its answer."""
    incoming, outgoing, secured = begun
    while True:
        try:
            secured.do_handshake()
            break
        except ssl.SSLWantReadError:
            incoming.write(await caller.reader.read(65536))
    # the end of the handshake and the first request, at one go
    secured.write(ECHO)
    caller.say(outgoing.read())
    said = b""
    while not said.endswith(b'{"i":1}'):
        try:
            said += secured.read(65536)
        except ssl.SSLWantReadError:
            data = await caller.reader.read(65536)
            assert data, said
            incoming.write(data)
    return said


async def test_a_handshake_may_come_in_pieces(tls: Emulator, caller: Line) -> None:
    first, begun = hello(tls)
    for byte in first:
        caller.say(bytes([byte]))
        await turns(1)
    assert (await finish(caller, begun)).startswith(b"HTTP/1.1 200 ")


async def test_a_handshake_may_come_right_behind_the_request_for_its_tunnel(
    tls: Emulator, caller: Line
) -> None:
    first, begun = hello(tls)
    caller.say(b"CONNECT fal.run:443 HTTP/1.1\r\n\r\n" + first)
    assert (await caller.head()).startswith(b"HTTP/1.1 200 ")
    assert (await finish(caller, begun)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "request_line",
    [
        b"CONNECT fal.run HTTP/1.1",
        b"CONNECT fal.run:https HTTP/1.1",
        b"CONNECT fal.run:443",
        b"CONNECT fal.run:443 SPDY/3",
        b"CONNECT :443 HTTP/1.1",
        b"CONNECT [::1:443 HTTP/1.1",
        b"CONNECT https://fal.run:443/ HTTP/1.1",
        b"CONNECT fal.run:443/x HTTP/1.1",
        b"CONNECT  fal.run:443 HTTP/1.1",
        b"CONNECT \xff\xfe:443 HTTP/1.1 \x00",
    ],
)
async def test_what_is_no_request_for_a_tunnel_is_told_so(
    caller: Line, request_line: bytes
) -> None:
    caller.say(request_line + b"\r\n\r\n")
    assert (await caller.head()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"not a request for a tunnel" in await caller.rest()


async def test_a_tunnel_leads_to_no_other_tunnel(caller: Line) -> None:
    await caller.tunnel()
    assert (await caller.tunnel()).startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_a_request_for_a_tunnel_that_does_not_end_is_refused(caller: Line) -> None:
    caller.say(b"CONNECT fal.run:443 HTTP/1.1\r\nA: " + b"a" * 20_000)
    assert (await caller.rest()).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "beginning", [b"", b"C", b"CONNECT fal.run:443", b"\x16", b"\x16\x03\x01", b"G"]
)
async def test_who_leaves_at_once_leaves_nothing_behind(tls: Emulator, beginning: bytes) -> None:
    async with line(tls) as one:
        one.say(beginning)
        await turns(5)
    async with line(tls) as one:
        await one.tunnel()
        one.say(beginning)
        await turns(5)


@pytest.mark.parametrize("garbage", [b"\x16garbage, garbage, garbage", b"\x00\x01\r\n\r\n"])
async def test_garbage_ends_its_own_connection_and_no_other(tls: Emulator, garbage: bytes) -> None:
    async with line(tls) as one, line(tls) as other:
        one.say(garbage)
        await one.rest()
        other.say(ECHO)
        assert (await other.rest()).endswith(b'{"i":1}')


def test_nothing_here_can_make_a_connection() -> None:
    folder = Path(fal_async.emulator.tls.__file__).parent
    for path in folder.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        for name in ("create_connection", "open_connection", "getaddrinfo", "sock_connect"):
            assert name not in text, path
