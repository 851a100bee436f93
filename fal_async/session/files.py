"""Files: up to fal's storage, and down from wherever they lie."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar, overload

from fal_async.errors import InputError
from fal_async.features.progress import OnProgress
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.file_names import name_for
from fal_async.protocol.lifecycle import Expire, InitialAcl
from fal_async.protocol.media import Media, find_media
from fal_async.session.parts import Parts
from fal_async.transport.base import Call
from fal_async.types import File

if TYPE_CHECKING:
    from fal_async.features.downloading import Downloaded
    from fal_async.features.given import Uploadable

__all__ = ["Files"]

T = TypeVar("T")

#: Files of one output that are fetched at once.
_AT_ONCE: Final = 16
_READ_MAX: Final = 256 * 1024 * 1024


class Files(Parts):
    """Files up and down."""

    async def upload(
        self,
        data: Uploadable,
        *,
        content_type: str | None = None,
        file_name: str | None = None,
        expire: Expire | None = None,
        acl: InitialAcl | None = None,
        on_progress: OnProgress | None = None,
        key: str | None = None,
    ) -> File:
        """Put a file into fal's storage; it costs nothing (PROTOCOL 11).

        Large files go up in parts, ten at a time. Whatever may pass is tried again, each part by itself;
        uploading a file on disk again after a failure sends only the parts that are missing, as long as this
        object lives and the file is the same.

        :param data: a ``Path``; bytes, which must not be changed meanwhile; an open binary file, from where
            it stands to its end; an async iterator of bytes; or a Pillow image, which becomes a PNG unless
            ``content_type`` or ``file_name`` says otherwise. Never a string.
        :param content_type: its media type; None: as its name says, else its first bytes, else
            ``application/octet-stream``.
        :param file_name: what it is called there; None: as it is called here.
        :param expire: how long it shall live, as for :meth:`run`.
        :param acl: who may read it; None: as the account's settings say, which is everybody, if they were
            never changed.
        :param on_progress: a plain or async function that gets the bytes sent so far, and how many there are
            in all or None. What it raises ends the upload.
        :param key: the key for this upload alone.
        :returns: the file, which may stand in the input of a call wherever a URL belongs.
        :raises InputError: (a ValueError) for what cannot be uploaded: no such file, a folder.
        :raises UploadError: if it cannot be stored, or changes while it is read.
        :raises AuthenticationError: for a key that fal does not know.
        """
        return await self._uploader.upload(
            data,
            content_type=content_type,
            file_name=file_name,
            expire=expire,
            acl=acl,
            on_progress=on_progress,
            key=key,
        )

    @overload
    async def download(self, file: object, to: BinaryIO) -> int: ...

    @overload
    async def download(  # type: ignore[overload-overlap]  # one file of all that may be fetched
        self, file: str | File, to: str | os.PathLike[str]
    ) -> Downloaded: ...

    @overload
    async def download(  # type: ignore[overload-overlap]  # as above, if it has a url
        self, file: Mapping[str, Any], to: str | os.PathLike[str]
    ) -> Downloaded | list[Downloaded]: ...

    @overload
    async def download(self, file: object, to: str | os.PathLike[str]) -> list[Downloaded]: ...

    async def download(self, file: object, to: Any) -> Downloaded | list[Downloaded] | int:
        """Fetch a file, or every file of an output; streamed, resumed after a break, never with the key.

        One file is a URL, a :class:`File`, or anything with a ``url``, such as ``output["images"][0]``: it
        goes to the path ``to``, or into it if that is a folder or ends with a slash. Of anything else, such
        as a whole output, every file is fetched, into the folder ``to``, which is made if need be.

        A file appears whole or not at all, and never over one that is there: ``cat (2).png``.

        :param file: what to fetch; ``data:`` URIs are decoded.
        :param to: a path; or, for one file, an open binary file.
        :returns: a :class:`Downloaded` for one file, a list of them for an output; into an open file, how
            many bytes were written.
        :raises InputError: if there is no file in it.
        :raises DownloadError: if one cannot be had (403: not everybody may read it; 404: hidden, expired or
            never there) or not be written.
        """
        media = _one(file)
        if callable(getattr(to, "write", None)):
            if media is None:
                raise InputError("into an open file goes one file: give its URL")
            return await self._inside(self._downloader.write(media.url, to))
        if not isinstance(to, str | os.PathLike):
            raise InputError(f"to is a path or an open binary file, not {type(to).__name__}")
        if media is None:
            return await self._inside(self._download_all(_all(file), Path(to)))
        is_folder = os.fspath(to).endswith((os.sep, "/")) or await asyncio.to_thread(
            Path(to).is_dir
        )
        return await self._inside(self._download(media, Path(to), into=is_folder))

    async def read(
        self, file: str | File | Mapping[str, Any], *, max_bytes: int = _READ_MAX
    ) -> bytes:
        """The content of a file; never with the key.

        :param file: a URL, a :class:`File`, or anything with a ``url``.
        :param max_bytes: beyond which it is an error.
        :raises DownloadError: as for :meth:`download`.
        """
        media = _one(file)
        if media is None:
            raise InputError("read takes one file: a URL, a File, or anything with a url")
        return await self._inside(self._downloader.read(media.url, most=max_bytes))

    async def _download_all(self, found: list[Media], folder: Path) -> list[Downloaded]:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(media: Media) -> Downloaded:
            async with slots:
                return await self._download(media, folder, into=True)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(media)) for media in found]
        except ExceptionGroup as failed:
            failure = failed.exceptions[0]
        else:
            return [task.result() for task in tasks]
        raise failure

    async def _download(self, media: Media, to: Path, *, into: bool) -> Downloaded:
        def place(served_as: str | None) -> Path:
            return to / name_for(media, served_as)

        return await self._downloader.save(media.url, place if into else to, make_folder=True)

    async def _inside(self, work: Coroutine[Any, Any, T]) -> T:
        return await self._stack.free.inside(Call(RetryPolicy.never(), free=True), work)


def _one(file: object) -> Media | None:
    """The file that this is, if it is one."""
    if isinstance(file, str):
        return Media(path="file", url=file)
    url = file.get("url") if isinstance(file, Mapping) else getattr(file, "url", None)
    if not isinstance(url, str):
        return None
    known = find_media(file)
    return known[0] if known and known[0].url == url else Media(path="file", url=url)


def _all(output: object) -> list[Media]:
    found = find_media(output)
    if not found:
        raise InputError("there is no file in it to download")
    return found
