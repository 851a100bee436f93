"""From an answer that is no success to an error: every row of PROTOCOL 2.1, 3.3, 5.1 and 5.2."""

from __future__ import annotations

import gzip
import json
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async import errors
from fal_async.errors import Billing, ErrorDetail, StatusError
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.outcome import (
    concurrency_limit,
    error_from_response,
    needs_retry,
    retry_after,
)

KEY = "key-id-0123456789:key-secret-abcdef"
PROMPT = "a tabby cat asleep on the sofa"
REQUEST = HttpRequest(
    method="POST",
    url="https://fal.run/fal-ai/fast-sdxl",
    headers={"Authorization": f"Key {KEY}"},
    body=json.dumps({"prompt": PROMPT}).encode(),
)
ID = {"x-fal-request-id": "req-1"}
HTML = (
    b"<html><body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></body></html>"
)


def answer(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(
        status, Headers({"Content-Type": "application/json", **(headers or {})}), raw
    )


def error_for(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> StatusError:
    return error_from_response(answer(status, body, headers), REQUEST)


@attrs.frozen(kw_only=True)
class Row:
    """An answer, and what is to be read from it."""

    status: int
    kind: type[StatusError]
    body: Any = b""
    headers: dict[str, str] = attrs.field(factory=dict)
    billing: Billing = Billing.NOT_BILLED
    retryable: bool = False
    invited: bool | None = None
    error_type: str | None = None
    text: str = ""
    """The sentence after "fal answered {status}"."""


def request_error(word: str, **more: Any) -> dict[str, Any]:
    """A row of 5.2 as it comes."""
    return {
        "body": {"detail": "It failed", "error_type": word},
        "headers": {"X-Fal-Error-Type": word, **ID, **more.pop("headers", {})},
        "error_type": word,
        "text": f" ({word}): It failed",
        **more,
    }


USER = {"X-Fal-Request-Timeout-Type": "user"}
UNKNOWN, NOT_BILLED = Billing.UNKNOWN, Billing.NOT_BILLED

AUTH = {
    "unknown key": Row(
        status=401,
        kind=errors.AuthenticationError,
        body={"detail": "No user found for Key ID and Secret"},
        text=": No user found for Key ID and Secret",
    ),
    "malformed key": Row(
        status=401,
        kind=errors.AuthenticationError,
        body={
            "detail": "Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'."
        },
        text=": Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'.",
    ),
    "no credentials": Row(
        status=401,
        kind=errors.AuthenticationError,
        body={"detail": 'Cannot access application "fal-ai/x". Authentication is required.'},
        text=': Cannot access application "fal-ai/x". Authentication is required.',
    ),
    "locked": Row(
        status=403,
        kind=errors.AccountLockedError,
        body={"detail": "User is locked. Reason: Admin lock. Please contact hello@fal.ai.."},
        text=": User is locked. Reason: Admin lock. Please contact hello@fal.ai..",
    ),
    "401 that says locked": Row(
        status=401,
        kind=errors.AuthenticationError,
        body={"detail": "User is locked. Reason: No money."},
        text=": User is locked. Reason: No money.",
    ),
    "forbidden": Row(
        status=403,
        kind=errors.AccessDeniedError,
        body={"detail": "Not allowed"},
        headers={"X-Fal-Needs-Retry": "1"},
        invited=True,
        text=": Not allowed",
    ),
    "unknown app": Row(
        status=404,
        kind=errors.NotFoundError,
        body={"detail": 'Application "x" not found'},
        headers={"X-Fal-Retryable": "true"},
        text=': Application "x" not found',
    ),
    "unknown request": Row(status=404, kind=errors.NotFoundError, body={"status": "NOT_FOUND"}),
}

LIMIT = {"detail": "Reached concurrent requests limit of 20", "type": "concurrent_requests_limit"}
PLATFORM = {
    "429 that names the limit": Row(
        status=429,
        kind=errors.TooManyRequestsError,
        body={**LIMIT, "data": {"limit": 20}},
        headers={"X-Fal-Needs-Retry": "1"},
        retryable=True,
        invited=True,
        error_type="concurrent_requests_limit",
        text=" (concurrent_requests_limit): Reached concurrent requests limit of 20",
    ),
    "429 that says nothing": Row(status=429, kind=errors.TooManyRequestsError, retryable=True),
    "request_timeout": Row(
        status=504,
        kind=errors.ServerTimeoutError,
        retryable=True,
        **request_error("request_timeout"),
    ),
    "request_timeout of the caller": Row(
        status=504,
        kind=errors.StartTimeoutError,
        **request_error("request_timeout", headers=USER),
    ),
    "startup_timeout of the caller, who is told to try again": Row(
        status=504,
        kind=errors.StartTimeoutError,
        **request_error("startup_timeout", headers={**USER, "X-Fal-Needs-Retry": "1"}),
    ),
    "startup_timeout": Row(
        status=504,
        kind=errors.ServerTimeoutError,
        retryable=True,
        invited=True,
        **request_error("startup_timeout"),
    ),
    **{
        word: Row(
            status=503, kind=errors.ServerError, retryable=True, invited=True, **request_error(word)
        )
        for word in (
            "runner_scheduling_failure",
            "runner_connection_timeout",
            "runner_connection_refused",
        )
    },
    **{
        word: Row(status=status, kind=errors.ServerError, retryable=True, **request_error(word))
        for word, status in (
            ("runner_disconnected", 503),
            ("runner_connection_error", 503),
            ("runner_incomplete_response", 502),
            ("runner_server_error", 500),
            ("internal_error", 500),
        )
    },
    **{
        word: Row(
            status=499, kind=errors.RequestCancelledError, billing=UNKNOWN, **request_error(word)
        )
        for word in ("client_disconnected", "client_cancelled")
    },
    "bad_request": Row(status=400, kind=errors.BadRequestError, **request_error("bad_request")),
    "bad_request by its body alone": Row(
        status=400,
        kind=errors.BadRequestError,
        body={"detail": "Bad", "error_type": "bad_request"},
        error_type="bad_request",
        text=" (bad_request): Bad",
    ),
    "422 that says bad_request": Row(
        status=422, kind=errors.ModelError, billing=UNKNOWN, **request_error("bad_request")
    ),
    "503 that says user": Row(
        status=503,
        kind=errors.ServerError,
        retryable=True,
        **request_error("internal_error", headers=USER),
    ),
    "a word that nobody has heard of": Row(
        status=503, kind=errors.ServerError, retryable=True, **request_error("runner_on_strike")
    ),
    "5xx that asks for another try": Row(
        status=500,
        kind=errors.ServerError,
        retryable=True,
        invited=True,
        **request_error("new_word", headers={"X-Fal-Needs-Retry": "1"}),
    ),
    "5xx that forbids another try": Row(
        status=503,
        kind=errors.ServerError,
        invited=False,
        **request_error("runner_scheduling_failure", headers={"X-Fal-Needs-Retry": "0"}),
    ),
    "5xx that asks and forbids": Row(
        status=503,
        kind=errors.ServerError,
        invited=False,
        **request_error(
            "internal_error", headers={"X-Fal-Needs-Retry": "1", "X-Fal-Retryable": "false"}
        ),
    ),
    "5xx that was billed": Row(
        status=500,
        kind=errors.ServerError,
        billing=Billing.BILLED,
        retryable=True,
        **request_error("runner_server_error", headers={"x-fal-billable-units": "1"}),
    ),
}


def model_error(word: str, status: int, retryable: bool) -> Row:
    entry = {"loc": ["body", "image_url"], "msg": "It failed", "type": word, "ctx": {"a": 1}}
    return Row(
        status=status,
        kind=(
            errors.ModelError
            if status < 500
            else errors.ServerTimeoutError
            if status == 504
            else errors.ServerError
        ),
        body={"detail": [{**entry, "url": f"https://docs.fal.ai/errors#{word}"}]},
        headers={"X-Fal-Retryable": "true" if retryable else "false", **ID},
        billing=NOT_BILLED if status >= 500 else UNKNOWN,
        retryable=retryable,
        invited=None if retryable else False,
        error_type=word,
        text=f": body.image_url: It failed ({word})",
    )


OTHER_STATUSES = (("downstream_service_error", 400), ("downstream_service_error", 504))
MODEL = {
    f"{word} {status}{' retryable' if retryable else ''}": model_error(word, status, retryable)
    for word, status in (
        *((word, status) for word, (status, _) in wire.MODEL_ERRORS.items()),
        *OTHER_STATUSES,
        ("value_error.missing", 422),
    )
    for retryable in (False, True)
}

APP = {
    "validation": Row(
        status=422,
        kind=errors.ModelError,
        body={"detail": [{"loc": ["body", "prompt"], "msg": "Field required", "type": "missing"}]},
        headers={"x-fal-billable-units": "0", **ID},
        error_type="missing",
        text=": body.prompt: Field required (missing)",
    ),
    "several entries": Row(
        status=422,
        kind=errors.ModelError,
        body={"detail": [{"loc": ["body", "a", 0], "msg": "No", "type": "x"}, {"msg": "No"}, {}]},
        billing=UNKNOWN,
        error_type="x",
        text=": body.a[0]: No (x), and 2 more",
    ),
    "an entry with no place and no type": Row(
        status=422,
        kind=errors.ModelError,
        body={"detail": [{"msg": "No"}]},
        billing=UNKNOWN,
        text=": No",
    ),
    "422 that was billed": Row(
        status=422,
        kind=errors.ModelError,
        body={"detail": [{"loc": [], "msg": "No", "type": "content_policy_violation"}]},
        headers={"x-fal-billable-units": "1"},
        billing=Billing.BILLED,
        error_type="content_policy_violation",
        text=": No (content_policy_violation)",
    ),
    "no such route": Row(
        status=404,
        kind=errors.NotFoundError,
        body={"detail": "Path /x not found"},
        headers={"x-fal-billable-units": "0", **ID},
        text=": Path /x not found",
    ),
    "400 of the app": Row(
        status=400, kind=errors.ModelError, body={"detail": "No"}, billing=UNKNOWN, text=": No"
    ),
    "402": Row(status=402, kind=errors.ModelError, body=b"", billing=UNKNOWN),
    "405": Row(
        status=405, kind=errors.ModelError, body={"detail": "No"}, billing=UNKNOWN, text=": No"
    ),
    "499 of the app": Row(
        status=499,
        kind=errors.RequestCancelledError,
        body={"detail": "Cancelled"},
        billing=UNKNOWN,
        text=": Cancelled",
    ),
    "503 of the app": Row(
        status=503,
        kind=errors.ServerError,
        body={"detail": "CUDA error"},
        headers=ID,
        retryable=True,
        text=": CUDA error",
    ),
    "unhandled exception": Row(
        status=500,
        kind=errors.ServerError,
        body={"detail": "Internal Server Error"},
        headers=ID,
        text=": Internal Server Error",
    ),
    "504 of the app": Row(
        status=504, kind=errors.ServerTimeoutError, body=b"late", headers=ID, retryable=True
    ),
    "301": Row(
        status=301,
        kind=errors.RedirectError,
        headers={"Location": "https://evil.com", "X-Fal-Needs-Retry": "1"},
        billing=UNKNOWN,
        invited=True,
    ),
    "599": Row(status=599, kind=errors.ServerError, headers=ID),
}

INGRESS = {
    f"{status} of the ingress": Row(
        status=status,
        kind=errors.GatewayError,
        body=HTML,
        headers={"Content-Type": "text/html"},
        billing=UNKNOWN,
        retryable=True,
    )
    for status in (502, 503, 504)
} | {
    "500 without an id": Row(status=500, kind=errors.GatewayError, billing=UNKNOWN),
    "503 without an id that forbids another try": Row(
        status=503,
        kind=errors.GatewayError,
        headers={"X-Fal-Needs-Retry": "0"},
        billing=UNKNOWN,
        invited=False,
    ),
}

TABLE = {**AUTH, **PLATFORM, **MODEL, **APP, **INGRESS}
rows = pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)


@rows
def test_each_answer_becomes_the_error_that_the_table_says(row: Row) -> None:
    error = error_for(row.status, row.body, row.headers)
    assert type(error) is row.kind
    assert error.billing is row.billing
    assert error.retryable is row.retryable
    assert error.invited is row.invited
    assert error.error_type == row.error_type
    assert error.what == f"fal answered {row.status}{row.text}"


@rows
def test_each_error_keeps_all_that_came(row: Row) -> None:
    response = answer(row.status, row.body, row.headers)
    error = error_from_response(response, REQUEST)
    assert error.status == row.status
    assert error.body == response.body
    assert error.headers == response.headers
    assert error.request_id == row.headers.get("x-fal-request-id")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_every_word_of_the_wire_has_its_row() -> None:
    assert set(wire.REQUEST_ERROR_STATUS) <= {row.error_type for row in PLATFORM.values()}
    for word, status in wire.REQUEST_ERROR_STATUS.items():
        assert any((row.error_type, row.status) == (word, status) for row in PLATFORM.values())


LARGE = ErrorDetail(loc=("body", "a", 0), msg="m", type="file_too_large", ctx={"max_size": 5})

#: What the other end builds, and what this end reads of it.
BOTH_ENDS: dict[str, tuple[HttpResponse, type[StatusError], dict[str, Any]]] = {
    "unknown key": (failures.unknown_key(), errors.AuthenticationError, {}),
    "malformed key": (failures.malformed_key(), errors.AuthenticationError, {}),
    "no credentials": (failures.no_credentials("a/b"), errors.AuthenticationError, {}),
    "locked": (failures.locked("No money"), errors.AccountLockedError, {"reason": "No money"}),
    "no application": (failures.application_not_found("a"), errors.NotFoundError, {}),
    "concurrency": (
        failures.concurrency_limit_reached(40, retry_after=2.5),
        errors.TooManyRequestsError,
        {"limit": 40, "retry_after": 2.5, "invited": True},
    ),
    "concurrency, unnamed": (
        failures.concurrency_limit_reached(None, needs_retry=None),
        errors.TooManyRequestsError,
        {"limit": None, "error_type": "concurrent_requests_limit"},
    ),
    "start timeout": (
        failures.start_timed_out(),
        errors.StartTimeoutError,
        {"billing": NOT_BILLED, "error_type": "request_timeout"},
    ),
    "model error": (
        failures.model_error([LARGE]),
        errors.ModelError,
        {"details": (LARGE,), "error_type": "file_too_large"},
    ),
    "invalid input": (
        failures.invalid_input([(LARGE, b"x")]),
        errors.ModelError,
        {"details": (LARGE,), "billing": NOT_BILLED},
    ),
    "no path": (failures.path_not_found("/x"), errors.NotFoundError, {"billing": NOT_BILLED}),
    "ingress": (failures.ingress_error(502), errors.GatewayError, {"billing": UNKNOWN}),
    "redirect": (
        failures.redirect(302, "https://evil.com"),
        errors.RedirectError,
        {"location": "https://evil.com"},
    ),
}


@pytest.mark.parametrize(("response", "kind", "facts"), BOTH_ENDS.values(), ids=BOTH_ENDS)
def test_what_the_other_end_builds_is_read_for_what_it_is(
    response: HttpResponse, kind: type[StatusError], facts: dict[str, Any]
) -> None:
    error = error_from_response(response, REQUEST)
    assert type(error) is kind
    assert {name: getattr(error, name) for name in facts} == facts


@pytest.mark.parametrize("word", wire.REQUEST_ERROR_STATUS)
def test_every_word_survives_from_the_other_end_to_this(word: str) -> None:
    error = error_from_response(failures.request_error(word), REQUEST)
    assert (error.error_type, error.status) == (word, wire.REQUEST_ERROR_STATUS[word])


# --- details ----------------------------------------------------------------------------------------


def test_a_detail_is_read_in_full() -> None:
    entry = {
        "loc": ["body", "images", 0],
        "msg": "Too large",
        "type": "image_too_large",
        "url": "https://docs.fal.ai/errors#image_too_large",
        "ctx": {"max_height": 100, "max_width": 200},
        "input": PROMPT,
    }
    error = error_for(422, {"detail": [entry, "rubbish", 5, None]})
    assert error.details == (
        ErrorDetail(
            loc=("body", "images", 0),
            msg="Too large",
            type="image_too_large",
            ctx={"max_height": 100, "max_width": 200},
            url="https://docs.fal.ai/errors#image_too_large",
        ),
    )


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"loc": "body", "msg": 5, "type": ["x"], "url": 5, "ctx": []},
        {"loc": [None, True, 1.5, {}, [], -1, "HUGE"], "msg": None, "type": {"a": PROMPT}},
        {"loc": {}, "msg": ["x"], "type": False},
    ],
    ids=range(4),
)
def test_of_a_strange_detail_only_what_is_of_the_right_kind_is_taken(entry: dict[str, Any]) -> None:
    body = json.dumps({"detail": [entry]}).replace('"HUGE"', "1" + "0" * 5000)
    error = error_for(422, body.encode())
    assert error.details == (ErrorDetail(),)
    assert error.error_type is None
    assert error.what == "fal answered 422"


