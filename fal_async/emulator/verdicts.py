"""What an application's answer says to the platform: whether its runner goes on, and what callers do not see.

Pure. PROTOCOL 3.1, 5.4; whether a failed attempt is made again is told in ``queueing.requeueing``.
"""

from __future__ import annotations

from typing import Final

from fal_async.protocol import wire

__all__ = ["loses_runner", "read_verdict", "runner_survives", "seen_by_callers"]

#: The application's answer by which its runner is given up.
_ENDS_RUNNER: Final = 503


def seen_by_callers(name: str, status: int) -> bool:
    """Whether a header of an application's answer goes on to who called it."""
    low = name.lower()
    if low == wire.NEEDS_RETRY.lower():  # elsewhere stripped and ignored
        return status >= 500 or status == 429
    return low != wire.STOP_RUNNER


def read_verdict(text: str | None) -> bool | None:
    """The value of a header that says yes or no; None if it says neither."""
    return {"1": True, "true": True, "0": False, "false": False}.get((text or "").strip().lower())


def runner_survives(status: int, stop: bool | None = None) -> bool:  # noqa: FBT001  # what a header says
    """Whether a runner is kept after an answer of this status.

    The health check that follows a 500, 502 or 504 is taken as passed.

    :param stop: the application's own word, which counts.
    """
    return status != _ENDS_RUNNER if stop is None else not stop


def loses_runner(error_type: str) -> bool:
    """Whether a failure of the platform is the end of a runner: it is gone, or was cut off for its time."""
    return error_type.startswith("runner_") or error_type == wire.REQUEST_TIMEOUT
