"""The command line as a person has it: an emulator in another terminal, an empty folder, no settings."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from fal_async.cli.group import cli
from fal_async.emulator import Call, Emulator

CHECKOUT = Path(__file__).parents[2]
SETTINGS = {
    *("FAL_KEY", "FAL_KEY_ID", "FAL_KEY_SECRET", "FAL_EMULATOR_URL"),
    *("FAL_RUN_HOST", "FAL_QUEUE_RUN_HOST"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
}


@attrs.frozen
class Shell:
    """Runs ``fal-async``: within this process, or as one of its own."""

    folder: Path

    def run(self, *words: str, stdin: str | bytes | None = None) -> Result:
        # click 8.2 no longer asks whether stderr shall be kept apart.
        asks = "mix_stderr" in inspect.signature(CliRunner).parameters
        runner = CliRunner(mix_stderr=False) if asks else CliRunner()  # type: ignore[call-arg]
        result = runner.invoke(cli, words, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def start(self, *words: str, **settings: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "fal_async", *words],
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings},
        )

    def submit(self, model: str, *words: str) -> str:
        """The id of a request put into the queue."""
        request_id: str = json.loads(self.run("submit", model, *words).stdout)["request_id"]
        return request_id


def on_a_terminal(shell: Shell, *words: str, stderr: bool = False) -> str:
    """What a person sees who types this; it must succeed. stderr is shown if that is asked for."""
    ours, theirs = os.openpty()
    shown_too = {"stderr": theirs} if stderr else {}
    with shell.start(*words, stdout=theirs, **shown_too) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65_536):
                shown += chunk
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        assert process.wait(20) == 0
    return shown.decode()


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))  # for the processes
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path)


@pytest.fixture
def terminal() -> Iterator[None]:
    """Its closing (SIGHUP) is heeded, as by what a shell starts there: under nohup it is not, and that is
    handed down."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


async def serve(
    emulator: Emulator, started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]
) -> None:
    stop = asyncio.Event()
    async with emulator:
        started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()


@pytest.fixture
def emulator(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator in a thread of its own, to which the environment points."""
    emulator = Emulator()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    with ThreadPoolExecutor(max_workers=1) as thread:
        serving = thread.submit(asyncio.run, serve(emulator, started))
        wait([started, serving], return_when=FIRST_COMPLETED)
        if serving.done():
            serving.result()
        loop, stop = started.result()
        monkeypatch.setenv("FAL_EMULATOR_URL", emulator.url)
        try:
            yield emulator
        finally:
            loop.call_soon_threadsafe(stop.set)
            serving.result()


@attrs.frozen
class Gate:
    """A model that logs a line when it begins, and ends when it is let."""

    model: str = "test/gated"
    running: threading.Event = attrs.field(factory=threading.Event)
    opened: threading.Event = attrs.field(factory=threading.Event)

    def serve(self, content: Any, call: Call) -> Any:
        call.log("it has begun")
        self.running.set()
        assert self.opened.wait(20)
        return content


@pytest.fixture
def gate(emulator: Emulator) -> Iterator[Gate]:
    gate = Gate()
    emulator.model(gate.model, thread=True)(gate.serve)
    yield gate
    gate.opened.set()
