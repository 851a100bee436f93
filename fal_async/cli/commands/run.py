"""``fal-async run``: one direct call, its answer printed, its files saved."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import IO, Any

import attrs
import click
from rich.console import Console

from fal_async.cli.exits import MEANINGS, Exit
from fal_async.cli.keeping import keep, keep_answer
from fal_async.cli.media import extension_of, find_media, safe_stem
from fal_async.cli.options import build_input, parse_lifetime, parse_tags
from fal_async.cli.render import answer_document, show_answer, to_json, waiting
from fal_async.cli.running import run
from fal_async.cli.saving import Saved, Saver, SavingError
from fal_async.cli.saying import say, say_interrupted
from fal_async.errors import FalError
from fal_async.features.run import RunResult
from fal_async.session import AsyncFal

__all__ = ["command"]

_EXITS = "\b\nExit status:\n" + "\n".join(
    f"  {status:>3}  {meaning}" for status, meaning in MEANINGS.items()
)


@attrs.frozen(kw_only=True)
class _Showing:
    """How the answer is to be given."""

    as_json: bool
    detailed: bool
    save: Path | None


@click.command(name="run", epilog=_EXITS)
@click.argument("model")
@click.argument("pairs", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--input", "document", type=click.File("rb"), help="A JSON object to start from; - is stdin."
)
@click.option(
    "--expire",
    metavar="DURATION",
    help="How long what it makes shall live: 1h, 7d, seconds, immediate, never.",
)
@click.option("--start-timeout", type=float, help="Seconds in which a runner must have started.")
@click.option(
    "--timeout",
    type=float,
    help="Seconds for the call; without it, it may take as long as it takes.",
)
@click.option("--hint", help="Calls of the same hint go to the same runner if possible.")
@click.option("--store-io/--no-store-io", default=None, help="Whether fal keeps input and output.")
@click.option(
    "--disable-fallback", is_flag=True, help="Serve it from this very endpoint or not at all."
)
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag for fal's billing tools."
)
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    help="Download the files of the answer into this folder; nothing there is overwritten.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON on a terminal, too.")
@click.option(
    "--detailed", is_flag=True, help="With request id, billable units, times, headers, saved files."
)
def command(
    model: str,
    pairs: tuple[str, ...],
    document: IO[bytes] | None,
    expire: str | None,
    disable_fallback: bool,  # noqa: FBT001 - click calls by name
    tags: tuple[str, ...],
    save: Path | None,
    as_json: bool,  # noqa: FBT001
    detailed: bool,  # noqa: FBT001
    **options: Any,
) -> None:
    """Call a model and print its answer: JSON when piped, readable on a terminal.

    The input is written as NAME=VALUE words. A value that is JSON is sent as that: num_images=2,
    sync_mode=true, image_size='{"width": 512, "height": 512}'. Everything else is sent as text; a text that
    looks like JSON goes in JSON's own quotes: prompt='"2024"'.
    """
    content = build_input(pairs, document)
    options["expire"] = parse_lifetime(expire)
    options["tags"] = parse_tags(tags)
    options["disable_fallback"] = disable_fallback or None
    if save is not None:
        _prepare(save)  # before anything is paid for
    showing = _Showing(as_json=as_json or not sys.stdout.isatty(), detailed=detailed, save=save)
    failed = run(_call(model, content, options, showing))
    if failed:
        sys.exit(Exit.NOT_SAVED)


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"--save {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise click.UsageError(f"--save {folder}: not writable")


async def _call(
    model: str, content: dict[str, Any], options: dict[str, Any], showing: _Showing
) -> int:
    """Make the call and give its answer; how many of its files could not be saved."""
    async with AsyncFal() as fal:
        try:
            with waiting(model):
                result = await fal.run_detailed(model, content, **options)
        except asyncio.CancelledError as cancelled:
            say_interrupted(getattr(cancelled, "verdict", None))
            raise
        except FalError as error:
            keep_answer(error, showing.save)
            raise
        local = fal.hosts.is_local
    if not (showing.as_json and showing.detailed):
        _print(result, showing)  # paid for: nothing comes before it
    saved: list[Saved] = []
    try:
        return await _save(result, showing.save, saved, local=local)
    except asyncio.CancelledError:
        say(f"interrupted: the call was answered and billed; {len(saved)} of its files are saved")
        raise
    finally:
        if showing.as_json and showing.detailed:
            click.echo(to_json(answer_document(result, saved), indent=_indent()))


def _print(result: RunResult[Any], showing: _Showing) -> None:
    if not showing.as_json:
        show_answer(Console(), result, detailed=showing.detailed)
    elif isinstance(result.output, bytes):
        if showing.save is None:  # else it is saved, and has no business in a log
            click.echo(result.output, nl=False)
    else:
        click.echo(to_json(result.output, indent=_indent()))


def _indent() -> int | None:
    return 2 if sys.stdout.isatty() else None


async def _save(
    result: RunResult[Any], folder: Path | None, saved: list[Saved], *, local: bool
) -> int:
    if folder is None:
        return 0
    output, failed = result.output, 0
    if isinstance(output, bytes):
        kind = result.headers.get("Content-Type", "")
        name = safe_stem(result.request_id or "", "answer") + extension_of("", kind)
        path = keep(output, name, folder)
        if path is None:
            return 1
        _note(saved, Saved(place="output", path=path, size=len(output)))
        return 0
    async with Saver(folder, local=local) as saver:
        found = find_media(output)
        for media in found:
            try:
                _note(saved, await saver.save(media))
            except SavingError as error:
                failed += 1
                say(f"not saved: {error}")
    if not found:
        say("nothing to save: the answer holds no file")
    return failed


def _note(saved: list[Saved], file: Saved) -> None:
    saved.append(file)
    say(f"saved {file.path} ({file.size:,} bytes)")
