"""The pool of connections: one aiohttp session, owned or borrowed, and the event loop it lives in.

An owned session is opened by the first call and closed with the ``AsyncFal``, with its event loop, or when
the ``AsyncFal`` is collected, whichever comes first; so it never warns of having been forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator
from typing import Any, Final
from weakref import WeakSet

import aiohttp

from fal_async.errors import InputError, SessionError

__all__ = ["Pool"]

#: Idle connections are kept for less than any server in between is likely to: a POST that goes into a closing
#: connection is lost, and may have been billed.
_IDLE: Final = 4.0
_DNS_TTL: Final = 60
#: More than asyncio asks for at each read (256 KiB).
_READ_MOST: Final = 1 << 19
#: A model may think for minutes without a byte; meanwhile the connection is held open, and seen to be.
_KEEPALIVE_IDLE, _KEEPALIVE_INTERVAL, _KEEPALIVE_PROBES = 30, 10, 3

_forks = 0


def _forked() -> None:
    global _forks  # noqa: PLW0603 - one process, one count
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

#: What belongs to a loop that can no longer close it. Never collected, so never heard of again.
_abandoned: Final[list[object]] = []


def _tune_reads() -> None:
    """Spare each read two system calls and a page fault (glibc; elsewhere nothing happens).

    asyncio reads into a new block of 256 KiB each time. glibc gets such a block from the kernel and gives it
    back, until the process has freed one at least as large: from then on it serves them from its heap.
    """
    bytes(_READ_MOST)


async def _keep(session: aiohttp.ClientSession) -> AsyncGenerator[None]:
    # An event loop closes the async generators that were begun in it, and so does collecting one: whatever
    # ends first, the session is closed in its own loop.
    try:
        yield
    finally:
        await session.close()


def _begin(keeper: AsyncGenerator[None]) -> None:
    with contextlib.suppress(StopIteration):
        keeper.asend(None).send(None)


class _Sockets:
    """Makes the sockets, and knows them.

    Not a method of the pool: the session would hold the pool that holds it, and would be found by the garbage
    collector before it is closed.
    """

    def __init__(self) -> None:
        self.made = 0
        self._alive: WeakSet[socket.socket] = WeakSet()

    def __call__(self, address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family=family, type=kind, proto=protocol)
        self.made += 1
        self._alive.add(made)
        for level, name, value in _SOCKET_OPTIONS:
            try:
                made.setsockopt(level, name, value)
            except OSError:  # pragma: no cover - a system that has the name and not the option
                continue
        return made

    def close(self) -> None:
        for made in tuple(self._alive):
            made.close()


class Pool:
    """Gives the aiohttp session of the running event loop."""

    def __init__(self, borrowed: aiohttp.ClientSession | None = None) -> None:
        if borrowed is not None:
            _check_borrowed(borrowed)
        self._borrowed = borrowed
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeper: AsyncGenerator[None] | None = None
        self._sockets = _Sockets()
        self._forks = _forks
        self.waits = borrowed is not None and _has_limit(borrowed.connector)
        """Whether a request may have to wait for one of the pool's connections."""
        self.closed = False

    @property
    def sockets_made(self) -> int:
        """How many connections were begun; tells a new connection from a pooled one."""
        return self._sockets.made

    def session(self, loop: asyncio.AbstractEventLoop | None = None) -> aiohttp.ClientSession:
        """The session to send with, opened if need be.

        :param loop: the running event loop, if it is known.
        :raises SessionError: if it is closed, or bound to another event loop that is still open.
        """
        loop = loop or asyncio.get_running_loop()
        if self._session is not None and self._loop is loop and self._forks == _forks:
            return self._session
        return self._open(loop)

    def _open(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        if self.closed:
            raise SessionError("this AsyncFal is closed: make a new one")
        self._leave()
        if self._borrowed is not None:
            session = _usable(self._borrowed, loop)
        else:
            session = self._make()
            self._keeper = _keep(session)
            _begin(self._keeper)
        self._session, self._loop, self._forks = session, loop, _forks
        return session

    def _leave(self) -> None:
        """Let go of a session whose loop is gone, or say why that cannot be done."""
        session, keeper = self._session, self._keeper
        if session is None:
            return
        forked = self._forks != _forks
        if not forked and self._loop is not None and not self._loop.is_closed():
            raise SessionError(
                "this AsyncFal was opened in another event loop, which is still open: "
                "close it there first, or make one AsyncFal per loop"
            )
        self._session = self._keeper = self._loop = None
        if self._borrowed is None and not session.closed:
            # Its loop cannot close it any more. In a forked child the sockets are the parent's too: closing
            # our copies does not end its connections.
            self._sockets.close()
            _abandoned.append((session, keeper))

    def _make(self) -> aiohttp.ClientSession:
        _tune_reads()
        connector = aiohttp.TCPConnector(
            limit=0,  # the brake decides how many calls are in flight
            keepalive_timeout=_IDLE,
            ttl_dns_cache=_DNS_TTL,
            socket_factory=self._sockets,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )

    def shut(self) -> None:
        """From now on no session is given out.

        :raises SessionError: in another event loop than the one in which it was opened, if that is open.
        """
        if self._loop is not asyncio.get_running_loop() or self._forks != _forks:
            self._leave()
        self.closed = True

    async def close(self) -> None:
        """Close an owned session; a borrowed one is its owner's. Idempotent; raises like :meth:`shut`."""
        self.shut()
        keeper, self._keeper = self._keeper, None
        self._session = None
        if keeper is not None:
            await keeper.aclose()


def _has_limit(connector: aiohttp.BaseConnector | None) -> bool:
    return connector is not None and bool(connector.limit or connector.limit_per_host)


def _usable(
    session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop
) -> aiohttp.ClientSession:
    if session.closed:
        raise SessionError("the http_session given to this AsyncFal is closed")
    if getattr(session, "_loop", loop) is not loop:  # its public name is deprecated
        raise SessionError(
            "the http_session given to this AsyncFal belongs to another event loop: "
            "make both in the loop that uses them"
        )
    return session


def _socket_options() -> tuple[tuple[int, int, int], ...]:
    wanted = (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", _KEEPALIVE_IDLE),
        (socket.IPPROTO_TCP, "TCP_KEEPALIVE", _KEEPALIVE_IDLE),  # its name on macOS
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", _KEEPALIVE_INTERVAL),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", _KEEPALIVE_PROBES),
        (
            socket.IPPROTO_TCP,
            "TCP_USER_TIMEOUT",  # what was sent must be acknowledged as soon as a probe must
            1000 * (_KEEPALIVE_IDLE + _KEEPALIVE_INTERVAL * _KEEPALIVE_PROBES),
        ),
    )
    return tuple(
        (level, getattr(socket, name), value)
        for level, name, value in wanted
        if hasattr(socket, name)
    )


_SOCKET_OPTIONS: Final = _socket_options()


def _check_borrowed(session: aiohttp.ClientSession) -> None:
    if session.trust_env:
        raise InputError(
            "http_session has trust_env=True: aiohttp would read netrc, which collides with the key; "
            "leave it off, the environment's proxies are used all the same"
        )
    if session.auth is not None:
        raise InputError(
            "http_session has credentials of its own (auth=), which collide with the key"
        )
