"""An uploader over real connections, small enough that a test's files go up in parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fal_async import Hosts
from fal_async.features.uploading import Uploader
from fal_async.policy.patience import Patience
from fal_async.transport.base import Clock
from fal_async.transport.clock import LoopClock
from fal_async.transport.stack import Stack

KEY = "an-id:a-secret"
PART = 64 * 1024
#: Seven parts, the last of them small.
CONTENT = bytes(range(256)) * (6 * PART // 256) + b"the end"


@asynccontextmanager
async def uploader(
    hosts: Hosts, clock: Clock | None = None, *, key: Any = KEY, **more: Any
) -> AsyncIterator[Uploader]:
    """As a session has it; what fails is tried again soon."""
    clock = clock or LoopClock()
    stack = Stack(
        clock,
        hosts,
        key=key,
        limit=None,
        http_session=None,
        proxies=None,
        max_answer_bytes=100_000,
    )
    more = {
        "part_size": PART,
        "parts_above": PART,
        "patience": Patience(tries=4, budget=60.0, longest=0.001),
    } | more
    try:
        yield Uploader(stack.plain, stack.signed, stack.free, hosts, clock, lambda: 0.0, **more)
    finally:
        await stack.close()
