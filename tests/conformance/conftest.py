"""An emulator that takes the place of fal for whatever reads the environment."""

from __future__ import annotations

import gc
import importlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fal_async.emulator import ThreadedEmulator

KEY = "an-id:a-secret"


@pytest.fixture(scope="session")
def started_once() -> Iterator[ThreadedEmulator]:
    with ThreadedEmulator(tls=True, keys=[KEY]) as emulator:
        yield emulator


@pytest.fixture
def emulator(
    started_once: ThreadedEmulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ThreadedEmulator]:
    """As new, and where this process looks for fal."""
    for name, value in started_once.environment().items():
        monkeypatch.setenv(name, value)
    yield started_once
    started_once.wait(started_once.reset())


@pytest.fixture(params=["async", "sync"])
async def client(request: pytest.FixtureRequest, emulator: ThreadedEmulator) -> AsyncIterator[Any]:
    """fal-client, in both of its forms, as its own documentation has it: nothing is told to it."""
    fal_client = pytest.importorskip("fal_client", reason="fal-client is not installed")
    if request.param == "async":
        calling = fal_client.AsyncClient()
        yield calling
        await (await calling._client).aclose()
    else:
        blocking = fal_client.SyncClient()
        yield blocking
        blocking._client.close()
        _close_what_is_left_open()


def _close_what_is_left_open() -> None:
    """What uploads of the blocking form made and did not close, and a traceback has kept since."""
    httpx = importlib.import_module("httpx")
    for left in gc.get_objects():
        if type(left) is httpx.Client:
            left.close()
