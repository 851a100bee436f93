"""A transport that adds the key, and adds it only where it may go.

The key is looked up for every request, so that a callable may hand out another one each time. It never
becomes a default of the HTTP session.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import lru_cache

from fal_async.errors import MissingKeyError
from fal_async.protocol import wire
from fal_async.protocol.auth import authorization, check_key, missing_key
from fal_async.protocol.hosts import Hosts
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.transport.base import Call, Transport

__all__ = ["Authorizing", "KeySource"]

KeySource = str | Callable[[], str | Awaitable[str]] | None
"""A key, or a callable (plain or async) that is asked for one per request; None: there is none."""


class Authorizing:
    """Puts ``Authorization`` on requests to fal's own origins, and on no others."""

    def __init__(self, inner: Transport, source: KeySource, hosts: Hosts) -> None:
        self._inner = inner
        self._source = check_key(source) if isinstance(source, str) else source
        self._keyless = hosts.is_local
        self._trusts = lru_cache(maxsize=1024)(hosts.trusts)

    async def send(self, request: HttpRequest, call: Call) -> HttpResponse:
        """The inner transport's answer.

        :raises MissingKeyError: without a key, unless every service is on this machine.
        :raises InputError: for a key that cannot travel in a header.
        """
        if not self._trusts(request.url):
            request.headers.pop(wire.AUTHORIZATION, None)
            return await self._inner.send(request, call)
        key = call.key
        if key is None:
            key = self._source if isinstance(self._source, str) else await self._ask()
        if key is not None:
            call.account = key
            request.headers[wire.AUTHORIZATION] = authorization(key)
        elif not self._keyless:
            raise missing_key()
        return await self._inner.send(request, call)

    async def _ask(self) -> str | None:
        if not callable(self._source):
            return None
        try:
            key = self._source()
            if inspect.isawaitable(key):
                key = await key
        except Exception as error:  # whatever the caller's own code raises
            raise MissingKeyError(f"the key callable failed with {type(error).__name__}") from error
        if key is None:
            raise MissingKeyError("the key callable returned None")
        return check_key(key)
