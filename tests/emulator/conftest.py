"""Emulators, and a net under them: nothing is logged, nothing goes wrong in silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fal_async.emulator import Emulator


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


@pytest.fixture
async def frozen() -> AsyncIterator[Emulator]:
    """An emulator whose time stands still."""
    async with Emulator(clock="virtual") as emulator:
        yield emulator


@pytest.fixture
async def unheard() -> AsyncIterator[list[dict[str, Any]]]:
    """What the loop's exception handler is told."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    yield told
    assert told == []


@pytest.fixture
def silent(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No logger of any library says anything above debug."""
    caplog.set_level(logging.INFO)
    yield
    assert [record.getMessage() for record in caplog.records] == []
