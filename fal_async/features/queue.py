"""The queue: submit, ask, wait, fetch, cancel (PROTOCOL 6).

Only the submit may cost something; status, result and cancel are asked for until they are answered.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import attrs
import cattrs

from fal_async.errors import (
    AccessDeniedError,
    AnswerError,
    AuthenticationError,
    Billing,
    BodyBrokenError,
    BodyTooLargeError,
    CallTimeoutError,
    FalError,
    GatewayError,
    NotFoundError,
    RedirectError,
    ResultGoneError,
    StatusError,
    TooManyRequestsError,
    Verdict,
)
from fal_async.features.asking import Asker, Question, read_content
from fal_async.features.following import Follower, Updates, status_question
from fal_async.features.handle import RequestHandle
from fal_async.features.room import Room
from fal_async.features.submitting import Submit, Submitter
from fal_async.policy.patience import (
    AT_ONCE,
    Patience,
    patience_with_question,
    patience_with_result,
)
from fal_async.protocol import routes, wire
from fal_async.protocol.billing import billable_units
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.outcome import read_answer
from fal_async.protocol.queue import CancelOutcome, Completed, QueueStatus, read_cancel
from fal_async.protocol.routes import check_request_id
from fal_async.protocol.structuring import check_result_type
from fal_async.transport.base import Call, Clock, Streaming, Transport

__all__ = ["Queue", "Submit", "out_of_time", "verdict_of"]

#: All that is told of an application's own failure (PROTOCOL 7).
_STATUS_TOLD: Final = re.compile(r"status code: (\d{3})\b")


class Queue:
    """Requests in fal's queue.

    :param transport: brings 2xx answers or raises; never a brake: queued requests just wait at fal.
    :param poll_rate: polls a second, of all requests of the session together.
    :ivar room: whoever waits for a request is inside.
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
        self.room = Room()
        self._base = base
        self._converter = converter
        self._clock = clock
        self._limit = max_answer_bytes
        self._submitter = Submitter(transport, base, converter, clock)
        self._asker = Asker(transport, clock)
        self._follower = Follower(streams, self._asker, base, clock, poll_rate=poll_rate)
        self.prepare = self._submitter.prepare

    def bind(self, handle: RequestHandle, key: str | None) -> RequestHandle:
        """The handle, usable with this session; its time of submission belongs to the one it is from."""
        return attrs.evolve(
            handle, queue=self, key=handle.key if key is None else key, submitted=None
        )

    def find(
        self,
        model: str | RequestHandle | Mapping[str, str],
        request_id: str | None,
        key: str | None,
    ) -> RequestHandle:
        """A request that is known from elsewhere, usable with this session.

        :raises InputError: if that names no request.
        """
        if isinstance(model, RequestHandle):
            return self.bind(model, key)
        if isinstance(model, str):
            request_id = check_request_id(request_id)
            return self.bind(RequestHandle(model=model, request_id=request_id), key)
        return self.bind(RequestHandle.from_dict(model), key)

    def now(self) -> float:
        """The time on the session's clock."""
        return self._clock.now()

    # --- the submit -------------------------------------------------------------------------------------

    async def submit(self, submit: Submit, call: Call) -> RequestHandle:
        """Put a request into the queue, within the call's ``timeout``.

        :raises CallTimeoutError: when it passed; fal may have accepted it.
        :raises FalError: with ``billing`` unknown where fal may have accepted it.
        """
        try:
            async with asyncio.timeout(call.timeout):
                return await self.enqueue(submit, call)
        except TimeoutError as error:
            if isinstance(error, FalError):
                raise
            raise out_of_time("no answer", call, verdict_of(error)) from None

    async def enqueue(self, submit: Submit, call: Call) -> RequestHandle:
        """Put a request into the queue; the call's ``timeout`` is minded by others."""
        try:
            handle = await self._submitter.send(submit, call)
        except asyncio.CancelledError as cancelled:
            cancelled.verdict = self.verdict(submit, call)  # type: ignore[attr-defined]
            raise
        return attrs.evolve(handle, queue=self)

    def verdict(self, submit: Submit, call: Call) -> Verdict:
        """What is known of a submit that is under way, or was cut short."""
        verdict = self._submitter.verdict(submit, call)
        if verdict.handle is None:
            return verdict
        return attrs.evolve(verdict, handle=attrs.evolve(verdict.handle, queue=self))

    # --- the request ------------------------------------------------------------------------------------

    async def status(self, handle: RequestHandle, *, logs: bool = False) -> QueueStatus:
        """One look at where a request stands."""
        with self._about(handle):
            return await self._status(handle, logs=logs)

    def updates(self, handle: RequestHandle, *, logs: bool) -> Updates:
        """Every change until the end."""
        return Updates(self._follower.updates(handle, logs=logs), partial(self._about, handle))

    async def result(self, handle: RequestHandle, *, result_type: Any) -> tuple[Any, HttpResponse]:
        """The output, once it is there, and the answer it was read from."""
        if result_type is not None:
            check_result_type(result_type, self._converter)
        ended: Completed | None = None
        async with self.updates(handle, logs=False) as updates:
            async for update in updates:
                ended = update if isinstance(update, Completed) else None
        return await self.fetch(handle, ended, result_type)

    async def fetch(
        self, handle: RequestHandle, ended: Completed | None, result_type: Any, input: bytes = b""
    ) -> tuple[Any, HttpResponse]:
        """The output of a request that has ended, and the answer it was read from.

        :param input: what was submitted, which the text of a failure must not repeat.
        """

        def read(response: HttpResponse) -> tuple[Any, HttpResponse]:
            return read_answer(response, result_type, self._converter, self._limit), response

        url = handle.response_url or routes.result_url(
            self._base, handle.application, handle.request_id
        )
        failed = ended is not None and bool(ended.error or ended.error_type)
        question = Question(handle=handle, url=url, read=read, within=60.0, input=input)
        with self._about(handle, failed=failed, ended=ended):
            return await self._asker.ask(question, partial(patience_with_result, failed=failed))

    async def cancel(self, handle: RequestHandle) -> CancelOutcome:
        """Ask fal to stop a request."""
        with self._about(handle):
            return await self._cancel(handle)

    async def _cancel(self, handle: RequestHandle) -> CancelOutcome:
        def patience(error: FalError) -> Patience:
            return AT_ONCE if _said(error) else patience_with_question(error)

        url = handle.cancel_url or routes.cancel_url(
            self._base, handle.application, handle.request_id
        )
        question = Question(handle=handle, url=url, read=_read_cancel, method="PUT")
        try:
            return await self._asker.ask(question, patience)
        except StatusError as error:
            outcome = _said(error) or read_cancel(error.status or 0, None)
            if outcome is None:
                raise
            return outcome

    async def withdraw(self, handle: RequestHandle) -> Billing:
        """Have a request stopped that nobody waits for any more; what it has cost.

        For the session's own purposes: it goes on while the session closes.
        """
        outcome = await self._cancel(handle)
        if outcome is CancelOutcome.REMOVED:
            return Billing.NOT_BILLED
        if outcome is CancelOutcome.TOO_LATE:
            # It had ended: by itself, or by a cancel whose answer was lost?
            status = await self._status(handle, logs=False)
            if isinstance(status, Completed) and not (status.error or status.error_type):
                return Billing.BILLED
        return Billing.UNKNOWN

    async def _status(self, handle: RequestHandle, *, logs: bool) -> QueueStatus:
        question = status_question(self._base, handle, logs=logs)
        return await self._asker.ask(question, patience_with_question)

    @contextmanager
    def _about(
        self, handle: RequestHandle, *, failed: bool | None = None, ended: Completed | None = None
    ) -> Iterator[None]:
        """Whatever ends the wait in here carries the handle, and says what the request may have cost.

        :param failed: of a result: whether it is a failure; None: it is something else that is asked for.
        :param ended: what the status said of it.
        """
        try:
            with self.room.inside():
                yield
        except asyncio.CancelledError as cancelled:
            cancelled.verdict = Verdict(  # type: ignore[attr-defined]
                billing=Billing.UNKNOWN, request_id=handle.request_id, handle=handle
            )
            raise
        except FalError as error:
            failure = _gone(error, failed=failed)
            failure.handle, failure.request_id = handle, handle.request_id
            own = failed is not None and _is_its_own(failure, failed=failed)
            if not own or _contradicts(failure, ended):
                failure.billing = Billing.UNKNOWN
            if failure is not error:
                raise failure from None
            raise


