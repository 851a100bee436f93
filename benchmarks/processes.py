"""The processes of a measurement: a server, and clients that are told what to do, each on its core."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from types import TracebackType
from typing import Any, Self

__all__ = ["Child", "Client", "Server"]


class Child:
    """A module of this package that is spoken with in lines, until its standard input is closed."""

    def __init__(self, module: str, *arguments: str, core: int | None = None) -> None:
        pinned = [] if core is None else ["--core", str(core)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, *pinned],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self) -> str:
        """A line of its words."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process of the measurement ended early; its words are above")
        return line

    def write(self, line: str) -> None:
        """Say a line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Server(Child):
    """``benchmarks.server``."""

    def __init__(self, core: int | None) -> None:
        super().__init__("benchmarks.server", core=core)
        self.url = f"http://127.0.0.1:{int(self.read())}"

    def peak(self) -> int:
        """The most requests that were being answered at once, since this was last asked."""
        # A ProxyHandler without proxies: whatever the environment says, this stays on the machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url) as response:
            return int(response.read().split()[0])


class Client(Child):
    """``benchmarks.client`` for one peer."""

    def __init__(self, peer: str, url: str, core: int | None) -> None:
        super().__init__("benchmarks.client", peer, url, core=core)
        self.read()

    def round(
        self, in_flight: int, *, warm: float, seconds: float, drain: bool = True
    ) -> dict[str, Any]:
        """A closed loop of that many calls; without ``drain`` it ends the process."""
        result = self._tell(
            kind="round", in_flight=in_flight, warm=warm, seconds=seconds, drain=drain
        )
        if not drain:
            self._process.kill()
        return result

    def wave(self, calls: int) -> dict[str, Any]:
        """That many calls of a second, at once."""
        return self._tell(kind="wave", calls=calls)

    def warm_up(self, in_flight: int) -> None:
        """So many calls of a second at once, a few times: the brake finds out that there is no limit.

        Calls that are answered at once would hide it for long: at a thousand in flight, most of them waited
        for a slot all through a measurement on a busy machine.
        """
        for _ in range(1 + in_flight // 1000):
            self.wave(in_flight)

    def _tell(self, **order: Any) -> dict[str, Any]:
        self.write(json.dumps(order))
        result: dict[str, Any] = json.loads(self.read())
        return result
