"""What an answer says of its cost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fal_async.errors import Billing
from fal_async.protocol.billing import billable_units, billing_of

NOT, MAYBE, YES = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 422, 429, 499, 500, 502, 504])
@pytest.mark.parametrize(
    ("units", "billing"), [("0", NOT), ("0.00000000", NOT), ("1", YES), ("0.02500000", YES)]
)
def test_units_decide_whatever_the_status_is(status: int, units: str, billing: Billing) -> None:
    assert billing_of(status, {"x-fal-billable-units": units}) is billing


@pytest.mark.parametrize(
    ("status", "headers", "error_type", "billing"),
    [
        (200, {}, None, YES),
        (204, {}, None, YES),
        (302, {}, None, MAYBE),
        (400, {}, None, MAYBE),
        (400, {}, "bad_request", NOT),
        (400, {"X-Fal-Error-Type": "bad_request"}, None, NOT),
        (400, {}, "downstream_service_error", MAYBE),
        (401, {}, None, NOT),
        (403, {}, None, NOT),
        (404, {}, None, NOT),
        (422, {}, None, MAYBE),
        (429, {}, None, NOT),
        (499, {}, "client_cancelled", MAYBE),
        (500, {"x-fal-request-id": "an-id"}, None, NOT),
        (504, {"X-Fal-Request-Timeout-Type": "user"}, None, NOT),
        (502, {}, None, MAYBE),
        (503, {}, None, MAYBE),
        (504, {}, None, MAYBE),
    ],
)
def test_without_units_the_status_and_who_says_it_decide(
    status: int, headers: dict[str, str], error_type: str | None, billing: Billing
) -> None:
    assert billing_of(status, headers, error_type) is billing


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("1", Decimal(1)),
        (" 0.02500000 ", Decimal("0.025")),
        ("0", Decimal(0)),
        ("many", None),
        ("", None),
        ("NaN", None),
        ("Infinity", None),
        ("-1", None),
    ],
)
def test_units_are_read_exactly_or_not_at_all(text: str, units: Decimal | None) -> None:
    assert billable_units({"x-fal-billable-units": text}) == units
    assert billable_units({}) is None
