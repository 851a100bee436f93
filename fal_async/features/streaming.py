"""Streaming: one POST, and its answer event by event while the model works (PROTOCOL 8).

It knows a transport that brings the head of a success and keeps the call's slot; not aiohttp.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import attrs
import cattrs

from fal_async.errors import (
    AnswerError,
    Billing,
    BodyTooLargeError,
    CallTimeoutError,
    ConnectionLostError,
    DecodeError,
    FalError,
    InputError,
    SessionError,
    StreamLostError,
)
from fal_async.features.keywords import CallOptions
from fal_async.features.run import Direct, send_within
from fal_async.policy.timeouts import check_timeout
from fal_async.protocol import wire
from fal_async.protocol.billing import billable_units
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.model import parse_model_id
from fal_async.protocol.outcome import read_answer
from fal_async.protocol.sse import Event
from fal_async.protocol.streaming import Intake, event_reader, stream_id
from fal_async.protocol.workflow import WorkflowFailure, WorkflowOutput, error_from_failure
from fal_async.transport.base import Call, Slots, Transport

__all__ = ["EventStream", "StreamOptions", "Streamer"]

T_co = TypeVar("T_co", covariant=True)

_NONE: Any = object()


class StreamOptions(CallOptions, total=False):
    """The keyword arguments of ``AsyncFal.stream``; told in full there."""

    idle: float | None


def _check_idle(idle: object) -> float | None:
    try:
        return check_timeout(idle)
    except InputError:
        raise InputError("idle is a number of seconds above 0, or None") from None


@attrs.frozen(kw_only=True)
class _Opening:
    """All that a stream is opened and read with."""

    transport: Transport
    slots: Slots
    request: HttpRequest
    placed: Callable[[], Awaitable[HttpRequest]] | None
    """The request, once the files of its input lie where fal finds them; None if there are none."""
    call: Call
    idle: float | None
    is_workflow: bool
    read: Callable[[bytes], Any]
    read_whole: Callable[[HttpResponse], Any] | None
    limit: int


class Streamer:
    """Makes streams over a transport that only ever brings a 2xx.

    :param slots: whose ``inside`` ends with the session.
    """

    def __init__(
        self,
        direct: Direct,
        transport: Transport,
        slots: Slots,
        converter: cattrs.BaseConverter | None,
        max_answer_bytes: int,
    ) -> None:
        self._direct = direct
        self._transport = transport
        self._slots = slots
        self._converter = converter
        self._limit = max_answer_bytes

    @staticmethod
    def accepting(own: Mapping[str, str] | None) -> Mapping[str, str]:
        """The caller's own headers, which ask for events unless they ask for something else."""
        if own is not None and not isinstance(own, Mapping):
            return own  # whoever checks headers says what is wrong with it
        asks = any(isinstance(name, str) and name.lower() == "accept" for name in own or ())
        return {**({} if asks else {"Accept": wire.EVENT_STREAM}), **(own or {})}

    def prepare(
        self,
        model: str,
        input: object,
        headers: dict[str, str],
        call: Call,
        result_type: Any,
        idle: float | None,
        placing: Callable[[], Awaitable[Any]] | None = None,
    ) -> EventStream[Any]:
        """Check all that makes a stream, before anything is sent.

        :param placing: uploads the files of the input, and gives it with their URLs; None: there are none.
        :raises InputError: for what cannot be sent, or not be structured in the end.
        """
        call.lasting = True
        build = partial(self._direct.prepare, stream_id(model))

        async def placed(placing: Callable[[], Awaitable[Any]]) -> HttpRequest:
            return build(await placing(), headers, call, result_type)

        request = build({} if placing else input, headers, call, result_type)
        typed = result_type is not None and result_type is not bytes
        return EventStream(
            _Opening(
                transport=self._transport,
                slots=self._slots,
                request=request,
                placed=partial(placed, placing) if placing else None,
                call=call,
                idle=_check_idle(idle),
                is_workflow=result_type is None and bool(parse_model_id(model).namespace),
                read=event_reader(model, result_type, self._converter),
                read_whole=(
                    (lambda answer: read_answer(answer, result_type, self._converter, self._limit))
                    if typed
                    else None
                ),
                limit=self._limit,
            )
        )


