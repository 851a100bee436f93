"""Running a command's coroutine so that Ctrl-C and SIGTERM end it in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from fal_async.cli.exits import Exit

__all__ = ["run"]

T = TypeVar("T")


def run(command: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, with SIGTERM taken for what Ctrl-C is: the coroutine is cancelled.

    :raises KeyboardInterrupt: after Ctrl-C, once the coroutine has ended.
    :raises SystemExit: after SIGTERM, likewise.
    """
    terminated = False

    async def cancellable() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            if task is not None:
                task.cancel()

        # Not on every platform, and in the main thread only; then SIGTERM does what it always does.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGTERM, terminate)
        return await command

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        if terminated:
            raise SystemExit(Exit.TERMINATED) from None
        raise
