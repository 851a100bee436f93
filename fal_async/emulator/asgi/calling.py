"""The call of an application itself: whatever it raises is its own affair, and never the emulator's end."""

from __future__ import annotations

from typing import Any

from fal_async.emulator.asgi.model import AsgiApp, Receive, Send

__all__ = ["call_app"]


async def call_app(
    app: AsgiApp, scope: dict[str, Any], receive: Receive, send: Send
) -> BaseException | None:
    """Call an application to its end; what it raised.

    That may be a cancellation, of its own making or of the task that it runs in. Which one it is cannot be
    seen here: anyio takes back the mark that a task bears that was cancelled.
    """
    try:
        await app(scope, receive, send)
    except KeyboardInterrupt:  # somebody's who sits before the emulator
        raise
    except BaseException as error:  # groups that hold a SystemExit, too
        return error
    return None
