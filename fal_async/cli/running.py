"""Running a command's coroutine so that signals end it in order, and a second one at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from fal_async.cli.exits import Exit

__all__ = ["run"]

T = TypeVar("T")

#: How long a task may clean up once somebody wants to leave at once, in seconds.
_PATIENCE: Final = 0.02


def run(command: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` with signals that are no more than cancellations.

    The first Ctrl-C, SIGTERM or SIGHUP (its terminal was closed) cancels the coroutine, which may take its
    time to clean up. The second one cancels that, too, in every task. Python's own second Ctrl-C would break
    in wherever the code stands. SIGHUP goes on being ignored if it was, as nohup has it.

    :raises KeyboardInterrupt: after Ctrl-C, once the coroutine has ended.
    :raises SystemExit: after the others, likewise.
    """
    signals = _Signals()
    try:
        return asyncio.run(signals.minding(command))
    except asyncio.CancelledError:
        if signals.first is signal.SIGINT:
            raise KeyboardInterrupt from None
        if signals.first is not None:
            raise SystemExit(Exit.TERMINATED) from None
        raise


def _minded() -> list[signal.Signals]:
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is None or signal.getsignal(hangup) is not signal.SIG_DFL:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hangup]


class _Signals:
    """What the signals do that come while a coroutine runs.

    :ivar first: the first that came.
    """

    def __init__(self) -> None:
        self.first: signal.Signals | None = None

    async def minding(self, command: Coroutine[Any, Any, T]) -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        for number in _minded():
            # Not every loop can (NotImplementedError), and none outside the main thread (the others): then
            # they do what they always do.
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self._take, number, task, loop)
        return await command

    def _take(
        self,
        number: signal.Signals,
        task: asyncio.Task[Any] | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        if self.first is None and task is not None:
            self.first = number
            task.cancel()
        else:
            _push(loop)


def _push(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_later(
        _PATIENCE, _push, loop
    )  # what is still there then has cleaned up for long enough
