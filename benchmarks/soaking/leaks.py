"""What a process holds: tasks, descriptors, threads, memory. And what it must not hold more and more of."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self
from weakref import WeakKeyDictionary

import attrs

from benchmarks.machine import resident_memory

__all__ = ["Figures", "Growth", "figures", "lasting_tasks", "map_large_blocks", "settled_figures"]

_DESCRIPTORS: Final = Path("/proc/self/fd")
#: Sockets close some turns of the loop after they were told to, tasks end, and a server hears of it later.
_PATIENCE: Final = 10.0
_PAUSE: Final = 0.05
#: A request whose caller has left is cancelled behind his back, if need be for a minute, and its id is waited
#: for another one before (``features/subscribe.py``). That ends with the session, and by itself.
_CANCELS: Final = frozenset(
    ("Subscriber._withdraw", "Subscriber._withdraw_unnamed", "Queue.enqueue")
)
_CANCELLED_WITHIN: Final = 130.0


@attrs.frozen(kw_only=True)
class Figures:
    """What a process holds at an instant at which nothing goes on in it.

    :ivar files: descriptors that are no sockets.
    :ivar blocks: blocks of memory that Python has handed out; exact, other than ``resident``.
    :ivar resident: megabytes, as the system has it.
    """

    tasks: int
    sockets: int
    files: int
    threads: int
    blocks: int
    resident: float

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        return cls(**told)

    def row(self) -> list[str]:
        return [
            *map(str, (self.tasks, self.sockets, self.files, self.threads)),
            f"{self.blocks:,}",
            f"{self.resident:.1f}",
        ]


#: Of glibc's ``malloc.h``; and bytes of a block that is large.
_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 128 * 1024

_first_seen: WeakKeyDictionary[asyncio.Task[Any], float] = WeakKeyDictionary()


def lasting_tasks() -> list[asyncio.Task[Any]]:
    """All but those that end in time by themselves."""
    now = time.monotonic()
    return [
        task
        for task in asyncio.all_tasks()
        if getattr(task.get_coro(), "__qualname__", "") not in _CANCELS
        or now - _first_seen.setdefault(task, now) > _CANCELLED_WITHIN
    ]


def _descriptors() -> list[str]:
    found = []
    for entry in os.listdir(_DESCRIPTORS) if _DESCRIPTORS.exists() else []:  # noqa: PTH208
        with suppress(OSError):  # that of the listing itself
            found.append(str((_DESCRIPTORS / entry).readlink()))
    return found


def map_large_blocks() -> None:
    """Have each large block of memory to itself: among small ones it leaves holes that look like growth.

    That is how glibc begins. Once a large block was freed it puts the next ones of its size on the heap.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def _trim() -> None:
    """Give back to the system what the allocator keeps for later: it would look like growth."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)


def figures(*, tasks: int | None = None) -> Figures:
    """What this process holds, garbage aside.

    :param tasks: those that count; None: all.
    """
    for _ in range(3):  # what was freed may free more
        gc.collect()
    _trim()
    descriptors = _descriptors()
    sockets = sum(found.startswith("socket:") for found in descriptors)
    return Figures(
        tasks=len(asyncio.all_tasks()) if tasks is None else tasks,
        sockets=sockets,
        files=len(descriptors) - sockets,
        threads=threading.active_count(),
        blocks=sys.getallocatedblocks(),
        resident=(resident_memory() or 0) / 1e6,
    )


async def settled_figures(is_still: Callable[[], bool]) -> Figures:
    """The same, once ``is_still``; or after some seconds if it does not come to be."""
    until = time.monotonic() + _PATIENCE
    while not is_still() and time.monotonic() < until:  # noqa: ASYNC110 - nobody tells it
        await asyncio.sleep(_PAUSE)
    return figures(tasks=len(lasting_tasks()))


@attrs.define
class Growth:
    """Looks for what grows, once there is a reason to."""

    _types: Counter[str] = attrs.field(factory=Counter)

    def remember(self) -> None:
        """What there is now is no growth."""
        self._types = _types()

    def trace(self) -> None:
        """From now on, who allocates is written down. That is slow."""
        if not tracemalloc.is_tracing():
            tracemalloc.start(12)

    def told(self) -> Sequence[str]:
        """What there is more of, and who made it."""
        more = _types() - self._types
        lines = [f"{count:+,} of {name}" for name, count in more.most_common(12)]
        if tracemalloc.is_tracing():
            found = tracemalloc.take_snapshot().statistics("traceback")[:8]
            tracemalloc.stop()
            for statistic in found:
                lines.append(f"{statistic.size:,} bytes in {statistic.count:,} blocks, made by")
                lines.extend(statistic.traceback.format(limit=6))
        return lines


def _types() -> Counter[str]:
    gc.collect()
    return Counter(
        f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects()
    )
