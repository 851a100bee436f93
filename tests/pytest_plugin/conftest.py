"""A project of somebody else's, whose tests use the plugin."""

from __future__ import annotations

from collections.abc import Callable

import pytest

# Loaded here, so that what a run in this process imports is not imported anew by the next one.
from fal_async import session
from fal_async.pytest_plugin import by_asyncio, held

INI = """
[pytest]
strict = true
filterwarnings = error
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
"""
PLUGINS = ("fal_async.pytest_plugin", "pytest_asyncio.plugin", "anyio.pytest_plugin")
#: As ``pytest`` itself, other than ``python -m pytest``, finds the plugin of a checkout.
NOT_REWRITTEN = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"

LOADED = (session, by_asyncio, held)

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a file of tests in this process. Plugins by name: others that are installed are none of ours."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(source: str, *arguments: str, mode: str = "auto") -> pytest.RunResult:
        pytester.makefile(".ini", pytest=INI.format(mode=mode))
        pytester.makepyfile(source)
        plugins = [argument for plugin in PLUGINS for argument in ("-p", plugin)]
        return pytester.runpytest_inprocess(
            *plugins,
            "-W",
            NOT_REWRITTEN,
            "-p",
            "no:cacheprovider",
            "-p",
            "no:faulthandler",
            *arguments,
        )

    return run
