"""Any model over one WebSocket: payloads sent ahead, answers in order (PROTOCOL 9).

What a user holds of it; how payloads and answers travel is told by ``gateway`` and ``answering``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from fal_async.errors import Billing, DecodeError, FalError, InputError, SessionError
from fal_async.features.answering import Exchange
from fal_async.features.gateway import Line
from fal_async.features.run import Direct, timed_out
from fal_async.features.verdicts import keeping_verdict
from fal_async.policy.retry import Resend
from fal_async.protocol.codec import Undecodable, content_type_of, decode_json
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.outcome import error_from_response
from fal_async.protocol.sse import EventParser
from fal_async.transport.base import Call, Clock, Slots
from fal_async.transport.sockets import Sockets

__all__ = ["SocketOutputs", "WebSocketConnection", "check_ahead"]

T = TypeVar("T")
R = TypeVar("R")

#: So much of the handshake's headers belongs to a body, and there is none.
_OF_A_BODY: Final = frozenset(("accept", "accept-encoding", "content-type"))
_END: Final = object()


def check_ahead(value: object) -> int:
    """A caller's number of payloads on their way at once.

    :raises InputError: for anything but a whole number of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError("ahead is a whole number of at least 1")
    return value


class WebSocketConnection(Generic[T]):
    """Calls of one model over one connection; made by :meth:`AsyncFal.websocket`, and entered.

    Any number of tasks may use it at the same time. Payloads go out in the order in which they were given,
    ``ahead`` of them at most before the first is answered, and run one after the other. A connection that
    breaks is made again for the next payload; those that were on it are lost, and never sent again.
    """

    def __init__(
        self,
        direct: Direct,
        sockets: Sockets,
        slots: Slots,
        clock: Clock,
        new_call: Callable[[], Call],
        model: str,
        headers: dict[str, str],
        result_type: Any,
        *,
        ahead: int,
        limit: int,
    ) -> None:
        self._direct = direct
        self._slots = slots
        self._clock = clock
        self._new_call = new_call
        self._model = model
        self._headers = headers
        self._result_type = result_type
        self._limit = limit
        first = self._prepared({}, new_call())  # what is wrong with model, key or type is said now
        self._resends = Resend.REFUSED in new_call().policy.resend
        first.headers = {k: v for k, v in headers.items() if k.lower() not in _OF_A_BODY}
        first.method, first.body = "GET", b""
        self._line = Line(
            sockets, slots, clock, first, new_call, ahead=check_ahead(ahead), max_frame=limit
        )
        self._ahead = ahead
        self._pulls: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        call = self._new_call()
        await self._slots.inside(call, self._line.connect())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with keeping_verdict(exc):
            await self._leave()

    async def _leave(self) -> None:
        left = False
        try:
            for pull in tuple(self._pulls):
                pull.cancel()
            await asyncio.gather(*self._pulls, return_exceptions=True)
            left = True
        finally:
            await self._line.close(goodbye=left)

    async def run(self, input: Any) -> T:
        """Call the model and wait for its answer; raises as :meth:`AsyncFal.run` does.

        :raises ConnectionLostError: the connection broke while the payload was on its way; it may have been
            billed. Payloads that were still waiting here go over the next connection.
        """
        exchange = self._exchange(input, streamed=False)
        return await self._inside(exchange, self._sent_and_answered(exchange))

    async def stream(self, input: Any) -> AsyncGenerator[T]:
        """Call the model and take its answer while it arrives.

        Server-sent events come one by one, as ``result_type`` or plain JSON (bytes, where it is none); a body
        of any other kind in pieces of bytes, as they are sent.
        """
        exchange = self._exchange(input, streamed=True)
        try:
            await self._inside(exchange, self._sent_and_begun(exchange))
            events = EventParser(self._limit) if _is_event_stream(exchange) else None
            while piece := await self._inside(exchange, exchange.piece()):
                if events is None:
                    yield piece  # type: ignore[misc]  # bytes, whatever the result type
                    continue
                for event in _parsed(events, piece):
                    yield self._event(exchange, event.data)
        finally:
            exchange.abandon()

    def map(
        self, inputs: Iterable[Any] | AsyncIterable[Any], *, return_errors: bool = False
    ) -> SocketOutputs[T]:
        """Outputs for many inputs, in their order, with payloads sent ahead.

        ::

            async for output in ws.map(inputs):
                ...

        Inputs are taken, and sent, while the next output is waited for. A failure is raised in its place;
        the payloads behind it go on, and so does iterating the same object again.

        :param return_errors: hand out a :class:`FalError` in the place of the output that failed.
        """
        return SocketOutputs(self, inputs, return_errors=return_errors)

    # --- inside -------------------------------------------------------------------------------------

    def _prepared(self, input: Any, call: Call) -> HttpRequest:
        return self._direct.prepare(
            self._model, input, dict(self._headers), call, self._result_type
        )

    def _exchange(self, input: Any, *, streamed: bool) -> Exchange:
        call = self._new_call()
        return Exchange(self._prepared(input, call), call, limit=self._limit, streamed=streamed)

    async def _inside(
        self, exchange: Exchange, work: Coroutine[Any, Any, R], *, keep: bool = False
    ) -> R:
        """Do ``work``, which ends with the call's ``timeout``, and with the session.

        :param keep: whether the answer is waited for again by whoever is cancelled.
        """
        call = exchange.call
        try:
            if call.timeout is None:
                return await self._slots.inside(call, work)
            until = None if call.started is None else call.started + call.timeout
            async with asyncio.timeout_at(until) as call.timer:
                return await self._slots.inside(call, work)
        except TimeoutError as error:
            exchange.abandon()
            if isinstance(error, FalError):
                raise
            raise timed_out(call) from None
        except asyncio.CancelledError:
            if not keep:
                exchange.abandon()
            raise
        except BaseException:
            exchange.abandon()
            raise

    async def _sent_and_answered(self, exchange: Exchange) -> Any:
        await self._line.send(exchange)
        return await self._answered(exchange)

    async def _answered(self, exchange: Exchange) -> Any:
        # Shielded, since a future dies with whoever is cancelled while he waits for it.
        response = await asyncio.shield(exchange.done)
        while self._resends and exchange.refusal is not None:
            await self._send_again(exchange)
            response = await asyncio.shield(exchange.done)
        if not 200 <= response.status < 300:
            raise self._failure(exchange)
        return self._direct.output(response, exchange.call, self._result_type)

    async def _sent_and_begun(self, exchange: Exchange) -> None:
        await self._line.send(exchange)
        while True:
            await exchange.begun.wait()
            if exchange.head is not None and 200 <= exchange.head.status < 300:
                return
            await exchange.done
            if not self._resends or exchange.refusal is None:
                raise self._failure(exchange)
            await self._send_again(exchange)

    async def _send_again(self, exchange: Exchange) -> None:
        exchange.call.unsend()
        exchange.reset()
        await self._line.send(exchange)

    @staticmethod
    def _failure(exchange: Exchange) -> FalError:
        error = error_from_response(exchange.done.result(), exchange.request)
        error.attempts = exchange.call.attempts
        error.request_id = error.request_id or exchange.call.request_id
        return error

    def _event(self, exchange: Exchange, data: bytes) -> Any:
        """As an answer of its own: with the facts of the one it is part of, in case it does not fit."""
        if self._result_type is bytes:
            return data
        said = {} if exchange.head is None else exchange.head.headers
        try:
            decode_json(data)
            kind = "application/json"
        except Undecodable:  # it never said that it was JSON
            kind = "text/plain"
        headers = Headers({**said, "content-type": kind})
        return self._direct.output(
            HttpResponse(200, headers, data), exchange.call, self._result_type
        )


