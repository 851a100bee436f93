"""The process that runs are forked from, as its parent sees it: orders go in, words come out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from tests.architecture.sources import CHECKOUT

__all__ = ["Nursery", "Run"]


class Run:
    """A run under way: its words, until it is over. Only one at a time.

    :ivar killed: whether it was killed; known in the end.
    :ivar status: its exit status in the end; negative is a signal's number.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._pid: int | None = None
        self._over = False
        self.status = 0

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def kill(self) -> None:
        """End it as a power cut of its own would; nothing happens to one that is over."""
        if self._pid is not None and not self._over:
            os.kill(self._pid, signal.SIGKILL)

    async def words(self) -> AsyncIterator[dict[str, Any]]:
        """All that it says, the last word before its end included."""
        while not self._over:
            word = await self.hear()
            if word["say"] == "begun":
                self._pid = word["pid"]
            elif word["say"] == "over":
                self._over = True
            else:
                yield word
        await tell(self._process, "")
        self.status = (await self.hear())["status"]

    async def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the program that runs are forked from has ended")
        word: dict[str, Any] = json.loads(line)
        return word


async def tell(process: asyncio.subprocess.Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    await process.stdin.drain()


class Nursery:
    """``tests.support.killing.program``, in a process of its own; one run at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process
        self._run: Run | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            "-m",
            "tests.support.killing.program",
            cwd=CHECKOUT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        assert (await Run(self._process).hear())["say"] == "ready"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        if self._run is not None:
            self._run.kill()
        self._process.stdin.close()
        await self._process.communicate()

    async def begin(self, order: dict[str, Any]) -> Run:
        """Carry out an order, in a fork."""
        await tell(self._process, json.dumps(order))
        self._run = Run(self._process)
        return self._run
