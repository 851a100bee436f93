"""The wire itself: one request over aiohttp, and what its failures mean.

The only client module that speaks to aiohttp's HTTP side. Whether anything was written is known, not
guessed from exceptions: the body says so as it goes out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import lru_cache
from typing import Final

import aiohttp

from fal_async import errors
from fal_async.errors import Billing, FalError, TransportError
from fal_async.policy.timeouts import connect_budget
from fal_async.protocol import wire
from fal_async.protocol.billing import billing_of
from fal_async.protocol.hosts import backup_url
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.transport.base import Call, Clock
from fal_async.transport.bodies import Body, StreamedBody, WholeBody
from fal_async.transport.pool import Pool
from fal_async.transport.proxies import ProxyRouter

__all__ = ["HEADER_MAX", "BodyWatch", "Http", "connect_timeout", "public_cause", "translate"]

#: One header may be as large as fal lets all of them be: a paid answer is not lost to a long header.
HEADER_MAX: Final = 2 * wire.RESPONSE_HEADERS_MAX


class Http:
    """Sends requests over the pool's connections; follows nothing, raises for nothing, adds nothing.

    :param max_answer_bytes: largest body read; a success beyond it is a ``BodyTooLargeError``.
    """

    def __init__(
        self, pool: Pool, clock: Clock, proxies: ProxyRouter, *, max_answer_bytes: int
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._proxy_of = lru_cache(maxsize=1024)(proxies.proxy_of)
        self._limit = max_answer_bytes

    async def send(self, request: HttpRequest, call: Call) -> HttpResponse:
        """One exchange.

        :raises ConnectError: nothing was written.
        :raises ConnectionLostError: something was, and no head of an answer came back.
        :raises BodyBrokenError: a success whose body broke off.
        :raises BodyTooLargeError: a success beyond ``max_answer_bytes``.
        :raises Exception: whatever the request's ``stream`` raises, as it is.
        """
        call.begin_send()
        body = self._body(request, call)
        try:
            response = await self._exchange(request, body, call)
        except Exception as error:
            failure: Exception = translate(error, call)
            cause = public_cause(error)
            if body is not None and body.failure is not None:
                # What gives the bytes has failed, not the network.
                failure, cause = body.failure, body.failure.__cause__
        else:
            _note_head(response, call)
            return await self._read(response)
        # Out here, so that what aiohttp raised does not hang on it as its context.
        raise failure from cause

    async def begin(self, request: HttpRequest, call: Call) -> aiohttp.ClientResponse:
        """The head of an answer; its body is the caller's to read, and to close.

        :raises TransportError: like :meth:`send`, but for the body.
        """
        call.begin_send()
        try:
            response = await self._exchange(request, self._body(request, call), call)
        except Exception as error:
            failure, cause = translate(error, call), public_cause(error)
        else:
            _note_head(response, call)
            return response
        raise failure from cause

    def _body(self, request: HttpRequest, call: Call) -> Body | None:
        if request.stream is not None and request.stream.size:
            return StreamedBody(request.stream, call, self._clock, self._pool)
        return WholeBody(request.body, call, self._clock, self._pool) if request.body else None

    def _exchange(
        self, request: HttpRequest, body: Body | None, call: Call
    ) -> Awaitable[aiohttp.ClientResponse]:
        url = request.url
        return self._pool.session(call.loop).request(
            request.method,
            url,
            data=body,
            headers=request.headers,
            timeout=connect_timeout(url, pool_waits=self._pool.waits),
            proxy=self._proxy_of(url),
            # A borrowed session may have been told otherwise.
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=False,
            max_line_size=HEADER_MAX,
            max_field_size=HEADER_MAX,
            middlewares=(),
        )

    async def _read(self, response: aiohttp.ClientResponse) -> HttpResponse:
        content = response.content
        chunks: list[bytes] = []
        size = 0
        watch = None if content.is_eof() else BodyWatch(response)
        try:
            while size <= self._limit:
                chunk = await content.readany()
                chunks.append(chunk)
                size += len(chunk)
                if content.at_eof():
                    if watch is not None:
                        watch.check_end()
                    response.release()
                    body = chunk if len(chunks) == 1 else b"".join(chunks)
                    return HttpResponse(response.status, response.headers, body)
        except Exception as error:  # whatever it is: the head is here, and says what it cost
            # What came together with the break was never handed out.
            chunks.extend(getattr(content, "_buffer", ()))
            what: TransportError = errors.BodyBrokenError("the answer broke off before its end")
            return self._cut_short(response, chunks, what, error)
        except BaseException:
            response.close()
            raise
        finally:
            if watch is not None:
                watch.end()
        what = errors.BodyTooLargeError(f"the answer is larger than {self._limit} bytes")
        return self._cut_short(response, chunks, what, None)

    def _cut_short(
        self,
        response: aiohttp.ClientResponse,
        chunks: list[bytes],
        what: TransportError,
        cause: Exception | None,
    ) -> HttpResponse:
        response.close()
        body = b"".join(chunks)
        if not 200 <= response.status < 300:
            # The status alone tells most of what a failure has to say.
            return HttpResponse(response.status, response.headers, body)
        what.billing = billing_of(response.status, response.headers)
        what.status, what.headers, what.body = response.status, Headers(response.headers), body
        what.request_id = response.headers.get(wire.REQUEST_ID)
        raise what from cause


def _note_head(response: aiohttp.ClientResponse, call: Call) -> None:
    call.current = billing_of(response.status, response.headers)
    call.request_id = response.headers.get(wire.REQUEST_ID)


def _is_open_ended(response: aiohttp.ClientResponse) -> bool:
    """Whether nothing but the end of the connection tells where the body ends."""
    headers = response.headers
    return "Content-Length" not in headers and "Transfer-Encoding" not in headers


class BodyWatch:
    """Ends the reading of a body when its connection is lost.

    aiohttp does not where its parser fails in mid-body, nor where the session is closed: the reader would
    wait for ever. And it takes a reset for the end of a body that goes on to the end of the connection.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        connection = response.connection
        protocol = connection.protocol if connection is not None else None
        self._lost = protocol.closed if protocol is not None else None
        self._open_ended = _is_open_ended(response)
        if self._lost is not None:
            self._lost.add_done_callback(self._on_lost)
        else:
            self._break_off()

    def _on_lost(self, lost: asyncio.Future[None]) -> None:
        _look(lost)
        self._break_off()

    def _break_off(self) -> None:
        content = self._content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection closed in mid-body"))

    def check_end(self) -> None:
        """The body has ended, says aiohttp.

        :raises ClientPayloadError: if its end was that of the connection, and the connection was reset.
        """
        lost = self._lost
        if not self._open_ended or lost is None or not lost.done() or lost.cancelled():
            return
        if lost.exception() is not None:
            raise aiohttp.ClientPayloadError("the connection was reset in mid-body")

    def end(self) -> None:
        if self._lost is not None:
            self._lost.remove_done_callback(self._on_lost)
            # The connection may be lost long after this answer; once per connection is enough.
            self._lost.remove_done_callback(_look)
            self._lost.add_done_callback(_look)


