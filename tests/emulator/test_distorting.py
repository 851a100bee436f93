"""What a fault makes of an answer, byte for byte."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.emulator.distorting import Close, Hang, Reset, Send, Step, Wait, distort
from fal_async.emulator.faults import KINDS, Fault
from fal_async.protocol import wire
from fal_async.protocol.messages import Headers, HttpResponse

DIRECT = [kind for kind in KINDS if Fault(kind).operation == "run"]
BODY = b'{"images": []}'
ANSWER = HttpResponse(
    200, Headers({"Content-Type": "application/json", wire.REQUEST_ID: "r"}), BODY
)


def script(kind: str, answer: HttpResponse = ANSWER, **settings: float) -> tuple[Step, ...]:
    outcome = distort(Fault(kind, **settings), answer, "r")  # type: ignore[arg-type]
    assert not isinstance(outcome, HttpResponse)
    return outcome


def answer(kind: str, original: HttpResponse = ANSWER, **settings: object) -> HttpResponse:
    outcome = distort(Fault(kind, **settings), original, "r")  # type: ignore[arg-type]
    assert isinstance(outcome, HttpResponse)
    return outcome


def sent(steps: tuple[Step, ...]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Send))


def parts(steps: tuple[Step, ...]) -> tuple[bytes, bytes]:
    head, _, body = sent(steps).partition(b"\r\n\r\n")
    return head.lower(), body


@pytest.mark.parametrize("kind", DIRECT)
@given(body=st.binary(max_size=40))
def test_every_kind_does_something_with_every_body(kind: str, body: bytes) -> None:
    outcome = distort(Fault(kind, size=10), HttpResponse(200, Headers(), body), "r")
    if not isinstance(outcome, HttpResponse):
        assert isinstance(outcome[-1], (Hang, Close, Reset))
        assert not any(isinstance(step, (Hang, Close, Reset)) for step in outcome[:-1])


# --- the wire


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("reset_on_arrival", Reset()),
        ("reset", Reset()),
        ("close_on_arrival", Close()),
        ("close", Close()),
        ("stall", Hang()),
    ],
)
def test_some_say_nothing(kind: str, end: Step) -> None:
    assert script(kind) == (end,)


def test_half_a_head_has_no_end() -> None:
    assert b"\r\n\r\n" not in sent(script("half_head"))
    assert script("half_head")[-1] == Close()


@pytest.mark.parametrize(
    ("kind", "body", "end"),
    [
        ("stall_after_head", b"", Hang()),
        ("stall_in_body", BODY[:7], Hang()),
        ("half_body", BODY[:7], Close()),
        ("reset_in_body", BODY[:7], Reset()),
    ],
)
def test_some_promise_more_than_they_send(kind: str, body: bytes, end: Step) -> None:
    steps = script(kind)
    head, came = parts(steps)
    assert head.startswith(b"http/1.1 200 ok\r\n")
    assert b"content-length: 14" in head
    assert b"x-fal-request-id: r" in head
    assert came == body
    assert steps[-1] == end


def test_half_a_chunk_is_shorter_than_its_size_says() -> None:
    head, body = parts(script("half_chunk"))
    assert b"transfer-encoding: chunked" in head
    size, _, data = body.partition(b"\r\n")
    assert 0 < len(data) < int(size, 16) == len(BODY)


def test_a_bad_chunk_has_a_size_that_is_no_number() -> None:
    _, body = parts(script("bad_chunk"))
    assert body == b'7\r\n{"image\r\nzz\r\nrest\r\n'


def test_a_body_that_is_cut_short_says_nothing_of_its_length() -> None:
    head, body = parts(script("cut_short"))
    assert b"content-length" not in head
    assert b"connection: close" in head
    assert body == BODY[:7]


@given(st.binary(max_size=200))
def test_slow_drips_are_the_whole_body_in_the_time_given(body: bytes) -> None:
    steps = script("slow", HttpResponse(200, Headers(), body), seconds=2.0)
    assert parts(steps)[1] == body
    waited = sum(step.seconds for step in steps if isinstance(step, Wait))
    assert waited == pytest.approx(2.0 if body else 0.0)
    assert len(steps) <= 2 + 2 * 10


def test_a_bad_status_line_is_none() -> None:
    assert sent(script("bad_status_line")) == b"HTTP/1.1 two hundred\r\n\r\n"


def test_a_status_without_a_name_gets_one() -> None:
    odd = HttpResponse(599, Headers(), b"")
    assert sent(script("half_body", odd)).startswith(b"HTTP/1.1 599 Unknown\r\n")


# --- a success that is not what it says


def test_json_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"."):
        json.loads(answer("bad_json").body)
    assert answer("empty_body").body == b""


def test_json_that_only_a_lenient_reader_takes() -> None:
    assert json.loads(answer("nan").body)["worst"] == float("-inf")
    assert json.loads(answer("lone_surrogate").body)["lone"] == "\ud800"
    assert json.loads(answer("byte_order_mark").body.decode("utf-8-sig")) == {"images": []}


def test_fields_are_added_to_an_object_and_made_one_of_anything_else() -> None:
    for body in (b"{}", b"[1]", b""):
        assert set(json.loads(answer("nan", HttpResponse(200, Headers(), body)).body)) == {
            "score",
            "worst",
        }
    assert set(json.loads(answer("nan").body)) == {"images", "score", "worst"}


def test_gzip_that_is_none_and_gzip_that_breaks_off() -> None:
    for kind, error in (("bad_gzip", gzip.BadGzipFile), ("cut_gzip", EOFError)):
        broken = answer(kind)
        assert broken.headers["content-encoding"] == "gzip"
        with pytest.raises((error, zlib.error)):
            gzip.decompress(broken.body)


def test_a_body_and_a_header_may_be_huge() -> None:
    assert len(json.loads(answer("huge_body", size=1000).body)["huge"]) == 1000
    assert len(answer("huge_header", size=9000).headers["x-huge"]) == 9000
    assert Fault("huge_body").size > 2**20 > Fault("huge_header").size > 8190


def test_a_content_type_may_be_another_or_a_lie() -> None:
    other = answer("not_json")
    assert other.headers["content-type"] == "application/octet-stream"
    assert other.body != BODY
    chosen = answer("not_json", body=b"plain", headers={"content-type": "text/plain"})
    assert (chosen.headers["content-type"], chosen.body) == ("text/plain", b"plain")
    lie = answer("wrong_content_type")
    assert (lie.headers["content-type"], lie.body) == ("text/html", BODY)


# --- other answers


@pytest.mark.parametrize("error_type", wire.REQUEST_ERROR_STATUS)
def test_an_error_of_the_platform_is_named_in_body_and_header(error_type: str) -> None:
    failure = answer(error_type, needs_retry=False)
    assert failure.status == wire.REQUEST_ERROR_STATUS[error_type]
    assert failure.headers[wire.ERROR_TYPE] == json.loads(failure.body)["error_type"] == error_type
    assert failure.headers[wire.REQUEST_ID] == "r"
    assert failure.headers[wire.NEEDS_RETRY] == "0"
    assert answer(error_type, status=599).status == 599


def test_a_start_timeout_is_marked_as_the_users() -> None:
    late = answer("start_timeout")
    assert (late.status, late.headers[wire.TIMEOUT_TYPE]) == (504, "user")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_the_ingress_knows_nothing_of_fal(status: int) -> None:
    page = answer(f"ingress_{status}")
    assert page.status == status
    assert b"nginx" in page.body
    assert not [name for name in page.headers if name.startswith("x-fal")]


def test_too_many_requests_may_name_the_limit_and_a_time_to_wait() -> None:
    bare, full = answer("too_many_requests"), answer("too_many_requests", limit=2, retry_after=1.5)
    assert "retry-after" not in bare.headers
    assert "data" not in json.loads(bare.body)
    assert full.headers["retry-after"] == "1.5"
    assert json.loads(full.body)["data"] == {"limit": 2}
    assert bare.headers[wire.NEEDS_RETRY] == "1"
    assert answer("too_many_requests", needs_retry=False).headers[wire.NEEDS_RETRY] == "0"


def test_a_redirect_leads_to_a_stranger_or_where_it_is_told() -> None:
    assert answer("redirect").headers["location"] == "http://stranger.invalid/"
    there = answer("redirect", status=302, location="https://evilfal.run/")
    assert (there.status, there.headers["location"]) == (302, "https://evilfal.run/")


def test_an_answer_may_be_anything() -> None:
    given = answer("answer", status=418, headers={"X-Tea": "pot"}, body=b"short")
    assert (given.status, given.headers["x-tea"], given.body) == (418, "pot", b"short")
    assert answer("answer").status == 200
