"""``fal-async upload``: files into fal's storage, their URLs printed."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from fal_async.cli.answering import wants_json
from fal_async.cli.batch.source import Arriving
from fal_async.cli.exits import Exit, statuses
from fal_async.cli.options import parse_lifetime, prints_json
from fal_async.cli.render import to_json
from fal_async.cli.running import run
from fal_async.cli.transferring import transfer
from fal_async.errors import UploadError
from fal_async.features.given import Uploadable
from fal_async.protocol.lifecycle import LifecyclePreference, parse_expire
from fal_async.protocol.upload_facts import UploadFacts, build_upload_headers
from fal_async.session import AsyncFal
from fal_async.types import File

__all__ = ["command"]

_STDIN: Final = "-"
_BLOCK: Final = 64 * 1024


@click.command(name="upload", epilog=statuses())
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
)
@click.option(
    "--expire",
    metavar="DURATION",
    help="How long they shall live: 1h, 7d, seconds, immediate, never.",
)
@click.option(
    "--content-type",
    metavar="TYPE",
    help="What they are, such as image/png; without it, name or first bytes tell.",
)
@prints_json
def command(
    files: tuple[str, ...],
    expire: str | None,
    content_type: str | None,
    as_json: bool,  # noqa: FBT001 - click calls by name
) -> None:
    """Put files into fal's storage and print their URLs, one a line; - is stdin.

    When piped, a JSON object a line, with url, content_type, file_name and file_size, in the order of the
    files. One file's failure stops no other. It costs nothing.
    """
    if files.count(_STDIN) > 1:
        raise click.UsageError("- is given twice, and stdin can be read once")
    lifetime = parse_expire(parse_lifetime(expire))
    build_upload_headers(
        UploadFacts(content_type or "x/y", None, lifetime)
    )  # says what cannot be sent
    work = _upload(files, lifetime, content_type, as_json=wants_json(as_json))
    if status := run(work):
        sys.exit(status)


async def _upload(
    files: tuple[str, ...],
    lifetime: LifecyclePreference | None,
    content_type: str | None,
    *,
    as_json: bool,
) -> Exit:
    async with AsyncFal() as fal:

        async def upload(number: int, tell: Callable[[int, int | None], None]) -> bytes:
            async with _opened(files[number]) as data:
                file = await fal.upload(
                    data, content_type=content_type, expire=lifetime, on_progress=tell
                )
            return to_json(_document(files[number], file)) if as_json else file.url.encode()

        names = ["stdin" if name == _STDIN else name for name in files]
        return await transfer(names, upload, done="uploaded")


def _document(given: str, file: File) -> dict[str, Any]:
    return {
        "file": given,
        "url": file.url,
        "content_type": file.content_type,
        "file_name": file.file_name,
        "file_size": file.file_size,
    }


# --- what waits for its bytes is read in a thread that may be left behind -------------------------------


@asynccontextmanager
async def _opened(name: str) -> AsyncIterator[Uploadable]:
    """What the client can upload: a path, or what comes out of a pipe."""
    pipe = _pipe(name)
    if pipe is None:
        yield sys.stdin.buffer if name == _STDIN else Path(name)
        return
    async with Arriving(partial(_blocks, pipe)) as pieces:
        yield pieces


def _pipe(name: str) -> str | int | None:
    """What may keep its reader waiting: a path or a descriptor; None for a file on disk."""
    if name != _STDIN:
        return name if Path(name).is_fifo() else None
    if sys.stdin is None:
        raise UploadError("it is closed")
    try:
        number = sys.stdin.fileno()
    except OSError:  # no file at all
        return None
    return None if stat.S_ISREG(os.fstat(number).st_mode) else number


def _blocks(file: str | int) -> Iterator[bytes]:
    try:
        with open(file, "rb", buffering=0, closefd=isinstance(file, str)) as pipe:
            while block := pipe.read(_BLOCK):
                yield block
    except OSError as error:
        raise UploadError(f"it could not be read: {error.strerror}") from error
