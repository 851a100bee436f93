"""Calls that a journal remembers: each step is on disk before the next is taken.

The intent before the request leaves, the request id before the wait, the answer before it is handed out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import attrs

from fal_async.batch.calling import Answered, Calling
from fal_async.batch.identity import call_key
from fal_async.batch.journal.freezing import freeze_error, thaw_error
from fal_async.batch.journal.journal import Journal
from fal_async.batch.journal.records import Answer, Record, Ticket
from fal_async.batch.making import Item, Making
from fal_async.batch.outcome import Failed, Outcome, SavedFile, Succeeded
from fal_async.batch.resuming import InDoubt, Step, next_step
from fal_async.batch.saving import Saver
from fal_async.errors import (
    AnswerError,
    Billing,
    FalError,
    InDoubtError,
    JournalError,
    SessionError,
    Verdict,
)
from fal_async.features.handle import RequestHandle
from fal_async.protocol import wire
from fal_async.protocol.messages import Headers, HttpResponse

__all__ = ["Keeping"]

#: What is kept of an answer's headers: all that its output and its facts are read from.
_KEPT: Final = ("Content-Type", "Content-Encoding", wire.REQUEST_ID, wire.BILLABLE_UNITS)


class Keeping(Making):
    """Makes the outcomes of one map, and keeps them in a journal.

    :param opening: opens the journal.
    :param in_doubt: what becomes of calls of which the journal knows the intent and no end.
    """

    def __init__(
        self,
        model: str,
        calling: Calling[Any],
        now: Callable[[], float],
        saver: Saver | None,
        *,
        opening: Callable[[], Awaitable[Journal]],
        in_doubt: InDoubt,
    ) -> None:
        super().__init__(model, calling, now, saver)
        self._opening = opening
        self._in_doubt: InDoubt = in_doubt
        self._journal: Journal

    async def open(self) -> None:
        self._journal = await self._opening()

    async def close(self) -> None:
        await self._journal.close()

    # --- what is known already --------------------------------------------------------------------------

    async def _outcome(self, item: Item) -> Outcome[Any]:
        prepared, journal = item.prepared, self._journal
        key = call_key(self._model, prepared.headers, prepared.body)
        try:
            ticket, record = await journal.claim(key, item.index)
            if record is not None:
                if prepared.call.slot is not None:
                    prepared.call.slot.release()
                known = await self._known(item, ticket, record)
                if known is not None:
                    return known
                await journal.intend(ticket, item.index)
            return await self._kept(item, ticket, partial(self._send, item, ticket))
        except JournalError as error:
            # Nothing is sent that could not be remembered: this one was not, or its queued request is
            # cancelled again.
            self.broken = error
            return item.failed(error, self._now())

    async def _known(self, item: Item, ticket: Ticket, record: Record) -> Outcome[Any] | None:
        """The outcome of a call that an earlier run knew; None if it is to be made."""
        step = next_step(record, self._in_doubt)
        if step is Step.REPLAY and record.answer is not None:
            return await self._replayed(item, ticket, record.answer)
        if step is Step.COLLECT and record.handle is not None:
            item.prepared.call.started = self._now()
            collect = partial(self._calling.collect, record.handle)
            outcome = await self._kept(item, ticket, collect)
            free = isinstance(outcome, Failed) and outcome.billing is Billing.NOT_BILLED
            return None if free else outcome
        if step is Step.REPORT:
            return item.failed(_nobody_knows(record), self._now())
        return None

    async def _replayed(self, item: Item, ticket: Ticket, answer: Answer) -> Outcome[Any]:
        if not answer.succeeded:
            error = thaw_error(answer.error or {})
            failed = item.failed(error, self._now())
            return attrs.evolve(failed, elapsed=answer.elapsed, replayed=True)
        response = HttpResponse(answer.status or 200, Headers(answer.headers), answer.body)
        try:
            output = self._calling.read(response, item.prepared.call)
        except AnswerError as error:
            error.attempts = answer.attempts
            failed = item.failed(error, self._now())
            return attrs.evolve(failed, elapsed=answer.elapsed, replayed=True)
        outcome = attrs.evolve(
            item.succeeded(output, response, self._now()),
            request_id=answer.request_id,
            attempts=answer.attempts,
            elapsed=answer.elapsed,
            replayed=True,
        )
        return await self._with_files(outcome, response, ticket, answer)

    # --- what is called for -----------------------------------------------------------------------------

    async def _send(self, item: Item, ticket: Ticket) -> Answered:
        async def queued(handle: RequestHandle) -> None:
            await self._journal.queued(ticket, handle.to_dict())

        return await self._calling.send(item.prepared, queued)

    async def _kept(
        self, item: Item, ticket: Ticket, ask: Callable[[], Awaitable[Answered]]
    ) -> Outcome[Any]:
        """What comes of it, as soon as that is on disk."""
        try:
            output, response = await ask()
        except asyncio.CancelledError as cancelled:
            verdict: Verdict | None = getattr(cancelled, "verdict", None)
            if verdict is not None and verdict.billing is Billing.NOT_BILLED:
                self._journal.withdraw(ticket)
            raise
        except JournalError:
            raise
        except AnswerError as error:
            failed = self._failure(item, error)
            raw = HttpResponse(error.status or 200, error.headers, error.body or b"")
            await self._note(ticket, _answer(raw, failed))
            return failed
        except FalError as error:
            failed = self._failure(item, error)
            if isinstance(error, SessionError) and error.billing is Billing.NOT_BILLED:
                self._journal.withdraw(ticket)
            elif not (isinstance(error, SessionError) or error.collectable):
                # A result that may still be fetched is not given up: it stays queued, for the next run.
                await self._note(ticket, _failure_answer(error, failed))
            return failed
        outcome = item.succeeded(output, response, self._now())
        await self._note(ticket, _answer(response, outcome))
        return await self._with_files(outcome, response, ticket, None)

    async def _note(self, ticket: Ticket, answer: Answer) -> None:
        """Write how it ended. If that fails the caller gets the outcome all the same, as the last one."""
        try:
            await self._journal.ended(ticket, answer)
        except JournalError as error:
            self.broken = error

    async def _with_files(
        self, outcome: Succeeded[Any], response: HttpResponse, ticket: Ticket, known: Answer | None
    ) -> Outcome[Any]:
        if self._saver is None:
            return outcome
        files = () if known is None else known.files
        if not files or not await asyncio.to_thread(_are_there, files):
            files = await self._save(self._saver, outcome, response)
            if files:
                try:
                    await self._journal.saved(ticket, files)
                except JournalError as error:
                    self.broken = error
        return attrs.evolve(outcome, files=files)


def _are_there(files: tuple[SavedFile, ...]) -> bool:
    try:
        return all(file.path and file.path.stat().st_size == file.size for file in files)
    except OSError:
        return False


def _answer(response: HttpResponse, outcome: Outcome[Any]) -> Answer:
    headers = response.headers
    units = headers.get(wire.BILLABLE_UNITS)
    return Answer(
        succeeded=True,
        status=response.status,
        headers={name: headers[name] for name in _KEPT if name in headers},
        body=response.body,
        request_id=outcome.request_id,
        attempts=outcome.attempts,
        elapsed=outcome.elapsed,
        billing=outcome.billing,
        billable_units=units,
    )


def _failure_answer(error: FalError, failed: Failed) -> Answer:
    return Answer(
        succeeded=False,
        status=error.status,
        request_id=error.request_id,
        attempts=error.attempts,
        elapsed=failed.elapsed,
        billing=error.billing,
        error=freeze_error(error),
    )


def _nobody_knows(record: Record) -> InDoubtError:
    error = InDoubtError(
        "this call was about to be sent when its program ended, and nobody knows what became of it",
        billing=Billing.UNKNOWN,
    )
    error.intended_at = record.intended_at
    return error
