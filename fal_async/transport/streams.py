"""Answers that are read while they arrive: the same pool and failures as ``http``, the body in pieces."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import aiohttp

try:
    import resource
except ImportError:  # pragma: no cover - Windows
    resource = None  # type: ignore[assignment]

from fal_async.errors import ConnectionLostError, FalError
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.transport.base import Call, StreamedResponse
from fal_async.transport.http import BodyWatch, Http

__all__ = ["HttpStreams", "OpenedBody", "Opening", "files_most"]

#: Where the system does not say: as many sockets as Windows' select() takes.
_FILES: Final = 512
#: Of a failure so much is read, in bytes.
_FAILURE_MAX: Final = 4 * 1024 * 1024


def files_most() -> int:
    """How many files, sockets among them, this process may have open."""
    if resource is None:  # pragma: no cover - Windows
        return _FILES
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


class HttpStreams:
    """Opens streams over the connections of an :class:`Http`.

    :param limit: connections that there may be at once; 0 for no limit but the system's.
    """

    def __init__(self, http: Http, limit: int = 0) -> None:
        self._http = http
        self._limit = limit
        self._open = 0

    def has_room(self) -> bool:
        """Whether half of all connections is left to others, or of all files that may be open."""
        return self._open < (self._limit or files_most()) // 2

    def open(self, request: HttpRequest, call: Call, *, idle: float | None) -> _Opened:
        """The answer as soon as its head is there; its connection is closed on leaving.

        :raises ConnectError: nothing was written.
        :raises ConnectionLostError: no head of an answer came back, or none within ``idle``.
        """
        return _Opened(self, request, call, idle)

    def entered(self) -> None:
        """One more is open."""
        self._open += 1

    def left(self) -> None:
        """One less is."""
        self._open -= 1

    async def begin(
        self, request: HttpRequest, call: Call, idle: float | None
    ) -> aiohttp.ClientResponse:
        """The head of an answer; raises like :meth:`open`."""
        try:
            async with asyncio.timeout(idle):
                return await self._http.begin(request, call)
        except TimeoutError as error:
            if isinstance(error, FalError):  # no connection in time: nothing was written
                raise
            raise ConnectionLostError("the server fell silent", billing=call.current) from None


class _Opened:
    """A stream, open from its entry on.

    No generator: those that nobody closed are all closed at once when their event loop ends, and one that was
    closed before the one that uses it would make asyncio complain.
    """

    def __init__(
        self, streams: HttpStreams, request: HttpRequest, call: Call, idle: float | None
    ) -> None:
        self._streams = streams
        self._request = request
        self._call = call
        self._idle = idle
        self._response: aiohttp.ClientResponse

    async def __aenter__(self) -> StreamedResponse:
        self._streams.entered()
        try:
            self._response = await self._streams.begin(self._request, self._call, self._idle)
        except BaseException:
            self._streams.left()
            raise
        return _Streamed(self._response, self._call, self._idle)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Closed rather than given back: what is left of the stream would come first.
        self._response.close()
        self._streams.left()


class Opening:
    """A transport that leaves the body of a ``lasting`` call's success to be read while it arrives.

    All else goes to ``http`` as it is.
    """

    def __init__(self, http: Http) -> None:
        self._http = http

    # Not a coroutine: it has nothing to wait for, and each one is paid for at every turn of a call.
    def send(self, request: HttpRequest, call: Call) -> Coroutine[Any, Any, HttpResponse]:
        """The answer; raises like ``Http``."""
        return self._open(request, call) if call.lasting else self._http.send(request, call)

    async def _open(self, request: HttpRequest, call: Call) -> HttpResponse:
        begun = await self._http.begin(request, call)
        opened = OpenedBody(begun, call)
        if 200 <= begun.status < 300:
            call.opened = opened
            return HttpResponse(begun.status, begun.headers, b"")
        try:
            return HttpResponse(begun.status, begun.headers, await _failure(opened))
        finally:
            opened.close()


async def _failure(opened: OpenedBody) -> bytes:
    body = b""
    # The status alone tells most of what a failure has to say: half of its body will do.
    with suppress(ConnectionLostError):
        while len(body) < _FAILURE_MAX and (piece := await opened.read(None)):
            body += piece
    return body


class OpenedBody:
    """The body of an answer, as it arrives."""

    def __init__(self, response: aiohttp.ClientResponse, call: Call) -> None:
        self._response = response
        self._content = response.content
        self._call = call
        self._watch = BodyWatch(response)
        self._left = False
        """Whether what came together with the break has been given."""

    async def read(self, idle: float | None) -> bytes:
        """The next piece; empty at the end. Cancelling it loses nothing.

        :raises ConnectionLostError: if it breaks off, or stays silent for ``idle`` seconds.
        """
        try:
            if idle is None:
                return await self._next()
            async with asyncio.timeout(idle):
                return await self._next()
        except Exception as error:
            silent = isinstance(error, TimeoutError)
            if not silent and not self._left:
                # aiohttp keeps to itself what came together with the break.
                self._left = True
                if left := b"".join(getattr(self._content, "_buffer", ())):
                    return left
            what = "the server fell silent" if silent else "the stream broke off"
            raise ConnectionLostError(what, billing=self._call.current) from error

    async def _next(self) -> bytes:
        while True:
            if chunk := await self._content.readany():
                return chunk
            if self._content.at_eof():
                self._watch.check_end()
                return b""

    def forget(self) -> None:
        """It is not read any more."""
        self._watch.end()

    def close(self) -> None:
        """Close the connection, unless the end was reached. Idempotent."""
        self.forget()
        self._response.close()


class _Streamed:
    def __init__(self, response: aiohttp.ClientResponse, call: Call, idle: float | None) -> None:
        self._body = OpenedBody(response, call)
        self._idle = idle
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncGenerator[bytes]:
        try:
            while chunk := await self._body.read(self._idle):
                yield chunk
        finally:
            self._body.forget()
