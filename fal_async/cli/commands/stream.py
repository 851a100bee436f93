"""``fal-async stream``: a model's events as they come."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from fal_async.cli.answering import hush, wants_json
from fal_async.cli.exits import Exit, statuses
from fal_async.cli.keeping import keep
from fal_async.cli.naming import safe_stem
from fal_async.cli.options import calls_a_model, prints_json, read_call
from fal_async.cli.running import run
from fal_async.cli.saying import say, say_interrupted
from fal_async.cli.telling import Lines, Teller, Told, say_error
from fal_async.cli.waiting import Waiting
from fal_async.errors import FalError
from fal_async.features.streaming import EventStream
from fal_async.protocol import wire
from fal_async.protocol.codec import content_type_of
from fal_async.protocol.media_types import extension_of
from fal_async.session import AsyncFal

__all__ = ["command"]


@click.command(name="stream", epilog=statuses())
@calls_a_model
@click.option(
    "--idle",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds of silence after which a stream that has begun counts as lost.",
)
@prints_json
def command(model: str, idle: float | None, as_json: bool, **words: Any) -> None:  # noqa: FBT001
    """Call a model that streams, and print what it says as it comes.

    Piped, or with --json, each event is a line of JSON. On a terminal the text of a language model grows as
    it is written, and the events of other models are shown one after the other. The input is written as in
    run.
    """
    content, options = read_call(**words)
    options["idle"] = idle
    if status := run(_call(model, content, options, as_lines=wants_json(as_json))):
        sys.exit(status)


async def _call(
    model: str, content: dict[str, Any], options: dict[str, Any], *, as_lines: bool
) -> Exit:
    """Print it all; what the process is to end with."""
    async with AsyncFal() as fal:
        events: EventStream[Any] = fal.stream(model, content, **options)
        try:
            with Waiting(model):
                await events.__aenter__()
            try:
                return await _put(events, as_lines=as_lines)
            finally:
                await events.aclose()
        except asyncio.CancelledError as cancelled:
            if events.count:
                plural = "" if events.count == 1 else "s"
                say(
                    f"after {events.count} event{plural}; the call is billed in full",
                    head="interrupted:",
                )
            else:
                say_interrupted(getattr(cancelled, "verdict", None))
            raise


async def _put(events: EventStream[Any], *, as_lines: bool) -> Exit:
    """Print it, as far as stdout takes it."""
    try:
        failed = await _print(events, as_lines=as_lines)
    except OSError as error:
        # A failure of fal's is none of stdout's; and a reader may leave when he likes.
        if isinstance(error, (FalError, BrokenPipeError)):
            raise
        hush()
        what = (
            f"event {events.count} cannot be printed: {error.strerror}; nor is what came after it"
        )
        say(f"{what}. The call is billed in full.", head="error:")
        return Exit.BILLED
    return Exit.UNKNOWN if failed else Exit.OK


async def _print(events: EventStream[Any], *, as_lines: bool) -> bool:
    """Whether the model said at last that it had failed."""
    content_type = content_type_of(events.headers)
    if content_type != wire.EVENT_STREAM:
        await _pass_on(events, content_type)
        return False
    teller: Teller = Lines() if as_lines else Told()
    value: Any = None
    try:
        async for value in events:
            teller.tell(value, events.raw)
    finally:
        teller.end()
    return say_error(value)


async def _pass_on(events: EventStream[Any], content_type: str) -> None:
    """An answer that is no stream of events, as it is; a terminal is spared it."""
    if not sys.stdout.isatty():
        async for piece in events:
            click.echo(piece, nl=False)
        return
    body = b"".join([piece async for piece in events])
    name = f"{safe_stem(events.request_id or '', 'answer')}.{extension_of('', content_type)}"
    path = keep(body, name, None)
    if path is not None:
        say(f"saved {path} ({len(body):,} bytes)")
