"""What an answer says of its cost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import Billing
from fal_async.protocol.billing import billable_units, billing_of
from fal_async.protocol.messages import Headers

UNITS, ID, ERROR_TYPE = "x-fal-billable-units", "x-fal-request-id", "X-Fal-Error-Type"
USER = {"X-Fal-Request-Timeout-Type": "user"}
NOT_BILLED, UNKNOWN, BILLED = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("1", Decimal(1)),
        ("0", Decimal(0)),
        ("0.02500000", Decimal("0.025")),
        (" 12 ", Decimal(12)),
        ("0.1", Decimal("0.1")),
        ("123456789012345678901234567890.5", Decimal("123456789012345678901234567890.5")),
        ("-1", None),
        ("", None),
        ("one", None),
        ("NaN", None),
        ("Infinity", None),
        ("1, 1", None),
    ],
)
def test_units_are_read_to_the_last_digit_or_not_at_all(text: str, units: Decimal | None) -> None:
    assert billable_units(Headers({UNITS: text})) == units
    assert billable_units(Headers({UNITS.upper(): text})) == units


def test_an_answer_without_units_has_none() -> None:
    assert billable_units(Headers()) is None


#: Status, headers, error type of the body; what it cost.
TABLE: list[tuple[str, int, dict[str, str], str | None, Billing]] = [
    ("200", 200, {}, None, BILLED),
    ("204", 204, {}, None, BILLED),
    ("299", 299, {}, None, BILLED),
    ("301", 301, {}, None, UNKNOWN),
    ("304 with an id", 304, {ID: "r"}, None, UNKNOWN),
    ("400 of the model", 400, {ID: "r"}, "downstream_service_error", UNKNOWN),
    ("400 of nobody", 400, {}, None, UNKNOWN),
    ("400 of the platform, by its body", 400, {}, "bad_request", NOT_BILLED),
    ("400 of the platform, by its header", 400, {ERROR_TYPE: "bad_request"}, None, NOT_BILLED),
    ("422 with that word", 422, {ERROR_TYPE: "bad_request"}, "bad_request", UNKNOWN),
    ("401", 401, {}, None, NOT_BILLED),
    ("403", 403, {}, None, NOT_BILLED),
    ("404", 404, {}, None, NOT_BILLED),
    ("429", 429, {}, None, NOT_BILLED),
    ("402", 402, {ID: "r"}, None, UNKNOWN),
    ("422", 422, {ID: "r"}, None, UNKNOWN),
    ("499", 499, {ID: "r"}, "client_cancelled", UNKNOWN),
    ("500 with an id", 500, {ID: "r"}, None, NOT_BILLED),
    ("503 with an id", 503, {ID: "r"}, "runner_disconnected", NOT_BILLED),
    ("504 with an id", 504, {ID: "r"}, "request_timeout", NOT_BILLED),
    ("504, the caller's own", 504, USER, None, NOT_BILLED),
    ("500 without an id", 500, {}, None, UNKNOWN),
    ("502 of the ingress", 502, {"Content-Type": "text/html"}, None, UNKNOWN),
    ("503 of the ingress", 503, {}, None, UNKNOWN),
    ("504 of the ingress", 504, {}, None, UNKNOWN),
    ("503 without an id that names a word", 503, {}, "runner_disconnected", UNKNOWN),
]


@pytest.mark.parametrize(
    ("status", "headers", "error_type", "billing"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_each_answer_costs_what_the_table_says_and_units_decide_where_present(
    status: int, headers: dict[str, str], error_type: str | None, billing: Billing
) -> None:
    assert billing_of(status, Headers(headers), error_type) is billing
    for units, decided in (("0", NOT_BILLED), ("0.00000000", NOT_BILLED), ("0.5", BILLED)):
        assert billing_of(status, Headers({**headers, UNITS: units}), error_type) is decided
    for rubbish in ("", "-1", "x"):
        assert billing_of(status, Headers({**headers, UNITS: rubbish}), error_type) is billing


@given(
    st.integers(100, 999),
    st.dictionaries(st.sampled_from([UNITS, ID, ERROR_TYPE, *USER]), st.text()),
    st.none() | st.text(),
)
def test_every_answer_has_a_verdict(
    status: int, headers: dict[str, str], error_type: str | None
) -> None:
    assert billing_of(status, Headers(headers), error_type) in Billing
