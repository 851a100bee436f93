"""A paid answer is never lost: it is returned, or it is in the error that is raised."""

from __future__ import annotations

import asyncio
import gzip
import math
import pickle
from decimal import Decimal
from typing import Any

import attrs
import pytest

from fal_async import (
    AnswerError,
    AsyncFal,
    Billing,
    BodyTooLargeError,
    DecodeError,
    FalError,
    ImageOutput,
    InputError,
    ServerError,
    StructureError,
)
from tests.support.scripted_server import (
    MODEL,
    REQUEST_ID,
    Act,
    Script,
    answer,
    head,
    in_pieces,
    message,
    say_and,
)
from tests.support.secrets import KEY, PROMPT, assert_discreet
from tests.support.virtual_time import in_virtual_time

INPUT = {"prompt": PROMPT}


async def run(act: Act, **options: Any) -> Any:
    async with Script(act) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        return await fal.run(MODEL, INPUT, **options)


async def failure(act: Act, **options: Any) -> FalError:
    """The error of a call, which was sent once and tells no secret."""
    size = options.pop("max_answer_bytes", 1_000_000)
    async with (
        Script(act) as server,
        AsyncFal(KEY, hosts=server.hosts, max_answer_bytes=size) as fal,
    ):
        with pytest.raises(FalError) as raised:
            await fal.run(MODEL, INPUT, **options)
        assert server.begun == 1
    assert raised.value.attempts == 1
    assert_discreet(raised.value)
    return raised.value


# --- returned -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 226, 299])
async def test_any_2xx_is_a_success(status: int) -> None:
    data = message(content={"n": status}).replace(b"200 OK", b"%d Fine" % status)
    assert await run(say_and(data, "go_on")) == {"n": status}


JSON_OF_ALL_KINDS: dict[str, tuple[bytes, Any]] = {
    "a seed of 64 bits": (b'{"seed":15860307465884635512}', {"seed": 15860307465884635512}),
    "an integer of any size": (b"1" + b"0" * 5000, 10**5000),
    "infinities": (b"[Infinity,-Infinity]", [math.inf, -math.inf]),
    "a lone surrogate": (b'{"text":"\\ud83d"}', {"text": "\ud83d"}),
    "a byte order mark": (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
    "null": (b"null", None),
    "a string": (b'"a caption"', "a caption"),
    "white space around it": (b" \n[1]\r\n", [1]),
}


@pytest.mark.parametrize("name", JSON_OF_ALL_KINDS)
async def test_json_that_others_refuse_is_returned(name: str) -> None:
    body, value = JSON_OF_ALL_KINDS[name]
    assert await run(answer(body=body)) == value


async def test_nan_is_returned() -> None:
    (value,) = await run(answer(body=b"[NaN]"))
    assert math.isnan(value)


@pytest.mark.parametrize("kind", ["image/png", "text/plain; charset=utf-8", "text/html", "audio/*"])
async def test_what_is_no_json_is_returned_as_bytes(kind: str) -> None:
    body = b"\x89PNG\r\n\x1a\n\x00"
    assert await run(answer(body=body, headers={"Content-Type": kind})) == body


async def test_bytes_can_be_asked_for() -> None:
    assert await run(answer(body=b'{"a": 1}'), result_type=bytes) == b'{"a": 1}'


async def test_without_a_content_type_json_is_decoded_and_all_else_is_bytes() -> None:
    for body, value in ((b'{"a":1}', {"a": 1}), (b"\x00\x01", b"\x00\x01")):
        bare = head(200, {"Content-Length": str(len(body))}) + body
        assert await run(say_and(bare, "go_on")) == value


async def test_an_answer_that_comes_in_pieces_is_put_together() -> None:
    whole = message(content={"images": ["a" * 3000]})
    cuts = [whole[i : i + 700] for i in range(0, len(whole), 700)]
    assert await run(in_pieces(*cuts, then="finish")) == {"images": ["a" * 3000]}


async def test_a_chunked_answer_is_put_together() -> None:
    chunks = b'4\r\n{"a"\r\n3;x=y\r\n:1}\r\n0\r\nX-Trailer: yes\r\n\r\n'
    data = head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}) + chunks
    assert await run(say_and(data, "go_on")) == {"a": 1}


