"""The submit: the one exchange with the queue that may cost something (PROTOCOL 6.1, 15).

It is sent again only where it was certainly not accepted. The answer's body names the request, or its header,
where the body never came.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import cattrs

from fal_async.errors import (
    Billing,
    ConnectionLostError,
    FalError,
    InputError,
    StatusError,
    Verdict,
)
from fal_async.features.asking import read_content, unreadable
from fal_async.features.handle import RequestHandle
from fal_async.policy.retry import Resend, RetryPolicy
from fal_async.protocol import routes
from fal_async.protocol.auth import check_key
from fal_async.protocol.codec import encode_input
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.protocol.model import parse_model_id
from fal_async.protocol.queue import Submission, read_submission
from fal_async.protocol.routes import check_request_id
from fal_async.protocol.structuring import check_result_type, default_converter
from fal_async.protocol.submitting import SubmitOptions, build_submit_headers
from fal_async.transport.base import Call, Clock, Transport

__all__ = ["Submit", "Submitter"]

_NO_OPTIONS: Final = SubmitOptions()
#: What fal answers to a submit comes at once; silence for longer is a loss. Large inputs take their time.
_WITHIN: Final = 120.0
_SLOWEST: Final = 50_000  # bytes a second
#: Refused, and so not queued (PROTOCOL 15); the others of the 4xx say that the exchange was cut short.
_REFUSED: Final = frozenset(range(400, 500)) - {408, 499}


@attrs.frozen(kw_only=True)
class Submit:
    """All that makes a submit: built and checked before anything is sent.

    :ivar headers: options and the caller's own, without the key.
    """

    model: str
    body: bytes = attrs.field(repr=False)
    headers: dict[str, str] = attrs.field(repr=False)
    webhook_url: str | None = attrs.field(default=None, repr=False)
    max_queue_length: int | None = None


class Submitter:
    """Puts requests into the queue.

    :param transport: brings 2xx answers or raises.
    """

    def __init__(
        self,
        transport: Transport,
        base: str,
        converter: cattrs.BaseConverter | None,
        clock: Clock,
    ) -> None:
        self._transport = transport
        self._base = base
        self._converter = converter
        self._unstructure = (converter or default_converter()).unstructure
        self._clock = clock

    def prepare(
        self,
        model: str,
        input: object,
        headers: dict[str, str],
        call: Call,
        result_type: Any,
        options: SubmitOptions = _NO_OPTIONS,
    ) -> Submit:
        """Check all that makes a submit, before anything is sent.

        :raises InputError: for what cannot be sent, or not be structured in the end.
        """
        parse_model_id(model)
        if call.key is not None:
            check_key(call.key)
        if result_type is not None:
            check_result_type(result_type, self._converter)
        call.policy = _certain(call.policy, waits=options.max_queue_length is None)
        return Submit(
            model=model,
            body=encode_input(input, self._unstructure),
            headers=build_submit_headers(options) | headers,
            webhook_url=options.webhook_url,
            max_queue_length=options.max_queue_length,
        )

    async def send(self, submit: Submit, call: Call) -> RequestHandle:
        """Put a request into the queue.

        :raises FalError: with ``billing`` unknown where fal may have accepted it.
        """
        failure: FalError
        try:
            async with asyncio.timeout(_WITHIN + len(submit.body) / _SLOWEST):
                response = await self._transport.send(self._request(submit), call)
            return self._handle(submit, _read(response), call)
        except asyncio.CancelledError as cancelled:
            cancelled.verdict = self.verdict(submit, call)  # type: ignore[attr-defined]
            raise
        except FalError as error:
            failure, name = error, error.request_id if _is_success(error) else None
            failure.billing = _cost(error, call)
        except TimeoutError:
            name = _accepted_as(call)
            failure = ConnectionLostError(
                "fal fell silent", billing=_uncertain(call.billing), attempts=call.attempts
            )
        if name is None:
            raise failure
        # Accepted, and named by the head of an answer whose body is damaged or never came.
        return self._handle(submit, Submission(request_id=name), call)

    def verdict(self, submit: Submit, call: Call) -> Verdict:
        """What is known of a submit that is cut short; with the handle, if its answer had begun."""
        name = _accepted_as(call)
        return Verdict(
            billing=Billing.UNKNOWN if _may_be_queued(call) else _uncertain(call.billing),
            attempts=call.attempts,
            request_id=name,
            handle=None
            if name is None
            else self._handle(submit, Submission(request_id=name), call),
        )

    def _request(self, submit: Submit) -> HttpRequest:
        model = parse_model_id(submit.model)
        return HttpRequest(
            method="POST",
            url=routes.submit_url(
                self._base, model, webhook=submit.webhook_url, max_length=submit.max_queue_length
            ),
            headers=dict(submit.headers),
            body=submit.body,
            application=model.application,
        )

    def _handle(self, submit: Submit, submission: Submission, call: Call) -> RequestHandle:
        return RequestHandle(
            model=str(parse_model_id(submit.model)),
            request_id=submission.request_id,
            status_url=_usable(submission.status_url),
            response_url=_usable(submission.response_url),
            cancel_url=_usable(submission.cancel_url),
            key=call.key,
            submitted=self._clock.now(),
        )


def _certain(policy: RetryPolicy, *, waits: bool) -> RetryPolicy:
    """The caller's policy, of which a submit keeps what cannot queue it twice.

    :param waits: whether a refusal (429) may be waited out: not where the caller asked for it.
    """
    resend = policy.resend
    if Resend.LOST not in resend:
        # A 5xx does not say whether the request was queued before it.
        resend &= {Resend.UNSENT, Resend.REFUSED}
    if not waits:
        resend -= {Resend.REFUSED}
    return attrs.evolve(policy, resend=resend)


def _read(response: HttpResponse) -> Submission:
    submission = read_submission(read_content(response))
    if submission is None or not _is_id(submission.request_id):
        raise unreadable(response, "the submit was accepted, and its answer names no request")
    return submission


def _is_success(error: FalError) -> bool:
    named = error.request_id is not None and _is_id(error.request_id)
    return named and 200 <= (error.status or 0) < 300


def _accepted_as(call: Call) -> str | None:
    """The id in the head of a success, of which no more has come yet."""
    begun = call.current is Billing.BILLED and call.request_id is not None
    return call.request_id if begun and _is_id(call.request_id) else None


def _is_id(text: object) -> bool:
    try:
        return bool(check_request_id(text))
    except InputError:
        return False


def _usable(url: str | None) -> str | None:
    """A URL that fal named, unless nothing can be asked for there."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    return url if parts.scheme in {"http", "https"} and parts.hostname else None


def _cost(error: FalError, call: Call) -> Billing:
    # Before the last send, only those that were certainly not accepted are followed by another one; or the
    # caller has taken the risk.
    alone = call.attempts <= 1 or Resend.LOST not in call.policy.resend
    if error.status in _REFUSED and alone:
        return Billing.NOT_BILLED
    return Billing.UNKNOWN if isinstance(error, StatusError) else _uncertain(error.billing)


def _may_be_queued(call: Call) -> bool:
    """Whether fal may have accepted it, though the head of a failure says that nothing ran.

    Where lost submits are sent again, a failure before this send says as little.
    """
    return call.under_way or (call.first is not None and Resend.LOST in call.policy.resend)


def _uncertain(billing: Billing) -> Billing:
    """A success says that it was accepted; whether it will run, and be billed, is not known yet."""
    return Billing.UNKNOWN if billing is Billing.BILLED else billing
