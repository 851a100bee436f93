"""A transport that adds the key, and adds it only where it may go.

The key is looked up for every request, so that a callable may hand out another one each time. It never
becomes a default of the HTTP session.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, Final

from multidict import istr

from fal_async.errors import MissingKeyError
from fal_async.protocol import wire
from fal_async.protocol.auth import authorization, check_key, missing_key
from fal_async.protocol.hosts import Hosts
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.transport.base import Call, StreamedResponse, Streaming, Transport

__all__ = ["Authorizing", "AuthorizingStreams", "KeySource"]

#: As aiohttp wants names; it would convert any other for each request.
_AUTHORIZATION: Final = istr(wire.AUTHORIZATION)

KeyCallable = Callable[[], str | Awaitable[str]]
KeySource = str | KeyCallable | None
"""A key, or a callable (plain or async) that is asked for one per request; None: there is none."""


class Authorizing:
    """Puts ``Authorization`` on requests to fal's own origins, and on no others."""

    def __init__(self, inner: Transport, source: KeySource, hosts: Hosts) -> None:
        self._inner = inner
        self._source = source if source is None or callable(source) else check_key(source)
        self._keyless = hosts.is_local
        self._trusts = lru_cache(maxsize=1024)(hosts.trusts)
        self._authorization = lru_cache(maxsize=1)(authorization)

    # Not a coroutine: it has nothing to wait for, and each one is paid for at every turn of the call.
    def send(self, request: HttpRequest, call: Call) -> Coroutine[Any, Any, HttpResponse]:
        """The inner transport's answer.

        :raises MissingKeyError: without a key, unless every service is on this machine.
        :raises InputError: for a key that cannot travel in a header.
        """
        if not self._trusts(request.url):
            request.headers.pop(wire.AUTHORIZATION, None)
            return self._inner.send(request, call)
        key = call.key
        if key is None:
            if callable(self._source):
                return self._ask_and_send(self._source, request, call)
            key = self._source
        self._sign(key, request, call)
        return self._inner.send(request, call)

    def _sign(self, key: str | None, request: HttpRequest, call: Call) -> None:
        if key is not None:
            call.account = key
            request.headers[_AUTHORIZATION] = self._authorization(key)
        elif not self._keyless:
            raise missing_key()

    async def authorize(self, request: HttpRequest, call: Call) -> None:
        """Put the key on a request that goes another way than :meth:`send`; raises like it."""
        if not self._trusts(request.url):
            request.headers.pop(wire.AUTHORIZATION, None)
            return
        key = call.key
        if key is None:
            key = await _ask(self._source) if callable(self._source) else self._source
        self._sign(key, request, call)

    async def _ask_and_send(
        self, source: KeyCallable, request: HttpRequest, call: Call
    ) -> HttpResponse:
        self._sign(await _ask(source), request, call)
        return await self._inner.send(request, call)


class AuthorizingStreams:
    """Puts the key on requests whose answers are streamed."""

    def __init__(self, inner: Streaming, authorizing: Authorizing) -> None:
        self._inner = inner
        self._authorizing = authorizing
        self.has_room = inner.has_room

    def open(
        self, request: HttpRequest, call: Call, *, idle: float | None
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """The inner transport's answer; raises like it, and like :meth:`Authorizing.send`."""
        opening = self._inner.open(request, call, idle=idle)
        return _Signed(opening, partial(self._authorizing.authorize, request, call))


class _Signed(AbstractAsyncContextManager[StreamedResponse]):
    """A stream that is opened when its key has been put on. No generator, for the reason of those inside."""

    def __init__(
        self,
        opening: AbstractAsyncContextManager[StreamedResponse],
        authorize: Callable[[], Awaitable[None]],
    ) -> None:
        self._opening = opening
        self._authorize = authorize

    async def __aenter__(self) -> StreamedResponse:
        await self._authorize()
        return await self._opening.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._opening.__aexit__(exc_type, exc, traceback)


async def _ask(source: KeyCallable) -> str:
    try:
        key = source()
        if inspect.isawaitable(key):
            key = await key
    except Exception as error:  # whatever the caller's own code raises
        raise MissingKeyError(f"the key callable failed with {type(error).__name__}") from error
    if key is None:
        raise MissingKeyError("the key callable returned None")
    return check_key(key)
