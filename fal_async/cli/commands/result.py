"""``fal-async result``: the answer of a queued request, waited for, printed, its files saved."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from fal_async.cli.answering import Showing, give, prepare, wants_json
from fal_async.cli.asking import asking
from fal_async.cli.exits import Exit, statuses
from fal_async.cli.keeping import keep_answer
from fal_async.cli.options import gives_an_answer, names_a_request
from fal_async.cli.running import run
from fal_async.cli.waiting import Waiting
from fal_async.errors import FalError
from fal_async.features.run import RunResult

__all__ = ["command"]


@click.command(name="result", epilog=statuses())
@names_a_request
@gives_an_answer
def command(
    model: str,
    request_id: str,
    timeout: float | None,
    save: Path | None,
    as_json: bool,  # noqa: FBT001 - click calls by name
) -> None:
    """Print the answer of a queued request, once it has ended; its failure is this command's failure.

    It may be fetched as often as one likes, for an hour after its end at least (large ones: six minutes).
    """
    prepare(save)
    showing = Showing(as_json=wants_json(as_json), save=save)
    if status := run(_fetch(model, request_id, timeout, showing)):
        sys.exit(status)


async def _fetch(model: str, request_id: str, timeout: float | None, showing: Showing) -> Exit:
    began = asyncio.get_running_loop().time()
    async with asking(model, request_id, timeout=timeout) as (fal, request):
        try:
            with Waiting(model):
                output = await request.result()
        except FalError as error:
            keep_answer(error, showing.save)
            raise
        elapsed = asyncio.get_running_loop().time() - began
    result = RunResult(
        output=output,
        request_id=request_id,
        billable_units=None,  # the handle does not tell, nor the headers
        headers={},
        elapsed=elapsed,
        attempts=1,
    )
    return await give(result, showing, local=fal.hosts.is_local)
