"""Which failures the queue tries again by itself, how often, and after how long (PROTOCOL 5.4, 6.6).

Pure. What counts is the attempt's answer; who runs it is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import attrs

from fal_async.protocol import wire
from fal_async.protocol.messages import HttpResponse

__all__ = ["RequeueSettings", "condition_of", "may_retry"]


@attrs.frozen(kw_only=True)
class RequeueSettings:
    """How patient the queue is with failing runners. The platform's own pauses are not known.

    :param attempts: most attempts of one request in all (PROTOCOL 6.6).
    :param pause: seconds before the second attempt; each further pause is twice as long.
    :param longest_pause: seconds that no pause exceeds.
    """

    attempts: int = attrs.field(default=wire.ATTEMPTS_MAX, validator=attrs.validators.ge(1))
    pause: float = attrs.field(default=0.5, validator=attrs.validators.ge(0))
    longest_pause: float = attrs.field(default=8.0, validator=attrs.validators.ge(0))

    def pause_after(self, attempts: int) -> float:
        """Seconds to wait after so many attempts."""
        return min(self.longest_pause, self.pause * 2.0 ** (attempts - 1))


_SERVER_ERROR, _TIMEOUT, _CONNECTION_ERROR = wire.RETRY_CONDITIONS

#: The platform's own failures. The sheet names the conditions, not which error_type is which: an inference.
_CONDITIONS: Final = {
    wire.REQUEST_TIMEOUT: _TIMEOUT,
    wire.STARTUP_TIMEOUT: _CONNECTION_ERROR,
    wire.RUNNER_SCHEDULING_FAILURE: _CONNECTION_ERROR,
    wire.RUNNER_CONNECTION_TIMEOUT: _CONNECTION_ERROR,
    wire.RUNNER_CONNECTION_REFUSED: _CONNECTION_ERROR,
    wire.RUNNER_CONNECTION_ERROR: _CONNECTION_ERROR,
    wire.RUNNER_DISCONNECTED: _SERVER_ERROR,
    wire.RUNNER_INCOMPLETE_RESPONSE: _SERVER_ERROR,
    wire.RUNNER_SERVER_ERROR: _SERVER_ERROR,
    wire.INTERNAL_ERROR: _SERVER_ERROR,
}
#: An application's own answers that are tried again (PROTOCOL 5.4).
_TRIED_AGAIN: Final = frozenset((503, 504))


def condition_of(answer: HttpResponse) -> str | None:
    """The condition under which this answer is worth another attempt; None if it is final."""
    verdict = answer.headers.get(wire.NEEDS_RETRY, "").lower()
    overridable = answer.status >= 500 or answer.status == 429
    if overridable and verdict in {"0", "false"}:
        return None
    known = _CONDITIONS.get(answer.headers.get(wire.ERROR_TYPE, ""))
    if known is not None:
        return known
    if answer.status in _TRIED_AGAIN or (overridable and verdict in {"1", "true"}):
        return _SERVER_ERROR
    return None


def may_retry(
    condition: str,
    failures: Counter[str],
    settings: RequeueSettings,
    budget: Mapping[str, int],
) -> bool:
    """Whether one more attempt is due.

    :param failures: how often each condition has been met, this time included.
    :param budget: condition → its retries, where they are limited (``X-Fal-Retry-Config``).
    """
    if failures.total() >= settings.attempts:
        return False
    return failures[condition] <= budget.get(condition, settings.attempts)
