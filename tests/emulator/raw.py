"""A caller that speaks plain sockets, so that every byte and every way to end is seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import attrs

from fal_async.emulator import Emulator

MODEL = "fal-ai/fast-sdxl"
INPUT = {"prompt": "a cat"}


@attrs.frozen
class Heard:
    """What came until the connection ended, and how it ended."""

    data: bytes
    end: Literal["closed", "reset"]

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])

    @property
    def head(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0].lower()

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b": ")
            if found == name.lower().encode():
                return value.decode()
        return None


def post(
    target: str = f"/fal.run/{MODEL}",
    body: bytes | None = None,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A request after which the server shall close the connection."""
    content = json.dumps(INPUT).encode() if body is None else body
    lines = {"Host": "127.0.0.1", "Connection": "close", "Content-Length": len(content)}
    lines |= headers or {}  # type: ignore[arg-type]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + content


@asynccontextmanager
async def connected(
    emu: Emulator,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = emu.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(emu: Emulator, request: bytes | None = None) -> Heard:
    """Send a request and listen until the end."""
    async with connected(emu) as (reader, writer):
        writer.write(post() if request is None else request)
        return await listen(reader)


async def listen(reader: asyncio.StreamReader) -> Heard:
    data = bytearray()
    try:
        while piece := await reader.read(2**16):
            data += piece
    except ConnectionResetError:
        return Heard(bytes(data), "reset")
    return Heard(bytes(data), "closed")
