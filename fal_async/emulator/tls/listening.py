"""The port of an emulator with TLS: https and plain HTTP, by name and as a forward proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from fal_async.emulator.listening import Handler, Listener
from fal_async.emulator.services import SERVICES
from fal_async.emulator.tls.authority import Authority, look_for_trustme
from fal_async.emulator.tls.doors import Doors
from fal_async.emulator.tls.proxying import names_origin, origin_of, refusal_text, without_origin

__all__ = ["TlsListener"]

_HERE: Final = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104


class TlsListener(Listener):
    """One port, for all of it.

    :raises MissingExtraError: if trustme is not there.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        look_for_trustme()
        self._authority: Authority | None = None
        self._doors: Doors | None = None

    async def open(self, handler: Handler) -> None:
        """Listen, with an authority made for it."""
        here = () if self._host in _EVERYWHERE else (self._host,)
        authority = Authority(dict.fromkeys((*SERVICES, *_HERE, *here)))
        self._authority = authority
        try:
            await super().open(_not_for_others(handler))
        except BaseException:
            self._forget()
            raise

    async def close(self) -> None:
        """End every connection, tunnel and handshake at once."""
        if self._doors is not None:
            await self._doors.close()
        await super().close()
        self._forget()

    @property
    def proxy_url(self) -> str:
        """The url is a proxy's, too."""
        return self.url

    @property
    def authority(self) -> Path:
        """The certificate to trust."""
        if self._authority is None:
            raise RuntimeError("the emulator does not run: each start makes an authority")
        return self._authority.path

    def _forget(self) -> None:
        authority, self._authority, self._doors = self._authority, None, None
        if authority is not None:
            authority.close()

    def _door(self, http: web.Server) -> Callable[[], asyncio.BaseProtocol]:
        assert self._authority is not None  # noqa: S101  # made by open
        self._doors = Doors(http, self._authority.context)
        return self._doors

    def _request(
        self, message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
    ) -> web.BaseRequest:
        path = without_origin(message.path)
        if path != message.path:
            message = message._replace(path=path)
        return super()._request(message, payload, protocol, writer, task)


def _not_for_others(handler: Handler) -> Handler:
    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        if names_origin(request.raw_path):
            return web.Response(status=403, text=refusal_text(origin_of(request.raw_path)))
        return await handler(request)

    return serve
