"""What each way of failing comes to: the class, the billing, and how often the request reached the server.

The rows are those of a table that was measured on bare aiohttp; here they are seen through ``AsyncFal``.
"""

from __future__ import annotations

import gzip
import socket

import attrs
import pytest

from fal_async import (
    AsyncFal,
    Billing,
    BodyBrokenError,
    CallTimeoutError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    FalError,
    GatewayError,
    Hosts,
    ModelError,
    RetryPolicy,
    ServerError,
)
from tests.support.scripted_server import (
    MODEL,
    REQUEST_ID,
    Act,
    Script,
    Wire,
    answer,
    head,
    in_pieces,
    message,
    say_and,
    silence,
    unread_and,
)
from tests.support.secrets import KEY, PROMPT, assert_discreet, chain_of
from tests.support.virtual_time import in_virtual_time, turns

INPUT = {"prompt": PROMPT}
AT_ONCE = RetryPolicy(sends=3, backoff=0)
NOT, MAYBE, YES = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED

JSON = {"Content-Type": "application/json", "x-fal-request-id": REQUEST_ID}
WHOLE = message(200, {"images": ["the first", "the second"]})
HALF = WHOLE[:-20]
CHUNKED = head(200, {**JSON, "Transfer-Encoding": "chunked"})
FAILED = message(500, {"detail": "it broke", "error_type": "internal_error"})


@attrs.frozen
class Row:
    act: Act
    error: type[FalError]
    billing: Billing
    sends: int = 1
    status: int | None = None
    body: bytes | None = None


LOST = (ConnectionLostError, MAYBE)
BROKEN = (BodyBrokenError, YES)

ROWS: dict[str, Row] = {
    "reset with the request unread": Row(unread_and("reset"), *LOST),
    "closed with the request unread": Row(unread_and("finish"), *LOST),
    "reset after the request": Row(say_and(b"", "reset"), *LOST),
    "closed after the request": Row(say_and(b"", "finish"), *LOST),
    "closed after half a head": Row(say_and(b"HTTP/1.1 200 OK\r\nContent-Ty", "finish"), *LOST),
    "reset after half a head": Row(say_and(b"HTTP/1.1 200 OK\r\nContent-Ty", "reset"), *LOST),
    "a bad status line": Row(say_and(b"ICY 200 OK\r\n\r\n", "hold"), *LOST),
    "a bad status": Row(say_and(b"HTTP/1.1 OK\r\n\r\n", "hold"), *LOST),
    "bytes that are no HTTP": Row(say_and(b"\x16\x03\x01\x00\x05hello\r\n\r\n", "finish"), *LOST),
    "a header line without a colon": Row(
        say_and(b"HTTP/1.1 200 OK\r\nhello\r\n\r\n", "hold"), *LOST
    ),
    "a header of a megabyte": Row(
        say_and(head(200, {**JSON, "X-Long": "x" * 1_000_000}), "finish"), *LOST
    ),
    "half a body, closed": Row(
        say_and(HALF, "finish"), *BROKEN, 1, 200, HALF.split(b"\r\n\r\n")[1]
    ),
    "half a body, reset": Row(say_and(HALF, "reset"), *BROKEN, 1, 200),
    "bytes up to the end of the connection, reset": Row(
        in_pieces(head(200, JSON), b'{"images"', then="reset"), *BROKEN, 1, 200, b'{"images"'
    ),
    "half a chunk, closed": Row(
        say_and(CHUNKED + b'10\r\n{"images', "finish"), *BROKEN, 1, 200, b'{"images'
    ),
    "whole chunks and no last one": Row(
        say_and(CHUNKED + b'9\r\n{"images"\r\n', "finish"), *BROKEN, 1, 200, b'{"images"'
    ),
    "a chunk whose size is no number": Row(
        in_pieces(CHUNKED, b'9\r\n{"images"\r\nmany\r\n', then="hold"), *BROKEN, 1, 200
    ),
    "a chunk whose size is no number, together with the head": Row(
        say_and(CHUNKED + b"many\r\n", "hold"), *LOST
    ),
    "gzip that is none": Row(
        answer(200, body=b"not gzip", headers={"Content-Encoding": "gzip"}),
        DecodeError,
        YES,
        1,
        200,
        b"not gzip",
    ),
    "gzip that breaks off": Row(
        answer(200, body=gzip.compress(b"{}" * 99)[:-9], headers={"Content-Encoding": "gzip"}),
        DecodeError,
        YES,
        1,
        200,
        gzip.compress(b"{}" * 99)[:-9],
    ),
    "an empty success": Row(answer(200, body=b""), DecodeError, YES, 1, 200, b""),
    "no content": Row(answer(204, body=b""), DecodeError, YES, 1, 204, b""),
    "a failure whose body breaks off": Row(
        say_and(FAILED[:-9], "finish"), ServerError, NOT, 1, 500
    ),
    "a page of the load balancer that breaks off": Row(
        say_and(message(502, body=b"<html>nginx", request_id=None)[:-5], "finish"),
        GatewayError,
        MAYBE,
        1,
        502,
    ),
}


