"""Callers of an emulator with TLS: through its proxy, and by its address. They trust its authority alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import attrs

from fal_async.emulator import Emulator
from tests.emulator.raw import connected


def trusting(emu: Emulator) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(emu.authority))


@asynccontextmanager
async def proxied(emu: Emulator) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for which every URL goes through the emulator's proxy."""
    connector = aiohttp.TCPConnector(ssl=trusting(emu))
    async with aiohttp.ClientSession(connector=connector, proxy=emu.proxy_url) as http:
        yield http


@attrs.frozen
class Line:
    """One connection, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """All that comes until the other end has closed."""
        with suppress(ConnectionError):
            return await self.reader.read()
        return b""

    async def tunnel(self, host: str = "fal.run", port: int = 443) -> bytes:
        """Ask for one; the head of the answer."""
        self.say(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        return await self.head()

    async def secure(self, emu: Emulator, host: str = "fal.run") -> dict[str, Any]:
        """Begin TLS; the certificate of the other end."""
        await self.writer.start_tls(trusting(emu), server_hostname=host)
        certificate: dict[str, Any] = self.writer.get_extra_info("peercert")
        return certificate


@asynccontextmanager
async def line(emu: Emulator) -> AsyncIterator[Line]:
    async with connected(emu) as (reader, writer):
        yield Line(reader, writer)
