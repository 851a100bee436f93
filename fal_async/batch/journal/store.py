"""The statements of a journal, each for a whole group. Blocking; used by the writer's thread only.

It knows rows and transactions, no event loop and no waiter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final

import msgspec

from fal_async.batch.journal import schema
from fal_async.batch.journal.facts import unpack_answer, unpack_files, unpack_json
from fal_async.batch.journal.opening import leave, open_file
from fal_async.batch.journal.records import InDoubt, Record, State, Ticket

__all__ = ["Store"]

_LARGE: Final = (
    1 << 16
)  # bytes; an answer above that is written by itself, so that it is not copied
_CURSORS: Final = 4096

_json = msgspec.json.Encoder().encode


def _array(values: object) -> str:
    return _json(values).decode()


class Store:
    """An open journal.

    :ivar counts: the items of earlier runs by state, as of opening.
    :ivar remaining: how many of them this run has not claimed.
    """

    def __init__(self, path: Path, model: str, at: float) -> None:
        opened = open_file(path, model, at)
        self.counts = opened.counts
        self.remaining = sum(opened.counts.values())
        self._connection: sqlite3.Connection | None = opened.connection
        self._run = opened.connection.execute
        self._identity = opened.identity
        self._number = opened.run
        self._last = opened.last
        # Of each key the last one claimed, to go on from there where a key has many; only a help, since
        # what is claimed is marked in the file.
        self._cursors: dict[bytes, int] = {}

    # --- transactions

    def start(self) -> None:
        """Start a transaction, unless one is open."""
        if self._connection is not None and not self._connection.in_transaction:
            self._run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Have everything on disk."""
        self._run("COMMIT")

    def give_up(self) -> None:
        """Undo what was not committed, if SQLite has not done so by itself."""
        if self._connection is not None and self._connection.in_transaction:
            self._run("ROLLBACK")

    def close(self) -> None:
        """Bring everything into the one file, and let go of it.

        What cannot be brought there stays in the log beside it, and is read from there.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            pass  # all that anybody was told of is on disk
        finally:
            leave(connection, self._identity)

    # --- items of earlier runs

    def look_up(self, keys: Sequence[bytes]) -> list[Record | None]:
        """Claim the next occurrence of each key; None for one that no earlier run knew so often."""
        found: list[Record | None] = [None] * len(keys)
        if self.remaining:
            waiting = list(enumerate(keys))
            while waiting:
                waiting = self._look_up_each_once(waiting, found)
            claimed = [record.ticket for record in found if record is not None]
            if claimed:
                self._run(schema.CLAIM, (self._number, _array(claimed)))
                self.remaining -= len(claimed)
        return found

    def _look_up_each_once(
        self, waiting: list[tuple[int, bytes]], found: list[Record | None]
    ) -> list[tuple[int, bytes]]:
        """One occurrence of each of the keys; gives back those whose turn is still to come."""
        now: dict[bytes, int] = {}
        later = []
        for position, key in waiting:
            if now.setdefault(key, position) != position:
                later.append((position, key))
        if len(self._cursors) > _CURSORS:
            self._cursors.clear()
        cursors = self._cursors
        after = _array([cursors.get(key, 0) for key in now])
        keys, positions = list(now), list(now.values())
        rows = self._run(
            schema.LOOK_UP, {"keys": b"".join(keys), "after": after, "run": self._number}
        ).fetchall()
        known = set()
        for n, *row in rows:
            found[positions[n]] = record = _read(*row)
            cursors[keys[n]] = record.ticket
            known.add(keys[n])
        return [entry for entry in later if entry[1] in known]

    def in_doubt(self) -> list[InDoubt]:
        """What earlier runs left intended, and this one has not claimed."""
        rows = self._run(schema.IN_DOUBT, (self._number,))
        return [
            InDoubt(key=key, index=place, intended_at=at, times=times)
            for key, place, at, times in rows
        ]

    def request_ids(self) -> set[str]:
        """fal's ids of all requests that are known, those of calls that were made again included."""
        return _request_ids(self._run(schema.REQUEST_IDS))

    # --- steps

    def begin(self, keys: Sequence[bytes], places: Sequence[int], at: float) -> list[Ticket]:
        """New items, intended; their tickets in order."""
        first = self._last + 1
        values = {
            "first": first,
            "keys": b"".join(keys),
            "run": self._number,
            "at": at,
            "places": _array(places),
        }
        self._run(schema.BEGIN_ITEMS, values)
        self._last += len(keys)
        return [Ticket(ticket) for ticket in range(first, self._last + 1)]

    def intend(self, told: Sequence[tuple[Ticket, int]], at: float) -> None:
        """Items that are known, intended again."""
        self._remember([ticket for ticket, _ in told])
        self._run(schema.INTEND, {"at": at, "told": _array(told)})

    def keep_handles(self, told: Sequence[tuple[Ticket, str]]) -> None:
        """Items that fal has queued."""
        self._run(schema.KEEP_HANDLES, (_array(told),))
        self._reach(State.QUEUED, [ticket for ticket, _ in told])

    def keep_answers(
        self,
        tickets: Sequence[Ticket],
        states: Sequence[State],
        facts: Sequence[bytes],
        bodies: Sequence[bytes],
    ) -> None:
        """Items that ended."""
        sizes = [len(body) for body in bodies]
        if max(sizes) > _LARGE:
            for row in zip(tickets, facts, bodies, strict=True):
                self._run(schema.KEEP_ANSWER, row)
        else:
            texts = b"".join([part for pair in zip(facts, bodies, strict=True) for part in pair])
            lengths = [len(fact) for fact in facts]
            starts = accumulate(map(int.__add__, lengths, sizes), initial=1)
            columns = zip(tickets, starts, lengths, sizes, strict=False)  # starts has one more
            self._run(schema.KEEP_ANSWERS, {"texts": texts, "cuts": _array(list(columns))})
        for state in set(states):
            ended = [t for t, reached in zip(tickets, states, strict=True) if reached is state]
            self._reach(state, ended)

    def keep_files(self, told: Sequence[tuple[Ticket, str]]) -> None:
        """The files saved of items."""
        self._run(schema.KEEP_FILES, (_array(told),))

    def withdraw(self, tickets: Sequence[Ticket]) -> None:
        """Items whose last intent led to nothing: as they were before it."""
        self._remember(tickets)
        listed = (_array(tickets),)
        self._run(schema.FORGET, listed)
        self._run(schema.STEP_BACK, listed)

    def _remember(self, tickets: Sequence[Ticket]) -> None:
        """The requests of items that will have others: fal's history lists them all the same."""
        if ids := _request_ids(self._run(schema.REQUEST_IDS_OF, {"ids": _array(tickets)})):
            self._run(schema.REMEMBER, (_array(sorted(ids)),))

    def _reach(self, state: State, tickets: Sequence[int]) -> None:
        self._run(schema.REACH, (int(state), _array(tickets)))


def _request_ids(rows: Iterable[tuple[str | None, str]]) -> set[str]:
    found = (known or unpack_json(text).get("request_id") for known, text in rows)
    return {request_id for request_id in found if request_id is not None}


def _read(
    ticket: int,
    state: int,
    place: int,
    intended_at: float,
    doubts: int,
    left_by: float | None,
    handle: str | None,
    facts: str | None,
    body: bytes | None,
    files: str | None,
) -> Record:
    reached = State(state)
    answer = None
    if facts is not None and body is not None:
        succeeded = reached is State.SUCCEEDED
        answer = unpack_answer(facts, body, succeeded=succeeded, files=unpack_files(files))
    return Record(
        ticket=Ticket(ticket),
        state=reached,
        index=place,
        handle=None if handle is None else unpack_json(handle),
        answer=answer,
        intended_at=intended_at,
        left_by=intended_at if left_by is None else left_by,
        in_doubt_times=doubts + (reached is State.INTENDED),
    )
