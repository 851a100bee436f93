"""Requests and answers as values."""

from __future__ import annotations

import pickle

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse


def test_headers_are_found_whatever_the_case_of_their_names() -> None:
    headers = Headers({"X-Fal-Request-Id": "abc"})
    assert headers["x-fal-request-id"] == headers["X-FAL-REQUEST-ID"] == "abc"
    assert "x-Fal-request-iD" in headers
    assert headers.get("other") is None
    assert list(headers) == ["x-fal-request-id"]
    assert len(headers) == 1


def test_a_header_that_came_twice_is_joined() -> None:
    received = CIMultiDictProxy(CIMultiDict([("Set-Cookie", "a"), ("set-cookie", "b"), ("A", "1")]))
    assert Headers(received) == Headers({"set-cookie": "a, b", "a": "1"})


def test_headers_are_a_value_that_survives_pickle() -> None:
    headers = Headers({"A": "1"})
    assert pickle.loads(pickle.dumps(headers)) == headers
    assert Headers(headers) == headers
    assert repr(headers) == "Headers({'a': '1'})"
    with pytest.raises(TypeError):
        headers["b"] = "2"
    assert Headers() == {}


def test_a_request_shows_neither_key_nor_prompt() -> None:
    request = HttpRequest(
        method="POST",
        url="https://fal.run/a/b",
        headers={"Authorization": "Key secret"},
        body=b"zebra",
    )
    assert "secret" not in repr(request)
    assert "zebra" not in repr(request)
    assert (
        HttpRequest(method="GET", url="u").headers is not HttpRequest(method="GET", url="u").headers
    )


def test_an_answer_does_not_show_its_body() -> None:
    assert "zebra" not in repr(HttpResponse(200, Headers(), b"zebra"))
