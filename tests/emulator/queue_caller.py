"""A caller of the queue that knows HTTP and nothing of fal: what is tested is the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs
import msgspec

from fal_async.emulator import Emulator
from fal_async.protocol.sse import EventParser


@attrs.frozen
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@attrs.define
class Stream:
    """A status stream that is being read by a task of its own."""

    head: asyncio.Future[aiohttp.ClientResponse]
    text: bytes = b""
    statuses: list[dict[str, Any]] = attrs.field(factory=list)
    end: str | None = None

    @property
    def words(self) -> list[str]:
        return [status["status"] for status in self.statuses]

    @property
    def messages(self) -> list[str]:
        return [line["message"] for status in self.statuses for line in status["logs"] or ()]

    @property
    def pings(self) -> int:
        return self.text.count(b": ping\n\n")

    async def read(self, session: aiohttp.ClientSession, url: str) -> None:
        parser = EventParser()
        try:
            async with session.get(url) as response:
                self.head.set_result(response)
                async for chunk in response.content.iter_any():
                    self.text += chunk
                    self.statuses += [msgspec.json.decode(e.data) for e in parser.feed(chunk)]
            self.end = "closed"
        except aiohttp.ClientError as error:
            self.end = type(error).__name__


@attrs.define
class Caller:
    emu: Emulator
    session: aiohttp.ClientSession

    @property
    def base(self) -> str:
        return self.emu.hosts.queue

    async def ask(self, method: str, url: str, **more: Any) -> Answer:
        url = url if "://" in url else f"{self.base}/{url}"
        async with self.session.request(method, url, **more) as response:
            return Answer(response.status, response.headers, await response.read())

    async def submit(self, model: str, content: Any = None, **more: Any) -> dict[str, Any]:
        answer = await self.ask("POST", model, json={} if content is None else content, **more)
        assert answer.status == 200, answer
        submission: dict[str, Any] = answer.json
        return submission

    async def work(self, seconds: float = 10, **more: Any) -> dict[str, Any]:
        return await self.submit("emulator/work", {"seconds": seconds, **more})

    async def status(self, submission: dict[str, Any], query: str = "") -> Answer:
        return await self.ask("GET", submission["status_url"] + query)

    async def result(self, submission: dict[str, Any]) -> Answer:
        return await self.ask("GET", submission["response_url"])

    async def cancel(self, submission: dict[str, Any]) -> Answer:
        return await self.ask("PUT", submission["cancel_url"])

    @asynccontextmanager
    async def stream(
        self, submission: dict[str, Any], query: str = "?logs=1"
    ) -> AsyncIterator[Stream]:
        """Follow a request; what can be read by now is there when time was moved by 0."""
        stream = Stream(asyncio.get_running_loop().create_future())
        url = f"{submission['status_url']}/stream{query}"
        reading = asyncio.create_task(stream.read(self.session, url))
        try:
            await self.emu.advance(0)
            yield stream
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@asynccontextmanager
async def calling(emu: Emulator, **settings: Any) -> AsyncIterator[Caller]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, **settings) as session:
        # aiohttp by itself repeats a GET or PUT whose connection is lost: here, each is one request.
        session._retry_connection = False
        yield Caller(emu, session)
