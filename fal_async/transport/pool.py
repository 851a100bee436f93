"""The pool of connections: one aiohttp session, owned or borrowed, and the event loop it lives in.

An owned session is opened by the first call and closed with the ``AsyncFal``, with its event loop, or when
the ``AsyncFal`` is collected, whichever comes first.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable

import aiohttp

from fal_async.errors import InputError, SessionError
from fal_async.transport.owned import OwnedSession, Sockets

__all__ = ["Pool"]

_forks = 0


def _forked() -> None:
    global _forks  # noqa: PLW0603 - one process, one count
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Pool:
    """Gives the aiohttp session of the running event loop."""

    def __init__(self, borrowed: aiohttp.ClientSession | None = None) -> None:
        if borrowed is not None:
            _check_borrowed(borrowed)
        self._borrowed = borrowed
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owned: OwnedSession | None = None
        self._collected: Callable[[], object] | None = None
        self._forks = _forks
        self.limit = 0 if borrowed is None else _limit_of(borrowed.connector)
        """Connections to one host that there may be at once; 0 for no limit."""
        self.waits = bool(self.limit)
        """Whether a request may have to wait for one of the pool's connections."""
        self.closed = False
        self.sockets = Sockets()
        """Those of its own session. How many were made tells a new connection from a pooled one."""

    def session(self, loop: asyncio.AbstractEventLoop | None = None) -> aiohttp.ClientSession:
        """The session to send with, opened if need be.

        :param loop: the running event loop, if it is known.
        :raises SessionError: if it is closed, or bound to another event loop that is still open.
        """
        loop = loop or asyncio.get_running_loop()
        if self._session is not None and self._loop is loop:
            return self._session
        return self._open(loop)

    def _open(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        if self.closed:
            raise SessionError("this AsyncFal is closed: make a new one")
        self._leave()
        if self._borrowed is not None:
            session = _usable(self._borrowed, loop)
        else:
            self.sockets = Sockets()
            self._owned = OwnedSession(self.sockets)
            self._collected = weakref.finalize(self, self._owned.let_go)
            session = self._owned.session
        self._session, self._loop, self._forks = session, loop, _forks
        return session

    def _leave(self) -> None:
        """Let go of a session whose loop is gone, or say why that cannot be done."""
        if self._session is None:
            return
        if self._forks == _forks and self._loop is not None and not self._loop.is_closed():
            raise SessionError(
                "this AsyncFal was opened in another event loop, which is still open: "
                "close it there first, or make one AsyncFal per loop"
            )
        if self._collected is not None:
            self._collected()
        self._session = self._owned = self._collected = self._loop = None

    def check_loop(self) -> None:
        """Let go of what belongs to an event loop that is gone.

        :raises SessionError: in another event loop than the one in which it was opened, if that is open.
        """
        if self._loop is not asyncio.get_running_loop():
            self._leave()

    def shut(self) -> None:
        """From now on no session is given out.

        :raises SessionError: like :meth:`check_loop`.
        """
        self.check_loop()
        self.closed = True

    async def close(self) -> None:
        """Close an owned session; a borrowed one is its owner's. Idempotent; raises like :meth:`shut`."""
        self.shut()
        owned, self._session, self._owned = self._owned, None, None
        if owned is not None:
            await owned.close()


def _limit_of(connector: aiohttp.BaseConnector | None) -> int:
    limits = () if connector is None else (connector.limit, connector.limit_per_host)
    return min(filter(None, limits), default=0)


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
