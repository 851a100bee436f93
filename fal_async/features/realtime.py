"""Realtime: a connection to a running application, messages both ways (PROTOCOL 10).

Nothing on it says which result belongs to which input, and the application may drop inputs: who needs to know
puts an id into his messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import attrs

from fal_async.errors import (
    AuthenticationError,
    Billing,
    ConnectionLostError,
    DecodeError,
    FalError,
    ServerError,
    SessionError,
    StructureError,
)
from fal_async.features.linking import Link
from fal_async.features.verdicts import keeping_verdict
from fal_async.protocol.closing import NORMAL, explain_close
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.misfit import Misfit, name_of
from fal_async.protocol.realtime import (
    AppFailed,
    SessionEnded,
    Timings,
    TokenRefused,
    UnknownControl,
    read_control,
)
from fal_async.protocol.wording import brief
from fal_async.transport.sockets import Closed

__all__ = ["RealtimeConnection", "RealtimeEvent", "Reconnected"]

T = TypeVar("T")
R = TypeVar("R")


@attrs.frozen
class Reconnected:
    """The connection was lost and is there again. What was on its way in between may be lost.

    :ivar why: how the one before it ended.
    :ivar connections: how many there were, this one included.
    """

    why: str
    connections: int


RealtimeEvent = Timings | Reconnected | UnknownControl
"""What is no result and no error."""


@attrs.frozen(kw_only=True)
class Codec:
    """How messages become frames, and frames values."""

    encode: Callable[[Any], str | bytes]
    decode: Callable[[str | bytes], Any]
    structure: Callable[[Any], Any] | None
    result_type: Any


class RealtimeConnection(Generic[T]):
    """One realtime connection; made by :meth:`AsyncFal.realtime`, and entered.

    ``async for`` over it gives results until the session ends; sending and receiving may be done by different
    tasks. While nobody receives, the application has to wait: no more than a small buffer is read ahead.

    :ivar ended: why iteration has ended, in words; empty until then.
    """

    def __init__(
        self, link: Link, codec: Codec, on_event: Callable[[RealtimeEvent], object] | None
    ) -> None:
        self._link = link
        self._codec = codec
        self._on_event = on_event
        self._receiving = asyncio.Lock()
        self._over = False
        self.ended = ""

    async def __aenter__(self) -> Self:
        await self._link.enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with keeping_verdict(exc):
            await self.close()

    async def close(self) -> None:
        """Say goodbye and leave. Idempotent."""
        await self._link.leave()

    @property
    def connections(self) -> int:
        """How many connections there were so far: 1, and one for each time it was made again."""
        return self._link.connections

    # --- sending ------------------------------------------------------------------------------------

    async def send(self, message: Any) -> None:
        """Send one message, and wait while the connection is congested.

        :param message: a mapping or an instance of an attrs class; bytes in it travel as they are. With an
            ``encode`` of your own: what that takes.
        :raises InputError: for what cannot be sent.
        :raises ConnectionLostError: there is no connection any more, nor ``reconnect``; this message was not
            sent.
        """
        frame = self._codec.encode(message)
        await self._link.inside(self._link.send(frame))
        self._over = False

    # --- receiving ----------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """The next result.

        :raises StopAsyncIteration: the session has ended: it was idle, or all was said.
        :raises ServerError: the application failed (``x-fal-error``); ``error_type`` is its word.
        :raises AuthenticationError: the token is not accepted.
        :raises ConnectionLostError: the connection broke; its text explains the close code.
        :raises AnswerError: a result that does not decode or fit. The connection goes on.
        """
        if self._over:
            raise StopAsyncIteration
        async with self._receiving:
            # StopAsyncIteration must not pass through a coroutine.
            found: tuple[T] | None = await self._link.inside(self._receive())
        if found is None:
            raise StopAsyncIteration
        return found[0]

    async def _receive(self) -> tuple[T] | None:
        while True:
            frame = await self._link.receive()
            if isinstance(frame, Closed):
                if await self._closed(frame):
                    continue
                return None
            control = read_control(frame) if isinstance(frame, str) else None
            match control:
                case None:
                    self._link.note_traffic()
                    return (self._value(frame),)
                case Timings() | UnknownControl():
                    self._tell(control)
                case SessionEnded(reason):
                    self._end(self._shown(reason) or "the session has ended")
                    return None
                case AppFailed():
                    self._link.note_end(_describe(control.error, self._shown(control.reason)))
                    raise self._app_error(control)
                case TokenRefused():
                    await self._refused()

    def _end(self, why: str) -> None:
        self._over = True
        self.ended = why
        self._link.let_go()

    async def _closed(self, closed: Closed) -> bool:
        """The connection has ended; True if there is another one."""
        expected = self._link.expected_end
        why = expected or explain_close(closed.code, self._shown(closed.reason))
        if self._link.left:
            raise SessionError("this connection was left: open another one")
        if closed.code == NORMAL and not expected:
            self._end(why)
            return False
        if await self._link.reconnect():
            self._tell(Reconnected(why, self._link.connections))
            return True
        if expected:  # its error was told already
            self._end(why)
            return False
        self._over, self.ended = True, why
        billing = self._link.billing
        self._link.let_go()
        raise ConnectionLostError(why, billing=billing)

    async def _refused(self) -> None:
        why = "the token was refused"
        self._link.drop_token()
        if await self._link.reconnect():
            self._tell(Reconnected(why, self._link.connections))
            return
        self._over, self.ended = True, why
        self._link.let_go()
        raise AuthenticationError(
            "fal refused the token of the connection: it has expired, or is for another application",
            billing=self._link.billing,
            status=401,
        )

    def _app_error(self, failed: AppFailed) -> FalError:
        return ServerError(
            f"the application failed: {_describe(failed.error, self._shown(failed.reason))}",
            billing=self._link.billing,
            error_type=failed.error[:100],
            retryable=False,
        )

    def _shown(self, text: str) -> str:
        return brief(text, self._link.about)

    def _tell(self, event: RealtimeEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def _value(self, frame: str | bytes) -> Any:
        codec, raw = self._codec, frame.encode() if isinstance(frame, str) else frame
        try:
            value = codec.decode(frame)
        except Undecodable as error:
            raise DecodeError(
                f"a result does not decode: {error}", billing=Billing.BILLED, body=raw
            ) from None
        except Exception as error:  # the caller's own, whatever it raises
            kind = type(error).__name__
            raise DecodeError(
                f"a result does not decode: {kind}", billing=Billing.BILLED, body=raw
            ) from error
        if codec.structure is None:
            return value
        try:
            return codec.structure(value)
        except Misfit as misfit:
            failure = StructureError(
                f"a result does not fit {name_of(codec.result_type)}: {misfit}",
                billing=Billing.BILLED,
                body=raw,
            )
            failure.value, failure.path = value, misfit.path
            raise failure from misfit.reason


def _describe(error: str, reason: str) -> str:
    return f"{error[:100]}: {reason}" if reason else error[:100]
