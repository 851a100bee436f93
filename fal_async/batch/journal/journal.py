"""A journal as a batch uses it: on disk when it returns.

No input is kept. A call is known by a digest that the caller makes of its model, input and options; what is
written of it is its place in the run and what was answered: the answer's headers and body, or the
error. Who may read the file may read the answers; it is made for its owner alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from fal_async.batch.journal.facts import pack_answer, pack_files, pack_handle
from fal_async.batch.journal.group import Group
from fal_async.batch.journal.records import Answer, InDoubt, Record, State, Ticket
from fal_async.batch.journal.schema import KEY_BYTES
from fal_async.batch.journal.settling import Settling
from fal_async.batch.journal.store import Store
from fal_async.batch.journal.trouble import explain
from fal_async.batch.journal.writer import Inbox, Writer
from fal_async.batch.outcome import SavedFile
from fal_async.errors import JournalError

__all__ = ["Journal"]

T = TypeVar("T")


class Journal:
    """The durable record of a batch; made by :meth:`open`, closed by :meth:`close`, used on one event loop.

    Steps that wait at the same time share one write. Cancelling one that waits leaves the others alone;
    its own step is written all the same, but an intent is withdrawn again: nothing was sent for it.

    Whatever waits for a write that fails raises :class:`JournalError`, and so does every later claim and
    intent. Answers are still tried.

    :ivar counts: the calls that earlier runs left in the journal, by state, as of opening.
    """

    def __init__(self, pending: _Pending, store: Store, thread: threading.Thread) -> None:
        self.counts: Mapping[State, int] = store.counts
        self._pending = pending
        self._store = store
        self._thread = thread
        self._loop = pending.loop
        self._closing: asyncio.Task[None] | None = None
        # A journal that nobody closed takes its thread along.
        weakref.finalize(self, pending.inbox.put, None)

    @classmethod
    async def open(
        cls, path: str | os.PathLike[str], *, model: str, now: Callable[[], float]
    ) -> Journal:
        """Open the journal at ``path``, or make it. Its folder must be there.

        :param model: the one model it is for.
        :param now: the Unix time, in seconds.
        :raises JournalError: if it is another model's, of a newer format, in use, damaged, no journal, or
            cannot be written. It is left as it is.
        """
        file = Path(path)
        pending = _Pending(asyncio.get_running_loop(), now)
        opened: asyncio.Future[Store] = pending.loop.create_future()
        thread = threading.Thread(
            target=_work, args=(file, model, pending, opened), name="fal_async journal", daemon=True
        )
        thread.start()
        try:
            store = await opened
        except BaseException:
            await _undisturbed(asyncio.create_task(pending.end(thread)))
            raise
        return cls(pending, store, thread)

    @property
    def remaining(self) -> int:
        """How many calls of earlier runs this one has not claimed; 0 for good once it is 0."""
        return self._store.remaining

    async def claim(self, key: bytes, index: int) -> tuple[Ticket, Record | None]:
        """The next occurrence of ``key`` that an earlier run knew, or a new one, whose intent is on disk.

        Each call with the same key claims another one: first those of earlier runs, in their order. A
        record is given at once, and nothing is intended for it: see :meth:`intend`.

        :param key: 16 bytes: a digest of the model, the input and the options.
        :param index: its place in this run.
        """
        waiter: asyncio.Future[tuple[Ticket, Record | None]] = self._loop.create_future()
        self._group().claims.append((waiter, _checked(key), index))
        try:
            return await waiter
        except asyncio.CancelledError:
            if (told := _told(waiter)) is not None and told[1] is None:
                self.withdraw(told[0])
            raise

    async def claim_many(self, keys: Sequence[bytes]) -> list[Record | None]:
        """For each key what :meth:`claim` finds, or None if it is new: nothing is written then.

        What is new is intended by :meth:`begin`.
        """
        waiter: asyncio.Future[list[Record | None]] = self._loop.create_future()
        self._group().lookups.append((waiter, [_checked(key) for key in keys]))
        return await waiter

    async def begin(self, key: bytes, index: int) -> Ticket:
        """Write the intent of a call that is known to be new: :meth:`claim` without looking."""
        waiter: asyncio.Future[Ticket] = self._loop.create_future()
        self._group().begun.append((waiter, _checked(key), index))
        try:
            return await waiter
        except asyncio.CancelledError:
            if (ticket := _told(waiter)) is not None:
                self.withdraw(ticket)
            raise

    async def intend(self, ticket: Ticket, index: int) -> None:
        """Write the intent of calling again what is known."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._group().intended.append((waiter, ticket, index))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.withdraw(ticket)
            raise

    def withdraw(self, ticket: Ticket) -> None:
        """Take back the last intent: nothing was sent for it, or what was sent is certain not to be billed.

        A call that has ended stays as it is, and so does one that this run has claimed and not intended.

        Returns at once; it is written before the journal closes.
        """
        self._pending.withdraw(ticket)

    async def queued(self, ticket: Ticket, handle: Mapping[str, str]) -> None:
        """Write that fal has queued it, and by which handle its result is to be had."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._group().queued.append((waiter, ticket, pack_handle(handle)))
        await waiter

    def note_queued(self, ticket: Ticket, handle: Mapping[str, str]) -> None:
        """As :meth:`queued`, for whoever cannot wait: it is written before the journal closes."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._group().queued.append((waiter, ticket, pack_handle(handle)))

    async def ended(self, ticket: Ticket, answer: Answer) -> None:
        """Write how it ended.

        :raises JournalError: if that cannot be written; its ``billing`` is the answer's.
        """
        state = State.SUCCEEDED if answer.succeeded else State.FAILED
        waiter: asyncio.Future[None] = self._loop.create_future()
        group = self._group()
        group.ended.append((waiter, ticket, state, pack_answer(answer), answer.body))
        if answer.files:
            group.saved.append((waiter, ticket, pack_files(answer.files)))
        try:
            await waiter
        except JournalError as error:
            error.billing = answer.billing
            raise

    async def saved(self, ticket: Ticket, files: Iterable[SavedFile]) -> None:
        """Write which files were saved of its answer; those told before are forgotten."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._group().saved.append((waiter, ticket, pack_files(files)))
        await waiter

    async def in_doubt(self) -> list[InDoubt]:
        """What earlier runs intended and did not see the end of, and this run has not claimed; by index."""
        self._group()
        return await self._ask(Store.in_doubt)

    async def request_ids(self) -> set[str]:
        """fal's ids of all requests that are known: those of a million calls are 150 MB."""
        self._group()
        return await self._ask(Store.request_ids)

    async def close(self) -> None:
        """Write what is left, bring all of it into the one file and end the thread. May be called again.

        A cancellation is raised when the thread has ended, not before.
        """
        if self._closing is None:
            self._pending.closed = True
            self._closing = asyncio.create_task(self._close(), name="fal_async journal closes")
        await _undisturbed(self._closing)

    async def _close(self) -> None:
        if asyncio.get_running_loop() is self._loop:
            await self._ask(_nothing)  # whoever waits has been told, and what is withdrawn is known
        self._pending.hand_over()
        await self._pending.end(self._thread)

    async def _ask(self, ask: Callable[[Store], T]) -> T:
        waiter: asyncio.Future[T] = self._loop.create_future()
        self._pending.group().asked.append((waiter, ask))
        return await waiter

    def _group(self) -> Group:
        return self._pending.open_group()


