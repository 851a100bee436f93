"""An event loop whose time does not pass: when nothing is left to do, it jumps to the next timer.

Hours go by in milliseconds, over real sockets too: whoever is on the other end of a loopback connection
lives in the same loop, so that a loop with nothing to read has nothing to wait for but its timers.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

#: What the kernel may need to carry a segment over loopback on a busy machine, in real seconds.
GRACE = 0.003
START = 1000.0


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Never waits for a timer: moves the clock on to it."""

    def __init__(self, grace: float) -> None:
        super().__init__()
        self.now = START
        self._grace = grace

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(min(timeout, self._grace))
        if not ready:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """
    :param grace: real seconds to look for something to read before time is let go by; 0 without a network.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self._jumping = _Jumping(grace)
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """However long its threads take: this loop's minutes are none of theirs."""
        await super().shutdown_default_executor()


Test = Callable[..., Coroutine[Any, Any, None]]


def _in_virtual_time(test: Test, grace: float) -> Callable[..., None]:
    assert inspect.iscoroutinefunction(test)

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def and_look_around() -> None:
            await test(*args, **kwargs)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks left running: {sorted(task.get_name() for task in left)}"

        with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(grace)) as runner:
            runner.run(and_look_around())

    return run


def in_virtual_time(test: Test) -> Callable[..., None]:
    """Run an async test in such a loop; it fails if it leaves a task behind."""
    return _in_virtual_time(test, GRACE)


def in_virtual_time_without_a_network(test: Test) -> Callable[..., None]:
    """The same for a test that opens no connection: faster."""
    return _in_virtual_time(test, 0)


async def seconds(count: float) -> None:
    """Let so much time go by, all that happens in it included."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(count, over.set_result, None)
    await over


async def turns(count: int = 20) -> None:
    """Let everybody else do what can be done now."""
    for _ in range(count):
        await asyncio.sleep(0)  # noqa: TID251 - no time passes