async def test_a_compressed_answer_is_not_asked_for_and_is_read_all_the_same() -> None:
    packed = gzip.compress(b'{"a": 1}')
    async with (
        Script(answer(body=packed, headers={"Content-Encoding": "gzip"})) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        assert await fal.run(MODEL, INPUT) == {"a": 1}
        assert server.requests[0].headers["accept-encoding"] == "identity"


# --- kept in the error ----------------------------------------------------------------------------------


def assert_kept(error: FalError, body: bytes) -> None:
    assert error.billing is Billing.BILLED
    assert error.status == 200
    assert error.body == body
    assert error.request_id == REQUEST_ID
    assert error.headers["X-Fal-Billable-Units"] == "1"
    assert pickle.loads(pickle.dumps(error)).body == body


PAID = {"x-fal-billable-units": "1"}


@pytest.mark.parametrize(
    "body", [b'{"images": [', b"{'a': 1}", b"\xff\xfe\x00", b"<html>", b" ", b""]
)
async def test_json_that_does_not_decode_is_kept_as_it_came(body: bytes) -> None:
    error = await failure(answer(body=body, headers=PAID))
    assert type(error) is DecodeError
    assert_kept(error, body)


@attrs.frozen
class Picture:
    url: str
    width: int


@attrs.frozen
class Pictures:
    images: list[Picture]


MISFITS: dict[str, tuple[Any, str]] = {
    "a null": ({"images": [{"url": None, "width": 1}]}, "images[0].url"),
    "a number that is a string": ({"images": [{"url": "u", "width": "1"}]}, "images[0].width"),
    "a field that is missing": ({"images": [{"url": "u"}]}, "images[0].width"),
    "an object that is a list": ([], ""),
}


@pytest.mark.parametrize("name", MISFITS)
async def test_a_value_that_does_not_fit_is_kept_with_the_place(name: str) -> None:
    value, path = MISFITS[name]
    error = await failure(answer(content=value, headers=PAID), result_type=Pictures)
    assert type(error) is StructureError
    assert isinstance(error, AnswerError)
    assert error.value == value
    assert error.path == path
    assert path in str(error)
    assert_kept(error, message(content=value).split(b"\r\n\r\n")[1])


async def test_bytes_where_a_type_was_asked_for_are_kept() -> None:
    error = await failure(
        answer(body=b"\x89PNG", headers={**PAID, "Content-Type": "image/png"}),
        result_type=Pictures,
    )
    assert type(error) is StructureError
    assert_kept(error, b"\x89PNG")


@attrs.frozen
class Another:
    """Not to be told from a Picture."""

    url: str
    width: int


async def test_a_type_that_cannot_be_structured_is_refused_before_anything_is_paid() -> None:
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(InputError, match="result_type cannot be structured"):
            await fal.run(MODEL, INPUT, result_type=Picture | Another)
        assert server.begun == 0


async def test_an_answer_of_just_the_limit_is_read() -> None:
    body = b'"' + b"a" * 98 + b'"'
    async with (
        Script(answer(body=body)) as server,
        AsyncFal(hosts=server.hosts, max_answer_bytes=100) as fal,
    ):
        assert await fal.run(MODEL, INPUT) == "a" * 98


async def test_an_answer_of_just_the_limit_may_tell_its_end_later() -> None:
    top = head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
    act = in_pieces(top + b"4\r\ntrue\r\n", b"0\r\n\r\n", then="finish")
    async with Script(act) as server, AsyncFal(hosts=server.hosts, max_answer_bytes=4) as fal:
        assert await fal.run(MODEL, INPUT) is True


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_above_the_limit_is_cut_there_and_kept_so_far(chunked: bool) -> None:
    body = b'"' + b"a" * 5_000_000 + b'"'
    data = message(body=body, headers=PAID)
    if chunked:
        top = {"Content-Type": "application/json", "x-fal-request-id": REQUEST_ID, **PAID}
        data = head(200, {**top, "Transfer-Encoding": "chunked"})
        data += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    error = await failure(say_and(data, "hold"), max_answer_bytes=1000)
    assert type(error) is BodyTooLargeError
    assert error.body is not None
    assert 1000 < len(error.body) < 1_000_000
    assert body.startswith(error.body)
    assert_kept(error, error.body)
    assert "1000 bytes" in str(error)


async def test_a_failure_above_the_limit_is_a_failure_all_the_same() -> None:
    error = await failure(answer(500, {"detail": "x" * 5000}), max_answer_bytes=1000)
    assert type(error) is ServerError
    assert error.billing is Billing.NOT_BILLED


async def test_a_compressed_answer_above_the_limit_is_kept_compressed() -> None:
    packed = gzip.compress(b"0" * 1_000_000)
    error = await failure(
        answer(body=packed, headers={**PAID, "Content-Encoding": "gzip"}), max_answer_bytes=10_000
    )
    assert type(error) is DecodeError
    assert_kept(error, packed)


# --- what comes beside it -------------------------------------------------------------------------------


@in_virtual_time
async def test_run_detailed_tells_what_came_beside_the_output() -> None:
    headers = {"x-fal-billable-units": "0.02500000", "x-fal-served-from": "here", "X-Two": "a"}
    again = answer(503, {"detail": "busy"}, headers={"X-Fal-Needs-Retry": "1"})
    refused, go = answer(429), asyncio.Event()
    good = answer(content={"images": [{"url": "u"}]}, headers=headers, go=go)
    async with Script(refused, again, good) as server, AsyncFal(hosts=server.hosts) as fal:
        asyncio.get_running_loop().call_later(100, go.set)
        result = await fal.run_detailed("fal-ai/fast-sdxl", INPUT, result_type=ImageOutput)
    assert result.output.images[0].url == "u"
    assert result.request_id == REQUEST_ID
    assert result.billable_units == Decimal("0.025")
    assert result.headers["X-FAL-SERVED-FROM"] == "here"
    assert result.attempts == 2
    assert 100 <= result.elapsed <= 101
    assert PROMPT not in repr(result)


@in_virtual_time
async def test_elapsed_is_counted_from_the_slot_and_not_from_the_call() -> None:
    go = asyncio.Event()
    async with (
        Script(answer(go=go), answer()) as server,
        AsyncFal(hosts=server.hosts, limit=1) as fal,
    ):
        calls = [asyncio.create_task(fal.run_detailed(MODEL, INPUT)) for _ in range(2)]
        asyncio.get_running_loop().call_later(100, go.set)
        first, second = await asyncio.gather(*calls)
    assert first.elapsed == pytest.approx(100, abs=1)
    assert second.elapsed < 1


@pytest.mark.parametrize("units", [None, "many", "-1", "NaN", ""])
async def test_units_that_are_no_number_are_none(units: str | None) -> None:
    headers = {} if units is None else {"x-fal-billable-units": units}
    async with (
        Script(answer(headers=headers, request_id=None)) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        result = await fal.run_detailed(MODEL, INPUT)
    assert (result.billable_units, result.request_id) == (None, None)


async def test_a_header_that_came_twice_is_joined() -> None:
    data = message().replace(b"\r\n\r\n", b"\r\nX-Two: a\r\nX-Two: b\r\n\r\n", 1)
    async with Script(say_and(data, "go_on")) as server, AsyncFal(hosts=server.hosts) as fal:
        result = await fal.run_detailed(MODEL, INPUT)
    assert result.headers["x-two"] == "a, b"
