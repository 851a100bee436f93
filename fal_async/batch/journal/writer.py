"""The one thread that touches a journal's file: all that waits in one transaction, then everyone is told.

A write that fails ends all intents, since nothing may be sent that cannot be journaled. Answers are tried
again: they are paid for.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fal_async.batch.journal.group import Group
from fal_async.batch.journal.records import Ticket
from fal_async.batch.journal.settling import Settling
from fal_async.batch.journal.store import Store
from fal_async.batch.journal.trouble import explain
from fal_async.errors import JournalError

__all__ = ["Inbox", "Writer"]

_MARKS: Final = 10_000  # claims whose marks may wait for a commit of something else


Inbox = queue.SimpleQueue[Group | None]
"""What is to be written; None ends the thread once all before it is on disk."""


class Writer:
    """What the thread runs.

    :param tell: the way to those who wait.
    """

    def __init__(self, inbox: Inbox, store: Store, path: Path, tell: Settling) -> None:
        self._inbox = inbox
        self._store = store
        self._path = path
        self._tell = tell
        self._broken: JournalError | None = None
        self._marks = 0

    def run(self) -> None:
        """Write whatever comes, until told to close."""
        try:
            going_on = True
            while going_on and (group := self._inbox.get()) is not None:
                going_on = self._take_the_rest(group)
                self._serve(group)
        finally:
            self._store.close()

    def _take_the_rest(self, group: Group) -> bool:
        """All that has come beside it; whether there may be more."""
        while True:
            try:
                later = self._inbox.get_nowait()
            except queue.Empty:
                return True
            if later is None:
                return False
            group.take_in(later)

    def _serve(self, group: Group) -> None:
        if self._broken is None:
            try:
                self._write(group)
            except Exception as failure:
                self._break(failure)
        if self._broken is not None:
            self._salvage(group, self._broken)
        for waiter, ask in group.asked:
            try:
                self._tell.settle([(waiter, ask(self._store))])
            except Exception as failure:
                self._tell.fail([waiter], explain(failure, self._path))

    def _write(self, group: Group) -> None:
        """The whole group; who has been told is taken out of it."""
        store, tell = self._store, self._tell
        store.start()
        # In this order, whatever is asked about one call at once: what has happened to it outlasts a
        # withdrawal, and an intent outlasts both.
        ended = self._steps(group)
        if group.claims:
            self._claim(group)
        for waiter, keys in group.lookups:
            records = store.look_up(keys)
            self._marks += len(records)
            tell.settle([(waiter, records)])
        group.lookups = []
        intents: list[tuple[Any, Ticket, Any]] = []
        if group.claims:
            waiters, tickets = self._begin(group.claims, group.at)
            intents += [(w, t, (t, None)) for w, t in zip(waiters, tickets, strict=True)]
        if group.begun:
            waiters, tickets = self._begin(group.begun, group.at)
            intents += [(w, t, t) for w, t in zip(waiters, tickets, strict=True)]
        if group.intended:
            store.intend([entry[1:] for entry in group.intended], group.at)
            intents += [(waiter, ticket, None) for waiter, ticket, _ in group.intended]
        if intents or ended or group.withdrawn or self._marks > _MARKS:
            store.commit()
            self._marks = 0
        if intents:
            tell.settle_intents(intents)
        if ended:
            tell.settle(ended)

    def _begin(
        self, new: Sequence[tuple[Any, bytes, int]], at: float
    ) -> tuple[Sequence[Any], Sequence[Ticket]]:
        """New items: who waits for them, and their tickets."""
        waiters, keys, places = zip(*new, strict=True)
        return waiters, self._store.begin(keys, places, at)

    def _claim(self, group: Group) -> None:
        """Tell those whose call is known; leave the others in the group."""
        store = self._store
        if not store.remaining:
            return
        found = store.look_up([key for _, key, _ in group.claims])
        known = [
            (entry[0], (record.ticket, record))
            for entry, record in zip(group.claims, found, strict=True)
            if record is not None
        ]
        if known:
            self._marks += len(known)
            self._tell.settle(known)
            group.claims = [
                entry for entry, record in zip(group.claims, found, strict=True) if record is None
            ]

    def _steps(self, group: Group) -> list[tuple[Any, Any]]:
        """What has happened to calls, and who waits for it."""
        store = self._store
        waiters: list[tuple[Any, Any]] = []
        if group.queued:
            store.keep_handles([entry[1:] for entry in group.queued])
            waiters += [(entry[0], None) for entry in group.queued]
        if group.ended:
            futures, *columns = zip(*group.ended, strict=True)
            store.keep_answers(*columns)
            waiters += [(future, None) for future in futures]
        if group.saved:
            store.keep_files([entry[1:] for entry in group.saved])
            waiters += [(entry[0], None) for entry in group.saved]
        if group.withdrawn:
            store.withdraw(group.withdrawn)
        return waiters

    def _break(self, failure: Exception) -> None:
        self._broken = explain(failure, self._path)
        try:
            self._store.give_up()
        except Exception as another:
            self._broken.add_note(f"and undoing it failed: {type(another).__name__}")

    def _salvage(self, group: Group, broken: JournalError) -> None:
        """No intents any more; but answers, once more."""
        tell = self._tell
        refused: list[Any] = [entry[0] for entry in group.claims]
        refused += [entry[0] for entry in group.lookups]
        refused += [entry[0] for entry in group.begun]
        refused += [entry[0] for entry in group.intended]
        tell.fail(refused, broken)
        if not (group.queued or group.ended or group.saved or group.withdrawn):
            return
        try:
            self._store.start()
            waiters = self._steps(group)
            self._store.commit()
        except Exception as failure:
            self._break(failure)
            lost: list[Any] = [entry[0] for entry in group.queued]
            lost += [entry[0] for entry in group.ended]
            lost += [entry[0] for entry in group.saved]
            tell.fail(lost, explain(failure, self._path))
        else:
            tell.settle(waiters)
