"""A caller of the emulator's storage: aiohttp, and nothing of the client's but the wire language."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs

from fal_async.emulator import Emulator
from fal_async.protocol import multipart, storage
from fal_async.protocol.messages import Headers
from fal_async.protocol.multipart import Created, Part
from fal_async.protocol.storage import CdnToken, Initiated, StorageRequest
from fal_async.protocol.upload_facts import UploadFacts

KEY = "me:secret"
FRIEND = "friend:secret"


@attrs.frozen
class Got:
    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        return str(self.json["detail"])


class Caller:
    """One key's holder."""

    def __init__(self, emu: Emulator, http: aiohttp.ClientSession, key: str | None = KEY) -> None:
        self.emu = emu
        self.http = http
        self.keyed = {} if key is None else {"Authorization": f"Key {key}"}

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, data: Any = b""
    ) -> Got:
        async with self.http.request(method, url, headers=headers, data=data) as answer:
            return Got(answer.status, Headers(answer.headers), await answer.read())

    async def send(self, request: StorageRequest, data: Any = None, *, key: bool = False) -> Got:
        headers = request.headers | (self.keyed if key else {})
        return await self.ask(request.method, request.url, headers, data or request.body)

    async def token(self, seconds: int | None = None) -> CdnToken:
        request = storage.token_request(self.emu.hosts.rest, seconds=seconds)
        got = await self.send(request, key=True)
        assert got.status == 200, got
        return storage.parse_token(got.body, now=0.0, cdn="")

    async def upload(
        self, data: Any, facts: UploadFacts | None = None, token: CdnToken | None = None
    ) -> str:
        got = await self.try_upload(data, facts, token)
        assert got.status == 200, got
        return storage.parse_access_url(got.body)

    async def try_upload(
        self, data: Any, facts: UploadFacts | None = None, token: CdnToken | None = None
    ) -> Got:
        token = token or await self.token()
        request = storage.direct_request(self.emu.hosts.cdn, token, facts or UploadFacts())
        return await self.send(request, data)

    async def initiate(
        self, facts: UploadFacts | None = None, *, in_parts: bool = False
    ) -> Initiated:
        rest = self.emu.hosts.rest
        facts = facts or UploadFacts("image/png", "a.png")
        request = storage.initiate_request(rest, facts, in_parts=in_parts)
        got = await self.send(request, key=True)
        assert got.status == 200, got
        return storage.parse_initiated(got.body)

    async def create(self, token: CdnToken, facts: UploadFacts | None = None) -> Created:
        request = multipart.create_request(token.base_url, token, facts or UploadFacts())
        got = await self.send(request)
        assert got.status == 200, got
        return multipart.parse_created(got.body)

    async def part(self, upload: Created, number: int, data: Any, token: CdnToken) -> Part:
        got = await self.send(multipart.part_request(upload, number, token), data)
        assert got.status == 200, got
        return Part(number, multipart.parse_etag(got.headers) or "")


@asynccontextmanager
async def calling(emu: Emulator, key: str | None = KEY) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as http:
        yield Caller(emu, http, key)
