"""Uploads in parts, on the CDN and by a presigned URL, in both directions (PROTOCOL 11, D and E)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.protocol import multipart, wire
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.messages import Headers
from fal_async.protocol.multipart import Created, Part, PartRoute
from fal_async.protocol.storage import CdnToken, Initiated
from fal_async.protocol.upload_facts import UploadFacts

BASE = "https://v3b.fal.media"
TOKEN = CdnToken("secret-token", "Bearer", BASE, 0.0)
AUTHORIZED = {"Authorization": "Bearer secret-token"}
UPLOAD = Created(f"{BASE}/files/b/0a1b2c3d/a.bin", "id-1")
SIGNED = Initiated(f"{BASE}/parts/abc?sig=s%2Fx&y=1", f"{BASE}/files/a/b")


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (0, 1),
        (1, 1),
        (wire.PART_SIZE, 1),
        (wire.PART_SIZE + 1, 2),
        (wire.MULTIPART_ABOVE, 10),
        (2**30, 103),
    ],
)
def test_a_file_has_as_many_parts_as_it_takes(size: int, count: int) -> None:
    assert multipart.part_count(size) == count


def test_an_upload_in_parts_begins_with_what_is_said_of_the_file() -> None:
    request = multipart.create_request(BASE, TOKEN, UploadFacts("video/mp4", "a.mp4"))
    assert (request.method, request.url) == ("POST", f"{BASE}/files/upload/multipart")
    assert request.headers == {
        "Content-Type": "video/mp4",
        "X-Fal-File-Name": "a.mp4",
        **AUTHORIZED,
    }
    assert request.body == b""


def test_its_id_is_read_as_it_was_built() -> None:
    content = multipart.build_created(UPLOAD)
    assert content == {"access_url": UPLOAD.access_url, "uploadId": "id-1"}
    assert multipart.parse_created(json.dumps(content).encode()) == UPLOAD


@pytest.mark.parametrize("upload_id", ["", "..", "a/b", "a?b", "a#b", "a b", "ä", 7, None])
def test_an_id_that_can_be_no_step_of_a_path_is_none(upload_id: object) -> None:
    content = {"access_url": UPLOAD.access_url, "uploadId": upload_id}
    with pytest.raises(Undecodable):
        multipart.parse_created(json.dumps(content).encode())


def test_a_part_goes_below_the_file_with_the_token() -> None:
    request = multipart.part_request(UPLOAD, 3, TOKEN)
    assert request.method == "PUT"
    assert request.url == f"{UPLOAD.access_url}/multipart/id-1/3"
    assert request.headers == {"Accept-Encoding": "identity", **AUTHORIZED}


def test_an_upload_is_completed_with_its_parts_sorted() -> None:
    request = multipart.complete_request(UPLOAD, [Part(2, '"b"'), Part(1, '"a"')], TOKEN)
    assert request.method == "POST"
    assert request.url == f"{UPLOAD.access_url}/multipart/id-1/complete"
    assert request.headers == {"Content-Type": "application/json", **AUTHORIZED}
    assert json.loads(request.body) == {
        "parts": [{"partNumber": 1, "etag": '"a"'}, {"partNumber": 2, "etag": '"b"'}]
    }


def test_by_a_presigned_url_the_step_comes_before_the_signature_and_no_secret_goes_along() -> None:
    part = multipart.presigned_part_request(SIGNED, 12)
    assert (part.method, part.url) == ("PUT", f"{BASE}/parts/abc/12?sig=s%2Fx&y=1")
    assert part.headers == {"Accept-Encoding": "identity"}
    done = multipart.presigned_complete_request(SIGNED, [Part(1, "a")])
    assert (done.method, done.url) == ("POST", f"{BASE}/parts/abc/complete?sig=s%2Fx&y=1")
    assert done.headers == {"Content-Type": "application/json"}
    bare = Initiated(f"{BASE}/parts/abc", SIGNED.file_url)
    assert multipart.presigned_part_request(bare, 1).url == f"{BASE}/parts/abc/1"


@pytest.mark.parametrize(
    ("headers", "body", "etag"),
    [
        ({"etag": '"a"'}, b"", '"a"'),
        ({"ETag": "a"}, b'{"etag":"b"}', "a"),
        ({"ETag": ""}, b'{"partNumber":1,"etag":"\\"b\\""}', '"b"'),
        ({}, b"", None),
        ({}, b"<html>", None),
        ({}, b"{}", None),
        ({}, b'{"etag":7}', None),
        ({}, b'{"etag":""}', None),
        ({"ETag": "\udc80"}, b"", None),
    ],
)
def test_an_etag_is_taken_as_it_is(headers: dict[str, str], body: bytes, etag: str | None) -> None:
    assert multipart.parse_etag(Headers(headers), body) == etag


@given(
    st.lists(
        st.builds(Part, st.integers(1, 10_000), st.text(st.characters(codec="utf-8"), min_size=1))
    )
)
def test_parts_are_read_as_they_were_built(parts: list[Part]) -> None:
    assert list(multipart.parse_parts(multipart.build_parts(parts))) == sorted(parts)


def test_parts_are_read_in_the_order_and_the_spelling_they_have() -> None:
    text = b'{"parts":[{"part_number":2,"etag":"b"},{"partNumber":1,"ETag":"a"}]}'
    assert multipart.parse_parts(text) == (Part(2, "b"), Part(1, "a"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"parts":{}}',
        b'{"parts":[1]}',
        b'{"parts":[{"etag":"a"}]}',
        b'{"parts":[{"partNumber":"1","etag":"a"}]}',
        b'{"parts":[{"partNumber":true,"etag":"a"}]}',
        b'{"parts":[{"partNumber":1}]}',
    ],
)
def test_what_is_no_list_of_parts_is_none(text: bytes) -> None:
    with pytest.raises(Undecodable):
        multipart.parse_parts(text)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/files/b/0/a.bin/multipart/id/1", PartRoute("/files/b/0/a.bin", "id", 1)),
        ("/files/b/0/a.bin/multipart/id/complete", PartRoute("/files/b/0/a.bin", "id", None)),
        ("/files/b/0/a.bin/multipart/id/other", None),
        ("/files/b/0/a.bin/multipart/id/", None),
        ("/files/b/0/a.bin", None),
        ("/files/upload/multipart", None),
    ],
)
def test_a_path_below_a_file_tells_of_a_part_or_of_the_end(path: str, route: Any) -> None:
    assert multipart.match_part(path) == route
