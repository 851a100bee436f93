"""Where a file may lie, and what answers mean: the cases that need no connection."""

from __future__ import annotations

import pytest

from fal_async.errors import DownloadError
from fal_async.protocol.fetching import (
    Extent,
    check_url,
    full_extent,
    redirected,
    refusal,
    rest_extent,
)
from fal_async.protocol.messages import Headers

HERE = "https://v3.fal.media/files/a.png?x=1"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://x.test/b", "https://x.test/b"),
        ("/b", "https://v3.fal.media/b"),
        ("b?y", "https://v3.fal.media/files/b?y"),
        ("//x.test/b", "https://x.test/b"),
    ],
)
def test_a_redirect_leads_somewhere(location: str, target: str) -> None:
    assert redirected(HERE, 302, Headers({"location": location})) == target


def test_what_is_no_redirect_leads_nowhere() -> None:
    assert redirected(HERE, 302, Headers()) is None
    assert redirected(HERE, 304, Headers({"Location": "/b"})) is None
    assert redirected(HERE, 200, Headers({"Location": "/b"})) is None


def test_a_redirect_does_not_leave_https() -> None:
    with pytest.raises(DownloadError, match=r"v3\.fal\.media redirects from https to something"):
        redirected(HERE, 302, Headers({"Location": "http://v3.fal.media/b"}))
    with pytest.raises(DownloadError, match="no URL"):
        redirected(HERE, 302, Headers({"Location": "http://[b"}))
    assert redirected("http://x.test", 301, Headers({"Location": "https://x.test"}))


@pytest.mark.parametrize("url", [HERE, "http://x.test:8080/", "https://8.8.8.8/a", "https://1a.b/"])
def test_files_of_the_world_may_be_asked_for(url: str) -> None:
    check_url(url, local=False)


def test_files_of_this_machine_may_be_asked_for_if_that_is_where_fal_is() -> None:
    check_url("http://127.0.0.1:8000/a", local=True)


@pytest.mark.parametrize(
    ("headers", "extent"),
    [
        ({"ETag": '"a"', "Content-Length": "7"}, Extent(0, 7, '"a"')),
        ({"ETag": 'W/"a"', "Last-Modified": "then"}, Extent(0, None, "then")),
        ({"ETag": '"a"', "Accept-Ranges": "none"}, Extent(0, None, None)),
        ({"Content-Length": "x"}, Extent(0, None, None)),
    ],
)
def test_a_whole_answer_says_how_large_the_file_is_and_what_proves_it_the_same(
    headers: dict[str, str], extent: Extent
) -> None:
    assert full_extent(Headers(headers)) == extent


@pytest.mark.parametrize(
    ("said", "extent"),
    [
        ("bytes 5-9/10", Extent(5, 10, "v")),
        ("bytes 5-9/*", Extent(5, 10, "v")),
        ("bytes 5-9/11", None),
        ("lines 5-9/10", None),
        ("", None),
    ],
)
def test_a_part_is_one_of_the_same_file_or_none(said: str, extent: Extent | None) -> None:
    assert rest_extent(Headers({"Content-Range": said}), Extent(0, 10, "v")) == extent


def test_the_size_of_a_file_may_become_known_with_its_rest() -> None:
    known = Extent(0, None, "v")
    assert rest_extent(Headers({"Content-Range": "bytes 5-9/10"}), known) == Extent(5, 10, "v")
    assert rest_extent(Headers({"Content-Range": "bytes 5-9/*"}), known) == Extent(5, None, "v")


@pytest.mark.parametrize(
    ("status", "passing"), [(404, False), (403, False), (429, True), (500, True), (408, True)]
)
def test_some_refusals_pass_and_some_do_not(status: int, passing: bool) -> None:
    error = refusal(HERE, status, Headers({"Retry-After": "3"}))
    assert (error.retryable, error.status, error.retry_after) == (passing, status, 3)
    assert "x=1" not in str(error)
