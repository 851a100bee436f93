"""Several files up or down at once: a bar for each on a terminal, a line on stdout for each, in their order.

One file's failure stops no other, unless all would share it. It knows neither uploads nor downloads.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import click
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from fal_async.cli.exits import Exit, exit_of
from fal_async.cli.footer import Footer
from fal_async.cli.saying import printable, say
from fal_async.errors import FalError

__all__ = ["Bars", "Work", "transfer"]

Work = Callable[[int, Callable[[int, int | None], None]], Awaitable[bytes]]
"""Moves the file of that number, tells its bytes so far and in all, and gives the line to print."""

#: Files that are moved at once.
_AT_ONCE: Final = 32
_NAME_SHOWN: Final = 40


async def transfer(
    names: Sequence[str], work: Work, *, done: str, console: Console | None = None
) -> Exit:
    """Move all files, and print a line for each that was.

    :param names: what the files are called on stderr.
    :param done: what has become of them, for a sentence: ``uploaded``.
    :param console: where bars are shown, if it is a terminal; None is stderr.
    :returns: how it went: the gravest of what happened.
    :raises FalError: what all files would share, such as a wrong key.
    :raises asyncio.CancelledError: after a cancellation; what was moved by then has been printed.
    """
    lines = _Lines(len(names))
    statuses: set[Exit] = {Exit.OK}
    slots = asyncio.Semaphore(_AT_ONCE)

    async def move(number: int) -> None:
        try:
            async with slots:
                lines.put(number, await work(number, bars.watch(number)))
            bars.moved += 1
        except FalError as error:
            status = exit_of(error)
            if status is Exit.KEY:
                raise
            statuses.add(status)
            bars.failed += 1
            lines.put(number, None)
            bars.say(f"{names[number]}: {error}", head="error:")
        finally:
            bars.end(number)

    try:
        with Bars(names, done=done, console=console) as bars:
            async with asyncio.TaskGroup() as group:
                for number in range(len(names)):
                    group.create_task(move(number))
    except ExceptionGroup as failed:
        failure = failed.exceptions[0]
    except asyncio.CancelledError:
        say(f"{lines.count} of {_files(len(names))} {done}", head="interrupted:")
        raise
    else:
        return max(statuses)
    finally:
        lines.end()
    raise failure


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


class _Lines:
    """Lines of stdout, printed in order: on a terminal at the end, below the bars; else as soon as may be.

    :ivar count: how many there are.
    """

    def __init__(self, number: int) -> None:
        self._lines: list[bytes | None] = [None] * number
        self._settled = [False] * number
        self._next = 0
        self._waits = sys.stdout.isatty()
        self.count = 0

    def put(self, number: int, line: bytes | None) -> None:
        """The line of that number; None: there is none."""
        self._settled[number], self._lines[number] = True, line
        self.count += line is not None
        if self._waits:
            return
        while self._next < len(self._lines) and self._settled[self._next]:
            self._next += 1
            self._print([self._lines[self._next - 1]])

    def end(self) -> None:
        """Nothing more comes."""
        rest, self._next = self._lines[self._next :], len(self._lines)
        self._print(rest)

    def _print(self, lines: Iterable[bytes | None]) -> None:
        for line in lines:
            if line is not None:
                click.echo(line)


class Bars(Footer):
    """A bar for each file that is on its way, from ``with`` to its end, if somebody is looking.

    :param names: what the files are called.
    :param done: what becomes of them.
    :param console: where to; None is stderr.
    :ivar moved: how many of them that has become of.
    :ivar failed: how many it never will.
    """

    def __init__(self, names: Sequence[str], *, done: str, console: Console | None = None) -> None:
        self._names = names
        self._done = done
        self._bars: dict[int, TaskID] = {}
        self.moved = self.failed = 0
        self._progress = _Table(self._total, console or Console(stderr=True))
        super().__init__(self._progress.live)

    def watch(self, number: int) -> Callable[[int, int | None], None]:
        """Show a bar for that file; what is given back is told how far it has come."""

        def tell(now: int, total: int | None) -> None:
            if self._shown:
                self._progress.update(bar, completed=now, total=total)

        if self._shown:
            name = printable(self._names[number])
            shown = name if len(name) <= _NAME_SHOWN else f"…{name[1 - _NAME_SHOWN :]}"
            bar = self._bars[number] = self._progress.add_task(shown, total=None)
        return tell

    def end(self, number: int) -> None:
        """That file is not on its way any more."""
        bar = self._bars.pop(number, None)
        if bar is not None:
            self._progress.remove_task(bar)

    def _total(self) -> RenderableType:
        text = Text(f"{self.moved:,} of {_files(len(self._names))} {self._done}")
        return text.append(f", {self.failed:,} failed", style="red") if self.failed else text


class _Table(Progress):
    """The bars, below a line of its own."""

    def __init__(self, head: Callable[[], RenderableType], console: Console) -> None:
        self._head = head
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # stdout stays what it is: lines for a program may go there.
            redirect_stdout=False,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self._head()
        yield self.make_tasks_table(self.tasks)