def _look(lost: asyncio.Future[None]) -> None:
    """Take note of how a connection was lost, or asyncio complains that nobody has."""
    if not lost.cancelled():
        lost.exception()


@lru_cache(maxsize=256)
def connect_timeout(url: str, *, pool_waits: bool) -> aiohttp.ClientTimeout:
    """Only connecting is bounded here."""
    budget = connect_budget(has_backup=backup_url(url) is not None)
    if pool_waits:
        # `connect` would end the wait for one of the borrowed pool's connections too, which has no end of
        # its own: it takes as long as other calls do.
        return aiohttp.ClientTimeout(total=None, sock_connect=budget)
    # `connect` covers DNS, which `sock_connect` does not.
    return aiohttp.ClientTimeout(total=None, connect=budget)


def translate(error: Exception, call: Call) -> FalError:
    """What aiohttp's exception means for the caller, before any answer came."""
    if isinstance(error, FalError):
        return error
    if call.current is not Billing.NOT_BILLED:
        return errors.ConnectionLostError(_loss(error), billing=call.current)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return errors.ConnectTimeoutError("no connection in time", retryable=True)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return errors.ConnectError(
            f"the proxy answered {error.status}", retryable=error.status >= 500
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return errors.ConnectError(_connect_problem(error), retryable=True)
    if isinstance(error, ValueError):  # InvalidURL is one
        return errors.InputError("aiohttp refuses the request: a bad URL or header")
    if isinstance(error, RuntimeError):
        return errors.SessionError(f"aiohttp cannot send: {error}")
    if isinstance(error, (aiohttp.ClientError, OSError)):
        return errors.ConnectError(
            "the connection closed before anything was written", retryable=True
        )
    return errors.ConnectError(f"the request could not be sent ({type(error).__name__})")


def _connect_problem(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host's name does not resolve"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "the host's certificate is not trusted"
    if isinstance(error, aiohttp.ClientSSLError):
        return "TLS could not be agreed on"
    where = "the proxy" if isinstance(error, aiohttp.ClientProxyConnectionError) else "the host"
    return f"no connection to {where}: {error.strerror or type(error.os_error).__name__}"


def _loss(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        return "what came back is not HTTP"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection without an answer"
    if isinstance(error, TimeoutError):
        return "the server fell silent"
    return "the connection was lost before an answer came"


def public_cause(error: Exception) -> BaseException | None:
    """What may be shown of aiohttp's exception: not the key, nor the credentials of a proxy."""
    if isinstance(error, (aiohttp.ClientResponseError, FalError)):
        return None  # the first holds the headers of the request
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error  # around it is the proxy, with its password
    return error
