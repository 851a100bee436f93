"""WebSockets over aiohttp, on the connections of the session's own pool.

A refused handshake becomes the error that its answer stands for. aiohttp would throw that answer's body away
(and follow a redirect with the key): it is caught before it gets to see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import aiohttp

from fal_async import errors
from fal_async.errors import Billing, FalError
from fal_async.protocol import wire
from fal_async.protocol.closing import NORMAL
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.outcome import error_from_response
from fal_async.transport.authorizing import Authorizing
from fal_async.transport.base import Call
from fal_async.transport.http import HEADER_MAX, connect_timeout, public_cause, translate
from fal_async.transport.pool import Pool
from fal_async.transport.proxies import ProxyRouter
from fal_async.transport.sockets import Closed, Socket, Sockets

__all__ = ["AuthorizingSockets", "WebSockets"]

#: Of a refusal's body; and how long to wait for it, since the status alone says most.
_REFUSAL_MAX: Final = 256 * 1024
_REFUSAL_WAIT: Final = 5.0
#: How long the other end has to answer a goodbye.
_GOODBYE: Final = 2.0


_WAITS: Final = aiohttp.ClientWSTimeout(
    ws_close=_GOODBYE  # pyright: ignore[reportCallIssue]  # of attrs in a form that it does not know
)


class _RefusedError(Exception):
    """The answer to a handshake that was not accepted."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response.status)
        self.response = response


async def _refuse(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    response = await handler(request)
    if response.status == 101:
        return response
    body = bytearray()
    try:
        async with asyncio.timeout(_REFUSAL_WAIT):
            async for chunk in response.content.iter_chunked(16 * 1024):
                body += chunk
                if len(body) > _REFUSAL_MAX:
                    break
    except (aiohttp.ClientError, OSError, TimeoutError):
        pass  # what came of it says enough
    finally:
        response.close()
    raise _RefusedError(HttpResponse(response.status, Headers(response.headers), bytes(body)))


class WebSockets:
    """Opens sockets over the pool's connections, and ends them all when the session does."""

    def __init__(self, pool: Pool, proxies: ProxyRouter) -> None:
        self._pool = pool
        self._proxy_of = proxies.proxy_of
        self._open: set[_WebSocket] = set()

    async def open(self, request: HttpRequest, call: Call, *, max_frame: int) -> Socket:
        """Connect.

        :raises ConnectError: there is no connection, or none in time.
        :raises StatusError: the handshake was refused; nothing had been sent, and nothing is billed.
        """
        call.begin_send()
        try:
            opened = await self._connect(request, max_frame)
        except _RefusedError as refused:
            failure, cause = _refusal(refused.response, request), None
        except Exception as error:
            failure, cause = _problem(error, call), public_cause(error)
        else:
            socket = _WebSocket(opened, self._open)
            self._open.add(socket)
            return socket
        call.current = failure.billing
        failure.attempts = call.attempts
        raise failure from cause

    async def _connect(
        self, request: HttpRequest, max_frame: int
    ) -> aiohttp.ClientWebSocketResponse[bool]:
        url, pool = request.url, self._pool
        # A session of its own for the handshake, on the pool's connector: a borrowed one has no place to put
        # the middleware, and headers and cookies of its own.
        async with (
            asyncio.timeout(wire.SOCKET_OPEN),
            _handshake_session(pool.session(), url, waits=pool.waits) as session,
        ):
            return await session.ws_connect(
                url,
                headers=request.headers,
                proxy=self._proxy_of(url),
                timeout=_WAITS,
                max_msg_size=max_frame,
            )

    def abort_all(self) -> None:
        """Leave every connection at once: the session closes."""
        for socket in tuple(self._open):
            socket.abort()


@asynccontextmanager
async def _handshake_session(
    session: aiohttp.ClientSession, url: str, *, waits: bool
) -> AsyncIterator[aiohttp.ClientSession]:
    own = aiohttp.ClientSession(
        connector=session.connector,
        connector_owner=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=connect_timeout(url, pool_waits=waits),
        auto_decompress=False,
        middlewares=(_refuse,),
        max_line_size=HEADER_MAX,
        max_field_size=HEADER_MAX,
    )
    try:
        yield own
    finally:
        await own.close()  # of the handshake only: the connection stays


def _refusal(response: HttpResponse, request: HttpRequest) -> FalError:
    if 200 <= response.status < 300:
        return errors.ConnectError(
            f"the server answered {response.status} instead of opening a WebSocket"
        )
    failure = error_from_response(response, request)
    failure.billing = Billing.NOT_BILLED  # whatever answered: it was given nothing to run
    return failure


def _problem(error: Exception, call: Call) -> FalError:
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return errors.ConnectError("the server agreed to open a WebSocket, and then did not")
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
        return errors.ConnectTimeoutError(
            f"the socket did not open within {wire.SOCKET_OPEN:g} s", retryable=True
        )
    return translate(error, call)


class _WebSocket:
    """One connection."""

    def __init__(
        self, inner: aiohttp.ClientWebSocketResponse[bool], open_ones: set[_WebSocket]
    ) -> None:
        self._inner = inner
        self._open_ones = open_ones
        self.closed: Closed | None = None

    async def send(self, frame: str | bytes) -> bool:
        transport = self._inner._writer.transport  # noqa: SLF001  # tells before what fails after
        gone = transport is None or transport.is_closing()
        if gone or self.closed is not None or self._inner.closed:
            return False
        # What fails from here on fails while it waits for room: the frame was written by then.
        with suppress(aiohttp.ClientError, ConnectionError):
            if isinstance(frame, str):
                await self._inner.send_str(frame)
            else:
                await self._inner.send_bytes(frame)
        return True

    async def receive(self) -> str | bytes | Closed:
        if self.closed is not None:
            return self.closed
        message: Any = await self._inner.receive()
        if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
            data: str | bytes = message.data
            return data
        if message.type is aiohttp.WSMsgType.CLOSE:
            return self._end(message.data, message.extra or "")
        if message.type is aiohttp.WSMsgType.ERROR:
            # What was wrong was found here, and said with this code.
            return self._end(getattr(message.data, "code", None), "")
        # Without a close frame aiohttp makes up a code: 1006, or 1000.
        made_up = {NORMAL, aiohttp.WSCloseCode.ABNORMAL_CLOSURE}
        return self._end(None if self._inner.close_code in made_up else self._inner.close_code, "")

    def _end(self, code: int | None, reason: str) -> Closed:
        self.closed = self.closed or Closed(code, reason)
        self._open_ones.discard(self)
        return self.closed

    async def close(self, code: int = NORMAL) -> None:
        if self.closed is None:
            self._end(code, "")
            try:
                async with asyncio.timeout(_GOODBYE):
                    await self._inner.close(code=code)
            except TimeoutError:
                pass
            finally:
                self._cut()
        elif not self._inner.closed:
            self._cut()

    def abort(self) -> None:
        self._end(None, "")
        self._cut()

    def _cut(self) -> None:
        # Its response is the only thing that ends a connection without a word.
        self._inner._response.close()  # noqa: SLF001


class AuthorizingSockets:
    """Puts the key on handshakes, where it may go."""

    def __init__(self, inner: Sockets, authorizing: Authorizing) -> None:
        self._inner = inner
        self._authorizing = authorizing

    async def open(self, request: HttpRequest, call: Call, *, max_frame: int) -> Socket:
        """The inner transport's socket; raises like it, and like :meth:`Authorizing.send`."""
        await self._authorizing.authorize(request, call)
        return await self._inner.open(request, call, max_frame=max_frame)
