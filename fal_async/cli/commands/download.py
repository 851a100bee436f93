"""``fal-async download``: files from wherever they lie, never over one that is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import click

from fal_async.cli.answering import prepare
from fal_async.cli.exits import Exit, statuses
from fal_async.cli.fetching import Fetcher
from fal_async.cli.running import run
from fal_async.cli.transferring import transfer
from fal_async.errors import DownloadError
from fal_async.protocol.fetching import check_url
from fal_async.protocol.file_names import name_for
from fal_async.protocol.hosts import hosts_from_environment
from fal_async.protocol.media import Media

__all__ = ["command"]


@click.command(name="download", epilog=statuses())
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option(
    "--out",
    metavar="PATH|DIR",
    help="Where to: a folder, made if need be; for one file, also its path. Without it, here.",
)
def command(urls: tuple[str, ...], out: str | None) -> None:
    """Fetch files and print where they are, one a line, in the order of the URLs.

    Nothing is overwritten: cat (2).png. A file appears whole or not at all. The key goes nowhere. One file's
    failure stops no other.
    """
    local = hosts_from_environment(os.environ).is_local
    files = [Media(path="file", url=url) for url in urls]
    for number, file in enumerate(files):
        if file.url[:5].lower() != "data:":
            try:
                check_url(file.url, local=local)
            except DownloadError as error:
                raise click.UsageError(f"URL {number + 1}: {error.what}") from None
    into, path = _target(out, several=len(urls) > 1)
    prepare(path if into else path.parent, "--out")
    if status := run(_download(files, path, into=into, local=local)):
        sys.exit(status)


def _target(out: str | None, *, several: bool) -> tuple[bool, Path]:
    """Whether it is a folder, and where it is."""
    path = Path(out or ".")
    ends_as_one = out is not None and out.endswith((os.sep, "/"))
    return several or ends_as_one or path.is_dir(), path


async def _download(files: list[Media], path: Path, *, into: bool, local: bool) -> Exit:
    async with Fetcher(local=local) as fetcher:

        async def download(number: int, tell: Callable[[int, int | None], None]) -> bytes:
            file = files[number]

            def place(served_as: str | None) -> Path:
                return path / name_for(file, served_as)

            fetched = await fetcher.downloader(tell).save(file.url, place if into else path)
            return os.fsencode(fetched.path)

        return await transfer([_called(file) for file in files], download, done="saved")


def _called(file: Media) -> str:
    """For messages: not the whole URL, which may hold a secret."""
    return file.name or urlsplit(file.url).hostname or "a data: URI"
