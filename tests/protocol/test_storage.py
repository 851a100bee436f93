"""Uploads in one piece: what is asked and answered, in both directions (PROTOCOL 11, A to C)."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import InputError
from fal_async.protocol import storage, wire
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.lifecycle import InitialAcl, LifecyclePreference
from fal_async.protocol.messages import Headers
from fal_async.protocol.storage import CdnToken, Initiated
from fal_async.protocol.upload_facts import (
    UploadFacts,
    build_file_name,
    build_upload_headers,
    file_name_of,
    parse_file_name,
    parse_upload_headers,
)

REST, CDN = "https://rest.fal.ai", "https://v3.fal.media"
TOKEN = CdnToken("secret-token", "Bearer", "https://v3b.fal.media", 1_767_225_600.0)
LIFECYCLE = '{"expiration_duration_seconds":3600}'


def body(**content: object) -> bytes:
    return json.dumps(content).encode()


# --- names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.png", "a.png"),
        ("a b.png", "a b.png"),
        ('say "cheese".png', 'say "cheese".png'),
        ("50% off.png", "50% off.png"),
        ("50%25.png", "50%2525.png"),
        (" a ", "%20a%20"),
        ("Bär.png", "B%C3%A4r.png"),
        ("猫😀.png", "%E7%8C%AB%F0%9F%98%80.png"),
        ("a\r\nX-Evil: 1.png", "a%0D%0AX-Evil: 1.png"),
        ("a\x00\x7f.png", "a%00%7F.png"),
        ("\udcff.png", "?.png"),
        ("/home/me/a.png", "a.png"),
        ("C:\\me\\a.png", "a.png"),
        ("../../a.png", "a.png"),
        ("", None),
        (".", None),
        ("..", None),
        ("a/", None),
        ("a/..", None),
    ],
)
def test_a_name_is_sent_as_it_is_or_percent_encoded(name: str, header: str | None) -> None:
    assert build_file_name(name) == header
    assert (None if header is None else parse_file_name(header)) == file_name_of(name)


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_any_name_stands_on_one_line_and_is_read_as_it_was_written(name: str) -> None:
    header = build_file_name(name)
    assert header is None or (
        header.isascii() and header.isprintable() and header == header.strip()
    )
    assert (None if header is None else parse_file_name(header)) == file_name_of(name)


def test_a_name_of_more_than_a_kilobyte_is_refused_without_being_shown() -> None:
    with pytest.raises(InputError) as refused:
        build_file_name("x" * 1025)
    assert "xx" not in str(refused.value)
    assert build_file_name("ä" * 127) is not None


@pytest.mark.parametrize("kind", ["", " image/png", "image/png\r\nX-Evil: 1", "bild/ä", None])
def test_a_content_type_that_no_header_can_have_is_refused(kind: Any) -> None:
    with pytest.raises(InputError):
        UploadFacts(kind)


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(InputError, match="not bytes"):
        UploadFacts("image/png", b"a.png")  # type: ignore[arg-type]


FACTS = [
    (UploadFacts(), {"Content-Type": "application/octet-stream"}),
    (UploadFacts("image/png", ".."), {"Content-Type": "image/png"}),
    (
        UploadFacts("image/png", "Bär.png", LifecyclePreference(3600)),
        {
            "Content-Type": "image/png",
            "X-Fal-File-Name": "B%C3%A4r.png",
            "X-Fal-Object-Lifecycle": LIFECYCLE,
            "X-Fal-Object-Lifecycle-Preference": LIFECYCLE,
        },
    ),
    (UploadFacts("a/b", None, LifecyclePreference()), {"Content-Type": "a/b"}),
]


@pytest.mark.parametrize(("facts", "headers"), FACTS)
def test_what_an_upload_says_of_its_file_stands_in_its_headers(
    facts: UploadFacts, headers: dict[str, str]
) -> None:
    assert build_upload_headers(facts) == headers
    said = LifecyclePreference() if facts.lifecycle is None else facts.lifecycle
    read = parse_upload_headers(Headers(headers))
    assert read.content_type == facts.content_type
    assert read.file_name == file_name_of(facts.file_name or "")
    assert (read.lifecycle or LifecyclePreference()) == said


@pytest.mark.parametrize("name", ["X-Fal-Object-Lifecycle", "X-Fal-Object-Lifecycle-Preference"])
def test_a_lifecycle_is_read_under_either_name(name: str) -> None:
    acl = '{"expiration_duration_seconds":60,"initial_acl":{"default":"hide"}}'
    facts = parse_upload_headers(Headers({name: acl}))
    assert facts.lifecycle == LifecyclePreference(60, InitialAcl("hide"))
    assert facts.content_type == "application/octet-stream"


def test_headers_that_cannot_be_read_say_nothing() -> None:
    read = parse_upload_headers(
        Headers({"Content-Type": "ä", "X-Fal-File-Name": "%2F", "X-Fal-Object-Lifecycle": "{"})
    )
    assert read == UploadFacts()


# --- A ------------------------------------------------------------------------------------------------


def test_a_token_is_asked_for_with_the_key_which_is_not_in_the_request() -> None:
    request = storage.token_request(REST)
    assert request.method == "POST"
    assert request.url == f"{REST}/storage/auth/token?storage_type=fal-cdn-v3"
    assert (request.headers, request.body) == ({"Content-Type": "application/json"}, b"{}")
    assert storage.token_request(REST, seconds=60).body == b'{"expiration_seconds":60}'


def test_a_token_is_read_as_it_was_built() -> None:
    content = storage.build_token(TOKEN, "2026-01-01T00:00:00+00:00")
    assert storage.parse_token(json.dumps(content).encode(), now=0.0, cdn=CDN) == TOKEN
    assert TOKEN.authorization == "Bearer secret-token"
    assert "secret" not in repr(TOKEN)


@pytest.mark.parametrize(
    ("more", "base", "expires"),
    [
        ({}, CDN, 160.0),
        ({"token_type": None, "base_url": None, "expires_at": None}, CDN, 160.0),
        ({"expires_at": "soon", "base_url": "https://x.fal.media/"}, "https://x.fal.media", 160.0),
        ({"expires_at": "1970-01-01T00:10:00", "extra": 1}, CDN, 600.0),
    ],
)
def test_a_token_that_says_little_of_itself_is_a_token_all_the_same(
    more: dict[str, object], base: str, expires: float
) -> None:
    token = storage.parse_token(body(token="t", **more), now=100.0, cdn=CDN)
    assert token == CdnToken("t", "Bearer", base, expires)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"<html>",
        body(),
        body(token=""),
        body(token=7),
        body(token="a\r\nX-Evil: 1"),
        body(token="ä"),
        body(token="t", token_type=1),
        body(token="t", base_url="ftp://x"),
        body(token="t", base_url="https://"),
        body(token="t", base_url="https://[x"),
        body(token="t", base_url="https://x:port"),
        body(token="t", base_url="https://x/ y"),
        body(token="t", base_url="https://x\\@y"),
        body(token="t", base_url=1),
    ],
)
def test_what_is_no_token_is_none(answer: bytes) -> None:
    with pytest.raises(Undecodable):
        storage.parse_token(answer, now=0.0, cdn=CDN)


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://v3b.fal.media/files/b/x", True),
        ("https://v3.fal.media/files/x", True),
        ("https://v3.fal.media:443/files/x", True),
        ("http://v3.fal.media/files/x", False),
        ("https://v3.fal.media:8443/files/x", False),
        ("https://fal.media.evil.com/", False),
        ("https://evilfal.media/", False),
        ("https://me@v3.fal.media/", False),
        ("https://rest.fal.ai/", False),
        ("https://[x/", False),
        ("https://evil.com\\.fal.media/", False),
    ],
)
def test_a_token_goes_to_the_cdn_and_nowhere_else(url: str, may: bool) -> None:
    assert TOKEN.is_for(url) is may


def test_a_token_of_an_emulator_goes_to_that_emulator() -> None:
    token = CdnToken("t", "Bearer", "http://127.0.0.1:8000/v3b.fal.media", 0.0)
    assert token.is_for("http://127.0.0.1:8000/v3.fal.media/files/x")
    assert not token.is_for("http://127.0.0.1:8001/v3.fal.media/files/x")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b'{"n":5}', 5.0),
        (b'{"n":0.5}', 0.5),
        (b'{"n":0}', None),
        (b'{"n":-1}', None),
        (b'{"n":true}', None),
        (b'{"n":"5"}', None),
        (b'{"n":1e300}', None),
        (b"{}", None),
        (b"", None),
        (b"[]", None),
    ],
)
def test_a_wish_for_a_lifetime_is_seconds_or_none(text: bytes, seconds: float | None) -> None:
    assert storage.parse_seconds(text, "n") == seconds


# --- B ------------------------------------------------------------------------------------------------


def test_an_upload_in_one_piece_carries_the_token_and_what_is_said_of_the_file() -> None:
    request = storage.direct_request(CDN, TOKEN, UploadFacts("image/png", "a.png"))
    assert (request.method, request.url, request.body) == ("POST", f"{CDN}/files/upload", b"")
    assert request.headers == {
        "Content-Type": "image/png",
        "X-Fal-File-Name": "a.png",
        "Authorization": "Bearer secret-token",
    }
    assert "secret" not in repr(request)


def test_where_a_file_is_is_read() -> None:
    url = "https://v3.fal.media/files/cat/a.png"
    assert storage.parse_access_url(body(access_url=url, more=1)) == url
    assert storage.parse_access_url(body(url=url)) == url


@pytest.mark.parametrize("answer", [b"", b"{}", b'"https://x/"', body(access_url="data:,x")])
def test_an_answer_that_does_not_say_where_the_file_is_is_none(answer: bytes) -> None:
    with pytest.raises(Undecodable):
        storage.parse_access_url(answer)


# --- C ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("in_parts", "path"),
    [(False, "/storage/upload/initiate"), (True, "/storage/upload/initiate-multipart")],
)
def test_a_presigned_url_is_asked_for_with_what_is_said_of_the_file(
    in_parts: bool, path: str
) -> None:
    facts = UploadFacts("image/png", "Bär\n.png", LifecyclePreference(3600))
    request = storage.initiate_request(REST, facts, in_parts=in_parts)
    assert (request.method, request.url) == ("POST", f"{REST}{path}?storage_type=fal-cdn-v3")
    assert request.headers == {
        "Content-Type": "application/json",
        "X-Fal-Object-Lifecycle": LIFECYCLE,
        "X-Fal-Object-Lifecycle-Preference": LIFECYCLE,
    }
    assert json.loads(request.body) == {"file_name": "Bär\n.png", "content_type": "image/png"}
    assert storage.parse_initiate(Headers(request.headers), request.body) == facts


def test_a_file_without_a_name_is_called_file() -> None:
    request = storage.initiate_request(REST, UploadFacts("image/png"))
    assert storage.parse_initiate(Headers(), request.body) == UploadFacts("image/png", "file")


@pytest.mark.parametrize("content", [b"", b"[]", body(file_name="a"), body(content_type="a/b")])
def test_an_initiation_without_its_fields_is_none(content: bytes) -> None:
    with pytest.raises(Undecodable):
        storage.parse_initiate(Headers(), content)


def test_a_presigned_url_is_read_as_it_was_built_and_is_shown_to_nobody() -> None:
    upload = Initiated("https://v3.fal.media/put/1?sig=secret", "https://v3.fal.media/files/a/b")
    content = json.dumps(storage.build_initiated(upload)).encode()
    assert storage.parse_initiated(content) == upload
    assert "secret" not in repr(upload)
    assert "secret" not in repr(storage.put_request(upload.upload_url, "image/png"))


@pytest.mark.parametrize(
    "answer", [b"{}", body(upload_url="https://x/"), body(file_url="https://x/"), b"null"]
)
def test_half_an_initiation_is_none(answer: bytes) -> None:
    with pytest.raises(Undecodable):
        storage.parse_initiated(answer)


def test_nothing_but_the_content_type_goes_to_a_presigned_url() -> None:
    request = storage.put_request("https://x/y?sig=1", "image/png")
    assert (request.method, request.url) == ("PUT", "https://x/y?sig=1")
    assert request.headers == {"Content-Type": "image/png"}


# --- signed URLs --------------------------------------------------------------------------------------


def test_a_signed_url_is_asked_for_with_the_token() -> None:
    request = storage.sign_request(f"{CDN}/files/a/b?x=1#y", TOKEN, seconds=60)
    assert (request.method, request.url) == ("POST", f"{CDN}/files/a/b/sign")
    assert request.headers["Authorization"] == "Bearer secret-token"
    assert json.loads(request.body) == {"duration": 60, "scope": ["read"]}


@pytest.mark.parametrize("seconds", [0, -1, wire.SIGNED_FOR_MAX + 1])
def test_a_url_is_signed_for_some_time_and_a_week_at_most(seconds: int) -> None:
    with pytest.raises(InputError):
        storage.sign_request(f"{CDN}/files/a/b", TOKEN, seconds=seconds)


def test_a_signed_url_is_read_wherever_it_stands() -> None:
    url = "https://v3.fal.media/files/a/b?identity=1"
    for answer in (body(url=url), body(signed_url=url), json.dumps(url).encode()):
        assert storage.parse_signed(answer) == url
    with pytest.raises(Undecodable):
        storage.parse_signed(b"{}")


READERS = [
    storage.object_of,
    storage.parse_access_url,
    storage.parse_initiated,
    storage.parse_signed,
    lambda text: storage.parse_token(text, now=0.0, cdn=CDN),
    lambda text: storage.parse_initiate(Headers(), text),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["token", "token_type", "base_url", "access_url", "upload_url"])
            | st.sampled_from(["file_url", "file_name", "content_type", "url", "expires_at"]),
            inner,
        )
    ),
    max_leaves=8,
)


@given(JSON, st.binary(max_size=20), st.sampled_from(READERS))
def test_no_answer_breaks_a_reader(content: Any, noise: bytes, read: Any) -> None:
    for text in (json.dumps(content).encode(), noise):
        with suppress(Undecodable):
            read(text)