def test_the_word_in_the_header_wins_over_that_of_the_body() -> None:
    body = {"detail": "x", "error_type": "internal_error"}
    assert error_for(500, body, {"X-Fal-Error-Type": "runner_disconnected"}).error_type == (
        "runner_disconnected"
    )
    assert error_for(500, body, {"X-Fal-Error-Type": ""}).error_type == "internal_error"
    assert error_for(500, {"detail": "x", "type": "w"}).error_type == "w"
    assert (
        error_for(500, {"error_type": 5, "type": "w", "detail": [{"type": "d"}]}).error_type == "d"
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"plain words", HTML, b"\xff\xfe\x00", b"[]", b"5", b"null", b'"x"', b'{"detail":', b"{}",
     b'{"detail":5}', b'{"detail":{"message":"x"}}', b'{"detail":[]}', b'{"detail":["x"]}'],
)  # fmt: skip
def test_a_body_that_nobody_documented_shows_nothing_and_does_no_harm(body: bytes) -> None:
    error = error_for(500, body, ID)
    assert error.what == "fal answered 500"
    assert error.details == ()
    assert error.body == body


def test_a_packed_body_is_unpacked_to_be_read_and_kept_as_it_came() -> None:
    packed = gzip.compress(json.dumps({"detail": "No"}).encode())
    error = error_for(422, packed, {"Content-Encoding": "gzip"})
    assert error.what == "fal answered 422: No"
    assert error.body == packed
    assert error_for(422, packed[:-1], {"Content-Encoding": "gzip"}).what == "fal answered 422"


