"""The queue: submit, ask, wait, fetch, cancel; and a run that survives a broken connection (PROTOCOL 6).

After a submit nothing costs: status, result and cancel may be repeated, and are, within the deadline.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import attrs
import cattrs

from fal_async.errors import (
    AnswerError,
    Billing,
    FalError,
    NotFoundError,
    ResultGoneError,
    StatusError,
)
from fal_async.features.following import Follower
from fal_async.features.handle import RequestHandle
from fal_async.features.run import send_within
from fal_async.policy.retry import Resend, RetryPolicy
from fal_async.protocol import codec, routes
from fal_async.protocol.auth import check_key
from fal_async.protocol.billing import billable_units
from fal_async.protocol.codec import encode_input
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.protocol.model import parse_model_id
from fal_async.protocol.outcome import read_answer
from fal_async.protocol.queue import (
    CancelOutcome,
    Completed,
    QueueStatus,
    Submission,
    read_cancel,
    read_status,
    read_submission,
)
from fal_async.protocol.structuring import check_result_type, default_converter
from fal_async.protocol.submitting import SubmitOptions, build_submit_headers
from fal_async.transport.base import Call, Clock, Streaming, Transport

__all__ = ["Queue", "Submit"]

#: What costs nothing is asked for until it is there: ten minutes of backoff, if no deadline ends it before.
_FREE: Final = RetryPolicy(
    sends=1000, budget=600.0, backoff=0.5, backoff_max=8.0, resend=frozenset(Resend)
)
#: The same, where a 5xx with a request id is the model's own last word.
_FINAL: Final = attrs.evolve(
    _FREE, resend=frozenset((Resend.UNSENT, Resend.REFUSED, Resend.LOST, Resend.INVITED))
)
#: A status that tells of no failure, and an answer that does: it is asked for a while longer.
_HOPEFUL: Final = attrs.evolve(_FREE, sends=8, budget=60.0)


_NO_OPTIONS: Final = SubmitOptions()


@attrs.frozen(kw_only=True)
class Submit:
    """All that makes a submit: built and checked before anything is sent.

    :ivar headers: options and the caller's own, without the key.
    """

    model: str
    body: bytes = attrs.field(repr=False)
    headers: dict[str, str] = attrs.field(repr=False)
    webhook_url: str | None = None
    max_queue_length: int | None = None


class Queue:
    """Requests in fal's queue.

    :param transport: brings 2xx answers or raises; never a brake: queued requests just wait at fal.
    :param poll_rate: polls a second, of all requests of the session together.
    """

    def __init__(
        self,
        transport: Transport,
        streams: Streaming,
        base: str,
        converter: cattrs.BaseConverter | None,
        clock: Clock,
        *,
        max_answer_bytes: int,
        poll_rate: float,
    ) -> None:
        self._transport = transport
        self._base = base
        self._converter = converter
        self._unstructure = (converter or default_converter()).unstructure
        self._clock = clock
        self._limit = max_answer_bytes
        self._follower = Follower(streams, self.status, base, clock, poll_rate=poll_rate)

    # --- one request at a time --------------------------------------------------------------------------

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
        # A full queue is refused with 429 because the caller asked for it: no reason to wait.
        call.policy = attrs.evolve(call.policy, resend=call.policy.resend - {Resend.REFUSED})
        return Submit(
            model=model,
            body=encode_input(input, self._unstructure),
            headers=build_submit_headers(options) | headers,
            webhook_url=options.webhook_url,
            max_queue_length=options.max_queue_length,
        )

    async def submit(self, submit: Submit, call: Call) -> RequestHandle:
        """Put a request into the queue.

        :raises FalError: with ``billing`` unknown where fal may have accepted it.
        """
        model = parse_model_id(submit.model)
        request = HttpRequest(
            method="POST",
            url=routes.submit_url(
                self._base, model, webhook=submit.webhook_url, max_length=submit.max_queue_length
            ),
            headers=submit.headers,
            body=submit.body,
            application=model.application,
        )
        try:
            response = await send_within(self._transport, request, call)
        except FalError as error:
            raise _of_a_submit(error) from error.__cause__
        submission = read_submission(_json(response))
        if submission is None:
            # The header says the same (PROTOCOL 6.1), where the body is damaged or strange.
            if call.request_id is None:
                raise _unreadable(
                    response, "the submit was accepted, and its answer names no request"
                )
            submission = Submission(request_id=call.request_id)
        return RequestHandle(
            model=str(model),
            request_id=submission.request_id,
            status_url=submission.status_url,
            response_url=submission.response_url,
            cancel_url=submission.cancel_url,
            queue=self,
            key=call.key,
        )

    def bind(self, handle: RequestHandle, key: str | None) -> RequestHandle:
        """The handle, usable with this session."""
        return attrs.evolve(handle, queue=self, key=key)

    def now(self) -> float:
        """The time on the session's clock."""
        return self._clock.now()

    async def status(self, handle: RequestHandle, *, logs: bool = False) -> QueueStatus:
        """One look at where a request stands."""
        url = handle.status_url or routes.status_url(
            self._base, handle.application, handle.request_id
        )
        response = await self._ask(handle, "GET", routes.with_logs(url, logs=logs), _FREE)
        status = read_status(_json(response), handle.request_id)
        if status is None:
            raise _unreadable(response, "the answer is no status of a request")
        return status

    def updates(self, handle: RequestHandle, *, logs: bool) -> AsyncIterator[QueueStatus]:
        """Every change until the end."""
        return self._follower.updates(handle, logs=logs)

    async def result(self, handle: RequestHandle, *, result_type: Any) -> Any:
        """The output, once it is there."""
        ended: Completed | None = None
        async for update in self.updates(handle, logs=False):
            if isinstance(update, Completed):
                ended = update
        output, _ = await self.fetch(handle, ended, result_type)
        return output

    async def fetch(
        self, handle: RequestHandle, ended: Completed | None, result_type: Any
    ) -> tuple[Any, HttpResponse]:
        """The output of a request that has ended, and the answer it was read from."""
        url = handle.response_url or routes.result_url(
            self._base, handle.application, handle.request_id
        )
        failed = ended is not None and (ended.error or ended.error_type)
        try:
            response = await self._ask(handle, "GET", url, _FINAL if failed else _HOPEFUL)
        except NotFoundError as error:
            if billable_units(error.headers) is not None:
                raise  # the model's own answer
            raise _gone(error, handle) from None
        return read_answer(response, result_type, self._converter, self._limit), response

    async def cancel(self, handle: RequestHandle) -> CancelOutcome:
        """Ask fal to stop a request."""
        url = handle.cancel_url or routes.cancel_url(
            self._base, handle.application, handle.request_id
        )
        try:
            response = await self._ask(handle, "PUT", url, _FREE)
        except StatusError as error:
            outcome = read_cancel(error.status or 0, _decoded(error.body or b""))
            if outcome is None:
                raise
            return outcome
        return read_cancel(response.status, _json(response)) or CancelOutcome.SIGNALLED

    async def _ask(
        self, handle: RequestHandle, method: str, url: str, policy: RetryPolicy
    ) -> HttpResponse:
        request = HttpRequest(
            method=method,
            url=url,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            application=handle.application,
        )
        try:
            return await self._transport.send(request, Call(policy, key=handle.key, free=True))
        except FalError as error:
            error.handle = handle
            raise


def _json(response: HttpResponse) -> Any:
    return _decoded(response.body)


def _decoded(body: bytes) -> Any:
    try:
        return codec.decode_json(body)
    except codec.Undecodable:
        return None


def _unreadable(response: HttpResponse, what: str) -> AnswerError:
    return AnswerError(what, billing=Billing.UNKNOWN, status=response.status, body=response.body)


def _gone(error: NotFoundError, handle: RequestHandle) -> ResultGoneError:
    gone = ResultGoneError(
        "fal knows no such request, or keeps its result no longer",
        billing=Billing.UNKNOWN,
        status=error.status,
        headers=error.headers,
        body=error.body,
        request_id=handle.request_id,
    )
    gone.handle = handle
    return gone


def _of_a_submit(error: FalError) -> FalError:
    """What a failed submit cost: refused by a 4xx, it was never queued (PROTOCOL 15)."""
    if error.status is not None and 400 <= error.status < 500:
        error.billing = Billing.NOT_BILLED
    elif error.billing is Billing.BILLED:
        error.billing = Billing.UNKNOWN  # accepted; whether it will run is not known yet
    return error
