"""Failures as the server builds them, and as the client reads them: one table for both directions."""

from __future__ import annotations

import json
from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async import errors
from fal_async.errors import Billing, ErrorDetail
from fal_async.protocol import failures, wire
from fal_async.protocol.billing import billable_units
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.outcome import error_from_response

NOT, MAYBE, YES = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED
CALL = HttpRequest(method="POST", url="https://fal.run/fal-ai/flux/dev")
NSFW = ErrorDetail(loc=("body", "prompt"), msg="No.", type="content_policy_violation")
TOO_BIG = ErrorDetail(
    loc=("body", "images", 0),
    msg="Too large",
    type="image_too_large",
    ctx={"max_height": 10, "max_width": 20},
    url="https://docs.fal.ai/errors#image_too_large",
)


@attrs.frozen(kw_only=True)
class Row:
    """An answer, and every fact that its reader learns."""

    answer: HttpResponse
    status: int
    kind: type[errors.StatusError]
    billing: Billing
    error_type: str | None = None
    retryable: bool = False
    says: str = ""


TABLE = {
    "unknown key": Row(
        answer=failures.unknown_key(),
        status=401,
        kind=errors.AuthenticationError,
        billing=NOT,
        says="No user found for Key ID and Secret",
    ),
    "malformed key": Row(
        answer=failures.malformed_key(),
        status=401,
        kind=errors.AuthenticationError,
        billing=NOT,
        says="Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'.",
    ),
    "no credentials": Row(
        answer=failures.no_credentials("fal-ai/flux"),
        status=401,
        kind=errors.AuthenticationError,
        billing=NOT,
        says='Cannot access application "fal-ai/flux".',
    ),
    "locked": Row(
        answer=failures.locked("Admin lock. Please contact hello@fal.ai."),
        status=403,
        kind=errors.AccountLockedError,
        billing=NOT,
        says="User is locked. Reason: Admin lock. Please contact hello@fal.ai.",
    ),
    "unknown application": Row(
        answer=failures.application_not_found("fal-ai/flx"),
        status=404,
        kind=errors.NotFoundError,
        billing=NOT,
        says='Application "fal-ai/flx" not found',
    ),
    "unknown path": Row(
        answer=failures.path_not_found("/x"),
        status=404,
        kind=errors.NotFoundError,
        billing=NOT,
        says="Path /x not found",
    ),
    "wrong method": Row(
        answer=failures.method_not_allowed(),
        status=405,
        kind=errors.ModelError,
        billing=NOT,
        says="Method Not Allowed",
    ),
    "limit, named": Row(
        answer=failures.concurrency_limit_reached(20),
        status=429,
        kind=errors.TooManyRequestsError,
        billing=NOT,
        error_type=wire.CONCURRENCY_LIMIT,
        retryable=True,
        says="Reached concurrent requests limit of 20",
    ),
    "limit, not named": Row(
        answer=failures.concurrency_limit_reached(None, needs_retry=None),
        status=429,
        kind=errors.TooManyRequestsError,
        billing=NOT,
        error_type=wire.CONCURRENCY_LIMIT,
        retryable=True,
        says="Reached concurrent requests limit",
    ),
    "start timeout": Row(
        answer=failures.start_timed_out(),
        status=504,
        kind=errors.StartTimeoutError,
        billing=NOT,
        error_type=wire.REQUEST_TIMEOUT,
        says="did not start in time",
    ),
    "bad request": Row(
        answer=failures.request_error(wire.BAD_REQUEST, "Invalid start timeout"),
        status=400,
        kind=errors.BadRequestError,
        billing=NOT,
        error_type=wire.BAD_REQUEST,
        says="Invalid start timeout",
    ),
    "cancelled, charged": Row(
        answer=failures.request_error(wire.CLIENT_CANCELLED, units=Decimal(1)),
        status=499,
        kind=errors.RequestCancelledError,
        billing=YES,
        error_type=wire.CLIENT_CANCELLED,
        says="Request was cancelled",
    ),
    "an error nobody documented": Row(
        answer=failures.request_error("meteor", status=503, needs_retry=True),
        status=503,
        kind=errors.ServerError,
        billing=NOT,
        error_type="meteor",
        retryable=True,
        says="Request failed",
    ),
    "refused, charged": Row(
        answer=failures.model_error([NSFW], units=Decimal("0.025")),
        status=422,
        kind=errors.ModelError,
        billing=YES,
        error_type="content_policy_violation",
        says="body.prompt: No. (content_policy_violation)",
    ),
    "refused, not charged": Row(
        answer=failures.model_error([NSFW, TOO_BIG], units=Decimal(0)),
        status=422,
        kind=errors.ModelError,
        billing=NOT,
        error_type="content_policy_violation",
        says="and 1 more",
    ),
    "refused, silent": Row(
        answer=failures.model_error([], retryable=None),
        status=422,
        kind=errors.ModelError,
        billing=MAYBE,
    ),
    "model failed": Row(
        answer=failures.model_error(
            [ErrorDetail(loc=("body",), msg="Oh", type="internal_server_error")], retryable=True
        ),
        status=500,
        kind=errors.ServerError,
        billing=NOT,
        error_type="internal_server_error",
        retryable=True,
        says="Oh",
    ),
    "invalid input": Row(
        answer=failures.invalid_input(
            [(ErrorDetail(loc=("body", "file"), msg="Field required", type="missing"), b"123")]
        ),
        status=422,
        kind=errors.ModelError,
        billing=NOT,
        error_type="missing",
        says="body.file: Field required (missing)",
    ),
    "declared by the application": Row(
        answer=failures.app_error(409, "Not twice"),
        status=409,
        kind=errors.ModelError,
        billing=MAYBE,
        says="Not twice",
    ),
    "gpu": Row(
        answer=failures.gpu_fault(),
        status=503,
        kind=errors.ServerError,
        billing=NOT,
        retryable=True,
        says="CUDA error",
    ),
    "exception": Row(
        answer=failures.unhandled_exception(),
        status=500,
        kind=errors.ServerError,
        billing=NOT,
        says="Internal Server Error",
    ),
    "redirect": Row(
        answer=failures.redirect(307, "https://stranger.invalid/"),
        status=307,
        kind=errors.RedirectError,
        billing=MAYBE,
    ),
}


