"""The documentation runs against an emulator, as in the reader's other terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from fal_async.emulator import Emulator
from tests.conformance.js.node import cache_folder, installed, the_node


async def serve(started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    stop = asyncio.Event()
    async with Emulator() as emulator:
        started.set_result((emulator.url, asyncio.get_running_loop(), stop))
        await stop.wait()


@pytest.fixture
def emulator_url() -> Iterator[str]:
    """An emulator of this test's own, on a loop in a thread of its own."""
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    with ThreadPoolExecutor(max_workers=1) as thread:
        serving = thread.submit(asyncio.run, serve(started))
        wait([started, serving], return_when=FIRST_COMPLETED)
        if serving.done():
            serving.result()
        url, loop, stop = started.result()
        try:
            yield url
        finally:
            loop.call_soon_threadsafe(stop.set)
            serving.result()


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, emulator_url: str) -> Path:
    """Where a reader stands: in an empty folder, our commands at hand, an emulator running."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAL_EMULATOR_URL", emulator_url)
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    for name in ("FAL_KEY", "FAL_KEY_ID", "FAL_KEY_SECRET", "FAL_RUN_HOST", "FAL_QUEUE_RUN_HOST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def node(
    request: pytest.FixtureRequest, reader: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Gives the command that runs JavaScript where the reader stands, fal's own client at hand."""

    def find() -> str:
        command, _ = the_node()
        modules = reader / "node_modules"
        if not modules.exists():
            modules.symlink_to(installed(cache_folder(request.config, tmp_path_factory)))
        return command

    return find
