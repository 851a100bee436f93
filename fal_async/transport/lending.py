"""Slots that are held before it is known whose call it will be."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from fal_async.protocol.messages import HttpRequest
from fal_async.transport.authorizing import Authorizing
from fal_async.transport.base import Call, Slot
from fal_async.transport.gate import Gate
from fal_async.transport.limiting import Limiting, Unlimited

__all__ = ["Lending"]

T = TypeVar("T")


class Lending:
    """Lends the slots of a brake, to those inside of a gate."""

    def __init__(self, gate: Gate, authorizing: Authorizing, brake: Limiting | Unlimited) -> None:
        self._authorizing = authorizing
        self._brake = brake
        self._gate = gate

    async def reserve(self, request: HttpRequest, call: Call) -> Slot | None:
        """A slot that calls like this one may be given, as soon as there is one.

        :raises MissingKeyError: as for a call.
        """
        await self._authorizing.authorize(request, call)
        return await self._brake.reserve(request.application, call)

    def inside(self, call: Call, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """Do ``work``, which ends with a ``SessionError`` if the session is closed."""
        return self._gate.inside(call, work)
