"""What the features depend on for connections that go both ways. No WebSocket library here."""

from __future__ import annotations

from typing import Protocol

import attrs

from fal_async.protocol.messages import HttpRequest
from fal_async.transport.base import Call

__all__ = ["Closed", "Socket", "Sockets"]


@attrs.frozen
class Closed:
    """A connection has ended.

    :ivar code: its close code; None if it was lost without one.
    :ivar reason: as the server gave it, unmasked.
    """

    code: int | None
    reason: str = ""


class Socket(Protocol):
    """One open connection."""

    @property
    def closed(self) -> Closed | None:
        """How it ended, as far as that was seen; None while it is open."""
        ...

    async def send(self, frame: str | bytes) -> bool:
        """Write one frame, text or binary, and wait until there is room for more.

        Whoever is cancelled in here has sent it.

        :return: False if nothing was written: the connection is gone.
        """
        ...

    async def receive(self) -> str | bytes | Closed:
        """The next frame; from the end on always :class:`Closed`. One at a time may wait for it.

        While nobody does, no more is read than a small buffer holds: the other end has to wait.
        """
        ...

    async def close(self, code: int = 1000) -> None:
        """Say goodbye and leave; takes a few seconds at most. Idempotent."""
        ...

    def abort(self) -> None:
        """Leave at once, without a word."""
        ...


class Sockets(Protocol):
    """Opens connections."""

    async def open(self, request: HttpRequest, call: Call, *, max_frame: int) -> Socket:
        """Connect; the request's method and body are not looked at.

        :param max_frame: largest message that is taken, in bytes; one beyond it ends the connection (1009).
        :raises ConnectError: there is no connection.
        :raises StatusError: there is one, and the other end refused to open the socket.
        """
        ...
