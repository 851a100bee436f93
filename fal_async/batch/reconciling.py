"""Calls in doubt, gathered and put to fal's history together.

What the history says is decided in ``protocol.reconciling``; here it is only seen to that all that must be
judged together is, and that no equal call is made meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs

from fal_async.batch.journal.records import Record
from fal_async.batch.making import Item
from fal_async.features.history import History
from fal_async.protocol.history import Ended, OutputGone
from fal_async.protocol.reconciling import Decision, Doubtful, Found, Terms

__all__ = ["Reconcile", "Reconciler"]

#: Seconds for which those in doubt that have been met wait for the others.
_GATHER: Final = 2.0


@attrs.frozen(kw_only=True)
class Reconcile(Terms):
    """How calls in doubt are looked for in fal's history of requests: ``in_doubt=Reconcile(...)``.

    A call that is found there is never made again. One that is not is only made again once it is certain
    that it would have been listed, which needs a ``start_timeout`` on the calls of the map, or your own word
    (``settled_after``). Until then it stays in doubt. All in seconds.

    :param skew: by how much fal's clock and this machine's may differ, beside what an answer's date shows.
    :param delivery: how long what was handed to the network may take to arrive.
    :param listed_within: how long after its start, at the latest, a request is listed. An hour and five
        minutes; where it is known that requests are listed once they have started, a few seconds do.
    :param settled_after: your own word for all of these: so long after the program that sent it was found
        dead it is listed, or will never run.
    :param witness: whether the history must show a request that is known to be of the batch.
    :param wait: how long to go on looking, if that may tell more; 0: one look.
    """

    wait: float = 0.0


@attrs.define(eq=False)
class _Parked:
    """A call in doubt, and whoever waits for what is known of it."""

    doubtful: Doubtful
    decided: asyncio.Future[Decision]


class Reconciler:
    """Asks the history about the calls in doubt of one map.

    :param endpoint_id: the model.
    :param how: what a decision rests on.
    :param key: the account's key, if it is not the session's.
    :ivar known: ids of requests whose call is known.
    """

    def __init__(
        self, history: History, endpoint_id: str, how: Reconcile, *, key: str | None
    ) -> None:
        self._history = history
        self._endpoint_id = endpoint_id
        self._how = how
        self._key = key
        self.known: set[str] = set()
        self._left = 0  # doubts that are not settled yet; inputs need not come for all of them
        self._parked: list[_Parked] = []
        self._gathered = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None
        self._looked_for: Counter[bytes] = Counter()
        self._called: Counter[bytes] = Counter()
        self._change = asyncio.Event()

    def open(self, doubts: int, known: Iterable[str]) -> None:
        """Learn how many calls are in doubt, and which requests are known."""
        self._left = doubts
        self.known.update(known)

    async def decision(self, key: bytes, item: Item, record: Record) -> Decision:
        """What the history says of a call in doubt.

        :raises FalError: if it cannot be read.
        """
        self._looked_for[key] += 1  # from now on no equal call begins
        try:
            while self._called[key]:
                await self._changed()
            return await self._park(item, record)
        finally:
            self._left -= 1
            self._end(self._looked_for, key)

    async def _park(self, item: Item, record: Record) -> Decision:
        options: Mapping[str, Any] = item.prepared.options
        parked = _Parked(
            Doubtful(
                key=record.ticket,
                input=item.prepared.body,
                intended_at=record.intended_at,
                left_by=record.left_by,
                start_timeout=options.get("start_timeout"),
                # Where its files lay is not known any more, and so not what was sent.
                stored=options.get("store_io") is not False and not item.unplaced,
            ),
            asyncio.get_running_loop().create_future(),
        )
        self._parked.append(parked)
        if len(self._parked) >= self._left:
            self._gathered.set()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await parked.decided

    @asynccontextmanager
    async def calling(self, key: bytes) -> AsyncIterator[None]:
        """Make a call in here. To the history it is like an equal one in doubt: each waits for the other."""
        while self._looked_for[key]:
            await self._changed()
        self._called[key] += 1
        try:
            yield
        finally:
            self._end(self._called, key)

    def _end(self, counted: Counter[bytes], key: bytes) -> None:
        counted[key] -= 1
        if not counted[key]:
            del counted[key]
        self._change.set()

    async def _changed(self) -> None:
        self._change.clear()
        await self._change.wait()

    def hurry(self) -> None:
        """Nobody else can come before those that wait have been told."""
        self._gathered.set()

    async def end(self, request_id: str) -> Ended | OutputGone | None:
        """Wait for the end of a request that the history lists."""
        return await self._history.end(self._endpoint_id, request_id, key=self._key)

    async def _ask(self) -> None:
        try:
            while self._parked:
                await self._gather()
                asked, self._parked = self._parked, []
                await self._tell(asked)
        finally:
            self._asking = None

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(_GATHER):
                await self._gathered.wait()
        except TimeoutError:
            pass
        self._gathered.clear()

    async def _tell(self, asked: list[_Parked]) -> None:
        try:
            decisions = await self._history.settle(
                self._endpoint_id,
                [parked.doubtful for parked in asked],
                known=self.known,
                terms=self._how,
                wait=self._how.wait,
                key=self._key,
            )
        except Exception as error:
            for parked in asked:
                if not parked.decided.done():
                    parked.decided.set_exception(error)
            return
        for parked, decision in zip(asked, decisions, strict=True):
            if isinstance(decision, Found):  # it is nobody's whom we ask about later
                self.known.add(decision.item.request_id)
            if not parked.decided.done():
                parked.decided.set_result(decision)

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
