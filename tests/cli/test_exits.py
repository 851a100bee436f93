from __future__ import annotations

import pytest

from fal_async import errors
from fal_async.cli.exits import MEANINGS, Exit, exit_of
from fal_async.errors import Billing, FalError

BILLED, UNKNOWN = Billing.BILLED, Billing.UNKNOWN


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InputError("x"), 2),
        (errors.MissingKeyError("x"), 3),
        (errors.AuthenticationError("x"), 3),
        (errors.AccessDeniedError("x"), 3),
        (errors.AccountLockedError("x"), 3),
        (errors.ModelError("x", billing=UNKNOWN), 4),
        (errors.ModelError("x", billing=BILLED), 4),
        (errors.NotFoundError("x"), 4),
        (errors.BadRequestError("x"), 4),
        (errors.ConnectError("x"), 5),
        (errors.ConnectTimeoutError("x"), 5),
        (errors.TooManyRequestsError("x"), 5),
        (errors.StartTimeoutError("x"), 5),
        (errors.ServerError("x"), 5),
        (errors.CallTimeoutError("x"), 5),
        (errors.CallTimeoutError("x", billing=UNKNOWN), 6),
        (errors.ConnectionLostError("x", billing=UNKNOWN), 6),
        (errors.GatewayError("x", billing=UNKNOWN), 6),
        (errors.RedirectError("x", billing=UNKNOWN), 6),
        (errors.RequestCancelledError("x", billing=UNKNOWN), 6),
        (errors.BodyBrokenError("x", billing=BILLED), 7),
        (errors.BodyTooLargeError("x", billing=BILLED), 7),
        (errors.DecodeError("x", billing=BILLED), 7),
        (errors.StructureError("x", billing=BILLED), 7),
    ],
    ids=lambda value: (
        f"{type(value).__name__}-{value.billing}" if isinstance(value, FalError) else None
    ),
)
def test_the_status_tells_what_to_do_next(error: FalError, status: int) -> None:
    assert exit_of(error) == status


def test_every_status_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Exit)
