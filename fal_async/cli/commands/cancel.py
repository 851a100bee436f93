"""``fal-async cancel``: stops a queued request, and tells whether that was in time."""

from __future__ import annotations

import sys
from typing import Final

import click

from fal_async.cli.answering import echo_json, wants_json
from fal_async.cli.asking import asking
from fal_async.cli.exits import Exit
from fal_async.cli.options import names_a_request, prints_json
from fal_async.cli.running import run
from fal_async.protocol.queue import CancelOutcome

__all__ = ["SENTENCES", "command"]

SENTENCES: Final = {
    CancelOutcome.REMOVED: "removed: it was still in the queue, and is not billed",
    CancelOutcome.SIGNALLED: "signalled: it is running and was told to stop; it may run on, and be billed",
    CancelOutcome.TOO_LATE: "too late: it has ended, and its result can be fetched",
    CancelOutcome.UNKNOWN: "unknown: fal knows no such request, or not any more",
}


@click.command(name="cancel")
@names_a_request
@prints_json
def command(
    model: str,
    request_id: str,
    timeout: float | None,
    as_json: bool,  # noqa: FBT001 - click calls by name
) -> None:
    """Stop a queued request, and tell what the cancel found: removed, signalled, too_late or unknown.

    The exit status is 0 if it was removed or told to stop, 4 if there was nothing to stop any more.
    """
    outcome = run(_cancel(model, request_id, timeout))
    if wants_json(as_json):
        echo_json({"request_id": request_id, "outcome": outcome})
    else:
        click.echo(SENTENCES[outcome])
    if outcome not in {CancelOutcome.REMOVED, CancelOutcome.SIGNALLED}:
        sys.exit(Exit.REFUSED)


async def _cancel(model: str, request_id: str, timeout: float | None) -> CancelOutcome:
    async with asking(model, request_id, timeout=timeout) as (_, request):
        return await request.cancel()
