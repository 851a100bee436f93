"""What pytest loads where this is installed: fixtures, the marker ``fal``, a net under the account.

A table of contents: the fixtures and hooks are found by their names. Loading it costs next to nothing; the
emulator, and the HTTP library with it, is imported for the first test that uses a fixture.
"""

from fal_async.pytest_plugin.fixtures import (
    _fal_under_anyio,
    fal,
    fal_emulator,
    fal_emulator_session,
)
from fal_async.pytest_plugin.hooks import (
    pytest_addoption,
    pytest_configure,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_runtest_setup,
    pytest_runtest_teardown,
)

__all__ = [
    "_fal_under_anyio",
    "fal",
    "fal_emulator",
    "fal_emulator_session",
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
]
