"""A downloader over real connections, and what a scripted server says to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fal_async import Hosts
from fal_async.features.downloading import Downloader
from fal_async.transport.base import Clock
from fal_async.transport.clock import LoopClock
from fal_async.transport.stack import Stack
from tests.support.scripted_server import Act, head, message, say_and

KEY = "an-id:a-secret"
CONTENT = bytes(range(256)) * 4000  # several blocks
ETAG = '"one"'


@asynccontextmanager
async def downloader(
    clock: Clock | None = None, *, proxies: Any = None, local: bool = True, **more: Any
) -> AsyncIterator[Downloader]:
    """As a session has it, key and all: the key is one of its stack, and must not go along."""
    clock = clock or LoopClock()
    stack = Stack(
        clock,
        Hosts(),
        key=KEY,
        limit=None,
        http_session=None,
        proxies=proxies,
        max_answer_bytes=1000,
    )
    try:
        yield Downloader(stack.plain_streams, clock, local=local, **more)
    finally:
        await stack.close()


def whole(body: bytes = CONTENT, status: int = 200, **headers: str) -> bytes:
    named = {"Content-Type": "image/png", "ETag": ETAG}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return message(status, body=body, headers=named)


def served(body: bytes = CONTENT, **headers: str) -> Act:
    return say_and(whole(body, **headers), "go_on")


def cut(at: int, then: str = "finish", body: bytes = CONTENT, **headers: str) -> Act:
    """The whole file, but for what comes after ``at`` bytes."""
    said = whole(body, **headers)
    return say_and(said[: len(said) - len(body) + at], then)


def rest(start: int, body: bytes = CONTENT, total: int | None = None, **headers: str) -> Act:
    """The part from ``start`` on."""
    size = len(body) if total is None else total
    where = f"bytes {start}-{len(body) - 1}/{size}"
    return say_and(whole(body[start:], 206, **{"Content_Range": where} | headers), "go_on")


def redirect(location: str, status: int = 302) -> Act:
    return say_and(head(status, {"Location": location, "Content-Length": "0"}), "go_on")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
