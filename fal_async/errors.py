"""The exception tree: what happened, what it may have cost, what the caller may do.

Every failure of this package is a :class:`FalError`. Its facts are attributes; its text is built from
them when asked for, so it never goes stale when a later layer learns more (attempts, billing).
This module knows nothing of HTTP libraries, JSON or time: whoever raises an error brings the facts.

::

    FalError
    ├── InputError (ValueError)            a bad argument, found before anything was sent
    ├── MissingKeyError                    no key in any of the places looked in
    ├── SessionError (RuntimeError)        the AsyncFal is closed, or belongs to another event loop
    ├── JournalError                       a batch's journal cannot be used, or not be written
    ├── TransportError                     no complete answer came back
    │   ├── ConnectError                   nothing was written
    │   │   └── ConnectTimeoutError (TimeoutError)
    │   ├── ConnectionLostError            lost after the first byte was written
    │   │   └── StreamLostError            lost in the middle of a stream of events
    │   ├── BodyBrokenError                a success whose body broke off
    │   └── BodyTooLargeError              a success larger than the session's limit
    ├── CallTimeoutError (TimeoutError)    the caller's ``timeout`` passed
    ├── InDoubtError                       sent by a map that was killed; what became of it is not known
    ├── InterruptedCallError               a map was left while the call was in flight
    ├── StatusError                        fal answered, and not with a 2xx
    │   ├── AuthenticationError            401
    │   ├── AccessDeniedError              403
    │   │   └── AccountLockedError         403, the account is locked
    │   ├── NotFoundError                  404
    │   │   └── ResultGoneError            404 for the result of a queued request
    │   ├── BadRequestError                400 of the platform
    │   ├── ModelError                     422 and every other 4xx: the model refused the input
    │   ├── TooManyRequestsError           429
    │   ├── RequestCancelledError          499
    │   ├── RedirectError                  3xx, never followed
    │   ├── StartTimeoutError (TimeoutError)   504, the caller's own ``start_timeout``
    │   ├── ServerError                    5xx of the platform or the model
    │   │   └── ServerTimeoutError (TimeoutError)  504
    │   └── GatewayError                   5xx of the load balancer in front of the platform
    ├── UploadError                        a file could not be read to its end, or not be stored
    ├── DownloadError                      a file of an output could not be fetched or written
    └── AnswerError                        a success that cannot be given in the form asked for
        ├── DecodeError                    JSON that does not decode, an empty body
        └── StructureError                 a value that does not fit ``result_type``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fal_async.verdict import AGAIN, COST, Billing, ErrorDetail, Verdict

__all__ = [
    "AccessDeniedError",
    "AccountLockedError",
    "AnswerError",
    "AuthenticationError",
    "BadRequestError",
    "Billing",
    "BodyBrokenError",
    "BodyTooLargeError",
    "CallTimeoutError",
    "ConnectError",
    "ConnectTimeoutError",
    "ConnectionLostError",
    "DecodeError",
    "DownloadError",
    "ErrorDetail",
    "FalError",
    "GatewayError",
    "InDoubtError",
    "InputError",
    "InterruptedCallError",
    "JournalError",
    "MissingKeyError",
    "ModelError",
    "NotFoundError",
    "RedirectError",
    "RequestCancelledError",
    "ResultGoneError",
    "ServerError",
    "ServerTimeoutError",
    "SessionError",
    "StartTimeoutError",
    "StatusError",
    "StreamLostError",
    "StructureError",
    "TooManyRequestsError",
    "TransportError",
    "UploadError",
    "Verdict",
]


_COLLECT = "Fetch the result with .handle: that costs nothing, however often."


class FalError(Exception):
    """Root of every error of this package.

    :ivar what: one short sentence: what happened.
    :ivar billing: what the call may have cost, over all its attempts.
    :ivar retryable: fal said, or the kind of failure suggests, that the same call may succeed later.
    :ivar request_id: fal's id of the request, where an answer named it.
    :ivar status: the HTTP status, where there was an answer.
    :ivar error_type: fal's machine word for the failure (PROTOCOL 5.2, 5.1).
    :ivar details: the entries of a model error.
    :ivar retry_after: seconds fal asked to wait, if it did.
    :ivar attempts: how many times the request was sent, refusals (429) not counted.
    :ivar headers: the answer's headers, case-insensitive.
    :ivar body: the answer's raw bytes, as far as they came.
    :ivar first: the first failure of the call, where later attempts failed in another way.
    :ivar handle: the :class:`RequestHandle` of a queued request, to collect its result with.
    """

    _advice: str = ""  # where it is the same whatever the call cost
    _leaves_the_result = False  # of a queued request: what failed was not the request

    def __init__(
        self,
        what: str,
        *,
        billing: Billing = Billing.NOT_BILLED,
        retryable: bool = False,
        request_id: str | None = None,
        status: int | None = None,
        error_type: str | None = None,
        details: Sequence[ErrorDetail] = (),
        retry_after: float | None = None,
        attempts: int = 0,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        super().__init__(what)
        self.billing = billing
        self.retryable = retryable
        self.request_id = request_id
        self.status = status
        self.error_type = error_type
        self.details = tuple(details)
        self.retry_after = retry_after
        self.attempts = attempts
        self.headers: Mapping[str, str] = {} if headers is None else headers
        self.body = body
        self.first: FalError | None = None
        self.handle: Any = None

    # No __reduce__ of our own: BaseException's calls the class with `args` (the sentence) and then
    # restores `__dict__`, which holds every fact.

    @property
    def what(self) -> str:
        return str(self.args[0])

    @property
    def advice(self) -> str:
        """What the caller may safely do: one short sentence, part of the text."""
        return _COLLECT if self.collectable else self._advice or AGAIN[self.billing]

    @property
    def collectable(self) -> bool:
        """Whether the result of a queued request may still be had with ``handle``."""
        paid = self.billing is not Billing.NOT_BILLED
        return self.handle is not None and self._leaves_the_result and paid

    def __str__(self) -> str:
        sentences = [_full_stop(self.what), COST[self.billing], self.advice]
        if self.request_id:
            sentences.append(f"Request {self.request_id}.")
        return " ".join(sentences)


def _full_stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


class InputError(FalError, ValueError):
    """An argument that cannot be sent. Nothing was sent, nothing billed."""

    _advice = "Correct the argument; nothing was sent."


class MissingKeyError(FalError):
    """No API key was found; the text lists every place looked in. Nothing was sent."""

    _advice = "Give one; nothing was sent."


class SessionError(FalError, RuntimeError):
    """The ``AsyncFal`` cannot be used here: closed, or opened in another event loop."""

    _leaves_the_result = True


class JournalError(FalError):
    """The journal of a batch cannot be used, or can no longer be written; ``what`` says why.

    A file that cannot be used is left as it is. Nothing is sent whose intent is not in the journal. An answer
    that could not be written is still given to whoever waits for it; ``billing`` is then that answer's.

    :ivar remedy: what to do about it: a sentence, part of the text.
    """

    remedy: str = ""

    @property
    def advice(self) -> str:
        return self.remedy or super().advice


class TransportError(FalError):
    """The exchange with fal did not complete."""

    _leaves_the_result = True


class ConnectError(TransportError):
    """No connection was made or nothing was written to it (DNS, refused, TLS). Not billed."""


class ConnectTimeoutError(ConnectError, TimeoutError):
    """No connection within the connect budget (10 s; 5 s where a backup domain exists). Not billed."""


class ConnectionLostError(TransportError):
    """The connection was lost after the first byte was written. May have been billed in full."""


class StreamLostError(ConnectionLostError):
    """A stream of events broke off, or fell silent for ``idle`` seconds. What had come was given.

    May have been billed: in full, if the connection was lost; not, if the model failed. Both look the same.

    :ivar events: how many events had been given; ``last`` is the last of them, None if there was none.
    """

    _advice = (
        "What came is yours, the rest is lost; calling it again is another call, billed on its own."
    )
    events: int = 0
    last: Any = None


class BodyBrokenError(TransportError):
    """A success whose body broke off; ``body`` holds what came. Billed."""

    _advice = "What arrived is in .body; sending it again is another call, billed on its own."


class BodyTooLargeError(TransportError):
    """An answer larger than the session's ``max_answer_bytes``; ``body`` holds what came. Billed if 2xx."""

    _advice = "Raise max_answer_bytes; what was read is in .body."


