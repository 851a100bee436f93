"""Saving the files of a batch's outputs, each under the name that the template gives it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fal_async.batch.naming import Template, parse_template
from fal_async.batch.outcome import SavedFile
from fal_async.errors import FalError, InputError
from fal_async.features.downloading import Downloader
from fal_async.protocol.media import Media, find_media
from fal_async.protocol.media_types import extension_of

__all__ = ["Saver"]


class Saver:
    """Saves what outputs speak of, some files at a time.

    :param template: where to, and under which names: see :func:`parse_template`.
    :param concurrency: how many files are fetched at once, of all items together.
    :raises InputError: for a template that is none, before anything is called.
    """

    def __init__(
        self,
        template: Template | str | os.PathLike[str],
        downloader: Downloader,
        *,
        concurrency: int = 32,
    ) -> None:
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise InputError("the concurrency of saving is a whole number of at least 1")
        self.template = template if isinstance(template, Template) else parse_template(template)
        self._downloader = downloader
        self._slots = asyncio.Semaphore(concurrency)

    async def save(
        self,
        *,
        index: int,
        input: object,
        output: object,
        request_id: str | None = None,
        model: str | None = None,
    ) -> tuple[SavedFile, ...]:
        """Save every file of one output, each once, in the order they stand in it.

        Never over a file that is there: ``cat (2).png``. What cannot be saved has its reason in
        ``SavedFile.error``; nothing but a cancellation is raised, and that leaves no half a file behind.

        :param output: the decoded JSON.
        """

        async def save(n: int, media: Media) -> SavedFile:
            def place(served_as: str | None) -> Path:
                return self.template.path(
                    index=index,
                    n=n,
                    ext=extension_of(media.name, media.content_type, served_as),
                    input=input,
                    output=output,
                    request_id=request_id,
                    model=model,
                    file_name=media.name or None,
                )

            async with self._slots:
                try:
                    saved = await self._downloader.save(media.url, place, make_folder=True)
                except FalError as error:
                    return SavedFile(url=media.url, content_type=media.content_type, error=error)
            return SavedFile(
                url=media.url,
                path=saved.path,
                size=saved.size,
                content_type=media.content_type or saved.content_type,
            )

        found = find_media(output)
        if len(found) < 2:  # mostly: spare it a task
            return tuple([await save(n, media) for n, media in enumerate(found)])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(save(n, media)) for n, media in enumerate(found)]
        return tuple(task.result() for task in tasks)