def read(answer: HttpResponse, **headers: str) -> errors.StatusError:
    """What the client makes of it once the platform has given it an id."""
    named = Headers({**answer.headers, wire.REQUEST_ID: "an-id"} | headers)
    return error_from_response(HttpResponse(answer.status, named, answer.body), CALL)


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_what_is_built_is_what_is_read(row: Row) -> None:
    error = read(row.answer)
    assert row.answer.status == error.status == row.status
    assert type(error) is row.kind
    assert error.billing is row.billing
    assert error.error_type == row.error_type
    assert error.retryable is row.retryable
    assert row.says in str(error)
    assert error.request_id == "an-id"


@pytest.mark.parametrize(("kind", "status"), wire.REQUEST_ERROR_STATUS.items())
@pytest.mark.parametrize("needs_retry", [None, True, False])
def test_every_error_of_the_platform_is_read_by_its_name(
    kind: str, status: int, needs_retry: bool | None
) -> None:
    error = read(failures.request_error(kind, needs_retry=needs_retry))
    assert (error.status, error.error_type) == (status, kind)
    assert error.retryable is (status >= 500 if needs_retry is None else needs_retry)


@pytest.mark.parametrize(("kind", "row"), wire.MODEL_ERRORS.items())
def test_every_model_error_is_read_with_its_place_and_context(
    kind: str, row: tuple[int, tuple[str, ...]]
) -> None:
    status, names = row
    detail = ErrorDetail(
        loc=("body", "images", 3, "url"),
        msg="It is wrong",
        type=kind,
        ctx=dict.fromkeys(names, 5),
        url=f"{wire.ERROR_PAGE}{kind}",
    )
    error = read(failures.model_error([detail]))
    assert error.status == status
    assert error.error_type == kind
    assert error.details == (detail,)


