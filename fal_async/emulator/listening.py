"""The port: where the emulator listens, what takes its connections in, and how they all end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from fal_async.emulator.clock import one_turn

__all__ = ["Handler", "Listener"]

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

#: Where a caller on this machine finds a server that listens on every address.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

#: Bytes of a body that wait to be looked at. With aiohttp's own 64 KiB a large upload stops at each of them.
_READ_BUFFER: Final = 1 << 20

_NO_TLS: Final = "the emulator was made without tls=True"


def _silent_logger() -> logging.Logger:
    """aiohttp reports broken requests and connections, which are this server's daily work."""
    logger = logging.Logger("fal_async.emulator.http")  # noqa: LOG001  # in no tree: heard by nobody
    logger.disabled = True
    return logger


_SILENT: Final = _silent_logger()


class Listener:
    """One port, for plain HTTP.

    :param port: 0 is any free one, and another after each :meth:`open`.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._asked = self._port = port
        self._sockets: asyncio.Server | None = None
        self._http: web.Server | None = None
        self._ending: list[asyncio.Transport] = []

    async def open(self, handler: Handler) -> None:
        """Listen, on the running loop.

        :raises OSError: if the address is taken.
        """
        http = web.Server(
            handler,
            request_factory=self._request,
            handler_cancellation=True,
            access_log=None,
            logger=_SILENT,
            lingering_time=0,
            read_bufsize=_READ_BUFFER,
        )
        loop = asyncio.get_running_loop()
        sockets = await loop.create_server(self._door(http), self._host, self._asked, backlog=1024)
        self._http, self._sockets = http, sockets
        self._port = sockets.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Take nobody in any more; who is in may stay until :meth:`close`."""
        if self._sockets is None or self._http is None:
            return
        self._sockets.close()
        connections = self._http.connections
        self._ending = [one.transport for one in connections if one.transport is not None]

    async def close(self) -> None:
        """End every connection at once; nothing of them is left."""
        http, sockets = self._http, self._sockets
        if http is None or sockets is None:
            return
        self._http = self._sockets = None
        http.pre_shutdown()
        await http.shutdown(0.1)
        for transport in self._ending:
            transport.abort()  # one that still has something to send would not end otherwise
        self._ending = []
        await sockets.wait_closed()
        for _ in range(3):  # transports are gone some turns after they were told to
            await one_turn()

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._sockets is not None

    @property
    def http(self) -> web.Server | None:
        """What serves the connections, while there are any."""
        return self._http

    @property
    def url(self) -> str:
        """``http://127.0.0.1:{port}``; the loopback address, too, if it listens on all there are."""
        host = _LOOPBACK.get(self._host, self._host)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def proxy_url(self) -> str:
        """What ``HTTPS_PROXY`` is set to."""
        raise RuntimeError(_NO_TLS)

    @property
    def authority(self) -> Path:
        """The certificate to trust."""
        raise RuntimeError(_NO_TLS)

    def _door(self, http: web.Server) -> Callable[[], asyncio.BaseProtocol]:
        """What takes a connection in."""
        return http

    def _request(
        self, message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
    ) -> web.BaseRequest:
        """A request whose body may be of any size."""
        loop = asyncio.get_running_loop()
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=0)
