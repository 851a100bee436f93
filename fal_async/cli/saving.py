"""Saving the files of an output, for the command line: each under a name of its own in one folder."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from fal_async.cli.fetching import Fetcher
from fal_async.cli.naming import safe_stem
from fal_async.errors import FalError
from fal_async.protocol.media import Media
from fal_async.protocol.media_types import extension_of
from fal_async.transport.base import Clock

__all__ = ["Saved", "Saver", "SavingError"]


class SavingError(Exception):
    """A file that could not be saved; the text says which and why, and holds no URL."""


@attrs.frozen(kw_only=True)
class Saved:
    """A file on disk: where it stood in the output, where it is, how large."""

    place: str
    path: Path
    size: int


class Saver:
    """Saves into one folder, which must exist. Use it as ``async with``.

    :param local: whether files may be fetched from this machine, as from an emulator's CDN.
    """

    def __init__(self, folder: Path, *, local: bool, clock: Clock | None = None) -> None:
        self._folder = folder
        self._fetcher = Fetcher(local=local, clock=clock)
        self._downloader = self._fetcher.downloader()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._fetcher.close()

    async def save(self, media: Media, stem: str | None = None) -> Saved:
        """Save one file, under its own name or ``stem``; numbered where that is taken.

        :raises SavingError: if it cannot be had or written; nothing of it is left behind.
        """

        def place(served_as: str | None) -> Path:
            ending = extension_of(media.name, media.content_type, served_as)
            return self._folder / f"{stem or _stem(media)}.{ending}"

        try:
            saved = await self._downloader.save(media.url, place)
        except FalError as error:
            raise SavingError(f"{media.path}: {error.what}") from error
        return Saved(place=media.path, path=saved.path, size=saved.size)


def _stem(media: Media) -> str:
    return safe_stem(media.name, safe_stem(media.path.replace("[", "-").replace("]", ""), "file"))
