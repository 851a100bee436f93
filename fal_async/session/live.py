"""Connections that go both ways: any model over one WebSocket, and realtime; and tokens for browsers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar, Unpack, overload

from fal_async.features.run import Direct
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol import wire
from fal_async.protocol.lifecycle import Expire
from fal_async.session.parts import Parts
from fal_async.transport.base import Call
from fal_async.unset import Unset

if TYPE_CHECKING:
    from fal_async.features.connecting import Connecting
    from fal_async.features.realtime import RealtimeConnection, RealtimeEvent
    from fal_async.features.token_source import TokenArgument
    from fal_async.features.websocket import WebSocketConnection
    from fal_async.protocol.tokens import Flavour

__all__ = ["Live", "RealtimeOptions", "SocketOptions"]

T = TypeVar("T")

#: Largest realtime message taken, unless told otherwise: a frame of video by value, and then some.
_MESSAGE_MAX: Final = 64 * 1024 * 1024


class SocketOptions(TypedDict, total=False):
    """The keyword arguments of ``AsyncFal.websocket``, ``result_type`` apart; told in full there."""

    ahead: int
    timeout: float | Unset | None
    retry: RetryPolicy | None
    key: str | None
    headers: Mapping[str, str] | None
    expire: Expire | None
    start_timeout: float | None
    hint: str | None
    store_io: bool | None
    disable_fallback: bool | None
    tags: Mapping[str, str] | None


class RealtimeOptions(TypedDict, total=False):
    """The keyword arguments of ``AsyncFal.realtime``, ``result_type`` apart; told in full there."""

    path: str
    max_buffering: int | None
    token: TokenArgument
    token_expires: int
    reconnect: bool | int
    encode: Callable[[Any], str | bytes] | None
    decode: Callable[[str | bytes], Any] | None
    on_event: Callable[[RealtimeEvent], object] | None
    max_message_bytes: int
    retry: RetryPolicy | None
    key: str | None
    headers: Mapping[str, str] | None
    hint: str | None


class Live(Parts):
    """What stays connected."""

    @cached_property
    def _connecting(self) -> Connecting:
        from fal_async.features.connecting import Connecting  # noqa: PLC0415

        stack, clock, most = self._stack, self._clock, self._max_answer_bytes
        return Connecting(
            Direct(stack.direct, self._hosts.ws, self._converter, clock, most),
            stack.sockets,
            stack.plain_sockets,
            stack.slots,
            stack.free,
            clock,
            realtime=self._hosts.realtime,
            rest=self._hosts.rest,
            converter=self._converter,
            max_answer_bytes=most,
        )

    @overload
    def websocket(
        self, model: str, *, result_type: None = None, **options: Unpack[SocketOptions]
    ) -> WebSocketConnection[Any]: ...

    @overload
    def websocket(
        self, model: str, *, result_type: type[T], **options: Unpack[SocketOptions]
    ) -> WebSocketConnection[T]: ...

    def websocket(
        self,
        model: str,
        *,
        result_type: type[Any] | None = None,
        ahead: int = 8,
        **options: Any,
    ) -> WebSocketConnection[Any]:
        """Call a model many times over one connection (``wss://ws.fal.run/{model}``, PROTOCOL 9).

        ::

            async with fal.websocket("fal-ai/any-llm") as ws:
                output = await ws.run({"prompt": "Hello"})
                async for output in ws.map(inputs):
                    ...

        Any model may be called so. The calls of one connection run one after the other, and take one slot of
        the account's limit together: what is gained is the way there and back. To run many at once use
        :meth:`map`. Money goes by the rules of :meth:`run`: what was sent is never sent again, unless it was
        refused (429).

        :param model: ``owner/app`` with any subpath.
        :param result_type: what to make of the outputs, as in :meth:`run`; of events in ``ws.stream``.
        :param ahead: payloads on their way at once; those behind the first save the time that it travels.
        :param options: those of :meth:`run` that are no matter of the queue: ``timeout`` and ``retry`` hold
            for each call, the rest for the connection. Whether fal heeds ``expire`` and its like on this way
            is not documented.
        :returns: the connection, to be entered; that connects it.
        :raises InputError: for arguments that no call could be made with.
        """
        new_call, headers = self._account(options)
        return self._connecting.websocket(model, new_call, headers, result_type, ahead=ahead)

    @overload
    def realtime(
        self, app: str, *, result_type: None = None, **options: Unpack[RealtimeOptions]
    ) -> RealtimeConnection[Any]: ...

    @overload
    def realtime(
        self, app: str, *, result_type: type[T], **options: Unpack[RealtimeOptions]
    ) -> RealtimeConnection[T]: ...

    def realtime(
        self,
        app: str,
        *,
        result_type: type[Any] | None = None,
        path: str = wire.REALTIME_PATH,
        max_buffering: int | None = None,
        token: TokenArgument = None,
        token_expires: int = wire.TOKEN_SECONDS,
        reconnect: bool | int = False,
        encode: Callable[[Any], str | bytes] | None = None,
        decode: Callable[[str | bytes], Any] | None = None,
        on_event: Callable[[RealtimeEvent], object] | None = None,
        max_message_bytes: int = _MESSAGE_MAX,
        **options: Any,
    ) -> RealtimeConnection[Any]:
        """Talk to a running application (``wss://fal.run/{app}/realtime``, PROTOCOL 10).

        ::

            async with fal.realtime("fal-ai/fast-lcm-diffusion") as connection:
                await connection.send({"prompt": "a cat"})
                async for result in connection:
                    ...

        It holds a slot of the account's limit while it is connected. The application may drop inputs that
        come faster than it works, and nothing tells which result is whose but what the messages say
        themselves. fal keeps nothing: a result that was not received is gone, and may have been billed.

        :param app: ``owner/app``; ``path`` is appended.
        :param result_type: what to make of each result; None: what MessagePack (or JSON, in text) says.
        :param max_buffering: inputs, 1 to 60, that the application keeps before it drops the oldest; None:
            its own number.
        :param token: None: the key, in a header. True: short-lived tokens in its place, asked of fal as they
            are needed. A token, or a plain or async callable that gives one, for those who have no key.
        :param token_expires: seconds that tokens asked of fal are good for; they gate the opening only.
        :param reconnect: whether a lost connection is made again, or how often in a row it is tried. Inputs
            that were on their way are not sent again.
        :param encode: makes frames of messages: text of str, binary of bytes; None: MessagePack.
        :param decode: makes values of frames; None: MessagePack, or JSON where it is text.
        :param on_event: is told what is no result: :class:`Timings`, :class:`Reconnected`,
            :class:`UnknownControl`.
        :param max_message_bytes: largest message taken; one beyond it ends the connection.
        :param options: ``key``, ``headers``, ``hint`` and ``retry``, as in :meth:`run`.
        :returns: the connection, to be entered; that connects it.
        :raises InputError: for arguments that no connection can be made with.
        """
        new_call, headers = self._account(options)
        return self._connecting.realtime(
            app,
            new_call,
            headers,
            result_type,
            path=path,
            max_buffering=max_buffering,
            token=token,
            token_expires=token_expires,
            reconnect=reconnect,
            encode=encode,
            decode=decode,
            on_event=on_event,
            max_message_bytes=max_message_bytes,
        )

    async def token(
        self,
        apps: str | Iterable[str],
        expires: float = wire.TOKEN_SECONDS,
        *,
        flavour: Flavour = "classic",
        key: str | None = None,
    ) -> str:
        """A short-lived token, for a browser or whoever else must not have the key (PROTOCOL 2.2).

        It opens realtime connections (``?fal_jwt_token=…``) to these applications, and it costs nothing.

        :param apps: ``owner/app``, or several of them.
        :param expires: seconds, a whole number, for which it opens connections.
        :param flavour: ``"classic"`` is what all shipped clients use; ``"newer"`` what newer pages of fal's
            describe, and the socket is reported to refuse.
        :param key: the key for this call alone.
        :raises InputError: for what no token can be asked for.
        """
        call, _ = self._preparing.call(key=key)
        return await self._connecting.token(apps, expires, flavour, call)

    def _account(self, options: dict[str, Any]) -> tuple[Callable[[], Call], dict[str, str]]:
        _, headers = self._preparing.call(**options)
        of_calls = {name: options[name] for name in ("timeout", "retry", "key") if name in options}
        return lambda: self._preparing.call(**of_calls)[0], headers
