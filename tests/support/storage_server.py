"""A storage that does what it is told, over real connections: the REST host and the CDN on one port.

``storage.faults[what]`` is a list of what becomes of the next requests of that kind, such as
``storage.faults["part 3"] = [503, "reset"]``; kinds are ``token``, ``direct``, ``create``, ``part N``,
``complete``, ``initiate``, ``initiate-parts``, ``put``, ``sent part N``, ``sent complete`` and ``look``. A
fault is a status, ``"reset"``, ``"late reset"`` (when all has arrived), ``"silence"``, or an event to await.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, defaultdict
from typing import Any, Self

import attrs
from aiohttp import web

from fal_async import Hosts

FAR = "2099-01-01T00:00:00+00:00"


@attrs.define
class Asked:
    what: str
    path: str
    headers: dict[str, str]
    size: int


class Storage:
    def __init__(self, *, presigned_at: str | None = None) -> None:
        self.faults: dict[str, list[Any]] = defaultdict(list)
        self.asked: list[Asked] = []
        self.files: dict[str, bytes] = {}
        self.facts: dict[str, dict[str, str]] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.tokens = 0
        self.good: set[str] = set()
        self.expires_at = FAR
        self.completed: list[list[int]] = []
        self.in_flight = self.most_in_flight = 0
        self.news = asyncio.Event()
        self._presigned_at = presigned_at

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(
            web.Server(self._serve, handler_cancellation=True), shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.hosts = Hosts.local(self.url)
        self.presigned = self._presigned_at or f"{self.url}/bucket"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def count(self) -> Counter[str]:
        return Counter(asked.what for asked in self.asked)

    async def arrival(self, what: str) -> None:
        while what not in self.count():
            self.news.clear()
            await self.news.wait()

    # --- what is asked ----------------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.removeprefix("/rest.fal.ai").removeprefix("/v3.fal.media")
        what = _kind(request.method, path)
        asked = Asked(what, path, {k.lower(): v for k, v in request.headers.items()}, 0)
        self.asked.append(asked)
        self.news.set()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answer(request, what, path, asked)
        finally:
            self.in_flight -= 1

    async def _answer(
        self, request: web.BaseRequest, what: str, path: str, asked: Asked
    ) -> web.StreamResponse:
        fault = self.faults[what].pop(0) if self.faults[what] else None
        if fault == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(fault, int):
            return web.json_response({"detail": "told so"}, status=fault)
        body = b"".join([chunk async for chunk in request.content.iter_any()])
        asked.size = len(body)
        if isinstance(fault, asyncio.Event):
            await fault.wait()
        if fault == "silence":
            await asyncio.Event().wait()
        response = self._done(request, what, path, body)
        if fault == "late reset":
            assert request.transport is not None
            request.transport.abort()
        return response

    def _done(
        self, request: web.BaseRequest, what: str, path: str, body: bytes
    ) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "")
        if what in {"token", "initiate", "initiate-parts"}:
            if shown.startswith("Key bad"):
                return web.json_response({"detail": "Invalid key"}, status=401)
            return self._token() if what == "token" else self._begin(what, request, body)
        to_cdn = what in {"direct", "create", "complete"} or what.startswith("part ")
        if to_cdn and shown not in self.good:
            return web.json_response({"detail": "Token expired"}, status=401)
        if what in {"direct", "create"}:
            return self._begin(what, request, body)
        if what == "look":
            return web.Response(status=200 if f"{self.url}{request.path}" in self.files else 404)
        name = next(step for step in reversed(path.split("/")) if re.fullmatch(r"n\d+", step))
        return self._further(what, name, body)

    def _token(self) -> web.StreamResponse:
        self.tokens += 1
        self.good = {f"Bearer t{self.tokens}"}
        return _json(
            token=f"t{self.tokens}",
            token_type="Bearer",
            base_url=f"{self.url}/v3.fal.media",
            expires_at=self.expires_at,
        )

    def _begin(self, what: str, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        name = f"n{len(self.facts)}"
        url = f"{self.url}/v3.fal.media/files/{name}"
        self.facts[name] = dict(request.headers)
        if what == "direct":
            self.files[url] = body
            return _json(access_url=url)
        self.parts[name] = {}
        if what == "create":
            return _json(access_url=url, uploadId=name)
        self.facts[name] |= json.loads(body)
        return _json(upload_url=f"{self.presigned}/{name}?sig=secret", file_url=url)

    def _further(self, what: str, name: str, body: bytes) -> web.StreamResponse:
        url = f"{self.url}/v3.fal.media/files/{name}"
        kind, _, number = what.rpartition(" ")
        if what == "put":
            self.files[url] = body
            return web.Response()
        if kind == "sent part":  # another server may have begun it
            self.parts.setdefault(name, {})
        if name not in self.parts:
            return web.json_response({"detail": "no such upload"}, status=404)
        if kind in {"part", "sent part"}:
            self.parts[name][int(number)] = body
            return web.Response(headers={"ETag": f'"{number}-{len(body)}"'})
        told = [(part["partNumber"], part["etag"]) for part in json.loads(body)["parts"]]
        stored = self.parts.pop(name)
        assert told == [(part, f'"{part}-{len(stored[part])}"') for part, _ in told]
        self.completed.append([part for part, _ in told])
        self.files[url] = b"".join(stored[part] for part, _ in told)
        return web.Response()


def _json(**content: str) -> web.Response:
    return web.json_response(content)


def _kind(method: str, path: str) -> str:
    if path == "/storage/auth/token":
        return "token"
    if path == "/storage/upload/initiate":
        return "initiate"
    if path == "/storage/upload/initiate-multipart":
        return "initiate-parts"
    if path == "/files/upload":
        return "direct"
    if path == "/files/upload/multipart":
        return "create"
    if method == "HEAD":
        return "look"
    sent = "sent " if path.startswith("/bucket") else ""
    if path.endswith("/complete"):
        return f"{sent}complete"
    last = path.rpartition("/")[2]
    return f"{sent}part {last}" if last.isdigit() else "put"
