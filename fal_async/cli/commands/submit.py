"""``fal-async submit``: a request put into fal's queue, and no waiting for it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from fal_async.cli.answering import echo_json, hush, wants_json
from fal_async.cli.exits import Exit, statuses
from fal_async.cli.options import calls_a_model, prints_json, read_call
from fal_async.cli.running import run
from fal_async.cli.saying import say, say_interrupted, typed
from fal_async.features.handle import RequestHandle
from fal_async.protocol import wire
from fal_async.session import AsyncFal

__all__ = ["command"]


@click.command(name="submit", epilog=statuses())
@calls_a_model
@click.option(
    "--priority", type=click.Choice(wire.PRIORITIES), help="low: after all others of the endpoint."
)
@click.option("--webhook", "webhook_url", metavar="URL", help="Where fal shall POST the end of it.")
@click.option(
    "--max-queue-length",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="Refuse it if more than this wait at the endpoint.",
)
@click.option("--no-retry", is_flag=True, help="Do not run it again after the failure of a runner.")
@prints_json
def command(
    model: str,
    as_json: bool,  # noqa: FBT001 - click calls by name
    **words: Any,
) -> None:
    """Put a request into fal's queue and print its id: as JSON, with its URLs, when piped.

    The input is written as it is for run. fal keeps the result for an hour at least.
    """
    content, options = read_call(**words)
    handle = run(_submit(model, content, options))
    how = f"follow it: {typed('status', handle)} --follow"
    try:
        if wants_json(as_json):
            echo_json(handle.to_dict())
        else:
            click.echo(handle.request_id)
            say(how)
    except OSError as error:  # a full disk, a reader that left: the request goes on
        hush()
        say(f"it is submitted, and its handle cannot be printed: {error.strerror}", head="error:")
        say(how)
        sys.exit(Exit.UNKNOWN)


async def _submit(model: str, content: dict[str, Any], options: dict[str, Any]) -> RequestHandle:
    async with AsyncFal() as fal:
        try:
            return await fal.submit(model, content, **options)
        except asyncio.CancelledError as cancelled:
            say_interrupted(getattr(cancelled, "verdict", None))
            raise
