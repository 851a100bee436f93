"""Makes the connections that go both ways: what they have in common is the session they end with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import cattrs

from fal_async.errors import InputError
from fal_async.features.linking import Link
from fal_async.features.realtime import Codec, RealtimeConnection, RealtimeEvent
from fal_async.features.run import Direct
from fal_async.features.token_source import TokenArgument, TokenSource, check_token
from fal_async.features.tokens import Tokens
from fal_async.features.websocket import WebSocketConnection
from fal_async.policy.reconnecting import check_reconnect
from fal_async.protocol.auth import check_key
from fal_async.protocol.messages import HttpRequest
from fal_async.protocol.realtime import decode_message, encode_message, realtime_url
from fal_async.protocol.structuring import check_result_type, default_converter, structure
from fal_async.protocol.tokens import Flavour
from fal_async.transport.base import Call, Clock, Slots, Transport
from fal_async.transport.sockets import Sockets

__all__ = ["Connecting"]

_OF_A_BODY: Final = frozenset(("accept", "accept-encoding", "content-type"))


class Connecting:
    """All that connections are made of.

    :param direct: prepares payloads for the WebSocket gateway, and reads its answers.
    :param signed: opens sockets with the key; ``plain`` without it.
    :param free: for requests that cost nothing: tokens.
    """

    def __init__(
        self,
        direct: Direct,
        signed: Sockets,
        plain: Sockets,
        slots: Slots,
        free: Transport,
        clock: Clock,
        *,
        realtime: str,
        rest: str,
        converter: cattrs.BaseConverter | None,
        max_answer_bytes: int,
    ) -> None:
        self._direct = direct
        self._signed = signed
        self._plain = plain
        self._slots = slots
        self._clock = clock
        self._realtime = realtime
        self._tokens = Tokens(free, rest)
        self._converter = converter
        self._unstructure = (converter or default_converter()).unstructure
        self._limit = max_answer_bytes

    def websocket(
        self,
        model: str,
        new_call: Callable[[], Call],
        headers: dict[str, str],
        result_type: Any,
        *,
        ahead: int,
    ) -> WebSocketConnection[Any]:
        """A connection to the gateway, to be entered.

        :raises InputError: for what none can be made with.
        """
        return WebSocketConnection(
            self._direct,
            self._signed,
            self._slots,
            self._clock,
            new_call,
            model,
            headers,
            result_type,
            ahead=ahead,
            limit=self._limit,
        )

    async def token(
        self, apps: str | Iterable[str], expires: float, flavour: Flavour, call: Call
    ) -> str:
        """A short-lived token; raises like :meth:`Tokens.get`."""
        call.free = True
        return await self._tokens.get(apps, expires, flavour, call)

    def realtime(
        self,
        model: str,
        new_call: Callable[[], Call],
        headers: Mapping[str, str],
        result_type: Any,
        *,
        path: str,
        max_buffering: int | None,
        token: TokenArgument,
        token_expires: int,
        reconnect: bool | int,
        encode: Callable[[Any], str | bytes] | None,
        decode: Callable[[str | bytes], Any] | None,
        on_event: Callable[[RealtimeEvent], object] | None,
        max_message_bytes: int,
    ) -> RealtimeConnection[Any]:
        """A realtime connection, to be entered.

        :raises InputError: for what none can be made with.
        """
        call = new_call()
        if call.key is not None:
            check_key(call.key)
        if result_type is not None:
            check_result_type(result_type, self._converter)
        if isinstance(max_message_bytes, bool) or not isinstance(max_message_bytes, int):
            raise InputError("max_message_bytes is a whole number of bytes")
        if max_message_bytes < 1:
            raise InputError("max_message_bytes is at least 1")
        own = {k: v for k, v in headers.items() if k.lower() not in _OF_A_BODY}

        def request_with(token: str | None) -> HttpRequest:
            url, application = realtime_url(
                self._realtime, model, path, max_buffering=max_buffering, token=token
            )
            return HttpRequest(method="GET", url=url, headers=dict(own), application=application)

        request_with(None)
        link = Link(
            signed=self._signed,
            plain=self._plain,
            slots=self._slots,
            clock=self._clock,
            call=call,
            request_with=request_with,
            tokens=self._token_source(check_token(token), model, token_expires, new_call),
            tries=check_reconnect(reconnect),
            max_frame=max_message_bytes,
        )
        codec = Codec(
            encode=encode or (lambda message: encode_message(message, self._unstructure)),
            decode=decode or decode_message,
            structure=None
            if result_type is None
            else lambda value: structure(value, result_type, self._converter),
            result_type=result_type,
        )
        return RealtimeConnection(link, codec, on_event)

    def _token_source(
        self, token: TokenArgument, model: str, expires: int, new_call: Callable[[], Call]
    ) -> TokenSource | None:
        if token is None or token is False:
            return None
        if isinstance(token, str):
            given = token
            return TokenSource(lambda: given, self._clock, None)
        if callable(token):
            return TokenSource(token, self._clock, None)

        def ask() -> Awaitable[str]:
            # Of the classic flavour, which is for the whole application: whatever path is opened.
            return self.token(model, expires, "classic", new_call())

        return TokenSource(ask, self._clock, float(expires))