class CallTimeoutError(FalError, TimeoutError):
    """The call's ``timeout`` passed. ``billing`` tells whether anything had been written."""

    _leaves_the_result = True


class InDoubtError(FalError):
    """A journal holds the intent of this call and not its end: the program was killed in between.

    It may have been sent, and billed, and it is not sent again unless told (``in_doubt``).

    :ivar intended_at: when it was about to be sent, in Unix seconds.
    """

    _advice = (
        'Say in_doubt="reconcile" or in_doubt="retry" to go on with it; the latter may pay twice.'
    )
    intended_at: float | None = None


class InterruptedCallError(FalError):
    """A map was left before the call had ended; ``billing`` tells what it may have cost."""

    _leaves_the_result = True


class StatusError(FalError):
    """fal answered with something else than success.

    :ivar invited: True if fal asks for the call to be sent again, or says that no runner ever had it;
        False if fal asks for it not to be; None if it says neither.
    """

    invited: bool | None = None


class AuthenticationError(StatusError):
    """401: the key is missing, malformed or unknown. Not billed."""

    _advice = "Check the key (FAL_KEY)."


class AccessDeniedError(StatusError):
    """403: the key may not do this. Not billed."""

    _advice = "Check the account and the key's permissions."


class AccountLockedError(AccessDeniedError):
    """403: the account is locked; ``reason`` says why (PROTOCOL 2.1). Not billed."""

    reason: str = ""