def _is_event_stream(exchange: Exchange) -> bool:
    head = exchange.head
    return head is not None and content_type_of(head.headers) == "text/event-stream"


def _parsed(events: EventParser, piece: bytes) -> Iterable[Any]:
    try:
        return events.feed(piece)
    except ValueError as error:
        raise DecodeError(f"the stream does not decode: {error}", billing=Billing.BILLED) from None


class SocketOutputs(Generic[T]):
    """The outputs of :meth:`WebSocketConnection.map`: an iterator that can go on after it has raised."""

    def __init__(
        self,
        connection: WebSocketConnection[T],
        inputs: Iterable[Any] | AsyncIterable[Any],
        *,
        return_errors: bool,
    ) -> None:
        self._connection = connection
        self._return_errors = return_errors
        self._sync: Iterator[Any] | None = None
        self._async: AsyncIterator[Any] | None = None
        if isinstance(inputs, AsyncIterable):
            self._async = aiter(inputs)
        elif isinstance(inputs, Iterable) and not isinstance(inputs, (str, bytes)):
            self._sync = iter(inputs)
        else:
            raise InputError(f"inputs are an iterable of inputs, not {type(inputs).__name__}")
        self._pull: asyncio.Task[Any] | None = None
        self._unsent: tuple[Any] | None = None
        """An input that was taken, and whose sending was interrupted."""
        self._sent: deque[Exchange | FalError] = deque()
        self._exhausted = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        connection = self._connection
        ahead = 0 if connection._line.left else connection._ahead  # noqa: SLF001
        while (self._unsent or not self._exhausted) and len(self._sent) < ahead:
            taken, self._unsent = self._unsent, None
            if taken is None:
                taken = (
                    self._next_of_sync() if self._sync is not None else await self._next_of_async()
                )
            if taken is None:
                break  # the first one sent is answered, and nothing more to send has come
            await self._send(taken)
        if not self._sent:
            if self._unsent is None and (ahead or self._exhausted):
                raise StopAsyncIteration
            raise SessionError("this connection was left: open another one")
        first = self._sent[0]
        try:
            if isinstance(first, FalError):
                raise first
            work = connection._answered(first)  # noqa: SLF001
            first.awaited = True
            try:
                if first.done.done() and first.refusal is None:
                    output: T = await work  # it is here, whatever has ended since
                else:
                    output = await connection._inside(first, work, keep=True)  # noqa: SLF001
            finally:
                first.leave()
        except FalError as error:
            self._sent.popleft()
            if self._return_errors:
                return error  # type: ignore[return-value]  # as it was asked for
            raise
        self._sent.popleft()
        return output

    def _next_of_sync(self) -> tuple[Any] | None:
        assert self._sync is not None  # noqa: S101
        item = next(self._sync, _END)
        self._exhausted = item is _END
        return None if self._exhausted else (item,)

    async def _next_of_async(self) -> tuple[Any] | None:
        """The next input; None if the first output is there before it, or there are no more."""
        assert self._async is not None  # noqa: S101
        if self._pull is None:
            pull: asyncio.Task[Any] = asyncio.create_task(_taken(self._async))
            self._connection._pulls.add(pull)  # noqa: SLF001
            pull.add_done_callback(self._connection._pulls.discard)  # noqa: SLF001
            self._pull = pull
        awaited: set[asyncio.Future[Any]] = {self._pull}
        first = self._sent[0] if self._sent else None
        if isinstance(first, FalError):
            return None
        if first is not None:
            awaited.add(first.done)
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if not self._pull.done():
            return None
        pull, self._pull = self._pull, None
        if pull.cancelled():
            raise SessionError("this connection was left: open another one")
        item = pull.result()
        self._exhausted = item is _END
        return None if self._exhausted else (item,)

    async def _send(self, taken: tuple[Any]) -> None:
        connection = self._connection
        try:
            exchange = connection._exchange(taken[0], streamed=False)  # noqa: SLF001
        except FalError as error:
            self._sent.append(error)
            return
        sending = connection._line.send(exchange)  # noqa: SLF001
        try:
            await connection._inside(exchange, sending, keep=True)  # noqa: SLF001
        except FalError as error:
            self._sent.append(error)
        except asyncio.CancelledError:
            exchange.leave()
            if exchange.on_wire:
                self._sent.append(exchange)
            else:
                self._unsent = taken
            raise
        else:
            exchange.leave()
            self._sent.append(exchange)


async def _taken(inputs: AsyncIterator[Any]) -> Any:
    return await anext(inputs, _END)