@pytest.mark.parametrize("name", ROWS)
async def test_what_a_failure_costs_is_known_and_a_written_request_is_sent_once(name: str) -> None:
    row = ROWS[name]
    async with Script(row.act) as server, AsyncFal(KEY, hosts=server.hosts, limit=None) as fal:
        with pytest.raises(FalError) as raised:
            await fal.run(MODEL, INPUT, retry=AT_ONCE)
        assert server.begun == row.sends
    error = raised.value
    assert type(error) is row.error
    assert error.billing is row.billing
    assert error.attempts == row.sends
    assert error.status == row.status
    if row.status is not None and row.error is not GatewayError:
        assert error.request_id == REQUEST_ID
        assert error.headers["content-type"] == "application/json"
    if row.body is not None:
        assert error.body == row.body
    assert_discreet(error)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_a_refused_connection_is_not_billed_and_is_tried_again() -> None:
    async with AsyncFal(
        KEY, hosts=Hosts.local(f"http://127.0.0.1:{free_port()}"), limit=None
    ) as fal:
        with pytest.raises(ConnectError) as raised:
            await fal.run(MODEL, INPUT, retry=AT_ONCE)
    assert raised.value.billing is NOT
    assert raised.value.attempts == 3
    assert raised.value.retryable
    assert raised.value.status is None
    assert_discreet(raised.value)


async def test_never_means_that_a_refused_connection_is_tried_once() -> None:
    async with AsyncFal(
        KEY, hosts=Hosts.local(f"http://127.0.0.1:{free_port()}"), limit=None
    ) as fal:
        with pytest.raises(ConnectError) as raised:
            await fal.run(MODEL, INPUT, retry=RetryPolicy.never())
    assert raised.value.attempts == 1


@in_virtual_time
async def test_silence_is_ended_by_the_timeout_alone_and_may_have_been_billed() -> None:
    async with Script(silence()) as server, AsyncFal(KEY, hosts=server.hosts, limit=None) as fal:
        with pytest.raises(CallTimeoutError) as raised:
            await fal.run(MODEL, INPUT, timeout=86_400, retry=AT_ONCE)
        assert server.begun == 1
    assert raised.value.billing is MAYBE
    assert raised.value.attempts == 1
    assert_discreet(raised.value)


async def test_lost_answers_are_asked_for_again_only_where_the_caller_says_so() -> None:
    async with (
        Script(say_and(b"", "reset"), unread_and("finish"), answer()) as server,
        AsyncFal(hosts=server.hosts, limit=None) as fal,
    ):
        again = RetryPolicy(backoff=0, resend=("unsent", "lost"))
        result = await fal.run_detailed(MODEL, INPUT, retry=again)
        assert server.begun == 3
    assert result.output == {"ok": True}
    assert result.attempts == 3


