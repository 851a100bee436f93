"""JavaScript with fal's own client in it, run by a Node that takes an emulator for fal."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

HERE = Path(__file__).parent
#: The first one that has fetch, which the client needs.
OLDEST = 18
#: The first one that has WebSocket without being asked for it; some before it can be asked.
HAS_WEBSOCKET = 22
CAN_HAVE_WEBSOCKET = 20


def the_node() -> tuple[str, int]:
    """The Node on this machine, and its major version; without a usable one, the test is skipped."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not on this machine")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    version = int(said.strip().removeprefix("v").partition(".")[0])
    if version < OLDEST:
        pytest.skip(f"the client needs Node {OLDEST}, here is {version}")
    return node, version


def cache_folder(config: pytest.Config, temporary: pytest.TempPathFactory) -> Path:
    """Where what is installed stays until the next run, if pytest has a cache."""
    cache: pytest.Cache | None = getattr(config, "cache", None)
    return temporary.getbasetemp() if cache is None else cache.mkdir("fal_async")


def installed(folder: Path) -> Path:
    """Where in ``folder`` the client is, installed once; if it cannot be, the test is skipped."""
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    cache = folder / f"fal-js-client-{wanted[:12]}"
    if not cache.is_dir():
        with tempfile.TemporaryDirectory(dir=folder) as new:
            _install(Path(new, "whole"))
            with suppress(OSError):  # another process was faster
                Path(new, "whole").rename(cache)
    return cache / "node_modules"


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not on this machine")
    folder.mkdir()
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=20000"]
    try:
        subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=90)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("npm cannot install the client: no registry answers, or none has it")


class ThrownError(Exception):
    """JavaScript threw something; ``facts`` is what a program sees of it."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__(json.dumps(facts))
        self.facts = facts


class Node:
    """A Node to which pieces of JavaScript are given; it is started by the first one.

    ``js("return await fal.run(given.model, {input: {}})", model="…")``. See ``terminal.cjs`` for the names
    there are.
    """

    def __init__(self, modules: Path, environment: Mapping[str, str]) -> None:
        self._command, self._version = the_node()
        self._modules = modules
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            with self._process:
                self._process.kill()

    @property
    def has_websocket(self) -> bool:
        """Whether ``WebSocket`` is a global name, as in browsers."""
        return self._version >= CAN_HAVE_WEBSOCKET

    def __call__(self, code: str, **given: Any) -> Any:
        """What the code returns.

        :raises ThrownError: if it throws.
        """
        process = self._process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"code": code, "given": given}) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, f"Node has ended, with {process.wait()}"
        outcome = json.loads(answer)
        if "error" in outcome:
            raise ThrownError(outcome["error"])
        return outcome["value"]

    def thrown(self, code: str, **given: Any) -> dict[str, Any]:
        """What a program sees of the error that the code throws."""
        with pytest.raises(ThrownError) as caught:
            self(code, **given)
        return caught.value.facts

    def _started(self) -> subprocess.Popen[str]:
        asked_for = self.has_websocket and self._version < HAS_WEBSOCKET
        options = ["--experimental-websocket"] if asked_for else []
        return subprocess.Popen(
            [self._command, *options, str(HERE / "terminal.cjs")],
            env={"NODE_PATH": str(self._modules), **self._environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
