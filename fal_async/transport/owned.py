"""An aiohttp session of our own: how its connections are made, and how it ends whatever happens around it.

It is closed by whoever opened it, by the end of its event loop, or when nobody can use it any more,
whichever comes first. So nothing ever warns that it was forgotten.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import socket
from collections.abc import AsyncGenerator
from http.cookies import SimpleCookie
from typing import Any, Final
from weakref import WeakSet

import aiohttp

__all__ = ["OwnedSession", "Sockets"]

#: Idle connections are kept for less than any server in between is likely to: a POST that goes into a closing
#: connection is lost, and may have been billed.
_IDLE: Final = 4.0
_DNS_TTL: Final = 60
#: More than asyncio asks for at each read (256 KiB).
_READ_MOST: Final = 1 << 19
#: A model may think for minutes without a byte; meanwhile the connection is held open, and seen to be.
_KEEPALIVE_IDLE, _KEEPALIVE_INTERVAL, _KEEPALIVE_PROBES = 30, 10, 3

#: Turns of the loop in which a transport notices that its socket has ended; it takes about five.
_TURNS: Final = 50

#: Every session that is open. The garbage collector never meets one, and so cannot complain of it.
_open: Final[set[OwnedSession]] = set()
#: What its loop can no longer close. Never collected, so never heard of again.
_abandoned: Final[list[object]] = []


class OwnedSession:
    """A session in the running event loop.

    :ivar session: the aiohttp session; a caller's only while this object is its own.
    :param sockets: makes its connections' sockets.
    """

    def __init__(self, sockets: Sockets) -> None:
        for other in tuple(_open):
            if not other.is_within_reach():
                other.abandon()
        _tune_reads()
        self.loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._sockets = sockets
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the brake decides how many calls are in flight
                keepalive_timeout=_IDLE,
                ttl_dns_cache=_DNS_TTL,
                socket_factory=self._sockets,
            ),
            cookie_jar=_NoCookies(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        self._keeper = self._keep()
        with contextlib.suppress(StopIteration):
            self._keeper.asend(None).send(None)
        _open.add(self)

    async def _keep(self) -> AsyncGenerator[None]:
        # An event loop ends the async generators that were begun in it before it closes.
        try:
            yield
        finally:
            await self.session.close()
            if self._process == os.getpid():  # else they are the parent's, too
                await self._sockets.end()
            _open.discard(self)

    async def close(self) -> None:
        """Close it, in its own loop. Idempotent."""
        await self._keeper.aclose()

    def let_go(self) -> None:
        """Nobody uses it any more: have it closed. From any place, thread or moment."""
        if self.session.closed:
            return
        if self.is_within_reach():
            with contextlib.suppress(RuntimeError):  # the loop has closed at this very moment
                self.loop.call_soon_threadsafe(self._close_soon)
                return
        self.abandon()

    def is_within_reach(self) -> bool:
        return self._process == os.getpid() and not self.loop.is_closed()

    def _close_soon(self) -> None:
        task = self.loop.create_task(self.close())
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    def abandon(self) -> None:
        """Its loop is gone and cannot close it, or is the parent's of this forked process.

        Closing a forked process's copies of the sockets does not end the parent's connections; asking the
        loop to would, since both share one selector.
        """
        _open.discard(self)
        self._sockets.close()
        _abandoned.append((self, self.session.connector))
        self.session.detach()


_closing: Final[set[asyncio.Task[None]]] = set()


def _at_exit() -> None:
    for left in tuple(_open):
        left.abandon()


atexit.register(_at_exit)


def _tune_reads() -> None:
    """Spare each read two system calls and a page fault (glibc; elsewhere nothing happens).

    asyncio reads into a new block of 256 KiB each time. glibc gets such a block from the kernel and gives it
    back, until the process has freed one at least as large: from then on it serves them from its heap.
    """
    bytes(_READ_MOST)


class _NoCookies(aiohttp.DummyCookieJar):
    """Keeps none, and gives none: the same empty answer to every request."""

    def __init__(self) -> None:
        super().__init__()
        self._none: SimpleCookie = SimpleCookie()

    def filter_cookies(self, request_url: Any) -> SimpleCookie:  # noqa: ARG002 - the same for each
        # aiohttp adds to it only what a request brings itself, and none of ours brings any.
        return self._none


class Sockets:
    """Makes the sockets, and knows them.

    :ivar made: how many were made.
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

    async def end(self) -> None:
        """Have those end that TLS holds up: a connection that was left waits for the other end's goodbye.

        aiohttp knows such a connection no longer. Its transport finds that nothing more comes, and closes.
        """
        for _ in range(_TURNS):
            still_open = [made for made in tuple(self._alive) if made.fileno() != -1]
            if not still_open:
                return
            for made in still_open:
                with contextlib.suppress(OSError):  # it is not connected, or no longer
                    made.shutdown(socket.SHUT_RDWR)
            await asyncio.sleep(0)  # noqa: TID251  # a turn of the loop, and no time

    def close(self) -> None:
        for made in tuple(self._alive):
            made.close()


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
