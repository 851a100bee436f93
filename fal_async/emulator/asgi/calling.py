"""The call of an application itself: whatever it raises is its own affair, and never the emulator's end."""

from __future__ import annotations

import asyncio
from typing import Any

from fal_async.emulator.asgi.model import AsgiApp, Receive, Send

__all__ = ["call_app"]


async def call_app(
    app: AsgiApp, scope: dict[str, Any], receive: Receive, send: Send
) -> BaseException | None:
    """Call an application to its end; what it raised.

    Only the cancellation of the task that it runs in passes, not one of its own making.
    """
    try:
        await app(scope, receive, send)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return error
    except (Exception, SystemExit) as error:
        return error
    return None
