"""The transports of one session, each around the next: put together, and taken down, in one place."""

from __future__ import annotations

import aiohttp

from fal_async.errors import InputError
from fal_async.protocol.hosts import Hosts
from fal_async.transport.authorizing import Authorizing, AuthorizingStreams, KeySource
from fal_async.transport.base import Clock, Transport
from fal_async.transport.gate import Gate
from fal_async.transport.http import Http
from fal_async.transport.lending import Lending
from fal_async.transport.limiting import Limit, Limiting, Unlimited, check_limit
from fal_async.transport.pool import Pool
from fal_async.transport.proxies import Proxies, ProxyRouter
from fal_async.transport.retrying import Retrying
from fal_async.transport.streams import HttpStreams, Opening
from fal_async.transport.websocket import AuthorizingSockets, WebSockets

__all__ = ["Stack"]


class Stack:
    """What a session sends with.

    :ivar direct: for calls that count against the account's limit.
    :ivar slots: places among the direct calls in flight, ahead of the calls.
    :ivar free: for all else: what is queued waits at fal, and what asks after it costs nothing.
    :ivar signed: like ``free``, but one send a call: what comes back is the caller's to judge.
    :ivar plain: the same without the key, whatever the URL: for files, which lie with strangers.
    :ivar streams: for answers that are read while they arrive.
    :ivar plain_streams: the same without the key.
    :ivar sockets: opens WebSockets; ``plain_sockets`` does without the key, for those that bring a token.
    :raises InputError: for settings that cannot work.
    """

    def __init__(
        self,
        clock: Clock,
        hosts: Hosts,
        *,
        key: KeySource,
        limit: Limit,
        http_session: aiohttp.ClientSession | None,
        proxies: Proxies,
        max_answer_bytes: int,
    ) -> None:
        if http_session is not None and not isinstance(http_session, aiohttp.ClientSession):
            raise InputError(f"http_session is a ClientSession, not {type(http_session).__name__}")
        if isinstance(max_answer_bytes, bool) or not isinstance(max_answer_bytes, int):
            raise InputError("max_answer_bytes is a whole number of bytes")
        if max_answer_bytes < 1:
            raise InputError("max_answer_bytes is at least 1")
        self.pool = Pool(http_session)
        http = Http(self.pool, clock, ProxyRouter(proxies), max_answer_bytes=max_answer_bytes)
        ceiling = check_limit(limit)
        self.brake: Limiting | Unlimited = (
            Unlimited(Opening(http), clock)
            if ceiling is None
            else Limiting(Opening(http), clock, None if ceiling == "auto" else ceiling)
        )
        self.plain: Transport = http
        signing = Authorizing(http, key, hosts)
        self.signed: Transport = signing
        self.direct = Gate(Retrying(Authorizing(self.brake, key, hosts), clock), self.pool)
        self.slots = Lending(self.direct, signing, self.brake)
        self.free = Gate(Retrying(signing, clock), self.pool)
        self.plain_streams = HttpStreams(http, self.pool.limit)
        self.streams = AuthorizingStreams(self.plain_streams, signing)
        self.plain_sockets = WebSockets(self.pool, ProxyRouter(proxies))
        self.sockets = AuthorizingSockets(self.plain_sockets, signing)

    async def close(self) -> None:
        """End whatever is under way, and close the connections. Idempotent; raises like ``Pool.shut``."""
        self.pool.shut()
        self.brake.close()
        self.direct.send_away()
        self.free.send_away()
        self.plain_sockets.abort_all()
        await self.pool.close()
