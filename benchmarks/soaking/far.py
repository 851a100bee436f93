"""The far end, as it is spoken with from here."""

from __future__ import annotations

import asyncio
import json
import sys
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.soaking.agreeing import Execution
from benchmarks.soaking.leaks import Figures

__all__ = ["FarEnd"]

#: A round's ledger comes in one line.
_LINE: Final = 1 << 30


class FarEnd:
    """A process of ``benchmarks.soaking.far_end``."""

    def __init__(self) -> None:
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.soaking.far_end",
            stdin=pipe,
            stdout=pipe,
            limit=_LINE,
        )
        self.url = await self._read()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def round(self, *, seed: int, limit: int | None, share: float) -> Figures:
        """Begin anew; what that process holds then."""
        return Figures.of(await self._tell("round", seed=seed, limit=limit, share=share))

    async def limit(self, limit: int | None, hot: int | None) -> None:
        """The account's limit, and that of one of its applications."""
        await self._tell("limit", limit=limit, hot=hot)

    async def settle(self) -> tuple[list[Execution], dict[str, int], list[str]]:
        """When all has ended: the ledger, how often each fault was met, and what else was wrong."""
        told = await self._tell("settle")
        executions = [Execution(**found) for found in told["executions"]]
        return executions, told["faults"], told["wrong"]

    async def _tell(self, do: str, **order: Any) -> Any:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        async with self._turn:
            process.stdin.write(f"{json.dumps({'do': do, **order})}\n".encode())
            return json.loads(await self._read())

    async def _read(self) -> str:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the far end has ended early; its words are above")
        return line.decode().strip()
