"""Giving an answer to who asked for it: printed, its files saved. What was paid for comes first."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import attrs
import click
from rich.console import Console

from fal_async.cli.keeping import keep
from fal_async.cli.naming import safe_stem
from fal_async.cli.render import answer_document, show_answer, to_json
from fal_async.cli.saving import Saved, Saver, SavingError
from fal_async.cli.saying import say
from fal_async.features.run import RunResult
from fal_async.protocol.media import find_media
from fal_async.protocol.media_types import extension_of

__all__ = ["Showing", "echo_json", "give", "prepare", "wants_json"]


@attrs.frozen(kw_only=True)
class Showing:
    """How the answer is to be given."""

    as_json: bool
    save: Path | None
    detailed: bool = False


def wants_json(as_json: bool) -> bool:  # noqa: FBT001 - the option's own value
    """Whether it is JSON that is printed: where it was asked for, and where no person reads it."""
    return as_json or not sys.stdout.isatty()


def echo_json(value: Any) -> None:
    """One JSON document on stdout; indented if a person reads it."""
    click.echo(to_json(value, indent=2 if sys.stdout.isatty() else None))


def prepare(folder: Path | None, option: str = "--save") -> None:
    """Make the folder of ``--save``, before anything is paid for.

    :param option: what it is called where it is called something else.
    :raises click.UsageError: if nothing can be saved there.
    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"{option} {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise click.UsageError(f"{option} {folder}: not writable")


async def give(result: RunResult[Any], showing: Showing, *, local: bool) -> int:
    """Print it and save its files; how many of these could not be saved.

    :param local: whether files may be fetched from this machine.
    """
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
            echo_json(answer_document(result, saved))


def _print(result: RunResult[Any], showing: Showing) -> None:
    if not showing.as_json:
        show_answer(Console(), result, detailed=showing.detailed)
    elif isinstance(result.output, bytes):
        if showing.save is None:  # else it is saved, and has no business in a log
            click.echo(result.output, nl=False)
    else:
        echo_json(result.output)


async def _save(
    result: RunResult[Any], folder: Path | None, saved: list[Saved], *, local: bool
) -> int:
    if folder is None:
        return 0
    output, failed = result.output, 0
    if isinstance(output, bytes):
        kind = result.headers.get("Content-Type", "")
        name = f"{safe_stem(result.request_id or '', 'answer')}.{extension_of('', kind)}"
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
