"""What a success holds: nothing that was paid for is lost."""

from __future__ import annotations

import gzip
import json
import math
import pickle
import zlib
from typing import Any, Literal, TypedDict

import attrs
import cattrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async import errors
from fal_async.errors import Billing
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.outcome import read_answer
from fal_async.types import File, ImageOutput

LIMIT = 10_000
JSON_TYPE = "application/json"
PNG = b"\x89PNG\r\n\x1a\n\0\0"


def answer(
    body: bytes, content_type: str | None = JSON_TYPE, status: int = 200, **more: str
) -> HttpResponse:
    headers = {
        "x-fal-request-id": "req-1",
        **{name.replace("_", "-"): v for name, v in more.items()},
    }
    if content_type is not None:
        headers["Content-Type"] = content_type
    return HttpResponse(status, Headers(headers), body)


def read(response: HttpResponse, result_type: Any = None, converter: Any = None) -> Any:
    return read_answer(response, result_type, converter, LIMIT)


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
def test_any_2xx_is_a_success(status: int) -> None:
    assert read(answer(b'{"a":1}', status=status)) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"seed":15860307465884635512}', {"seed": 15860307465884635512}),
        (b"123456789012345678901234567890123456789", 123456789012345678901234567890123456789),
        (b"[Infinity,-Infinity]", [math.inf, -math.inf]),
        (b'"\\ud800"', "\ud800"),
        (b"\xef\xbb\xbf[1]", [1]),
        (b"null", None),
        (b"[]", []),
        (b'"text"', "text"),
        (b"false", False),
    ],
)
def test_whatever_json_holds_is_returned(body: bytes, value: Any) -> None:
    assert read(answer(body)) == value
    assert read(answer(body), Any) == value


def test_not_a_number_is_returned() -> None:
    assert math.isnan(read(answer(b"NaN")))


@pytest.mark.parametrize("content_type", ["image/png", "text/plain", "text/html", "x", " ", ";"])
def test_what_says_it_is_no_json_is_returned_as_bytes_even_if_it_could_be_read(
    content_type: str,
) -> None:
    assert read(answer(PNG, content_type)) == PNG
    assert read(answer(b'{"a":1}', content_type)) == b'{"a":1}'


@pytest.mark.parametrize("content_type", [None, ""])
def test_what_says_nothing_is_json_if_it_can_be_read_and_bytes_if_not(
    content_type: str | None,
) -> None:
    assert read(answer(b'{"a":1}', content_type)) == {"a": 1}
    assert read(answer(PNG, content_type)) == PNG


def test_bytes_asked_for_are_the_body_as_it_came() -> None:
    assert read(answer(b'{"a":1}'), bytes) == b'{"a":1}'
    assert read(answer(b"{broken"), bytes) == b"{broken"
    assert read(answer(PNG, "image/png"), bytes, cattrs.Converter()) == PNG


class Typed(TypedDict):
    a: int


@attrs.define
class Mine:
    a: int


def test_a_type_asked_for_is_what_comes() -> None:
    assert read(answer(b'{"a":1,"b":2}'), Mine) == Mine(1)
    assert read(answer(b'{"a":1}'), Typed) == {"a": 1}
    assert read(answer(b'[{"a":1}]'), list[Mine]) == [Mine(1)]
    assert read(answer(b'{"a":"1"}'), Mine, cattrs.Converter()) == Mine(1)


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", None])
def test_a_type_asked_for_is_made_of_json_that_came_under_another_name(
    content_type: str | None,
) -> None:
    assert read(answer(b'{"a":1}', content_type), Mine) == Mine(1)


# --- what cannot be given in the form asked for -----------------------------------------------------


def kept(response: HttpResponse, result_type: Any = None, converter: Any = None) -> Any:
    """The error, after looking that all is in it that was paid for."""
    with pytest.raises(errors.AnswerError) as caught:
        read(response, result_type, converter)
    error = caught.value
    assert error.billing is Billing.BILLED
    assert error.body == response.body
    assert error.headers == response.headers
    assert error.request_id == "req-1"
    assert error.status == response.status
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)
    return error


@pytest.mark.parametrize("content_type", [JSON_TYPE, "image/png", None])
@pytest.mark.parametrize("result_type", [None, bytes, Mine])
@pytest.mark.parametrize("encoding", [{}, {"Content_Encoding": "gzip"}])
def test_an_empty_body_is_an_error_that_says_so(
    content_type: str | None, result_type: Any, encoding: dict[str, str]
) -> None:
    error = kept(answer(b"", content_type, **encoding), result_type)
    assert type(error) is errors.DecodeError
    assert error.what == "the answer is empty"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a":', "it is not JSON at character 5"),
        (b"<html>", "it is not JSON at character 0"),
        (b"\xff", "it is not UTF-8"),
        (b"[" * 100_000, "it is nested too deeply"),
    ],
    ids=range(4),
)
@pytest.mark.parametrize("result_type", [None, Mine])
def test_json_that_does_not_decode_is_an_error_that_keeps_the_bytes(
    body: bytes, why: str, result_type: Any
) -> None:
    error = kept(answer(body), result_type)
    assert type(error) is errors.DecodeError
    assert error.what == f"the answer does not decode: {why}"
    assert error.value is None
    assert error.__cause__ is None


