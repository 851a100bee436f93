"""A run through fal's queue as a person at a terminal has it: told of, watched, and left by Ctrl-C.

What becomes of the request is the client's doing (``features.subscribe``); here it is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from fal_async.cli.waiting import Waiting
from fal_async.errors import Billing, FalError, Verdict
from fal_async.features.handle import RequestHandle
from fal_async.features.run import RunResult
from fal_async.session import AsyncFal

__all__ = ["run_durably"]

#: The result may be here before the last of the log is.
_LAST_LINES: Final = 1.0


async def run_durably(
    fal: AsyncFal,
    model: str,
    content: Mapping[str, Any],
    options: Mapping[str, Any],
    waiting: Waiting,
) -> RunResult[Any]:
    """Make the call. Cancelled, it has the request cancelled; cancelled again, it leaves at once.

    :raises asyncio.CancelledError: with the verdict on the request as its ``verdict``.
    """
    known: list[RequestHandle] = []
    watching: set[asyncio.Task[None]] = set()

    def submitted(handle: RequestHandle) -> None:
        known.append(handle)
        waiting.say(f"request {handle.request_id}")
        if waiting.is_seen:
            watching.add(asyncio.create_task(_watch(handle, waiting)))

    call = asyncio.create_task(
        fal.run_detailed(model, content, durable=True, on_submitted=submitted, **options)
    )
    try:
        await _until_ended(call, known, waiting)
        if watching and not call.cancelled():
            # Whoever has had enough of the log by now gets the answer: it is paid for.
            with suppress(asyncio.CancelledError):
                await asyncio.wait(watching, timeout=_LAST_LINES)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return await call


async def _until_ended(
    call: asyncio.Task[Any], known: Sequence[RequestHandle], waiting: Waiting
) -> None:
    try:
        await asyncio.wait({call})
    except asyncio.CancelledError:
        waiting.say("the request is being cancelled; again to leave at once", head="interrupted:")
        call.cancel()
        try:
            await asyncio.wait({call})
        except asyncio.CancelledError as cancelled:
            cancelled.verdict = Verdict(  # type: ignore[attr-defined]
                billing=Billing.UNKNOWN,
                request_id=known[0].request_id if known else None,
                handle=known[0] if known else None,
            )
            raise


async def _watch(handle: RequestHandle, waiting: Waiting) -> None:
    with suppress(FalError):  # the call asks the same, and tells what is wrong
        async for update in handle.updates(logs=True):
            waiting.show(update)
