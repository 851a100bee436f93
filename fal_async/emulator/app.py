"""Which service of fal a request is for, and the view that serves it.

One port for all: by Host header, or by a path prefix that is the host's name.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from aiohttp import web

from fal_async.emulator.platform import Platform
from fal_async.emulator.queueing.service import QueueService
from fal_async.emulator.services import SERVICES
from fal_async.emulator.storage.routes import match_cdn, match_rest
from fal_async.emulator.storage.service import StorageService
from fal_async.emulator.views.answering import respond
from fal_async.emulator.views.cdn import download
from fal_async.emulator.views.direct import direct_call
from fal_async.emulator.views.front_page import front_page
from fal_async.emulator.views.history import platform_call
from fal_async.emulator.views.platform_storage import platform_storage
from fal_async.emulator.views.queue import Places, queue_call
from fal_async.emulator.views.sockets import socket_call, wants_socket
from fal_async.emulator.views.storage import storage_call
from fal_async.emulator.views.tokens import is_for_tokens, token_call
from fal_async.protocol import failures, wire

__all__ = ["App"]

_LOG: Final = logging.getLogger("fal_async.emulator")


class App:
    """The handler of every request."""

    def __init__(self, platform: Platform, queue: QueueService, storage: StorageService) -> None:
        self._platform = platform
        self._queue = queue
        self._storage = storage
        self._serving: set[asyncio.Task[Any]] = set()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # aiohttp's, one for each request
        self._serving.add(task)
        try:
            return await self._served(request)
        except ConnectionError:  # the caller has left, and this was noticed while it was written to
            raise
        except web.RequestPayloadError:
            unread = {"detail": "The body is not in the encoding that it is said to be in"}
            return respond(failures.json_answer(400, unread))
        except Exception:
            _LOG.exception("the emulator failed")
            raise
        finally:
            self._serving.discard(task)

    async def close(self) -> None:
        """Cut off every request that is being served."""
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _served(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, _ = request.raw_path.partition("?")
        host = request.headers.get("Host", "")
        asked = host.partition(":")[0].lower()
        base = "https://"
        if asked not in SERVICES:
            asked, _, rest = path.lstrip("/").partition("/")
            path = f"/{rest}"
            base = f"{request.scheme}://{host}/"
            if not asked:
                return front_page(self._platform, request)
        return await self._served_by(SERVICES.get(asked), asked, base, request, path)

    async def _served_by(
        self, service: str | None, asked: str, base: str, request: web.BaseRequest, path: str
    ) -> web.StreamResponse:
        """The answer of a service.

        :param asked: the host under whose name it was reached.
        :param base: what comes before a host's name in URLs for this caller.
        """
        cdn = base + wire.CDN_HOST
        if wants_socket(request):
            return await socket_call(self._platform, request, service, path, cdn)
        if service == wire.REST_HOST and is_for_tokens(path):
            return await token_call(self._platform, request, path)
        if service == wire.RUN_HOST:
            return await direct_call(self._platform, request, path, cdn)
        if service == wire.QUEUE_HOST:
            places = Places(queue=base + wire.QUEUE_HOST, cdn=cdn)
            return await queue_call(self._platform, self._queue, request, path, places)
        if service == wire.CDN_HOST:
            return await self._file(base + asked, request, path)
        if service == wire.REST_HOST:
            route = match_rest(path.rstrip("/"))
            if route is not None:
                there = base + wire.CDN_HOST_B
                return await storage_call(self._platform, self._storage, request, route, there)
        if service == wire.API_HOST and path.startswith(wire.STORAGE_PREFIX):
            return await platform_storage(self._platform, self._storage, request, path)
        if service == wire.API_HOST:
            return await platform_call(self._platform, request, path)
        return respond(failures.json_answer(404, {"detail": "Not Found"}))

    async def _file(self, cdn: str, request: web.BaseRequest, path: str) -> web.StreamResponse:
        route = match_cdn(request.method, path)
        if route is not None:
            return await storage_call(self._platform, self._storage, request, route, cdn)
        return await download(self._platform, self._storage.access, request, path)
