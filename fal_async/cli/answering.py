"""Giving an answer to who asked for it: printed, its files saved. What was paid for comes first."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import click
from rich.console import Console

from fal_async.cli.exits import Exit
from fal_async.cli.keeping import keep
from fal_async.cli.naming import safe_stem
from fal_async.cli.render import answer_document, show_answer, to_json
from fal_async.cli.saving import Saved, Saver, SavingError
from fal_async.cli.saying import say
from fal_async.features.run import RunResult
from fal_async.protocol.media import find_media
from fal_async.protocol.media_types import extension_of

__all__ = ["Showing", "echo_json", "give", "hush", "prepare", "wants_json"]


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


def hush() -> None:
    """Have stdout swallow everything: Python writes what is left when it ends, and would fail again."""
    with suppress(OSError), Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())


async def give(result: RunResult[Any], showing: Showing, *, local: bool) -> Exit:
    """Print it and save its files; what the process is to end with.

    An answer that stdout does not take (a full disk, a reader that left) is put into a file.

    :param local: whether files may be fetched from this machine.
    """
    printed = True
    if not (showing.as_json and showing.detailed):
        printed = _is_put(lambda: _print(result, showing), result, showing)
    saved: list[Saved] = []
    try:
        failed = await _save(result, showing.save, saved, local=local)
    except asyncio.CancelledError:
        say(f"interrupted: the call was answered and billed; {len(saved)} of its files are saved")
        raise
    finally:
        if showing.as_json and showing.detailed:
            document = answer_document(result, saved)
            printed = _is_put(lambda: echo_json(document), result, showing)
    if not printed:
        return Exit.BILLED
    return Exit.NOT_SAVED if failed else Exit.OK


def _is_put(put: Callable[[], None], result: RunResult[Any], showing: Showing) -> bool:
    """Print; whether that worked. If not, the answer is kept, and stderr says where."""
    try:
        put()
    except OSError as error:
        hush()
        say(f"the answer was billed and cannot be printed: {error.strerror}", head="error:")
        path = _keep(result, showing.save)
        if path is not None:
            say(f"the answer is in {path}")
        return False
    return True


def _print(result: RunResult[Any], showing: Showing) -> None:
    if not showing.as_json:
        show_answer(Console(), result, detailed=showing.detailed)
    elif isinstance(result.output, bytes):
        if showing.save is None:  # else it is saved, and has no business in a log
            click.echo(result.output, nl=False)
    else:
        echo_json(result.output)


def _keep(result: RunResult[Any], folder: Path | None) -> Path | None:
    output = result.output
    if isinstance(output, bytes):
        extension = extension_of("", result.headers.get("Content-Type", ""))
    else:
        output, extension = to_json(output, indent=2), "json"
    return keep(output, f"{safe_stem(result.request_id or '', 'answer')}.{extension}", folder)


async def _save(
    result: RunResult[Any], folder: Path | None, saved: list[Saved], *, local: bool
) -> int:
    if folder is None:
        return 0
    output, failed = result.output, 0
    if isinstance(output, bytes):
        path = _keep(result, folder)
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
