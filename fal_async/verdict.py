"""What a call may have cost, and what an error of a model consists of: plain values that errors carry."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["AGAIN", "COST", "Billing", "ErrorDetail", "Verdict"]


class Billing(enum.StrEnum):
    """What a call may have cost. Compares equal to its word: ``error.billing == "unknown"``."""

    NOT_BILLED = "not_billed"
    UNKNOWN = "unknown"
    BILLED = "billed"

    def worse(self, other: Billing) -> Billing:
        """The graver of two verdicts: what a call cost whose attempts cost these."""
        return self if _GRAVITY[self] >= _GRAVITY[other] else other


_GRAVITY = {Billing.NOT_BILLED: 0, Billing.UNKNOWN: 1, Billing.BILLED: 2}


COST = {
    Billing.NOT_BILLED: "Not billed.",
    Billing.UNKNOWN: "It may have been billed.",
    Billing.BILLED: "It was billed.",
}
"""What a call cost, in a sentence."""

AGAIN = {
    Billing.NOT_BILLED: "Safe to send again.",
    Billing.UNKNOWN: "Sending it again may pay twice.",
    Billing.BILLED: "Sending it again pays again.",
}
"""What sending it again may cost, in a sentence."""


@attrs.frozen(kw_only=True)
class Verdict:
    """What is known of the cost of a call that was cut short; carried by a ``CancelledError``.

    A cancelled ``run`` raises the very ``asyncio.CancelledError`` that cancelled it, with this value as
    its attribute ``verdict``.
    """

    billing: Billing
    attempts: int = 0
    """How many times the request was sent, refusals (429) not counted."""
    request_id: str | None = None
    handle: Any = None
    """The :class:`RequestHandle` of a queued request, to collect its result with; None for others."""


@attrs.frozen(kw_only=True)
class ErrorDetail:
    """One entry of a model error (PROTOCOL 5.1). Branch on ``type``, never on ``msg``."""

    loc: tuple[str | int, ...] = ()
    msg: str = attrs.field(default="", repr=False)  # may echo the input: not for logs
    type: str = ""
    ctx: Mapping[str, Any] = attrs.field(factory=dict, repr=False, hash=False)
    url: str | None = None

    @property
    def path(self) -> str:
        """``loc`` as people write it: ``body.images[0].url``."""
        text = ""
        for part in self.loc:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text
