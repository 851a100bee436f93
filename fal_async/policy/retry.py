"""Whether a failed call is sent again, and when. Pure: chance and time spent are handed in.

The rule behind every line: what may have been billed is never sent again unless the caller asked for it.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable
from typing import Final

import attrs

from fal_async.errors import (
    Billing,
    BodyBrokenError,
    ConnectError,
    ConnectionLostError,
    FalError,
    GatewayError,
    InputError,
    ServerError,
    TooManyRequestsError,
)

__all__ = ["Resend", "RetryPolicy", "kind_of", "next_wait"]


class Resend(enum.StrEnum):
    """Kinds of failure after which a call may be sent again."""

    UNSENT = "unsent"
    """Nothing was written: DNS, refused, TLS, connect timeout. Never billed."""
    REFUSED = "refused"
    """429. Never billed; waits for a slot and uses up no send."""
    INVITED = "invited"
    """An unbilled 5xx with which fal asks for it, or says that no runner had the call."""
    SERVER_ERROR = "server_error"
    """Any other 5xx that fal does not bill and does not forbid to send again."""
    LOST = "lost"
    """The answer was lost, or came from the load balancer. **May pay twice.**"""


_SAFE = frozenset((Resend.UNSENT, Resend.REFUSED, Resend.INVITED))


def _kinds(value: Iterable[Resend | str]) -> frozenset[Resend]:
    try:
        return frozenset(Resend(kind) for kind in value)
    except (TypeError, ValueError):
        raise InputError(f"resend holds some of {', '.join(Resend)}") from None


def _check_sends(_: object, __: object, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError("RetryPolicy.sends is a whole number of at least 1")


def _check_seconds(_: object, attribute: attrs.Attribute[float], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LONGEST:
        raise InputError(f"RetryPolicy.{attribute.name} is a finite number of seconds, 0 or more")


_LONGEST: Final = sys.float_info.max


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often, how long and after what a call is sent again.

    :param sends: how many times a call is sent at most, the first time included; 429s do not count.
    :param budget: seconds of backoff in all, per call.
    :param backoff: longest wait before the second send, in seconds; it doubles from send to send, and the
        wait is drawn evenly from 0 to it (full jitter).
    :param backoff_max: where the doubling ends.
    :param resend: after which kinds of failure; ``Resend.LOST`` may pay twice and is never on by itself.
    :raises InputError: for numbers out of range and unknown kinds.
    """

    sends: int = attrs.field(default=4, validator=_check_sends)
    budget: float = attrs.field(default=20.0, validator=_check_seconds)
    backoff: float = attrs.field(default=0.5, validator=_check_seconds)
    backoff_max: float = attrs.field(default=8.0, validator=_check_seconds)
    resend: frozenset[Resend] = attrs.field(default=_SAFE, converter=_kinds)

    @classmethod
    def never(cls) -> RetryPolicy:
        """Send once; every failure is the caller's at once, a 429 too."""
        return cls(sends=1, budget=0.0, resend=frozenset())


def kind_of(error: FalError, *, free: bool = False) -> Resend | None:
    """Which kind of failure this is; None for one that sending again cannot mend or must not.

    :param free: repeating the request costs nothing, whatever became of it: a status, a result, a cancel.
    """
    if isinstance(error, ConnectError):
        return Resend.UNSENT
    if free and isinstance(error, (ConnectionLostError, BodyBrokenError)):
        return Resend.LOST
    if error.billing is Billing.BILLED:
        return None
    if isinstance(error, TooManyRequestsError):
        return Resend.REFUSED
    if isinstance(error, ConnectionLostError):
        return Resend.LOST
    if not isinstance(error, (ServerError, GatewayError)) or error.invited is False:
        return None
    if error.billing is Billing.UNKNOWN:
        return Resend.LOST
    return Resend.INVITED if error.invited else Resend.SERVER_ERROR


def next_wait(
    policy: RetryPolicy,
    error: FalError,
    *,
    sends: int,
    waited: float,
    chance: float,
    free: bool = False,
) -> float | None:
    """Seconds to wait before the call is sent again, or None to give up.

    :param sends: how often it was sent.
    :param waited: seconds of backoff already spent on this call.
    :param chance: a number drawn evenly from [0, 1).
    :param free: as for :func:`kind_of`.
    """
    kind = kind_of(error, free=free)
    if kind not in policy.resend or sends >= policy.sends:
        return None
    ceiling = min(policy.backoff * 2.0 ** min(sends - 1, 60), policy.backoff_max)
    wait = max(ceiling * chance, error.retry_after or 0.0)
    return wait if waited + wait <= policy.budget else None
