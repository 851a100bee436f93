"""From one input to its outcome: prepare, call, keep, save. One failure is an outcome, never an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from fal_async.batch.call import Call
from fal_async.batch.calling import Calling, Prepared
from fal_async.batch.outcome import Failed, Outcome, Succeeded
from fal_async.errors import (
    Billing,
    FalError,
    InterruptedCallError,
    MissingKeyError,
    SessionError,
    Verdict,
)
from fal_async.protocol import wire
from fal_async.protocol.billing import billable_units
from fal_async.protocol.messages import HttpResponse
from fal_async.transport.base import Slot

__all__ = ["Making", "interrupted", "opened"]


def opened(item: Any) -> tuple[Any, Mapping[str, Any]]:
    """An input, and the options of its own."""
    return (item.input, item.options) if isinstance(item, Call) else (item, {})


class Making:
    """Makes the outcomes of one map.

    :ivar broken: why nothing more can come of it, whatever the input; None while it can.
    """

    def __init__(self, calling: Calling[Any], now: Callable[[], float]) -> None:
        self._calling = calling
        self._now = now
        self.broken: FalError | None = None

    async def open(self) -> None:
        """Open what outcomes are kept in."""

    async def close(self) -> None:
        """Close it."""

    async def make(self, index: int, item: Any, slot: Slot | None) -> Outcome[Any]:
        """The outcome of one input."""
        given, options = opened(item)
        try:
            prepared = self._calling.prepare(given, options)
        except FalError as error:
            return _failed(index, given, error, 0.0)
        prepared.call.slot = slot
        return await self._called(index, given, prepared)

    async def _called(self, index: int, input: Any, prepared: Prepared[Any]) -> Outcome[Any]:
        call = prepared.call
        try:
            output, response = await self._calling.send(prepared, None)
        except FalError as error:
            if isinstance(error, (MissingKeyError, SessionError)):
                self.broken = error
            return _failed(index, input, error, self._since(call.started))
        return self._succeeded(index, input, output, response, prepared)

    def _succeeded(
        self, index: int, input: Any, output: Any, response: HttpResponse, prepared: Prepared[Any]
    ) -> Outcome[Any]:
        headers, call = response.headers, prepared.call
        return Succeeded(
            index=index,
            input=input,
            output=output,
            request_id=headers.get(wire.REQUEST_ID) or call.request_id,
            attempts=call.attempts,
            elapsed=self._since(call.started),
            billable_units=billable_units(headers),
        )

    def _since(self, started: float | None) -> float:
        return 0.0 if started is None else self._now() - started


def _failed(index: int, input: Any, error: FalError, elapsed: float) -> Failed:
    return Failed(
        index=index,
        input=input,
        error=error,
        request_id=error.request_id,
        attempts=error.attempts,
        elapsed=elapsed,
        billable_units=billable_units(error.headers),
        billing=error.billing,
    )


def interrupted(index: int, item: Any, cancelled: asyncio.CancelledError) -> Failed:
    """What is left of an input whose call was cut off when the map was left."""
    verdict: Verdict = getattr(cancelled, "verdict", None) or Verdict(billing=Billing.NOT_BILLED)
    error = InterruptedCallError(
        "the map was left before this call had ended",
        billing=verdict.billing,
        attempts=verdict.attempts,
        request_id=verdict.request_id,
    )
    error.handle = verdict.handle
    return _failed(index, opened(item)[0], error, 0.0)