class EventStream(Generic[T_co]):
    """The events of one call, as they come.

    ``async with fal.stream(…) as events:``, and in there ``async for event in events:``.
    Entering it sends the call, and returns as soon as fal has answered with a success. Leaving it closes the
    connection at once. Nothing is read ahead of the consumer but what fits the socket's buffers.

    :ivar count: how many events have been given.
    :ivar name: the name (``event:``) of the one given last; empty for none.
    :ivar raw: its payload as it came.
    """

    def __init__(self, opening: _Opening) -> None:
        self._opening = opening
        self._call = opening.call
        self._read: Callable[[bytes], Any] = bytes  # a body of another type comes as it is
        self._ready: deque[Event] = deque()
        self._intake: Intake | None = None
        self._answer: HttpResponse | None = None
        self._deadline: float | None = None
        self._trouble: FalError | None = None
        self._failure: WorkflowFailure | None = None
        self._entering = self._reading = False
        self._at_end = True
        self._last: Any = _NONE
        self.count = 0
        self.name, self.raw = "", b""

    # --- life -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entering:
            raise InputError("a stream is entered once: call stream() again for another one")
        self._entering = True
        call = self._call
        opening = self._opening
        request = await opening.placed() if opening.placed else opening.request
        answer = self._answer = await send_within(opening.transport, request, call)
        self._at_end = False
        if billable_units(answer.headers) is None:
            # It runs. A model that fails from here on is not charged for, and fal has no word for that.
            call.current = Billing.UNKNOWN
        if call.timeout is not None and call.started is not None:
            self._deadline = call.started + call.timeout
        whole = self._opening.read_whole is not None
        intake = self._intake = Intake(answer.headers, self._opening.limit, whole=whole)
        self._ready = intake.ready
        if intake.has_events:
            self._read = self._opening.read
        elif whole:
            self._read = self._whole_value
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. Idempotent. The call is charged in full, unless its model fails."""
        self._ready.clear()
        self._trouble = self._failure = None
        self._let_go(early=not self._at_end)

    def _let_go(self, *, early: bool) -> None:
        self._at_end = True
        if self._call.opened is not None:
            self._call.opened.close()
        if self._call.held is not None:
            self._call.held.end(early=early)

    # --- facts ------------------------------------------------------------------------------------------

    @property
    def request_id(self) -> str | None:
        """fal's id of the request: known as soon as the stream is entered."""
        return self._call.request_id

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers."""
        return Headers(self._entered().headers)

    @property
    def final(self) -> T_co:
        """The event given last: after the end, the model's result.

        :raises AnswerError: if there was none.
        """
        if self._last is _NONE:
            raise self._told(AnswerError("the stream brought no event"))
        last: T_co = self._last
        return last

    def _entered(self) -> HttpResponse:
        if self._answer is None:
            raise InputError("a stream is entered first: async with fal.stream(…) as events")
        return self._answer

    def __repr__(self) -> str:
        state = "ended" if self._at_end else "open"
        if self._answer is None:
            state = "not entered"
        return f"<EventStream {self.request_id or ''} {state}, {self.count} events>"

    # --- events -----------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        self._entered()
        return self

    async def __anext__(self) -> T_co:
        """The next event.

        :raises StructureError: for an event that does not fit; it is in the error, and the next may fit.
        """
        if not self._ready:
            await self._more()
        event = self._ready.popleft()
        self.count += 1
        self.name, self.raw = event.event, event.data
        try:
            value = self._read(event.data)
        except AnswerError as error:
            raise self._told(error)  # noqa: B904 - the very error, with more facts
        if self._opening.is_workflow:
            self._note(value)
        self._last = value
        return value  # type: ignore[no-any-return]

    def _note(self, value: Any) -> None:
        if isinstance(value, WorkflowFailure):
            self._failure = value
        elif isinstance(value, WorkflowOutput):
            self._failure = None  # it came to a result all the same

    def _whole_value(self, body: bytes) -> Any:
        answer, read_whole = self._entered(), self._opening.read_whole
        assert read_whole is not None  # noqa: S101 - it is why the answer is read as a whole
        return read_whole(HttpResponse(answer.status, answer.headers, body))

    async def _more(self) -> None:
        """Bring at least one event, or say why there is none."""
        if self._reading:
            raise InputError("a stream is read by one task at a time")
        self._entered()
        self._reading = True
        try:
            while not self._ready:
                if self._at_end:
                    raise self._end()
                await self._take_piece()
        finally:
            self._reading = False

    def _end(self) -> Exception:
        trouble, self._trouble = self._trouble, None
        failure, self._failure = self._failure, None
        if trouble is not None:
            return self._told(trouble)
        if failure is not None:
            return self._told(
                error_from_failure(failure, self._opening.request, self.request_id),
                billing=Billing.UNKNOWN,
            )
        return StopAsyncIteration()

    async def _take_piece(self) -> None:
        try:
            piece = await self._opening.slots.inside(self._call, self._read_piece())
            if piece and self._intake is not None:
                self._intake.take(piece)
            else:
                self._finish()
        except ConnectionLostError as error:
            self._break_off(StreamLostError(f"{error.what} after {self._so_far()}"), error)
        except SessionError as error:
            self._break_off(SessionError(error.what), None)
        except CallTimeoutError as error:
            self._break_off(error, None)
        except Undecodable as error:
            self._break_off(DecodeError(f"the stream does not decode: {error}"), None)
        except ValueError as error:
            self._break_off(BodyTooLargeError(str(error)), None)

    async def _read_piece(self) -> bytes:
        opened, idle = self._call.opened, self._opening.idle
        assert opened is not None  # noqa: S101 - the transport's, for every success
        if self._deadline is None:
            return await opened.read(idle)
        try:
            async with asyncio.timeout_at(self._deadline):
                return await opened.read(idle)
        except TimeoutError:
            raise CallTimeoutError(
                f"the stream did not end within the call's timeout of {self._call.timeout:g} s",
                retryable=True,
            ) from None

    def _finish(self) -> None:
        """The end of the answer, as far as HTTP can tell."""
        cut = None if self._intake is None else self._intake.end()
        if cut is not None:
            trouble = StreamLostError(f"the stream ended within an event, after {self._so_far()}")
            trouble.body, self._trouble = cut, trouble
        elif self._call.current is Billing.UNKNOWN:
            self._call.current = Billing.BILLED
        self._let_go(early=False)

    def _so_far(self) -> str:
        count = self.count + len(self._ready)
        return "one event" if count == 1 else f"{count or 'no'} events"

    def _break_off(self, trouble: FalError, cause: BaseException | None) -> None:
        """There is nothing more to come; what has come is given first."""
        trouble.__cause__ = cause
        self._trouble = trouble
        self._let_go(early=True)

    def _told(self, error: FalError, *, billing: Billing | None = None) -> FalError:
        """The error, with what is known of the call."""
        answer, call = self._entered(), self._call
        error.billing = call.billing if billing is None else billing
        error.attempts, error.request_id = call.attempts, call.request_id
        if error.status is None:
            error.status, error.headers = answer.status, Headers(answer.headers)
        if isinstance(error, StreamLostError):
            error.events, error.last = self.count, None if self._last is _NONE else self._last
        return error
