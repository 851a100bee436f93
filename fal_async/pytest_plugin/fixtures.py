"""The fixtures: an emulator for each test or for all of them, and a client on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

from fal_async.pytest_plugin.loops import closing_fixture
from fal_async.pytest_plugin.state import EMULATORS, ITEM, SHARED
from fal_async.pytest_plugin.surroundings import surroundings

if TYPE_CHECKING:
    from fal_async.emulator.threaded import ThreadedEmulator
    from fal_async.session import AsyncFal

__all__ = ["_fal_under_anyio", "fal", "fal_emulator", "fal_emulator_session"]


@pytest.fixture
def fal_emulator(request: pytest.FixtureRequest) -> Iterator[ThreadedEmulator]:
    """A local fal of this test's own, which AsyncFal() and fal-client find by themselves.

    It is a fal_async.emulator.ThreadedEmulator, set up with @pytest.mark.fal(limit=2, faults=[...], ...).
    """
    from fal_async.pytest_plugin.held import key_of, made_for

    item: pytest.Item = request.node
    emulator = made_for(item)
    with emulator, surroundings(emulator.url, key_of(item)):
        item.stash.setdefault(EMULATORS, []).append(emulator)
        yield emulator


@pytest.fixture(scope="session")
def fal_emulator_session(request: pytest.FixtureRequest) -> Iterator[ThreadedEmulator]:
    """A local fal under one url for all tests; it is as new for each test that uses it."""
    from fal_async.pytest_plugin.held import HeldEmulator, Shared

    item = request.config.stash[ITEM]
    with HeldEmulator(item.path.parent) as emulator:
        shared = Shared(emulator)
        request.config.stash[SHARED] = shared
        try:
            shared.begin(item)
            item.stash.setdefault(EMULATORS, []).append(emulator)
            yield emulator
        finally:
            shared.end()
            del request.config.stash[SHARED]


@pytest.fixture
def fal(request: pytest.FixtureRequest) -> AsyncFal:
    """A fal_async.AsyncFal on fal_emulator (or on fal_emulator_session, if the test uses that one).

    For async tests of pytest-asyncio and of anyio's plugin.
    """
    name = "fal_emulator"
    if f"{name}_session" in request.fixturenames and name not in request.fixturenames:
        name += "_session"
    request.getfixturevalue(name)
    client: AsyncFal = request.getfixturevalue(closing_fixture(request))
    return client


@pytest.fixture
async def _fal_under_anyio() -> AsyncIterator[AsyncFal]:
    """The client of a test that anyio's plugin runs."""
    from fal_async.session import AsyncFal

    async with AsyncFal() as client:  # the environment says where
        yield client
