"""What a caller may give to be uploaded, and what is made of it: a source of known size, or a stream.

Strings are never taken for paths: a prompt that happens to be the name of a file would be sent away.
"""

from __future__ import annotations

import inspect
import io
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast

import attrs

from fal_async.errors import InputError
from fal_async.features.sources import BLOCK, Held, OnDisk, Source
from fal_async.features.spotting import is_picture
from fal_async.protocol.media_types import type_of_name
from fal_async.transport.files import in_thread

__all__ = ["Given", "Picture", "Stream", "Uploadable", "as_given", "parts_of"]


class Picture(Protocol):
    """A Pillow image; Pillow itself is not imported."""

    def save(self, fp: Any, format: str | None = None) -> None: ...


Uploadable = (
    bytes | bytearray | memoryview | os.PathLike[str] | BinaryIO | AsyncIterable[bytes] | Picture
)
"""What ``AsyncFal.upload`` takes."""

#: How Pillow calls the formats that models take.
_FORMATS: Final = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
}


@attrs.frozen
class Stream:
    """Bytes that come once, in order, as many as there are.

    :ivar pieces: the bytes; closed by whoever takes them.
    """

    pieces: AsyncIterator[bytes | bytearray | memoryview]


@attrs.frozen
class Given:
    """What was given, understood.

    :ivar name: what it is called where it comes from, if it is called anything.
    :ivar content_type: what it is known to be.
    """

    content: Source | Stream
    name: str | None = None
    content_type: str | None = None


async def as_given(data: object, content_type: str | None, file_name: str | None) -> Given:
    """Find out what it is. Nothing is opened yet.

    :param content_type: what a picture shall become.
    :param file_name: if that is not said, what a picture shall become by its ending.
    :raises InputError: if it is nothing that can be uploaded.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return Given(Held(data))
    if isinstance(data, str):
        raise InputError(
            "a str is never taken for a path, nor for content: give Path(...), or bytes with .encode()"
        )
    if isinstance(data, os.PathLike):
        path = data.__fspath__()
        if not isinstance(path, str):
            raise InputError("a path is text, not bytes")
        return Given(OnDisk.at(Path(path)), Path(path).name)
    if is_picture(data):
        kind = content_type or type_of_name(file_name or "") or "image/png"
        return Given(Held(await in_thread(_saved, data, kind)), content_type=kind)
    if callable(getattr(data, "read", None)):
        return await _of_file(data)
    if isinstance(data, AsyncIterable):
        return Given(Stream(aiter(data)))
    raise InputError(
        "upload takes bytes, a Path, a binary file, an async iterator of bytes or a Pillow image, "
        f"not {type(data).__name__}"
    )


# --- pictures -------------------------------------------------------------------------------------------


def _saved(picture: Any, kind: str) -> bytes:
    name = _FORMATS.get(kind.partition(";")[0].strip().lower())
    if name is None:
        raise InputError(f"a Pillow image is uploaded as one of {', '.join(_FORMATS)}")
    file = io.BytesIO()
    try:
        picture.save(file, format=name)
    except (OSError, KeyError, ValueError) as error:
        mode = getattr(picture, "mode", "?")
        raise InputError(
            f"Pillow cannot save the image (mode {mode}) as {name}: convert it, or give a content_type"
        ) from error
    return file.getvalue()


# --- files ----------------------------------------------------------------------------------------------


async def _of_file(file: Any) -> Given:
    name = getattr(file, "name", None)
    known = Path(name).name if isinstance(name, str) and not name.startswith("<") else None
    if isinstance(file, io.TextIOBase):
        raise InputError("the file is open for text: open it with mode 'rb'")
    if getattr(file, "closed", False) is True:
        raise InputError("the file is closed")
    if type(file) is io.BytesIO:
        return Given(Held(memoryview(file.getvalue())[file.tell() :]))
    raw = getattr(file, "file", file)  # of tempfile's wrappers
    if type(raw) in {io.BufferedReader, io.BufferedRandom, io.FileIO} and await in_thread(
        _is_regular, raw
    ):
        return Given(OnDisk(partial(_duplicate, raw), known or "the file"), known)
    return Given(Stream(_read_through(file)), known)


def _is_regular(file: Any) -> bool:
    base = getattr(file, "raw", file)
    return (
        isinstance(base, io.FileIO)
        and base.readable()
        and stat.S_ISREG(os.fstat(base.fileno()).st_mode)
    )


def _duplicate(file: Any) -> tuple[int, int]:
    if file.writable():
        file.flush()
    return os.dup(file.fileno()), file.tell()


async def _read_through(file: Any) -> AsyncGenerator[bytes]:
    is_async = inspect.iscoroutinefunction(file.read)
    while True:
        try:
            block = file.read(BLOCK) if is_async else await in_thread(file.read, BLOCK)
            if inspect.isawaitable(block):
                block = await block
        except UnicodeDecodeError as error:
            raise InputError("the file is open for text: open it with mode 'rb'") from error
        if block is None:
            raise InputError("the file is in non-blocking mode: nothing waits for its bytes")
        if not len(block):
            return
        yield block


# --- streams --------------------------------------------------------------------------------------------


async def parts_of(stream: Stream, size: int) -> AsyncGenerator[bytearray]:
    """The bytes of a stream, ``size`` at a time; the last are fewer.

    :raises InputError: for what is no bytes.
    """
    part = bytearray()
    pieces = stream.pieces
    try:
        async for piece in pieces:
            if not isinstance(piece, bytes | bytearray | memoryview):
                raise InputError(f"the stream gives {type(piece).__name__}, not bytes")
            rest = memoryview(piece).cast("B")
            while len(part) + len(rest) > size:
                room = size - len(part)
                part += rest[:room]
                rest = rest[room:]
                yield part
                part = bytearray()
            part += rest
    finally:
        if hasattr(pieces, "aclose"):
            await cast("AsyncGenerator[bytes]", pieces).aclose()
    if part:
        yield part
