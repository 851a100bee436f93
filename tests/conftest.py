"""What holds for every test: nothing is left behind. And what makes all of them take less time.

A test fails that leaves a task running on its loop, or a socket, file or transport to the garbage
collector. Warnings are errors already (setup.cfg), but a ResourceWarning is raised inside a
``__del__``: it is looked for here, at the end of the test that caused it and not some tests later.
"""

from __future__ import annotations

import asyncio
import compileall
import gc
import importlib.util
import inspect
import itertools
import os
import sys
from collections.abc import AsyncIterator, Generator, Iterator

import pytest

#: Keys, hosts and proxies of whoever runs the tests are none of theirs.
for name in tuple(os.environ):
    if name.startswith("FAL_") or name.lower().endswith("_proxy"):
        del os.environ[name]


@pytest.fixture
async def no_task_outlives_the_test() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks left running: {sorted(task.get_name() for task in left)}"


@pytest.fixture(autouse=True)
def tasks_end_with_their_test(request: pytest.FixtureRequest) -> None:
    """Set up before any fixture of the test itself, the check ends after all of them."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("no_task_outlives_the_test")


def pytest_runtest_setup() -> None:
    """The command line lifts this limit for its whole process, which here is everybody's."""
    sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported to get here is no garbage: neither this nor the collections below need look at it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


#: Whatever outlives its test is set aside, so that looking for garbage costs the same after each one; now and
#: then all of it is looked through, which takes as long as dozens of tests do, and once after the last.
_ALL_EVERY = 500
_count = itertools.count(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    found: list[str] = []
    hook, sys.unraisablehook = (
        sys.unraisablehook,
        lambda unraisable: found.append(
            f"{type(unraisable.exc_value).__name__}: {unraisable.exc_value}"
        ),
    )
    try:
        if next(_count) % _ALL_EVERY == 0 or nextitem is None:
            gc.unfreeze()
        gc.collect()
        gc.freeze()
    finally:
        sys.unraisablehook = hook
    if found:
        pytest.fail(f"left to the garbage collector: {'; '.join(found)}", pytrace=False)


#: Begun before all others, in this order: what takes a minute must not be what is left at the end.
_FIRST = ("soak", "architecture", "docs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        folder = item.nodeid.partition("/")[2].partition("/")[0]
        return _FIRST.index(folder) if folder in _FIRST else len(_FIRST)

    items.sort(key=turn)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One more than there are processors: many tests wait, for a program or for a minute to pass."""
    return (yield) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Programs are started by the hundred: where Python may not write bytecode, each would compile ours."""
    package = importlib.util.find_spec("fal_async")
    if package is not None and not hasattr(config, "workerinput"):
        for folder in package.submodule_search_locations or ():
            compileall.compile_dir(folder, quiet=2)
