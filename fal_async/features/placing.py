"""Files inside an input: found, put into fal's storage, and replaced by where they are.

Whatever holds them - a mapping, a list, an instance of an attrs class or a dataclass - a copy of it goes on.
A string is never taken for a path.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from base64 import b64encode
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, TypeVar

import attrs

from fal_async.errors import FalError, InputError
from fal_async.features.given import Stream, as_given
from fal_async.features.sources import Source
from fal_async.features.spotting import (
    PLAIN,
    check_inline,
    has_files,
    is_file,
    is_picture,
    parts_by_name,
)
from fal_async.features.uploading import Uploader
from fal_async.protocol.media_types import type_of_name
from fal_async.protocol.signatures import type_of_content
from fal_async.types import File, LocalFile

__all__ = ["Placing", "has_files"]

_HEAD: Final = 64

K = TypeVar("K")
V = TypeVar("V")


@attrs.define(eq=False)
class _Found:
    """A file of an input: what is known of it before it goes anywhere."""

    data: Any = attrs.field(repr=False)
    content_type: str
    file_name: str | None
    digest: str
    content: bytes | None = attrs.field(repr=False)
    """If it is small enough to go along."""


class Placing:
    """Puts the files of inputs into fal's storage; the same bytes once a session.

    :param uploader: the session's.
    :param remembered: files that are known again, the last ones: a session may see millions.
    """

    def __init__(self, uploader: Uploader, *, remembered: int = 10_000) -> None:
        self._uploader = uploader
        self._remembered = remembered
        self._placed: dict[tuple[str, ...], File] = {}
        self._under_way: dict[tuple[str, ...], asyncio.Future[None]] = {}
        self._digests: dict[Hashable, tuple[str, bytes]] = {}

    async def placed(self, value: Any, *, inline_below: int = 0, key: str | None = None) -> Any:
        """The input, with the URL of each file in its place. They go up at the same time.

        :param inline_below: files smaller than this go along by value, as ``data:`` URIs.
        :raises InputError: for a file that is not there, or cannot be read.
        :raises UploadError: if one cannot be stored.
        """
        check_inline(inline_below)
        files = _files_of(value)
        tasks = [asyncio.ensure_future(self._place(file, inline_below, key)) for file in files]
        try:
            places = await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        urls = {id(file): place for file, place in zip(files, places, strict=True)}
        return _replaced(value, lambda file: urls[id(file)])

    async def fingerprint(self, value: Any) -> Any:
        """The input, with a digest of each file in its place: the same for the same bytes."""
        files = _files_of(value)
        marks = {}
        for file in files:
            found = await self._look(file, 0)
            marks[id(file)] = f"sha256:{found.digest};{found.content_type}"
        return _replaced(value, lambda file: marks[id(file)])

    async def _place(self, file: Any, inline_below: int, key: str | None) -> str | File:
        found = await self._look(file, inline_below)
        if found.content is not None:
            return f"data:{found.content_type};base64,{b64encode(found.content).decode('ascii')}"
        place = (found.digest, found.content_type, found.file_name or "", key or "")
        while True:
            known = self._placed.get(place)
            if known is not None:
                self._remember(self._placed, place, known)
                return known
            others = self._under_way.get(place)
            if others is None:
                return await self._upload(place, found, key)
            await asyncio.wait([others])  # another call uploads it; if that fails, this one tries

    async def _upload(self, place: tuple[str, ...], found: _Found, key: str | None) -> File:
        self._under_way[place] = others = asyncio.get_running_loop().create_future()
        try:
            file = await self._uploader.upload(
                found.data, content_type=found.content_type, file_name=found.file_name, key=key
            )
            self._remember(self._placed, place, file)
        finally:
            del self._under_way[place]
            others.cancel()
        return file

    def _remember(self, memory: dict[K, V], key: K, value: V) -> None:
        """Keep it as the last one, and forget the first if there are too many."""
        memory.pop(key, None)
        memory[key] = value
        if len(memory) > self._remembered:
            del memory[next(iter(memory))]

    async def _look(self, file: Any, inline_below: int) -> _Found:
        wanted = file if isinstance(file, LocalFile) else LocalFile(file)
        given = await as_given(wanted.data, wanted.content_type, wanted.file_name)
        source = given.content
        if isinstance(source, Stream):
            raise InputError(
                "a file of an input is a Path, bytes or a picture: a stream comes only once"
            )
        name = wanted.file_name or given.name
        data, content = wanted.data, None
        async with source:
            digest, head = await self._digest(source)
            if source.size < inline_below:
                content = await _whole(source)
            elif is_picture(data):  # not to be encoded once more
                data = await _whole(source)
        kind = (
            wanted.content_type
            or given.content_type
            or type_of_name(name or "")
            or type_of_content(head)
            or "application/octet-stream"
        )
        return _Found(data, kind, name, digest, content)

    async def _digest(self, source: Source) -> tuple[str, bytes]:
        """What it holds, found out once for a file that stays as it is."""
        identity = source.identity
        known = None if identity is None else self._digests.get(identity)
        if known is None:
            known = await _digest(source)
        if identity is not None:
            self._remember(self._digests, identity, known)
        return known


# --- looking --------------------------------------------------------------------------------------------


async def _whole(source: Source) -> bytes:
    return b"".join([bytes(piece) async for piece in source.chunks(0, source.size)])


async def _digest(source: Source) -> tuple[str, bytes]:
    whole = hashlib.sha256()
    head = b""
    async for piece in source.chunks(0, source.size):
        head = head or bytes(piece[:_HEAD])
        if len(piece) > 65_536:
            await asyncio.to_thread(whole.update, piece)
        else:
            whole.update(piece)
    return whole.hexdigest(), head


def _files_of(value: Any) -> list[Any]:
    """All files in it, each once."""
    found: dict[int, Any] = {}

    def look(part: Any) -> None:
        if type(part) in PLAIN:
            return
        if is_file(part):
            found[id(part)] = part
            return
        for _, item in parts_by_name(part):
            look(item)

    try:
        look(value)
    except RecursionError:
        raise InputError("the input is nested too deeply, or holds itself") from None
    return list(found.values())


def _replaced(value: Any, by: Callable[[Any], Any]) -> Any:
    """A copy of it, as far as there are files in it; everything else is the same object."""
    if type(value) in PLAIN or not has_files(value):
        return value
    if is_file(value):
        return by(value)
    fields = {name: _replaced(item, by) for name, item in parts_by_name(value)}
    if isinstance(value, Mapping):
        return fields
    if isinstance(value, (list, tuple)):
        return list(fields.values())
    try:
        if attrs.has(type(value)):
            return attrs.evolve(value, **fields)
        return dataclasses.replace(value, **fields)
    except FalError:
        raise
    except Exception as error:  # the class's own validators and converters
        raise InputError(
            f"a {type(value).__name__} does not take a URL in place of its file: {type(error).__name__}"
        ) from error
