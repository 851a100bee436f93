"""Answers that are read while they arrive: the same pool and failures as ``http``, the body in pieces."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

try:
    import resource
except ImportError:  # pragma: no cover - Windows
    resource = None  # type: ignore[assignment]

from fal_async.errors import ConnectionLostError, FalError
from fal_async.protocol.messages import HttpRequest
from fal_async.transport.base import Call, StreamedResponse
from fal_async.transport.http import BodyWatch, Http

__all__ = ["HttpStreams", "files_most"]

#: Where the system does not say: as many sockets as Windows' select() takes.
_FILES: Final = 512


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

    @asynccontextmanager
    async def open(
        self, request: HttpRequest, call: Call, *, idle: float | None
    ) -> AsyncIterator[StreamedResponse]:
        """The answer as soon as its head is there; its connection is closed on leaving.

        :raises ConnectError: nothing was written.
        :raises ConnectionLostError: no head of an answer came back, or none within ``idle``.
        """
        self._open += 1
        try:
            response = await self._begin(request, call, idle)
            try:
                yield _Streamed(response, call, idle)
            finally:
                # Closed rather than given back: what is left of the stream would come first.
                response.close()
        finally:
            self._open -= 1

    async def _begin(
        self, request: HttpRequest, call: Call, idle: float | None
    ) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(idle):
                return await self._http.begin(request, call)
        except TimeoutError as error:
            if isinstance(error, FalError):  # no connection in time: nothing was written
                raise
            raise ConnectionLostError("the server fell silent", billing=call.current) from None


class _Streamed:
    def __init__(self, response: aiohttp.ClientResponse, call: Call, idle: float | None) -> None:
        self._response = response
        self._call = call
        self._idle = idle
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncGenerator[bytes]:
        content = self._response.content
        watch = BodyWatch(self._response)
        try:
            while True:
                async with asyncio.timeout(self._idle):
                    chunk = await content.readany()
                if chunk:
                    yield chunk
                elif content.at_eof():
                    watch.check_end()
                    return
        except Exception as error:
            silent = isinstance(error, TimeoutError)
            what = "the server fell silent" if silent else "the stream broke off"
            raise ConnectionLostError(what, billing=self._call.current) from error
        finally:
            watch.end()
