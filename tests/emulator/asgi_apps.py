"""Applications that speak ASGI themselves, so that every message of theirs is one of a test's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import aiohttp
import attrs

from fal_async.emulator import Emulator
from tests.support.virtual_time import turns

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: What an application does with one call.
Handler = Callable[["Given"], Awaitable[None]]

ID = "me/app"


@attrs.define
class Given:
    """One call as an application has it."""

    scope: MutableMapping[str, Any]
    receive: Receive
    send: Send

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.scope["headers"]}

    @property
    def path(self) -> str:
        path: str = self.scope["path"]
        return path

    async def begin(self, status: int = 200, headers: Mapping[str, object] | None = None) -> None:
        pairs = [(k.encode(), str(v).encode()) for k, v in (headers or {}).items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})

    async def add(self, body: bytes, *, more: bool = True) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(
        self, content: object = None, status: int = 200, headers: Mapping[str, object] | None = None
    ) -> None:
        """All of an answer at once, as a framework gives it."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        kind = {"content-type": "application/json", "content-length": len(body)}
        await self.begin(status, {**kind, **(headers or {})})
        await self.add(body, more=False)


class App:
    """Does with each call what the handler of its path does; without one, it answers 404 as frameworks do.

    :ivar given: every call that came, lifespans aside.
    """

    def __init__(self, **handlers: Handler) -> None:
        self.handlers = handlers
        self.given: list[Given] = []
        self.ended: list[str] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError("no lifespan")
        given = Given(scope, receive, send)
        self.given.append(given)
        handler = self.handlers.get(given.path.strip("/").replace("/", "_") or "root")
        try:
            if handler is not None:
                await handler(given)
            elif scope["type"] == "http":
                await given.answer({"detail": "Not Found"}, 404, {"x-fal-billable-units": "0"})
        finally:
            self.ended.append(given.path)

    @property
    def paths(self) -> list[str]:
        return [given.path for given in self.given]


async def echo(given: Given) -> None:
    """Answers what it was sent."""
    message = await given.receive()
    await given.answer(message["body"])


def mount(emu: Emulator, **handlers: Handler) -> App:
    app = App(**handlers)
    emu.mount(ID, app)
    return app


@attrs.frozen
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    emu: Emulator,
    path: str = "",
    content: object = None,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    model: str = ID,
) -> Answer:
    """A direct call; ``path`` is what stands behind the application's id."""
    body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.request(
            method,
            aiohttp.client.URL(f"{emu.url}/fal.run/{model}{path}", encoded=True),
            data=None if method in {"GET", "HEAD"} else body,
            headers=headers,
            allow_redirects=False,
        ) as response,
    ):
        return Answer(response.status, response.headers, await response.read())


async def until(condition: Callable[[], bool]) -> None:
    """Return once something is so of an application, which tells nobody."""
    while not condition():
        await turns()


class Gate:
    """Something that a test and an application wait for."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._reached = asyncio.Event()

    async def wait(self) -> None:
        self._reached.set()
        await self._open.wait()

    async def reached(self) -> None:
        await self._reached.wait()

    def open(self) -> None:
        self._open.set()