def test_locked_says_why() -> None:
    reason = "Exhausted balance. Top up your balance at fal.ai/dashboard/billing"
    error = error_for(403, {"detail": f"User is locked. Reason: {reason}."})
    assert isinstance(error, errors.AccountLockedError)
    assert error.reason == reason
    assert reason in str(error)


# --- the limit and the wait -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({**LIMIT, "data": {"limit": 20}}, 20),
        ({"data": {"limit": 1}}, 1),
        ({"data": {"limit": 1_000_000}}, 1_000_000),
        ({"data": {"limit": 0}}, None),
        ({"data": {"limit": -5}}, None),
        ({"data": {"limit": 1_000_001}}, None),
        ({"data": {"limit": True}}, None),
        ({"data": {"limit": "20"}}, None),
        ({"data": {"limit": 20.0}}, None),
        ({"data": [20]}, None),
        ({"data": {}}, None),
        ([], None),
        (b"Too Many Requests", None),
    ],
)
def test_the_limit_is_what_the_body_names_in_its_own_field(body: Any, limit: int | None) -> None:
    assert concurrency_limit(answer(429, body)) == limit
    error = error_for(429, body)
    assert isinstance(error, errors.TooManyRequestsError)
    assert error.limit == limit


NOW = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "5"}, 5.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": " 7 "}, 7.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "1e999"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": NOW}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 08:28:30 +0100", "Date": NOW}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:00 GMT", "Date": NOW}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "today"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30", "Date": NOW}, None),
        ({"Retry-After": "Wed, 99 Oct 2026 07:28:30 GMT", "Date": NOW}, None),
    ],
)
def test_the_wait_is_seconds_or_a_date_by_the_answers_own_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(Headers(headers)) == seconds
    assert error_for(503, b"", headers).retry_after == seconds


