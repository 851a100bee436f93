"""Carrying a batch out: rows in, calls made, each outcome written, counted and shown as it comes.

What stops it: the end of the rows, ``--max-calls``, ``--stop-after-errors``, a failure that all calls would
share, a disk that is full, a reader of stdout that left, Ctrl-C.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import click

from fal_async.batch.gallery import Gallery, GalleryNumbers
from fal_async.batch.mapping import Outcomes
from fal_async.batch.outcome import Failed, Outcome
from fal_async.batch.reconciling import Reconcile
from fal_async.batch.resuming import InDoubt
from fal_async.batch.rows import BadRow
from fal_async.cli.answering import hush
from fal_async.cli.batch.board import Board, Display
from fal_async.cli.batch.budget import Budget
from fal_async.cli.batch.documents import bad_row_document, outcome_document
from fal_async.cli.batch.folder import Folder, Sheets
from fal_async.cli.batch.inputs import Planned, Recipe
from fal_async.cli.batch.source import Arriving, RowSource
from fal_async.cli.batch.tally import Tally, number
from fal_async.cli.exits import Exit
from fal_async.cli.render import to_json
from fal_async.cli.saying import say
from fal_async.errors import (
    AccessDeniedError,
    AuthenticationError,
    Billing,
    FalError,
    InDoubtError,
    InterruptedCallError,
    NotFoundError,
    ResultGoneError,
)
from fal_async.session import AsyncFal

__all__ = ["Batch", "Plan"]

#: As many as a page can carry.
_GALLERY_MAX: Final = 100_000
_BAD_ROWS_SAID: Final = 10
_DOUBTS_SAID: Final = 10
_HOPELESS: Final = (AuthenticationError, AccessDeniedError, NotFoundError)


@attrs.frozen(kw_only=True)
class Plan:
    """What was asked for.

    :ivar expected: how many inputs there are, as far as that can be known.
    :ivar options: keyword arguments of ``AsyncFal.map``.
    :ivar template: how files are called; None: none are saved.
    """

    model: str
    source: RowSource
    recipe: Recipe
    folder: Folder
    expected: int | None
    max_calls: int | None
    in_doubt: InDoubt | Reconcile
    template: str | None
    options: Mapping[str, Any]


class Batch:
    """One batch, carried out once.

    :param now: seconds, of any clock.
    """

    def __init__(self, plan: Plan, fal: AsyncFal, now: Callable[[], float]) -> None:
        self.tally = Tally(expected=plan.expected, began=now())
        self._plan = plan
        self._fal = fal
        self._now = now
        self._budget = Budget(plan.max_calls)
        self._lines: dict[int, int] = {}
        self._given = 0
        self._begun = False
        self._exhausted = False
        self._sheets: Sheets
        self._why: str | None = None
        self._gallery = Gallery(plan.folder.gallery, model=plan.model)
        self._prints = not sys.stdout.isatty()
        # Before anything is made or sent: what it cannot be made with, it says here.
        self._outcomes: Outcomes[Any] = fal.map(
            plan.model,
            self._inputs(),
            journal=plan.folder.journal,
            save=None if plan.template is None else plan.folder.template(plan.template),
            in_doubt=plan.in_doubt,
            **plan.options,
        )
        self._board = Board(
            f"{plan.model} → {plan.folder.path}",
            self.tally,
            in_flight=lambda: self._outcomes.in_flight,
            limits=lambda: None if plan.options.get("durable") else fal.limits,
            now=now,
        )
        self._display = Display(self._board)

    # --- the run ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry it out, and say what became of it.

        Cancelled, it sends no more, and lets what is in flight land; cancelled again, it leaves.

        :raises FalError: if nothing more could come of it.
        :raises asyncio.CancelledError: after a cancellation, once it has ended.
        """
        self._plan.folder.make()
        try:
            with self._display:
                await self._until_ended()
        finally:
            if self._begun:
                self._close()

    async def _until_ended(self) -> None:
        work = asyncio.create_task(self._work())
        cancelled: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.wait({work})
            except asyncio.CancelledError as error:
                if cancelled is None:
                    self._interrupt()
                cancelled = cancelled or error
        if cancelled is None or work.cancelled() or work.exception() is not None:
            await work
        else:
            raise cancelled

    def _interrupt(self) -> None:
        before = self._outcomes.in_flight
        self._stop("interrupted")
        flying = self._outcomes.in_flight
        landing = f"; {number(flying, 'call')} in flight will land" if flying else ""
        unsent = f"; {number(before - flying, 'call')} left unsent" if before > flying else ""
        said = f"no more is sent{landing}{unsent}; again to leave at once"
        self._display.say(said, head="interrupted:")

    async def _work(self) -> None:
        outcomes = self._outcomes
        with ExitStack() as stack:
            try:
                async with outcomes:
                    self._sheets = stack.enter_context(self._opened())
                    self._begun = True
                    async for outcome in outcomes:
                        self._take(outcome)
                if self._why is None and not self._exhausted:
                    self._why = "--stop-after-errors is reached"
                self._sheets.complete = self._why is None
            finally:
                for outcome in outcomes.leftover:
                    if _was_never_made(outcome):
                        self.tally.count_unsent()
                    else:
                        self._take(outcome)

    @contextmanager
    def _opened(self) -> Iterator[Sheets]:
        try:
            sheets = Sheets(self._plan.folder)
        except OSError as error:
            raise click.UsageError(f"--out {self._plan.folder.path}: {error.strerror}") from None
        try:
            yield sheets
        finally:
            try:
                sheets.close()
            except OSError as error:
                self._unwritten(error)

    def _stop(self, why: str) -> None:
        if self._why is None:
            self._why = why
            self._board.stopping = True
            self._outcomes.stop()

    # --- what goes in -----------------------------------------------------------------------------------

    async def _inputs(self) -> AsyncIterator[dict[str, Any]]:
        if self._plan.source.is_regular:
            for item in self._items():
                if not await self._admits(item):
                    return
                if isinstance(item, Planned):
                    yield item.input
        else:
            async with Arriving(self._items) as items:
                async for item in items:
                    if not await self._admits(item):
                        return
                    if isinstance(item, Planned):
                        yield item.input
        self._exhausted = True

    def _items(self) -> Iterator[Planned | BadRow]:
        with self._plan.source.rows() as rows:
            yield from self._plan.recipe.inputs(rows)

    async def _admits(self, item: Planned | BadRow) -> bool:
        """Whether it goes on: False once no more calls may be made."""
        if isinstance(item, BadRow):
            self._note_bad(item)
            return True
        if not await self._budget.take():
            self._why = self._why or f"--max-calls {self._plan.max_calls} is reached"
            return False
        # Inputs are taken in the order they are given, so this is its index.
        self._lines[self._given] = item.line
        self._given += 1
        return True

    def _note_bad(self, row: BadRow) -> None:
        self.tally.count_bad_row()
        if self.tally.bad_rows <= _BAD_ROWS_SAID:
            where = f"{self._plan.source.name}, line {row.line}"
            self._display.say(f"{where}: {row.reason}", head="bad row:")
        self._write(to_json(bad_row_document(row)), ok=False)

    # --- what comes out ---------------------------------------------------------------------------------

    def _take(self, outcome: Outcome[Any]) -> None:
        line = self._lines.pop(outcome.index, None)
        self.tally.count(outcome, self._now())
        self._budget.landed(called=bool(outcome.attempts) and not outcome.replayed)
        if len(self._gallery) < _GALLERY_MAX:
            self._gallery.add(outcome)
        document = outcome_document(outcome, line=line, folder=self._plan.folder.path)
        text = to_json(document)
        self._write(text, ok=outcome.ok)
        self._print(text)
        if isinstance(outcome, Failed) and _is_hopeless(outcome.error) and not outcome.replayed:
            self._stop(f"every call would fail like this: {outcome.error.what}")

    def _write(self, text: bytes, *, ok: bool) -> None:
        try:
            self._sheets.write(text, ok=ok)
        except OSError as error:
            self._unwritten(error)

    def _unwritten(self, error: OSError) -> None:
        self.tally.count_unwritten()
        self._stop(f"{self._plan.folder.path} cannot be written to: {error.strerror}")

    def _print(self, text: bytes) -> None:
        if not self._prints:
            return
        try:
            click.echo(text)
        except OSError as error:
            self._prints = False
            hush()
            if isinstance(error, BrokenPipeError):
                self._stop("nobody reads stdout any more")
            else:
                self.tally.count_unwritten()
                self._stop(f"stdout cannot be written to: {error.strerror}")

    # --- the end ----------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Write the gallery, and say what there is to say."""
        tally, plan, now = self.tally, self._plan, self._now()
        numbers = GalleryNumbers(
            written=datetime.now(UTC),
            in_doubt=tally.in_doubt,
            expected=tally.expected,
            seconds=now - tally.began,
            finished=self._sheets.complete,
        )
        try:
            self._gallery.write(numbers)
        except OSError as error:
            self._unwritten(error)
        if tally.bad_rows > _BAD_ROWS_SAID:
            say(f"and {number(tally.bad_rows - _BAD_ROWS_SAID, 'bad row')} more")
        if self._why is not None:
            say(f"stopped early: {self._why}")
        for word, text in tally.lines(now):
            say(f"{word:<9} {text}")
        self._say_where(plan.folder)
        self._say_how_to_go_on()

    def _say_where(self, folder: Folder) -> None:
        tally = self.tally
        said = [str(folder.results)] if tally.answered else []
        said += [str(folder.errors)] if tally.failed or tally.bad_rows else []
        said += [f"{number(tally.files, 'file')} in {folder.files}"] if tally.files else []
        if tally.unsaved:
            said.append(f"{number(tally.unsaved, 'file')} could not be saved")
        say(f"{'where':<9} {', '.join([*said, str(folder.gallery)])}")

    def _say_how_to_go_on(self) -> None:
        tally, plan = self.tally, self._plan
        if tally.in_doubt:
            say(
                f"{number(tally.in_doubt, 'call')} in doubt: about to be sent when an earlier run was "
                "killed, so perhaps billed. Not sent again unless you say --resume and --in-doubt "
                "reconcile (looks them up in fal's history) or --in-doubt retry (may pay twice)."
            )
            if isinstance(plan.in_doubt, Reconcile):
                say("The history may yet tell: --reconcile-wait SECONDS goes on looking.")
        self._say_unclaimed(self._outcomes.unclaimed)
        if not self._sheets.complete:
            say("To go on: the same command with --resume. What was answered is not called again.")
        elif tally.status() is Exit.NOT_BILLED:
            say("The same command with --resume calls again what failed and was not billed.")

    def _say_unclaimed(self, doubts: Sequence[Failed]) -> None:
        if not doubts:
            return
        where = "of this batch" if self._sheets.complete else "that was come to"
        say(
            f"{number(len(doubts), 'call')} in doubt, of earlier runs, and no row {where} is the same: "
            "not sent again, and perhaps billed."
        )
        for doubt in doubts[:_DOUBTS_SAID]:
            say(f"in doubt: input {doubt.index}{_when(doubt.error)}")
        if len(doubts) > _DOUBTS_SAID:
            say(f"and {number(len(doubts) - _DOUBTS_SAID, 'call')} more")


def _when(error: FalError) -> str:
    at = error.intended_at if isinstance(error, InDoubtError) else None
    if at is None:
        return ""
    return f", about to be sent at {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _was_never_made(outcome: Outcome[Any]) -> bool:
    """Whether it is an input like those that were not taken at all: cut off before anything was sent."""
    cut_off = isinstance(outcome, Failed) and isinstance(outcome.error, InterruptedCallError)
    return cut_off and outcome.billing is Billing.NOT_BILLED


def _is_hopeless(error: FalError) -> bool:
    """Whether every call of this model and key would fail in the same way."""
    return isinstance(error, _HOPELESS) and not isinstance(error, ResultGoneError)
