"""How often and how long fal is asked again what costs nothing: a request's status, its result, its cancel.

Pure: chance and time spent are handed in. A question about a queued request may be repeated as often as one
likes; what may not be is throwing away a paid result because one answer was lost, or asking for ever for one
that is not there. Submits are another matter: see ``retry``.
"""

from __future__ import annotations

from math import inf
from typing import Final

import attrs

from fal_async.errors import (
    AnswerError,
    BodyTooLargeError,
    DecodeError,
    FalError,
    GatewayError,
    NotFoundError,
    RequestCancelledError,
    ServerError,
    StructureError,
    TooManyRequestsError,
    TransportError,
)

__all__ = [
    "AT_ONCE",
    "DAMAGED",
    "HARD",
    "HOPEFUL",
    "UNFINISHED",
    "Patience",
    "is_unfinished",
    "patience_with_question",
    "patience_with_result",
]

#: Statuses that speak of this one exchange, not of what was asked for.
_PASSING: Final = frozenset((408, 425, 429, 499))


@attrs.frozen(kw_only=True)
class Patience:
    """How often something is asked, and for how long.

    :param tries: how often at most.
    :param budget: seconds of waiting in all.
    :param longest: the longest wait in seconds; the first is half a second at most, and they double.
    """

    tries: float
    budget: float
    longest: float = 8.0

    def next_wait(
        self, *, tries: int, waited: float, chance: float, retry_after: float | None = None
    ) -> float | None:
        """Seconds until it is asked again; None to give up.

        :param tries: how often it was asked.
        :param waited: seconds already waited.
        :param chance: a number drawn evenly from [0, 1).
        :param retry_after: seconds that fal asked to wait.
        """
        if tries >= self.tries:
            return None
        ceiling = min(0.5 * 2.0 ** min(tries - 1, 30), self.longest)
        wait = max(ceiling * (0.5 + chance / 2), retry_after or 0.0)
        return wait if waited + wait <= self.budget else None


#: Not at all: it is the answer.
AT_ONCE: Final = Patience(tries=1, budget=0.0)
#: What is lost on the way is there all the same: ten minutes of waiting, if no deadline ends it before.
HARD: Final = Patience(tries=inf, budget=600.0)
#: What may be a passing failure, and may be the last word.
HOPEFUL: Final = Patience(tries=8, budget=60.0)
#: A body cut short may look whole; but the model's own may be no JSON, and its caller waits for nothing.
#: And a result that has just been announced may not be everywhere yet; but it may be long gone.
DAMAGED: Final = Patience(tries=3, budget=10.0)
#: It is not done, says fal: this ends when it is, like any other wait for it.
UNFINISHED: Final = Patience(tries=inf, budget=inf, longest=10.0)


def patience_with_question(error: FalError) -> Patience:
    """After a failure to ask for a status or a cancel: a 5xx speaks of the asking, whoever says it."""
    if isinstance(error, BodyTooLargeError):
        return AT_ONCE
    if isinstance(error, (TransportError, AnswerError)):
        return HARD
    if _status(error) in _PASSING or _status(error) >= 500:
        return HARD
    return HOPEFUL if _status(error) == 400 else AT_ONCE


def patience_with_result(error: FalError, *, failed: bool) -> Patience:
    """After a failure to fetch the result of a request that has ended, by its status.

    The model's own failure comes as the very answer to this question (PROTOCOL 6.4), and is told at once.

    :param failed: whether the status says that the request failed. If it does not, there is a result.
    """
    if isinstance(error, BodyTooLargeError):
        return AT_ONCE
    if isinstance(error, (TransportError, GatewayError)):
        return HARD
    if isinstance(error, DecodeError):
        return DAMAGED
    if isinstance(error, TooManyRequestsError):
        return HOPEFUL if failed else HARD
    if failed or isinstance(error, StructureError):
        return AT_ONCE
    if is_unfinished(error):
        return UNFINISHED
    if isinstance(error, NotFoundError):
        return DAMAGED
    if isinstance(error, (ServerError, RequestCancelledError)) or _status(error) in {400, 408, 425}:
        return HOPEFUL
    return AT_ONCE


def is_unfinished(error: FalError) -> bool:
    """Whether fal answers that the result is not there yet (PROTOCOL 6.4, 18)."""
    return _status(error) == 400 and "in progress" in error.what.lower()


def _status(error: FalError) -> int:
    return error.status or 0
