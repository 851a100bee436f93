"""The client for tests of pytest-asyncio, a fixture for each scope that their loop may have.

Imported where pytest-asyncio is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from fal_async.pytest_plugin.loops import SCOPES

__all__: list[str] = []


def _on_the_loop_of(scope: Any) -> Any:
    async def client() -> AsyncIterator[Any]:
        from fal_async.session import AsyncFal

        async with AsyncFal() as client:  # the environment says where
            yield client

    return pytest_asyncio.fixture(client, loop_scope=scope, name=f"_fal_on_{scope}_loop")


globals().update({f"_fal_on_{scope}_loop": _on_the_loop_of(scope) for scope in SCOPES})