def out_of_time(what: str, call: Call, verdict: Verdict | None) -> CallTimeoutError:
    """The error of a call whose ``timeout`` has passed; the verdict is what was found out on leaving."""
    known = verdict or call.verdict()
    error = CallTimeoutError(
        f"{what} within the call's timeout of {call.timeout:g} s",
        billing=known.billing,
        request_id=known.request_id,
        attempts=call.attempts,
        retryable=True,
    )
    error.first, error.handle = call.first, known.handle
    return error


def verdict_of(timeout: TimeoutError) -> Verdict | None:
    """The verdict that the cancellation carried which ``asyncio.timeout`` made this error from."""
    # Its cause from Python 3.11.3 on; before that only what was being handled.
    cut = timeout.__cause__ or timeout.__context__
    verdict: Verdict | None = getattr(cut, "verdict", None)
    return verdict


def _read_cancel(response: HttpResponse) -> CancelOutcome:
    try:
        content = read_content(response)
    except AnswerError:
        content = None  # its HTTP status says enough
    return read_cancel(response.status, content) or CancelOutcome.SIGNALLED


def _said(error: FalError) -> CancelOutcome | None:
    """What a refused cancel says in words of its own; a bare 400 may be about anything."""
    if error.status is None:
        return None
    try:
        content = read_content(HttpResponse(error.status, error.headers, error.body or b""))
    except AnswerError:
        return None
    return read_cancel(0, content)


