"""When a lost connection is made again, where its user wants that. Pure: chance is handed in."""

from __future__ import annotations

from typing import Final

from fal_async.errors import InputError

__all__ = ["check_reconnect", "next_delay"]

_FIRST: Final = 0.5
_LONGEST: Final = 30.0
#: Some four minutes of trying, if nothing else is said.
_TRIES: Final = 12


def check_reconnect(value: object) -> int:
    """The caller's ``reconnect`` as a number of tries in a row.

    :raises InputError: for anything but a bool or a whole number of at least 0.
    """
    if isinstance(value, bool):
        return _TRIES if value else 0
    if not isinstance(value, int) or value < 0:
        raise InputError("reconnect is True, False or a number of tries")
    return value


def next_delay(tries: int, chance: float) -> float:
    """Seconds to wait before the next try; it doubles, and is drawn from the upper half of its range.

    :param tries: how many have failed in a row since anything was received.
    :param chance: a number drawn evenly from [0, 1): those who were cut off together do not come together.
    """
    if tries <= 0:
        return 0.0
    return float(min(_FIRST * 2.0 ** min(tries - 1, 60), _LONGEST)) * (0.5 + chance / 2)