@given(st.text(), st.text())
def test_no_header_makes_the_wait_fail(after: str, date: str) -> None:
    seconds = retry_after(Headers({"Retry-After": after, "Date": date}))
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("needs", "retryable", "verdict"),
    [
        (None, None, None),
        ("1", None, True),
        ("true", None, True),
        (" TRUE ", None, True),
        ("yes", None, True),
        ("0", None, False),
        ("false", None, False),
        ("no", None, False),
        ("maybe", None, None),
        ("", None, None),
        (None, "true", True),
        (None, "false", False),
        ("1", "false", False),
        ("0", "true", False),
        ("1", "true", True),
        ("maybe", "true", True),
    ],
)
def test_either_header_may_speak_and_a_no_wins(
    needs: str | None, retryable: str | None, verdict: bool | None
) -> None:
    said = {"X-Fal-Needs-Retry": needs, "X-Fal-Retryable": retryable}
    headers = Headers({name: value for name, value in said.items() if value is not None})
    assert needs_retry(headers) is verdict


# --- texts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"detail": f"Refused: {PROMPT} for {KEY}"},
        {
            "detail": [
                {"loc": ["body", PROMPT], "msg": f"{KEY} {PROMPT}", "type": PROMPT, "input": PROMPT}
            ]
        },
        {"detail": [{"loc": [KEY], "msg": json.dumps({"prompt": PROMPT}), "type": KEY}]},
        {"detail": PROMPT, "error_type": KEY},
        {"detail": KEY, "error_type": PROMPT},
    ],
    ids=range(5),
)
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 422, 429, 499, 500, 503, 504])
def test_no_text_holds_the_key_or_the_prompt(status: int, body: Any) -> None:
    for headers in ({}, ID, {"X-Fal-Error-Type": KEY}, {"X-Fal-Error-Type": PROMPT}):
        error = error_for(status, body, headers)
        for shown in (str(error), repr(error)):
            assert "secret" not in shown
            assert "tabby" not in shown