def _is_its_own(error: FalError, *, failed: bool) -> bool:
    """Whether a failure to fetch a result is the request's own end, which says what it cost."""
    if isinstance(error, (AnswerError, BodyBrokenError, BodyTooLargeError)):
        return True  # there is a result
    of_the_asking = (
        AccessDeniedError,
        AuthenticationError,
        GatewayError,
        RedirectError,
        ResultGoneError,
        TooManyRequestsError,
    )
    return isinstance(error, StatusError) and (failed or not isinstance(error, of_the_asking))


def _contradicts(error: FalError, ended: Completed | None) -> bool:
    """Whether a failure that is never charged for, by its kind, is not what the status has told.

    One of the two is wrong then, and what answered may have been in the way to a result.
    """
    if error.billing is not Billing.NOT_BILLED or billable_units(error.headers) is not None:
        return False
    if ended is None or not (ended.error or ended.error_type):
        return True
    error_type = error.headers.get(wire.ERROR_TYPE)
    if error_type or ended.error_type:
        return error_type != ended.error_type
    told = _STATUS_TOLD.search(ended.error or "")
    return told is not None and int(told[1]) != error.status


def _gone(error: FalError, *, failed: bool | None) -> FalError:
    """A 404 says that there is no such request, unless it is the model's own or there is no such model."""
    if not isinstance(error, NotFoundError) or isinstance(error, ResultGoneError):
        return error
    own = failed or (failed is not None and billable_units(error.headers) is not None)
    if own or 'Application "' in error.what:
        return error
    return ResultGoneError(
        "fal knows no such request, or keeps its result no longer",
        status=error.status,
        headers=error.headers,
        body=error.body,
        attempts=error.attempts,
    )
