"""Both forms of fal-client, spoken to alike: what blocks does so in a thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


async def done(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """The outcome of a call of either form."""
    if inspect.iscoroutinefunction(function):
        return await function(*args, **named)
    return await asyncio.to_thread(function, *args, **named)


async def drained(function: Callable[..., Any], *args: Any, **named: Any) -> list[Any]:
    """All that an iteration of either form yields."""
    if inspect.isasyncgenfunction(function):
        return [item async for item in function(*args, **named)]
    return await asyncio.to_thread(lambda: list(function(*args, **named)))


@asynccontextmanager
async def entered(function: Callable[..., Any], *args: Any, **named: Any) -> AsyncIterator[Any]:
    """Within a context of either form."""
    context = function(*args, **named)
    if hasattr(context, "__aenter__"):
        async with context as inside:
            yield inside
        return
    inside = await asyncio.to_thread(context.__enter__)
    try:
        yield inside
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