class NotFoundError(StatusError):
    """404: no such model or path. Not billed."""

    _advice = "Check the model id."


class ResultGoneError(NotFoundError):
    """404 for the result of a queued request: fal does not know it, or keeps it no longer (PROTOCOL 6.4).

    Whether the request ran, and was billed, is not known.
    """

    _advice = "Results are kept for an hour, large ones for six minutes."


class BadRequestError(StatusError):
    """400 of the platform (``error_type="bad_request"``), such as a bad timeout header. Not billed."""

    _advice = "Correct the request."


class ModelError(StatusError):
    """The model refused the input (422 and other 4xx); ``details`` say where and why.

    Billed or not as ``x-fal-billable-units`` says; unknown where the answer does not.
    """

    @property
    def advice(self) -> str:
        return super().advice if self.retryable else "The same input will fail again."


class TooManyRequestsError(StatusError):
    """429: over the account's or the model's limit; ``limit`` if the answer named it. Not billed."""

    _leaves_the_result = True
    limit: int | None = None


class RequestCancelledError(StatusError):
    """499: the request was cancelled or its connection given up."""


class RedirectError(StatusError):
    """3xx: redirects are not followed, since the key would go along. ``location`` says where to."""

    _advice = "Call the place it names yourself, if you trust it."
    location: str | None = None


class StartTimeoutError(StatusError, TimeoutError):
    """504: no runner started within the caller's ``start_timeout``. Not billed."""


class ServerError(StatusError):
    """5xx that carries a request id: the platform or the model failed. Not billed."""


class ServerTimeoutError(ServerError, TimeoutError):
    """504 that carries a request id: a runner did not start or finish in time. Not billed."""


class GatewayError(StatusError):
    """5xx without a request id: whether the platform behind ever saw the call is unknown."""

    _leaves_the_result = True


class UploadError(FalError):
    """A file could not be read to its end, or not be stored. Not billed; ``status`` is fal's, if any."""

    _advice = "Uploading it again costs nothing."


class DownloadError(FalError):
    """A file could not be fetched, or not be written. Not billed: the call that made it was, on its own.

    ``status`` is that of the answer, if that was the trouble: 403 for a file that not everybody may read, 404
    for one that is hidden, expired or was never there. If it was the disk, its ``OSError`` is the cause.
    """

    _advice = "Fetching it again costs nothing."


class AnswerError(FalError):
    """A paid answer that cannot be given in the form asked for; the raw bytes are in ``body``.

    :ivar value: the decoded answer, where it decoded.
    :ivar path: where it did not fit, as in ``images[0].url``.
    """

    _advice = "The answer is kept in .body and .value; sending it again is another call, billed on its own."
    _leaves_the_result = True
    value: Any = None
    path: str = ""


class DecodeError(AnswerError):
    """A success whose body is empty or not the JSON it says it is. Billed."""


class StructureError(AnswerError):
    """A success whose value does not fit ``result_type``; ``value`` is the plain answer. Billed."""
