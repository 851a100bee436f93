"""How long we wait, and for what. Pure."""

from __future__ import annotations

import sys
from typing import Final

from fal_async.errors import InputError

__all__ = ["CONNECT_BUDGET", "CONNECT_BUDGET_WITH_BACKUP", "check_timeout", "connect_budget"]

CONNECT_BUDGET: Final = 10.0
#: Where a backup domain stands by, giving up sooner costs nothing (PROTOCOL 1: the official client does so).
CONNECT_BUDGET_WITH_BACKUP: Final = 5.0


def connect_budget(*, has_backup: bool) -> float:
    """Seconds for a connection to stand, DNS and TLS included."""
    return CONNECT_BUDGET_WITH_BACKUP if has_backup else CONNECT_BUDGET


def check_timeout(value: object) -> float | None:
    """A caller's ``timeout``: seconds above 0, or None for no limit.

    :raises InputError: for anything else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"timeout is a number of seconds or None, not {type(value).__name__}")
    if not 0 < value <= sys.float_info.max:
        raise InputError("timeout is more than 0 seconds; None means no limit")
    return float(value)
