"""From one input to its outcome: prepare, call, save. One failure is an outcome, never an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from fal_async.batch.call import Call
from fal_async.batch.calling import Answered, Calling, OnSubmitted, Prepared
from fal_async.batch.identity import call_key
from fal_async.batch.outcome import Failed, Outcome, SavedFile, Succeeded
from fal_async.batch.saving import Saver
from fal_async.batch.stopping import Stopping, UnsentError
from fal_async.errors import (
    Billing,
    FalError,
    InterruptedCallError,
    MissingKeyError,
    SessionError,
    Verdict,
)
from fal_async.features.placing import Placing, has_files
from fal_async.protocol import wire
from fal_async.protocol.billing import billable_units
from fal_async.protocol.codec import Undecodable, decode_json
from fal_async.protocol.messages import HttpResponse
from fal_async.transport.base import Slot

__all__ = ["Item", "Making", "interrupted", "known", "opened", "unsent"]


def opened(item: Any) -> tuple[Any, Mapping[str, Any]]:
    """An input, and the options of its own."""
    return (item.input, item.options) if isinstance(item, Call) else (item, {})


@attrs.define
class Item:
    """An input on its way: what outcomes are made from."""

    index: int
    input: Any = attrs.field(repr=False)
    prepared: Prepared[Any]
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    unplaced: bool = False
    """Whether files of the input are still to go up; in what is prepared a digest stands for each."""

    def key(self, model: str) -> bytes:
        """What it has in common with equal calls."""
        return call_key(model, self.prepared.headers, self.prepared.body)

    def equal_to(self, first: Outcome[Any]) -> Outcome[Any]:
        """The outcome of an equal input, which was paid for once."""
        return attrs.evolve(
            first,
            index=self.index,
            input=self.input,
            attempts=0,
            elapsed=0.0,
            billable_units=None,
            billing=Billing.NOT_BILLED,
            replayed=True,
        )

    def succeeded(self, output: Any, response: HttpResponse, now: float) -> Succeeded[Any]:
        headers, call = response.headers, self.prepared.call
        return Succeeded(
            index=self.index,
            input=self.input,
            output=output,
            request_id=headers.get(wire.REQUEST_ID) or call.request_id,
            attempts=call.attempts,
            elapsed=0.0 if call.started is None else now - call.started,
            billable_units=billable_units(headers),
        )

    def failed(self, error: FalError, now: float) -> Failed:
        started = self.prepared.call.started
        return _failed(self.index, self.input, error, 0.0 if started is None else now - started)


class Making:
    """Makes the outcomes of one map.

    :param saver: saves the files of every output; None: nobody does.
    :param coalesce: whether equal inputs with equal options share one call. Its outcome is kept until the
        end, then.
    :ivar stopping: ends what was not sent yet. :meth:`make` raises ``UnsentError`` for it.
    :ivar unclaimed: once closed: calls in doubt of earlier runs that no input of this one was.
    :ivar broken: why nothing more can come of it, whatever the input; None while it can.
    """

    def __init__(
        self,
        model: str,
        calling: Calling[Any],
        now: Callable[[], float],
        saver: Saver | None,
        placing: Placing,
        *,
        coalesce: bool,
    ) -> None:
        self._placing = placing
        self._firsts: dict[bytes, asyncio.Future[Outcome[Any]]] | None = {} if coalesce else None
        self._model = model
        self._calling = calling
        self._now = now
        self._saver = saver
        self.stopping = Stopping()
        self.unclaimed: tuple[Failed, ...] = ()
        self.broken: FalError | None = None

    async def open(self) -> None:
        """Open what outcomes are kept in."""

    async def close(self) -> None:
        """Close it."""

    def hurry(self) -> None:
        """No more inputs come before some of those under way have ended."""

    async def make(self, index: int, given: Any, slot: Slot | None) -> Outcome[Any]:
        """The outcome of one input."""
        plain, options = opened(given)
        shown, unplaced = plain, has_files(plain)
        try:
            if unplaced:
                if slot is not None:
                    slot.release()  # others can use it while files go up
                with self.stopping.until_sent():
                    shown = await self._placing.fingerprint(plain)
            prepared = self._calling.prepare(shown, options)
        except FalError as error:
            return _failed(index, plain, error, 0.0)
        prepared.call.slot = slot
        item = Item(index, plain, prepared, options, unplaced)
        if self._firsts is None:
            return await self._outcome(item)
        return await self._shared(item, self._firsts)

    async def _shared(
        self, item: Item, firsts: dict[bytes, asyncio.Future[Outcome[Any]]]
    ) -> Outcome[Any]:
        """The outcome of the first of all equal inputs."""
        key = item.key(self._model)
        first = firsts.get(key)
        if first is not None:
            if (slot := item.prepared.call.slot) is not None:
                slot.release()
            return item.equal_to(await asyncio.shield(first))
        firsts[key] = first = asyncio.get_running_loop().create_future()
        try:
            outcome = await self._outcome(item)
        except UnsentError as error:
            first.set_exception(error)
            first.exception()  # there may be nobody to take note of it
            raise
        except BaseException:
            first.cancel()
            raise
        first.set_result(outcome)
        return outcome

    async def _sent(self, item: Item, on_submitted: OnSubmitted | None) -> Answered:
        """Call, unless the map is stopped before that.

        :raises UnsentError: if it is: nothing was sent that may be billed.
        """
        if item.unplaced:
            with self.stopping.until_sent():
                await self._place(item)
        with self.stopping.until_sent(item.prepared.call):
            return await self._calling.send(item.prepared, on_submitted)

    async def _place(self, item: Item) -> None:
        """Put the files of the input where fal finds them."""
        whole = item.prepared.options
        placed = await self._placing.placed(
            item.input, inline_below=whole.get("inline_below", 0), key=whole.get("key")
        )
        item.prepared = self._calling.prepare(placed, item.options)

    async def _outcome(self, item: Item) -> Outcome[Any]:
        try:
            output, response = await self._sent(item, None)
        except FalError as error:
            return self._failure(item, error)
        outcome = item.succeeded(output, response, self._now())
        if self._saver is None:
            return outcome
        return attrs.evolve(outcome, files=await self._save(self._saver, outcome, response))

    def _failure(self, item: Item, error: FalError) -> Failed:
        if isinstance(error, (MissingKeyError, SessionError)):
            self.broken = error
        return item.failed(error, self._now())

    async def _save(
        self, saver: Saver, outcome: Succeeded[Any], response: HttpResponse
    ) -> tuple[SavedFile, ...]:
        try:
            plain = decode_json(response.body)
        except Undecodable:  # an output that is no JSON speaks of no files
            return ()
        with known(outcome):
            return await saver.save(
                index=outcome.index,
                input=outcome.input,
                output=plain,
                request_id=outcome.request_id,
                model=self._model,
            )


def _failed(index: int, given: Any, error: FalError, elapsed: float) -> Failed:
    return Failed(
        index=index,
        input=given,
        error=error,
        request_id=error.request_id,
        attempts=error.attempts,
        elapsed=elapsed,
        billable_units=billable_units(error.headers),
        billing=error.billing,
    )


@contextmanager
def known(outcome: Outcome[Any]) -> Iterator[None]:
    """Whoever is cancelled in here has his outcome already, and it may be paid for."""
    try:
        yield
    except asyncio.CancelledError as cancelled:
        cancelled.outcome = outcome  # type: ignore[attr-defined]
        raise


def unsent(index: int, given: Any) -> Failed:
    """What is left of an input that was taken and not sent when the map was stopped."""
    error = InterruptedCallError(
        "the map was stopped before this call was sent", billing=Billing.NOT_BILLED
    )
    return _failed(index, opened(given)[0], error, 0.0)


def interrupted(index: int, given: Any, cancelled: asyncio.CancelledError) -> Outcome[Any]:
    """What is left of an input whose call was cut off when the map was left."""
    outcome: Outcome[Any] | None = getattr(cancelled, "outcome", None)
    if outcome is not None:
        return outcome
    verdict: Verdict = getattr(cancelled, "verdict", None) or Verdict(billing=Billing.NOT_BILLED)
    error = InterruptedCallError(
        "the map was left before this call had ended",
        billing=verdict.billing,
        attempts=verdict.attempts,
        request_id=verdict.request_id,
    )
    error.handle = verdict.handle
    return _failed(index, opened(given)[0], error, 0.0)
