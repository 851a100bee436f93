"""The example of the documentation passes as it stands."""

from __future__ import annotations

import shutil
import sys

import pytest

from tests.architecture.sources import CHECKOUT
from tests.pytest_plugin.conftest import PLUGINS

pytest_plugins = ["pytester"]


def test_the_tests_of_the_web_application_pass(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    for name in ("web_app.py", "test_web_app.py"):
        shutil.copy(CHECKOUT / "examples" / name, pytester.path)
    pytester.makeini("[pytest]\nstrict = true\nfilterwarnings = error")
    plugins = [argument for plugin in PLUGINS for argument in ("-p", plugin)]
    done = pytester.run(
        sys.executable,
        "-m",
        "pytest",
        *plugins,
        "-o",
        "asyncio_default_fixture_loop_scope=function",
    )
    done.assert_outcomes(passed=3)
