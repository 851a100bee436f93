"""Where pytest keeps what the plugin remembers: keys of its stashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from fal_async.pytest_plugin.guard import Guard

if TYPE_CHECKING:
    from fal_async.pytest_plugin.held import HeldEmulator, Shared

__all__ = ["EMULATORS", "GUARD", "ITEM", "SHARED"]

EMULATORS: Final[pytest.StashKey[list[HeldEmulator]]] = pytest.StashKey()
"""Of a test: the emulators it uses."""
GUARD: Final[pytest.StashKey[Guard]] = pytest.StashKey()
ITEM: Final[pytest.StashKey[pytest.Item]] = pytest.StashKey()
"""Of the configuration: the test that is being set up."""
SHARED: Final[pytest.StashKey[Shared]] = pytest.StashKey()
"""Of the configuration: the emulator of the session, as long as there is one."""
