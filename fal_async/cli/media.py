"""Which files an output speaks of, and what to call them on disk. Pure.

Names come from strangers: they are taken apart here, and only what no file system minds is left of them.
"""

from __future__ import annotations

import mimetypes
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import attrs

__all__ = ["Media", "decode_data_uri", "extension_of", "find_media", "safe_stem"]

_STEM_MAX: Final = 80
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_EXTENSION: Final = re.compile(r"\.[a-z0-9]{1,8}")
#: Names that Windows keeps for devices, whatever the extension.
_DEVICES: Final = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
_BINARY: Final = "application/octet-stream"
#: Where the machine's own tables differ, or know nothing.
_EXTENSIONS: Final = {
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "model/gltf-binary": ".glb",
    "text/plain": ".txt",
    "video/mp4": ".mp4",
}


@attrs.frozen(kw_only=True)
class Media:
    """One file of an output. ``place`` is where in it the file stands: ``images[0]``."""

    place: str
    url: str = attrs.field(repr=False)  # a data: URI is the file itself
    content_type: str = ""
    file_name: str = ""

    @property
    def name(self) -> str:
        """What it is called by whoever made it; not to be trusted, may be empty."""
        if self.file_name or self.url.startswith("data:"):
            return self.file_name
        return unquote(PurePosixPath(urlsplit(self.url).path).name)


def find_media(output: Any) -> list[Media]:
    """Every file in an output, each URL once, in order.

    That is: objects with a ``url``, as fal's file types have it, and texts that are nothing but a ``data:``
    URI or the URL of a picture, film, sound or 3-D model.
    """
    found: dict[str, Media] = {}
    for media in _walk(output, ""):
        found.setdefault(media.url, media)
    return list(found.values())


def _walk(value: Any, place: str) -> Iterator[Media]:
    if isinstance(value, dict):
        url = value.get("url")
        if isinstance(url, str) and _is_url(url):
            yield Media(
                place=place or "url",
                url=url,
                content_type=_text(value.get("content_type")),
                file_name=_text(value.get("file_name")),
            )
        for name, item in value.items():
            if name != "url":
                yield from _walk(item, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{place}[{index}]")
    elif isinstance(value, str) and _is_media_url(value):
        yield Media(place=place or "output", url=value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://", "data:"))


def _is_media_url(text: str) -> bool:
    if text.startswith("data:"):
        return "," in text and not any(c.isspace() for c in text[:256])
    if not _is_url(text) or any(c.isspace() for c in text):
        return False
    try:
        kind = mimetypes.guess_type(urlsplit(text).path)[0]
    except ValueError:  # an unclosed bracket
        return False
    return (kind or "").startswith(("audio/", "image/", "model/", "video/"))


def decode_data_uri(url: str) -> tuple[bytes, str]:
    """Content and media type of a ``data:`` URI (RFC 2397).

    :raises ValueError: if it is none.
    """
    head, comma, data = url.removeprefix("data:").partition(",")
    if not comma:
        raise ValueError("a data: URI without a comma")
    kind, *parameters = (part.strip() for part in head.split(";"))
    if "base64" not in (parameter.lower() for parameter in parameters):
        return unquote_to_bytes(data), kind
    try:
        return b64decode(unquote_to_bytes(data), validate=True), kind
    except Base64Error:
        raise ValueError("a data: URI whose base64 is damaged") from None


def safe_stem(name: str, fallback: str) -> str:
    """A file's name without its extension that is safe in any folder of any system.

    ``../../etc/passwd`` becomes ``passwd``; what is left empty becomes ``fallback``.
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    stem = _UNSAFE.sub("-", last.removesuffix(_suffix(last)))[:_STEM_MAX].strip(".-_")
    if not stem:
        return fallback
    return f"_{stem}" if _DEVICES.fullmatch(stem) else stem


def extension_of(name: str, content_type: str) -> str:
    """``.png``: what the name ends with, else what the media type is usually called; may be empty."""
    own = _suffix(name).lower()
    if _EXTENSION.fullmatch(own) and mimetypes.guess_type(f"x{own}")[0]:
        return own
    kind = content_type.partition(";")[0].strip().lower()
    if not kind or kind == _BINARY:
        return ".bin"
    return _EXTENSIONS.get(kind) or mimetypes.guess_extension(kind) or ".bin"


def _suffix(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).suffix