def test_a_value_that_does_not_fit_is_an_error_that_keeps_the_value_and_the_place() -> None:
    error = kept(answer(b'{"images":[{"url":null}]}'), ImageOutput)
    assert type(error) is errors.StructureError
    assert (
        error.what == "the answer does not fit ImageOutput: images[0].url: expected str, got None"
    )
    assert error.value == {"images": [{"url": None}]}
    assert error.path == "images[0].url"
    assert error.__cause__ is None


@pytest.mark.parametrize(
    ("result_type", "name"),
    [
        (list[Mine], r"list[tests.protocol.test_answers.Mine]"),
        (Literal["a"], "Literal['a']"),
        (int, "int"),
    ],
)
def test_the_type_that_was_asked_for_is_named(result_type: Any, name: str) -> None:
    error = kept(answer(b'{"a":1}'), result_type)
    assert error.what.startswith(f"the answer does not fit {name}: expected ")
    assert error.path == ""


def test_a_picture_where_a_type_was_asked_for_is_kept_as_the_value() -> None:
    for content_type in ("image/png", None):
        error = kept(answer(PNG, content_type), File)
        assert type(error) is errors.StructureError
        assert error.what == "the answer does not fit File: expected object, got bytes"
        assert error.value == PNG


def test_what_a_hook_of_the_callers_raised_is_the_cause() -> None:
    def refuse(value: Any, _: Any) -> Mine:
        raise LookupError("mine")

    converter = cattrs.Converter()
    converter.register_structure_hook(Mine, refuse)
    error = kept(answer(b'{"a":1}'), Mine, converter)
    assert isinstance(error.__cause__, LookupError)


def test_units_of_zero_say_that_a_success_was_not_billed() -> None:
    with pytest.raises(errors.DecodeError) as caught:
        read(answer(b"{", x_fal_billable_units="0"))
    assert caught.value.billing is Billing.NOT_BILLED


def test_no_text_of_an_error_holds_what_the_answer_held() -> None:
    body = json.dumps({"prompt": "a tabby cat", "images": {"a tabby cat": "tabby"}}).encode()
    for result_type in (
        ImageOutput,
        dict[str, int],
        dict[str, dict[str, int]],
        Literal["a"],
        int | str,
    ):
        error = kept(answer(body), result_type)
        assert "tabby" not in f"{error} {error!r}"
        assert error.__cause__ is None
    assert "tabby" not in str(kept(answer(body[:-1])))


# --- packed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)],
)
def test_a_packed_answer_is_unpacked_whatever_was_asked_for(encoding: str, pack: Any) -> None:
    response = answer(pack(b'{"a":1}'), Content_Encoding=encoding)
    assert read(response) == {"a": 1}
    assert read(response, Mine) == Mine(1)
    assert read(response, bytes) == b'{"a":1}'
    assert read(answer(pack(PNG), "image/png", Content_Encoding=encoding)) == PNG


@pytest.mark.parametrize("encoding", ["identity", ""])
def test_an_answer_that_says_it_is_not_packed_is_not(encoding: str) -> None:
    assert read(answer(b'{"a":1}', Content_Encoding=encoding)) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (gzip.compress(b'{"a":1}')[:-1], "its compression breaks off"),
        (b"no gzip at all", "its compression is damaged"),
        (gzip.compress(b" " * (LIMIT + 1)), "it is larger than the limit when unpacked"),
    ],
    ids=range(3),
)
@pytest.mark.parametrize("result_type", [None, bytes, Mine])
def test_a_packed_answer_that_cannot_be_unpacked_is_kept_as_it_came(
    body: bytes, why: str, result_type: Any
) -> None:
    error = kept(answer(body, Content_Encoding="gzip"), result_type)
    assert type(error) is errors.DecodeError
    assert error.what == f"the answer does not decode: {why}"


def test_what_is_empty_when_unpacked_is_empty() -> None:
    error = kept(answer(gzip.compress(b""), Content_Encoding="gzip"))
    assert error.what == "the answer is empty"


@given(
    st.binary(max_size=60) | st.text().map(lambda text: json.dumps({"a": text}).encode()),
    st.none() | st.sampled_from([JSON_TYPE, "image/png", ""]) | st.text(max_size=5),
    st.sampled_from([None, bytes, Mine, ImageOutput, dict[str, int], int, Any]),
    st.sampled_from([{}, {"Content_Encoding": "gzip"}, {"Content_Encoding": "deflate"}]),
)
def test_every_success_is_given_or_kept(
    body: bytes, content_type: str | None, result_type: Any, encoding: dict[str, str]
) -> None:
    try:
        read(answer(body, content_type, **encoding), result_type)
    except errors.AnswerError as error:
        facts = (error.body, error.billing, error.request_id)
    else:
        return
    assert facts == (body, Billing.BILLED, "req-1")
