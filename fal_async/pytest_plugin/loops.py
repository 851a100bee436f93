"""On which event loop a test runs: there its client has to be opened and closed."""

from __future__ import annotations

import sys
from typing import Final

import pytest

__all__ = ["SCOPES", "closing_fixture", "has_asyncio"]

_BOTH: Final = (
    "in pytest-asyncio's auto mode an anyio test has its async fixtures, such as fal, on another loop than "
    "its own: set asyncio_mode = strict, or take its anyio marker away"
)
SCOPES: Final = ("function", "class", "module", "package", "session")


def has_asyncio(config: pytest.Config) -> bool:
    """Whether pytest-asyncio takes part, under whatever name."""
    plugin = sys.modules.get("pytest_asyncio.plugin")
    return plugin is not None and config.pluginmanager.is_registered(plugin)


def closing_fixture(request: pytest.FixtureRequest) -> str:
    """The name of the fixture that opens and closes a client on the loop of a test."""
    item: pytest.Item = request.node
    by_asyncio = has_asyncio(request.config) and sys.modules["pytest_asyncio"].is_async_test(item)
    by_anyio = "anyio_backend" in request.fixturenames
    if by_asyncio and by_anyio and item.get_closest_marker("anyio") is not None:
        pytest.fail(_BOTH, pytrace=False)
    if by_asyncio:
        return f"_fal_on_{_loop_scope(item)}_loop"
    if by_anyio:
        backend = request.getfixturevalue("anyio_backend_name")
        if backend != "asyncio":
            pytest.fail(f"the fixture fal runs on asyncio, not on {backend}", pytrace=False)
        return "_fal_under_anyio"
    return pytest.fail(
        "the fixture fal is for async tests, run by pytest-asyncio or anyio's plugin; in others use "
        "fal_emulator, which AsyncFal() finds by itself",
        pytrace=False,
    )


def _loop_scope(item: pytest.Item) -> str:
    mark = item.get_closest_marker("asyncio")
    told = {} if mark is None else mark.kwargs
    # "scope" is the older word for it
    scope = told.get("loop_scope") or told.get("scope")
    return str(scope or item.config.getini("asyncio_default_test_loop_scope"))
