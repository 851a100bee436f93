"""``fal-async run``: one call, its answer printed, its files saved."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from fal_async.cli.answering import Showing, give, prepare, wants_json
from fal_async.cli.durable import run_durably
from fal_async.cli.exits import Exit, statuses
from fal_async.cli.keeping import keep_answer
from fal_async.cli.options import calls_a_model, gives_an_answer, read_call
from fal_async.cli.running import run
from fal_async.cli.saying import say_interrupted
from fal_async.cli.waiting import Waiting
from fal_async.errors import FalError
from fal_async.session import AsyncFal

__all__ = ["command"]


@click.command(name="run", epilog=statuses())
@calls_a_model
@click.option(
    "--durable",
    is_flag=True,
    help="Through fal's queue, which keeps the result; the first Ctrl-C cancels, the second leaves.",
)
@gives_an_answer
@click.option(
    "--detailed", is_flag=True, help="With request id, billable units, times, headers, saved files."
)
def command(
    model: str,
    durable: bool,  # noqa: FBT001 - click calls by name
    save: Path | None,
    as_json: bool,  # noqa: FBT001
    detailed: bool,  # noqa: FBT001
    **words: Any,
) -> None:
    """Call a model and print its answer: JSON when piped, readable on a terminal.

    The input is written as NAME=VALUE words. A value that is JSON is sent as that: num_images=2,
    sync_mode=true, image_size='{"width": 512, "height": 512}'. Everything else is sent as text; a text that
    looks like JSON goes in JSON's own quotes: prompt='"2024"'. image_url=@photo.png uploads that file, and
    sends its URL.
    """
    content, options = read_call(**words)
    prepare(save)
    showing = Showing(as_json=wants_json(as_json), detailed=detailed, save=save)
    if status := run(_call(model, content, options, showing, durable=durable)):
        sys.exit(status)


async def _call(
    model: str,
    content: dict[str, Any],
    options: dict[str, Any],
    showing: Showing,
    *,
    durable: bool,
) -> Exit:
    """Make the call and give its answer; what the process is to end with."""
    async with AsyncFal() as fal:
        try:
            with Waiting(model) as waiting:
                if durable:
                    result = await run_durably(fal, model, content, options, waiting)
                else:
                    result = await fal.run_detailed(model, content, **options)
        except asyncio.CancelledError as cancelled:
            say_interrupted(getattr(cancelled, "verdict", None))
            raise
        except FalError as error:
            keep_answer(error, showing.save)
            raise
    return await give(result, showing, local=fal.hosts.is_local)
