"""Where pytest asks the plugin: around each test, and for its report."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from fal_async.pytest_plugin.guard import Guard
from fal_async.pytest_plugin.loops import has_asyncio
from fal_async.pytest_plugin.settings import MARKER, allows_network, check_names
from fal_async.pytest_plugin.state import EMULATORS, GUARD, ITEM, SHARED

__all__ = [
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "fal_allow_network",
        "whether tests may call fal itself, where calls are billed",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    config.stash[GUARD] = Guard()
    if has_asyncio(config):
        from fal_async.pytest_plugin import by_asyncio

        config.pluginmanager.register(by_asyncio, "fal_async_by_asyncio")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    guard = None if allows_network(item) else item.config.stash[GUARD]
    if guard is None:
        return (yield)
    guard.enter()
    try:
        return (yield)
    finally:
        guard.leave()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    check_names(item)
    config = item.config
    config.stash[ITEM] = item
    shared = config.stash.get(SHARED, None)
    if shared is not None and "fal_emulator_session" in getattr(item, "fixturenames", ()):
        shared.begin(item)
        item.stash.setdefault(EMULATORS, []).append(shared.emulator)
    with config.stash[GUARD].complaining():
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    with item.config.stash[GUARD].complaining():
        result = yield
    for emulator in item.stash.get(EMULATORS, ()):
        emulator.complain()
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        with item.config.stash[GUARD].complaining():
            return (yield)
    finally:
        shared = item.config.stash.get(SHARED, None)
        if shared is not None:
            shared.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [
            ("fal emulator", emulator.describe()) for emulator in item.stash.get(EMULATORS, ())
        ]
    return report