@pytest.mark.parametrize("error_type", wire.REQUEST_ERROR_STATUS)
def test_what_no_runner_ever_had_is_asked_for_again(error_type: str) -> None:
    """PROTOCOL 3: on a temporary failure the platform says so. Which ones are it does not say."""
    said = failures.request_error(error_type).headers.get(wire.NEEDS_RETRY)
    assert said == ("1" if error_type in wire.NEVER_STARTED else None)
    refused = failures.request_error(error_type, needs_retry=False)
    assert refused.headers[wire.NEEDS_RETRY] == "0"


def test_the_limit_and_the_time_to_wait_are_read_where_they_are_named() -> None:
    error = read(failures.concurrency_limit_reached(20, retry_after=1.5))
    assert isinstance(error, errors.TooManyRequestsError)
    assert (error.limit, error.retry_after) == (20, 1.5)
    silent = read(failures.concurrency_limit_reached(None))
    assert isinstance(silent, errors.TooManyRequestsError)
    assert (silent.limit, silent.retry_after) == (None, None)


def test_the_429_is_word_for_word_that_of_the_platform() -> None:
    answer = failures.concurrency_limit_reached(20)
    assert answer.body == (
        b'{"detail":"Reached concurrent requests limit of 20",'
        b'"type":"concurrent_requests_limit","data":{"limit":20}}'
    )
    assert answer.headers["X-Fal-Needs-Retry"] == "1"


@pytest.mark.parametrize(
    "reason", ["Exhausted balance", "Exhausted balance.", "Unknown. Please contact hello@fal.ai."]
)
def test_why_an_account_is_locked_is_read_as_it_was_given(reason: str) -> None:
    error = read(failures.locked(reason))
    assert isinstance(error, errors.AccountLockedError)
    assert error.reason.rstrip(".") == reason.rstrip(".")


def test_validation_shows_what_was_given_but_no_bytes() -> None:
    detail = ErrorDetail(loc=("body", "x"), msg="No", type="int_type")
    answer = failures.invalid_input([(detail, "seven"), (detail, b"123")])
    shown = [entry["input"] for entry in json.loads(answer.body)["detail"]]
    assert shown == ["seven", "<binary 3 bytes>"]


def test_validation_shows_a_lone_surrogate_by_an_escape() -> None:
    detail = ErrorDetail(loc=("body",), msg="No", type="int_type")
    answer = failures.invalid_input([(detail, "\ud800")])
    assert json.loads(answer.body)["detail"][0]["input"] == "\ud800"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_ingress_page_tells_nothing_and_so_is_read(status: int) -> None:
    answer = failures.ingress_error(status)
    error = error_from_response(answer, CALL)
    assert isinstance(error, errors.GatewayError)
    assert (error.billing, error.request_id) == (MAYBE, None)
    assert b"nginx" in answer.body


def test_an_ingress_page_of_another_status_has_its_usual_title() -> None:
    assert b"500 Internal Server Error" in failures.ingress_error(500).body


def test_a_redirect_says_where_to() -> None:
    error = read(TABLE["redirect"].answer)
    assert isinstance(error, errors.RedirectError)
    assert error.location == "https://stranger.invalid/"


@given(st.decimals(0, 10**9, allow_nan=False, places=8))
def test_units_are_read_as_they_are_written(units: Decimal) -> None:
    text = failures.build_units(units)
    assert billable_units(Headers({wire.BILLABLE_UNITS: text})) == units


@pytest.mark.parametrize(
    ("units", "text"),
    [("1", "1"), ("0", "0"), ("2.0", "2"), ("0.025", "0.02500000"), ("0.786432", "0.78643200")],
)
def test_units_are_an_integer_or_have_eight_decimals(units: str, text: str) -> None:
    assert failures.build_units(Decimal(units)) == text
