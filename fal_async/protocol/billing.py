"""What an answer says of its cost (PROTOCOL 3.1, 3.2). Facts read off the wire, no decisions."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Final

from fal_async.errors import Billing
from fal_async.protocol import wire

__all__ = ["billable_units", "billing_of"]

#: Refused before any model ran (PROTOCOL 2.1, 3.3). 400 depends on who says it: see ``billing_of``.
_NEVER_RAN: Final = frozenset((401, 403, 404, 429))


def billable_units(headers: Mapping[str, str]) -> Decimal | None:
    """The units of ``x-fal-billable-units``: ``"1"``, ``"0.02500000"``; None if absent or no number."""
    text = headers.get(wire.BILLABLE_UNITS)
    return None if text is None else _units(text)


@lru_cache(maxsize=256)  # looked at in every answer, and nearly always the same
def _units(text: str) -> Decimal | None:
    try:
        units = Decimal(text.strip())
    except InvalidOperation:
        return None
    return units if units.is_finite() and units >= 0 else None


def billing_of(status: int, headers: Mapping[str, str], error_type: str | None = None) -> Billing:
    """What a call that was answered so has cost.

    :param error_type: of the body, where it is known; the header of that name is looked at anyway.
    """
    units = billable_units(headers)
    if units is not None:
        return Billing.BILLED if units else Billing.NOT_BILLED
    if 200 <= status < 300:
        return Billing.BILLED
    if status in _NEVER_RAN:
        return Billing.NOT_BILLED
    if status == 400 and wire.BAD_REQUEST in {error_type, headers.get(wire.ERROR_TYPE)}:
        return Billing.NOT_BILLED
    if status >= 500 and (wire.REQUEST_ID in headers or wire.TIMEOUT_TYPE in headers):
        return Billing.NOT_BILLED  # the platform's own word; an ingress error says nothing
    return Billing.UNKNOWN
