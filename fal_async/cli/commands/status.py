"""``fal-async status``: where a queued request stands, once or until its end."""

from __future__ import annotations

from collections.abc import Callable

import click

from fal_async.cli.answering import echo_json, wants_json
from fal_async.cli.asking import asking
from fal_async.cli.options import names_a_request, prints_json
from fal_async.cli.progress import log_lines, state_of, status_document
from fal_async.cli.running import run
from fal_async.protocol.queue import QueueStatus

__all__ = ["command"]


@click.command(name="status")
@names_a_request
@click.option("--logs", is_flag=True, help="With what the runner wrote.")
@click.option("--follow", is_flag=True, help="Every change, until the request has ended.")
@prints_json
def command(
    model: str,
    request_id: str,
    timeout: float | None,
    logs: bool,  # noqa: FBT001 - click calls by name
    follow: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Tell where a queued request stands: JSON when piped, one line a change with --follow.

    The exit status is 0 whatever became of the request; that fal does not know it is 4.
    """
    as_json = wants_json(as_json)

    def tell(update: QueueStatus) -> None:
        if as_json:
            echo_json(status_document(update, logs=logs))
            return
        for line in log_lines(update):
            click.echo(line)
        click.echo(state_of(update))

    run(_tell(model, request_id, timeout, tell, logs=logs, follow=follow))


async def _tell(
    model: str,
    request_id: str,
    timeout: float | None,
    tell: Callable[[QueueStatus], None],
    *,
    logs: bool,
    follow: bool,
) -> None:
    async with asking(model, request_id, timeout=timeout) as (_, request):
        if not follow:
            tell(await request.status(logs=logs))
            return
        async for update in request.updates(logs=logs):
            tell(update)