class _Pending:
    """What has been asked for in this turn of the loop, on its way to the writer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], float]) -> None:
        self.loop = loop
        self.inbox: Inbox = Inbox()
        self.closed = False
        self.now = now
        self.ended = False
        self.when_ended: Callable[[], object] | None = None
        self._group: Group | None = None
        self.settling = Settling(loop, self.withdraw)

    def open_group(self) -> Group:
        if self.closed:
            error = JournalError("the journal is closed")
            error.remedy = "Nothing more can be written to it."
            raise error
        return self._group or self.group()

    def group(self) -> Group:
        if self._group is None:
            self._group = Group()
            self.loop.call_soon(self.hand_over)
        return self._group

    def withdraw(self, ticket: Ticket) -> None:
        self.group().withdrawn.append(ticket)

    def hand_over(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            group.at = self.now()
            self.inbox.put(group)

    async def end(self, thread: threading.Thread) -> None:
        """Let the thread write what it has, and end; return when it has ended."""
        ended = asyncio.Event()
        # of the loop that closes, which need not be the one it was opened on, if that one has died
        loop = asyncio.get_running_loop()
        self.when_ended = lambda: loop.call_soon_threadsafe(ended.set)
        self.inbox.put(None)
        if not self.ended:
            await ended.wait()
        thread.join()  # it is on its last line


def _work(path: Path, model: str, pending: _Pending, opened: asyncio.Future[Store]) -> None:
    """The thread. It holds nothing that would keep a forgotten journal alive."""
    settling, path = pending.settling, path.absolute()
    try:
        store = Store(path, model, pending.now())
        settling.settle([(opened, store)])
        Writer(pending.inbox, store, path, settling).run()
    except Exception as failure:
        settling.fail([opened], explain(failure, path))
    finally:
        pending.ended = True
        if pending.when_ended is not None:
            with contextlib.suppress(RuntimeError):  # that loop has died as well
                pending.when_ended()


async def _undisturbed(task: asyncio.Task[None]) -> None:
    """Await it to its end; a cancellation that comes meanwhile is raised then."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


def _nothing(_: Store) -> None:
    return None


def _told(waiter: asyncio.Future[T]) -> T | None:
    """The result of a waiter whose task was cancelled before it could take it."""
    if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
        return None
    return waiter.result()


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return key
