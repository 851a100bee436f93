"""What became of a batch, in numbers: counted as it goes, told at the end. Pure; times are handed in."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from fal_async.batch.outcome import Failed, Outcome
from fal_async.cli.exits import Exit, exit_of
from fal_async.errors import Billing, InDoubtError

__all__ = ["Tally", "clock_time", "number", "units"]

#: What a script does next differs most where money may be lost; so these come first.
_GRAVITY: Final = (
    Exit.UNKNOWN,
    Exit.BILLED,
    Exit.NOT_BILLED,
    Exit.KEY,
    Exit.REFUSED,
    Exit.NOT_SAVED,
    Exit.USAGE,
)
#: The rate is that of the last so many seconds.
_WINDOW: Final = 20.0


class Tally:
    """The numbers of one batch.

    :param expected: how many inputs there are; None if that is not known.
    :param began: when, in seconds of any clock that the other times are of.
    """

    def __init__(self, *, expected: int | None, began: float) -> None:
        self.expected = expected
        self.began = began
        self.answered = 0
        self.failed = 0
        self.replayed = 0
        self.calls = 0
        """How many were made now and ended: what came from the journal, or was never sent, is none."""
        self.bad_rows = 0
        self.unsent = 0
        self.files = 0
        self.unsaved = 0
        self.in_doubt = 0
        self.maybe_billed = 0
        self.units_now = Decimal(0)
        self.units = Decimal(0)
        self.kinds: Counter[str] = Counter()
        self._statuses: set[Exit] = set()
        self._ended: deque[float] = deque(maxlen=20_000)

    @property
    def done(self) -> int:
        """How many inputs have ended, in one way or another."""
        return self.answered + self.failed

    def count(self, outcome: Outcome[Any], now: float) -> None:
        """Take an outcome into the account."""
        if isinstance(outcome, Failed):
            self._count_failure(outcome)
        else:
            self.answered += 1
        if outcome.replayed:
            self.replayed += 1
        elif outcome.attempts:
            self.calls += 1
            self._ended.append(now)
        if outcome.billable_units is not None and outcome.billing is Billing.BILLED:
            self.units += outcome.billable_units
            self.units_now += 0 if outcome.replayed else outcome.billable_units
        unsaved = sum(file.path is None for file in outcome.files)
        self.files += len(outcome.files) - unsaved
        self.unsaved += unsaved
        if unsaved:
            self._statuses.add(Exit.NOT_SAVED)

    def _count_failure(self, failed: Failed) -> None:
        self.failed += 1
        self.kinds[type(failed.error).__name__] += 1
        self._statuses.add(exit_of(failed.error))
        if isinstance(failed.error, InDoubtError):
            self.in_doubt += 1
        elif failed.billing is Billing.UNKNOWN:
            self.maybe_billed += 1

    def count_bad_row(self) -> None:
        """A row was no input."""
        self.bad_rows += 1
        self._statuses.add(Exit.USAGE)

    def count_unsent(self) -> None:
        """An input was taken, and the stop came before its call was sent."""
        self.unsent += 1

    def count_unwritten(self) -> None:
        """Something could not be written, to the folder or to stdout."""
        self._statuses.add(Exit.NOT_SAVED)

    def status(self) -> Exit:
        """What the process ends with: the gravest of what happened."""
        return next((status for status in _GRAVITY if status in self._statuses), Exit.OK)

    # --- speed ------------------------------------------------------------------------------------------

    def rate(self, now: float) -> float | None:
        """Calls ended a second, of late; None while there are too few to tell."""
        while self._ended and self._ended[0] < now - _WINDOW:
            self._ended.popleft()
        if len(self._ended) < 2:
            return None
        # As many as are remembered, in the time since the first of them; it does not count itself.
        return (len(self._ended) - 1) / max(now - self._ended[0], 0.001)

    def remaining(self, now: float) -> float | None:
        """Seconds to the end, if it goes on like this; None if nothing tells."""
        rate = self.rate(now)
        if self.expected is None or not rate:
            return None
        return max(self.expected - self.done, 0) / rate

    # --- words ------------------------------------------------------------------------------------------

    def lines(self, now: float) -> Iterator[tuple[str, str]]:
        """The numbers at the end: a word, and what there is to say."""
        of = "" if self.expected is None else f" of {self.expected:,}"
        replayed = f", {self.replayed:,} of them from the journal" if self.replayed else ""
        yield "done", f"{self.done:,}{of}{replayed}"
        if self.failed:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.kinds.most_common())
            yield "failed", f"{self.failed:,}: {kinds}"
        if self.bad_rows:
            yield "bad rows", f"{self.bad_rows:,}, of which nothing was sent"
        if self.unsent:
            yield "not sent", f"{number(self.unsent, 'call')}, at no cost"
        yield "billed", self._billed()
        if self.maybe_billed:
            yield "perhaps", f"{number(self.maybe_billed, 'failed call')} may have been billed too"
        seconds = now - self.began
        rate = f", {self.calls / seconds:.1f} calls/s" if self.calls and seconds > 0 else ""
        yield "time", f"{clock_time(seconds)}{rate}"

    def _billed(self) -> str:
        told = f"{units(self.units_now)} for {number(self.calls, 'call')}"
        return f"{told}; {units(self.units)} with those before" if self.replayed else told


def number(count: int, thing: str) -> str:
    """``1 call``, ``1,200 calls``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def units(amount: Decimal) -> str:
    """Billable units, exact."""
    return f"{amount.normalize():,f} unit{'' if amount == 1 else 's'}"


def clock_time(seconds: float) -> str:
    """``0.52 s``, ``12 s``, ``3:05``, ``1:02:03``."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
