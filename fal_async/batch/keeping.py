"""Calls that a journal remembers: each step is on disk before the next is taken.

The intent before the request leaves, the request id before the wait, the answer before it is handed out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import attrs

from fal_async.batch.calling import Answered, Calling
from fal_async.batch.journal.freezing import freeze_error, thaw_error
from fal_async.batch.journal.journal import Journal
from fal_async.batch.journal.records import Answer, Record, State, Ticket
from fal_async.batch.making import Item, Making, known
from fal_async.batch.outcome import Failed, Outcome, SavedFile, Succeeded
from fal_async.batch.reconciling import Reconciler
from fal_async.batch.resuming import InDoubt, Step, next_step
from fal_async.batch.saving import Saver
from fal_async.batch.stopping import UnsentError
from fal_async.errors import (
    AnswerError,
    Billing,
    FalError,
    InDoubtError,
    JournalError,
    ResultGoneError,
    SessionError,
    Verdict,
)
from fal_async.features.handle import RequestHandle
from fal_async.features.placing import Placing
from fal_async.protocol import wire
from fal_async.protocol.history import Ended
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.outcome import error_from_response
from fal_async.protocol.reconciling import NotFound, Unknown

__all__ = ["Keeping"]

#: What is kept of an answer's headers: all that its output and its facts are read from.
_KEPT: Final = ("Content-Type", "Content-Encoding", wire.REQUEST_ID, wire.BILLABLE_UNITS)


class Keeping(Making):
    """Makes the outcomes of one map, and keeps them in a journal.

    :param opening: opens the journal.
    :param in_doubt: what becomes of calls of which the journal knows the intent and no end.
    :param reconciler: looks for them in fal's history, if that is to be done.
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
        opening: Callable[[], Awaitable[Journal]],
        in_doubt: InDoubt,
        reconciler: Reconciler | None,
    ) -> None:
        super().__init__(model, calling, now, saver, placing, coalesce=coalesce)
        self._opening = opening
        self._in_doubt: InDoubt = in_doubt
        self._reconciler = reconciler
        self._journal: Journal

    async def open(self) -> None:
        self._journal = journal = await self._opening()
        if self._reconciler is None:
            return
        doubted = await journal.in_doubt()
        if not doubted:
            self._reconciler = None
            return
        # All of them: a request may have been sent long after its intent, and fal's clock is another.
        self._reconciler.open(len(doubted), await journal.request_ids())

    async def close(self) -> None:
        if self._reconciler is not None:
            await self._reconciler.close()
        try:
            self.unclaimed = await self._unclaimed()
        except JournalError:
            pass  # whoever could be told has been: nothing more can be read from it
        finally:
            await self._journal.close()

    async def _unclaimed(self) -> tuple[Failed, ...]:
        journal = self._journal
        if not (journal.remaining and journal.counts.get(State.INTENDED)):
            return ()
        return tuple(
            Failed(
                index=doubt.index,
                input=None,
                error=_nobody_knows(doubt.intended_at, None),
                billing=Billing.UNKNOWN,
            )
            for doubt in await journal.in_doubt()
        )

    def hurry(self) -> None:
        if self._reconciler is not None:
            self._reconciler.hurry()

    # --- what is known already --------------------------------------------------------------------------

    async def _outcome(self, item: Item) -> Outcome[Any]:
        journal, key = self._journal, item.key(self._model)
        try:
            ticket, record = await journal.claim(key, item.index)
            if record is not None:
                if item.prepared.call.slot is not None:
                    item.prepared.call.slot.release()
                known = await self._known(item, key, record)
                if known is not None:
                    return known
            reconciler = self._reconciler
            async with nullcontext() if reconciler is None else reconciler.calling(key):
                if record is not None:
                    await journal.intend(ticket, item.index)
                return await self._kept(item, ticket, partial(self._send, item, ticket))
        except JournalError as error:
            # Nothing is sent that could not be remembered: this one was not, or its queued request is
            # cancelled again.
            self.broken = error
            return item.failed(error, self._now())

    async def _known(self, item: Item, key: bytes, record: Record) -> Outcome[Any] | None:
        """The outcome of a call that an earlier run knew; None if it is to be made."""
        step = next_step(record, self._in_doubt)
        if step is Step.REPLAY and record.answer is not None:
            return await self._replayed(item, record.ticket, record.answer)
        if step is Step.COLLECT and record.handle is not None:
            return _unless_free(await self._collected(item, record.ticket, record.handle))
        if step is Step.RECONCILE and self._reconciler is not None:
            return await self._reconciled(item, key, record, self._reconciler)
        if step is Step.REPORT:
            return item.failed(_nobody_knows(record.intended_at, None), self._now())
        return None

    async def _collected(
        self, item: Item, ticket: Ticket, handle: Mapping[str, str]
    ) -> Outcome[Any]:
        item.prepared.call.started = self._now()
        return await self._kept(item, ticket, partial(self._calling.collect, handle))

    async def _reconciled(
        self, item: Item, key: bytes, record: Record, reconciler: Reconciler
    ) -> Outcome[Any] | None:
        try:
            with self.stopping.until_sent(billing=Billing.UNKNOWN):
                decision = await reconciler.decision(key, item, record)
        except UnsentError:
            nothing = "no answer yet when the map was stopped"
            return item.failed(_nobody_knows(record.intended_at, nothing), self._now())
        except FalError as error:
            return item.failed(_nobody_knows(record.intended_at, error.what), self._now())
        if isinstance(decision, Unknown):
            return item.failed(_nobody_knows(record.intended_at, decision.doubt.value), self._now())
        if isinstance(decision, NotFound):
            return None
        found, ticket = decision.item, record.ticket
        if self._calling.queued:
            handle = {"model": self._model, "request_id": found.request_id}
            await self._journal.queued(ticket, handle)
            outcome = await self._collected(item, ticket, handle)
            gone = isinstance(outcome, Failed) and isinstance(outcome.error, ResultGoneError)
            if not gone:
                return _unless_free(outcome)
        ask = partial(self._ended, item, found.request_id, reconciler)
        return _unless_free(await self._kept(item, ticket, ask))

    async def _ended(self, item: Item, request_id: str, reconciler: Reconciler) -> Answered:
        """What the history keeps of a call that was found in it; raises like the call itself."""
        call = item.prepared.call
        call.started, call.request_id = self._now(), request_id
        end = await reconciler.end(request_id)
        if not isinstance(end, Ended):
            raise ResultGoneError(
                "fal ran this call, and its history does not keep the output",
                billing=Billing.BILLED,
                request_id=request_id,
            )
        if 200 <= end.response.status < 300:
            return self._calling.read(end.response, call), end.response
        request = HttpRequest(method="POST", url="", body=item.prepared.body)
        raise error_from_response(end.response, request)

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
            self._learn(handle.request_id)
            await self._journal.queued(ticket, handle.to_dict())

        return await self._sent(item, queued)

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
            elif verdict is not None and verdict.handle is not None:
                # Its id may have come only now, while its sender waited to leave.
                self._journal.note_queued(ticket, verdict.handle.to_dict())
            raise
        except UnsentError:
            self._journal.withdraw(ticket)
            raise
        except JournalError:
            raise
        except AnswerError as error:
            failed = self._failure(item, error)
            self._learn(error.request_id)
            raw = HttpResponse(error.status or 200, error.headers, error.body or b"")
            await self._note(ticket, _answer(raw, failed), failed)
            return failed
        except FalError as error:
            failed = self._failure(item, error)
            self._learn(error.request_id)
            if isinstance(error, SessionError) and error.billing is Billing.NOT_BILLED:
                self._journal.withdraw(ticket)
            elif not (isinstance(error, SessionError) or error.collectable):
                # A result that may still be fetched is not given up: it stays queued, for the next run.
                await self._note(ticket, _failure_answer(error, failed), failed)
            return failed
        outcome = item.succeeded(output, response, self._now())
        self._learn(outcome.request_id)
        await self._note(ticket, _answer(response, outcome), outcome)
        return await self._with_files(outcome, response, ticket, None)

    def _learn(self, request_id: str | None) -> None:
        if self._reconciler is not None and request_id is not None:
            self._reconciler.known.add(request_id)

    async def _note(self, ticket: Ticket, answer: Answer, outcome: Outcome[Any]) -> None:
        """Write how it ended. If that fails the caller gets the outcome all the same, as the last one."""
        try:
            with known(outcome):
                await self._journal.ended(ticket, answer)
        except JournalError as error:
            self.broken = error

    async def _with_files(
        self, outcome: Succeeded[Any], response: HttpResponse, ticket: Ticket, kept: Answer | None
    ) -> Outcome[Any]:
        if self._saver is None:
            return outcome
        files = () if kept is None else kept.files
        with known(outcome):
            are_there = bool(files) and await asyncio.to_thread(_are_there, files)
        if are_there:
            return attrs.evolve(outcome, files=files)
        files = await self._save(self._saver, outcome, response)
        outcome = attrs.evolve(outcome, files=files)
        if files:
            try:
                with known(outcome):
                    await self._journal.saved(ticket, files)
            except JournalError as error:
                self.broken = error
        return outcome


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


def _unless_free(outcome: Outcome[Any]) -> Outcome[Any] | None:
    """The outcome, but for a failure that cost nothing: that call is to be made again."""
    return outcome if outcome.ok or outcome.billing is not Billing.NOT_BILLED else None


def _nobody_knows(intended_at: float, why: str | None) -> InDoubtError:
    what = (
        "this call was about to be sent when its program ended, and nobody knows what became of it"
    )
    error = InDoubtError(
        what if why is None else f"{what} (asked fal's history: {why})", billing=Billing.UNKNOWN
    )
    error.intended_at = intended_at
    return error