@pytest.mark.parametrize("then", ["reset", "finish"])
async def test_a_large_input_that_is_refused_in_mid_upload_may_have_been_billed(then: str) -> None:
    large = {"prompt": PROMPT, "image": "data:image/png;base64," + "A" * 8_000_000}
    async with Script(unread_and(then)) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        with pytest.raises(ConnectionLostError) as raised:
            await fal.run(MODEL, large, retry=AT_ONCE)
        assert server.begun == 1
    assert raised.value.billing is MAYBE
    assert_discreet(raised.value)


async def test_an_answer_that_comes_before_the_input_is_read_is_the_answer() -> None:
    """As of a server that refuses large bodies, and keeps reading."""

    async def refuse(wire: Wire) -> None:
        await wire.say(message(413, {"detail": "too large"}))
        await wire.hold()

    large = {"prompt": PROMPT, "image": "A" * 8_000_000}
    async with Script(refuse) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        with pytest.raises(ModelError) as raised:
            await fal.run(MODEL, large, retry=AT_ONCE)
        assert server.begun == 1
    assert (raised.value.status, raised.value.billing) == (413, MAYBE)


async def test_a_call_that_was_lost_and_then_refused_may_still_have_been_billed() -> None:
    async with (
        Script(say_and(b"", "reset"), answer(401, {"detail": "who?"})) as server,
        AsyncFal(hosts=server.hosts, limit=None) as fal,
    ):
        with pytest.raises(FalError) as raised:
            await fal.run(MODEL, INPUT, retry=RetryPolicy(backoff=0, resend=["lost"]))
    error = raised.value
    assert error.status == 401
    assert error.billing is MAYBE
    assert error.attempts == 2
    assert type(error.first) is ConnectionLostError


async def test_a_success_that_ends_with_the_connection_and_is_whole_is_returned() -> None:
    whole = head(200, JSON) + b'{"ok": true}'
    async with (
        Script(say_and(whole, "finish")) as server,
        AsyncFal(hosts=server.hosts, limit=None) as fal,
    ):
        assert await fal.run(MODEL, INPUT) == {"ok": True}


async def test_a_success_that_ends_with_the_connection_and_was_cut_does_not_decode() -> None:
    cut = head(200, JSON) + b'{"ok": tr'
    async with (
        Script(say_and(cut, "finish")) as server,
        AsyncFal(hosts=server.hosts, limit=None) as fal,
    ):
        with pytest.raises(DecodeError) as raised:
            await fal.run(MODEL, INPUT)
    assert (raised.value.billing, raised.value.body) == (YES, b'{"ok": tr')


async def test_an_interim_answer_is_not_the_answer() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with (
        Script(say_and(early + message(), "go_on")) as server,
        AsyncFal(hosts=server.hosts, limit=None) as fal,
    ):
        assert await fal.run(MODEL, INPUT) == {"ok": True}


async def test_all_headers_that_fal_allows_are_read_in_one_line_even() -> None:
    async with (
        Script(answer(headers={"X-Long": "x" * 16 * 1024})) as server,
        AsyncFal(hosts=server.hosts, limit=None) as fal,
    ):
        result = await fal.run_detailed(MODEL, INPUT)
    assert len(result.headers["x-long"]) == 16 * 1024


async def test_a_connection_that_closed_while_it_was_idle_is_not_used() -> None:
    async with (
        Script(say_and(message(), "finish"), answer()) as server,
        AsyncFal(hosts=server.hosts, limit=None) as fal,
    ):
        for _ in range(2):
            result = await fal.run_detailed(MODEL, INPUT)
            assert result.attempts == 1
            await turns()  # for the news of the closing to arrive
        assert server.connections == 2


async def test_a_failure_keeps_what_aiohttp_said_as_its_cause_where_that_holds_no_secret() -> None:
    async with (
        Script(unread_and("reset")) as server,
        AsyncFal(hosts=server.hosts, limit=None) as fal,
    ):
        with pytest.raises(ConnectionLostError) as raised:
            await fal.run(MODEL, INPUT)
    assert isinstance(raised.value.__cause__, OSError)
    assert len(list(chain_of(raised.value))) > 1