def test_no_text_holds_a_blob() -> None:
    blob = "iVBORw0KGgo" * 20
    error = error_for(422, {"detail": f"cannot read data:image/png;base64,{blob} here"})
    assert error.what == "fal answered 422: cannot read … here"
    assert len(str(error_for(422, {"detail": "ab " * 10_000}))) < 400


def test_a_word_that_the_sentence_already_holds_is_not_said_twice() -> None:
    assert error_for(
        500, {"detail": "internal_error happened", "error_type": "internal_error"}, ID
    ).what == ("fal answered 500: internal_error happened")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "loc": JSON | st.lists(st.text(max_size=8) | st.integers()),
        "msg": JSON | st.just(f"no {PROMPT} {KEY}"),
        "type": JSON | st.sampled_from(sorted(wire.MODEL_ERRORS)),
        "ctx": JSON,
        "url": JSON,
        "input": JSON,
    },
)
BODY = st.binary(max_size=60) | (
    JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "detail": JSON | st.lists(ENTRY | JSON, max_size=3) | st.just(f"{KEY}: {PROMPT}"),
            "error_type": JSON | st.sampled_from(sorted(wire.REQUEST_ERROR_STATUS)),
            "type": JSON,
            "data": JSON | st.fixed_dictionaries({"limit": JSON}),
        },
    )
).map(lambda value: json.dumps(value).encode())
NAMES = """x-fal-request-id x-fal-billable-units X-Fal-Error-Type X-Fal-Retryable X-Fal-Needs-Retry
X-Fal-Request-Timeout-Type Location Retry-After Content-Encoding Date"""
HEADERS = st.dictionaries(
    st.sampled_from(NAMES.split()),
    st.sampled_from(["1", "0", "true", "false", "user", "gzip", "deflate", KEY, PROMPT])
    | st.text(),
    max_size=5,
)


@given(
    st.integers(100, 199) | st.integers(300, 999),
    HEADERS,
    BODY,
    st.binary(max_size=30) | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_whatever_is_answered_to_whatever_was_asked_becomes_an_error_with_a_clean_text(
    status: int, headers: dict[str, str], body: bytes, asked: bytes
) -> None:
    asked_for = json.dumps({"prompt": PROMPT}).encode()
    for sent in (asked, asked_for):
        request = attrs.evolve(REQUEST, body=sent)
        error = error_from_response(HttpResponse(status, Headers(headers), body), request)
        assert isinstance(error, StatusError)
        text = f"{error.what} {error!r}"
        assert "secret-abcdef" not in text
        assert "key-id-0123" not in text
        assert "tabby cat asleep" not in text or sent is not asked_for
        assert len(error.what) <= 450
        assert error.what.isprintable()
        assert error.body == body
        assert pickle.loads(pickle.dumps(error)).what == error.what
