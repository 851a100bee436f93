"""A model that is somebody's own application, and what ASGI calls things.

Pure values; who calls the application stands in ``running``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

import attrs

from fal_async.emulator.model import Model

__all__ = ["AsgiApp", "AsgiModel", "Message", "Receive", "Send"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


@attrs.frozen(kw_only=True)
class AsgiModel(Model):
    """A model whose calls go to an application as they came, and whose answers are the application's own.

    Its function is the application itself.
    """

    prints: bool = False
    """Whether what it prints are lines of the request's log."""

    @property
    def app(self) -> AsgiApp:
        """The application."""
        return cast("AsgiApp", self.function)
