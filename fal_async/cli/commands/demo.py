"""``fal-async demo``: the main job in one command, on an emulator, so without a key or a cost."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from fal_async.cli.answering import prepare
from fal_async.cli.demonstration import MODEL, Demonstration, Report, read_prompts
from fal_async.cli.exits import Exit, exit_of
from fal_async.cli.running import run
from fal_async.cli.saying import say
from fal_async.errors import FalError

__all__ = ["Board", "command", "summary"]

_SECONDS = 2.0


@click.command(name="demo")
@click.option(
    "--prompts",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of prompts, one a line; without it, two dozen of ours.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="The account's limit, which the client has to find out.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the images go. Without it: out/demo, or a new folder beside it.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=_SECONDS,
    show_default=True,
    help="How long the model takes for an image.",
)
def command(path: Path | None, limit: int, out: Path | None, seconds: float) -> None:
    """Fan prompts out against an emulator of fal, and save the images.

    All calls are made at once; the client finds out how many the account may have in progress, and nothing is
    called twice.
    """
    try:
        prompts = read_prompts(path)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--prompts {path}: {error}") from None
    if not prompts:
        raise click.UsageError(f"--prompts {path}: no prompt in it")
    folder = out or _new_folder(Path("out"))
    prepare(folder, "--out")
    report = run(_show(Demonstration(prompts, limit=limit, seconds=seconds, folder=folder)))
    for failure in report.failures:
        say(f"failed: {failure}")
    sys.exit(_status(report))


def _new_folder(parent: Path) -> Path:
    names = (parent / ("demo" if number == 1 else f"demo-{number}") for number in count(1))
    return next(folder for folder in names if not folder.exists())


def _status(report: Report) -> int:
    if not report.failures:
        return Exit.OK
    first = report.failures[0]
    return exit_of(first) if isinstance(first, FalError) else Exit.NOT_SAVED


async def _show(demonstration: Demonstration) -> Report:
    console = Console()
    async with demonstration as demo:
        console.print(_introduction(demo), markup=False, highlight=False, soft_wrap=True)
        try:
            with (
                Live(Board(demo), console=console, refresh_per_second=12, transient=True)
                if console.is_terminal
                else nullcontext()
            ):
                report = await demo.run()
        except asyncio.CancelledError:
            say(
                f"interrupted: {demo.answered} calls answered, {len(demo.saved)} images in {demo.folder}"
            )
            raise
    for name, text in summary(report).items():
        console.print(f"{name:<10} {text}", markup=False, highlight=False, soft_wrap=True)
    return report


def _introduction(demo: Demonstration) -> str:
    where = f"{MODEL} on an emulator of fal at {demo.emulator.url}"
    limit = f"lets {demo.limit} calls be in progress at once and does not say so"
    return f"{len(demo.prompts)} prompts to {where}, which {limit}."


class Board:
    """The live display: drawn anew from what the demonstration knows."""

    def __init__(self, demo: Demonstration) -> None:
        self._demo = demo

    def __rich__(self) -> RenderableType:
        demo, limits = self._demo, self._demo.limits
        calls = len(demo.prompts)
        table = Table.grid(padding=(0, 2))
        for name, done in (("answered", demo.answered), ("saved", len(demo.saved))):
            table.add_row(
                name, ProgressBar(total=calls, completed=done, width=40), f"{done}/{calls}"
            )
        if limits is not None:
            learned = "?" if limits.learned is None else limits.learned
            table.add_row(
                "calls",
                f"{limits.in_flight} in flight, {limits.waiting} waiting, "
                f"{limits.refused} refused so far",
            )
            table.add_row("limit", f"learned: {learned}")
        return table


def summary(report: Report) -> dict[str, str]:
    """The numbers at the end, in words."""
    answered = "all" if report.answered == report.calls else str(report.answered)
    share = f": {report.ideal / report.answers_in:.0%}" if report.answers_in else ""
    learned = "nothing yet" if report.learned is None else report.learned
    right = "" if report.learned == report.limit else f" (it is {report.limit})"
    wall = f"{report.answers_in:.2f} s to the last answer, {report.ideal:.2f} s is the ideal"
    refused = f"{report.refused} calls refused on the way, none of them billed"
    billed = f"{report.billed} of {report.executed} executions, {report.units} units"
    images = f"{report.images} PNG files, {report.size / 1e6:.1f} MB, in {report.folder}"
    return {
        "calls": f"{report.calls}, {answered} answered",
        "wall time": f"{wall} (calls x job / limit){share}",
        "limit": f"learned {learned}{right}; {refused}",
        "billed": f"{billed} (the emulator's ledger)",
        "images": f"{images} after {report.saved_in:.2f} s",
    }
