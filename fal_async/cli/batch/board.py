"""The live display of a batch on a terminal: drawn anew, a few times a second, from what is known."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fal_async.cli.batch.tally import Tally, clock_time, number, units
from fal_async.cli.footer import Footer
from fal_async.policy.concurrency import Limits

__all__ = ["Board", "Display"]


class Board:
    """What a person sees meanwhile.

    :param in_flight: how many calls are under way now.
    :param limits: what the brake has learned; None of it where calls go through the queue.
    :param now: the clock that the tally is kept by.
    """

    def __init__(
        self,
        title: str,
        tally: Tally,
        *,
        in_flight: Callable[[], int],
        limits: Callable[[], Limits | None],
        now: Callable[[], float],
    ) -> None:
        self.stopping = False
        self._title = title
        self._tally = tally
        self._in_flight = in_flight
        self._limits = limits
        self._now = now

    def __rich__(self) -> RenderableType:
        tally, now = self._tally, self._now()
        table = Table.grid(padding=(0, 2))
        table.add_row("", Text(self._title))
        table.add_row("done", self._bar(), self._progress())
        flying = f"{self._in_flight():,} in flight{self._limit()}"
        table.add_row("calls", Text(flying + (", stopping" if self.stopping else "")))
        rate, left = tally.rate(now), tally.remaining(now)
        speed = "?" if rate is None else f"{rate:.1f}/s"
        eta = "" if left is None or self.stopping else f", ETA {clock_time(left)}"
        table.add_row("rate", Text(f"{speed}, {clock_time(now - tally.began)} so far{eta}"))
        table.add_row("billed", Text(units(tally.units_now)))
        return table

    def _bar(self) -> ProgressBar:
        tally = self._tally
        return ProgressBar(total=tally.expected, completed=tally.done, width=40)

    def _progress(self) -> Text:
        tally = self._tally
        of = "" if tally.expected is None else f"/{tally.expected:,}"
        text = Text(f"{tally.done:,}{of}")
        if tally.failed:
            text.append(f", {tally.failed:,} failed", style="red")
        if tally.bad_rows:
            text.append(f", {number(tally.bad_rows, 'bad row')}", style="red")
        return text

    def _limit(self) -> str:
        limits = self._limits()
        if limits is None:
            return ""
        learned = "?" if limits.learned is None else f"{limits.learned:,}"
        return f", limit {learned}, {limits.refused:,} refused"


class Display(Footer):
    """Shows a board from ``with`` to its end, if it is a terminal; what is said meanwhile stands above it.

    :param console: where to; None is stderr.
    """

    def __init__(self, board: Board, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        # stdout stays what it is: lines for a program may go there.
        super().__init__(Live(board, console=console, transient=True, redirect_stdout=False))
