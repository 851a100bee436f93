"""Which files an output speaks of (PROTOCOL 16), found by shape: each model's output differs. Pure.

Nothing is fetched here, and no name is made of what is found: names come from strangers.
"""

from __future__ import annotations

import binascii
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import attrs

from fal_async.protocol.media_types import is_media_name

__all__ = ["Media", "decode_data_uri", "find_media"]

#: What a file object may have beside its URL.
_FILE_FIELDS: Final = frozenset(
    (
        "content_type",
        "file_name",
        "file_size",
        "width",
        "height",
        "fps",
        "duration",
        "num_frames",
    )
)
#: Names under which a text, or each of a list, is the URL of a file.
_URL_NAME: Final = re.compile(
    r"(?:.*_)?(?:image|video|audio|file|mask|mesh|thumbnail)_urls?", re.IGNORECASE
)
_FILES_HOST: Final = re.compile(r"(?:.+\.)?fal\.media")


@attrs.frozen(kw_only=True)
class Media:
    """A file of an output.

    :ivar path: where in the output it stands: ``images[0]``.
    :ivar url: where it lies, or the file itself as a ``data:`` URI.
    :ivar content_type: its media type, as the model says.
    :ivar file_name: its name, as the model says; not to be trusted.
    :ivar file_size: its size in bytes, as the model says.
    :ivar width: in pixels.
    :ivar height: in pixels.
    :ivar duration: in seconds.
    """

    path: str
    url: str = attrs.field(repr=False)  # a data: URI is the file itself
    content_type: str | None = None
    file_name: str | None = None
    file_size: int | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None

    @property
    def name(self) -> str:
        """What it is called by whoever made it; not to be trusted, may be empty."""
        if self.file_name or _is_inline(self.url):
            return self.file_name or ""
        return unquote(_path_of(self.url).rpartition("/")[2])


def find_media(output: object) -> list[Media]:
    """Every file in an output, each URL once, in the order of the document.

    These are files:

    * an object with an http, https or ``data:`` text ``url``, if it has other fields of a file as well, or
      none at all, or a URL that is one of a file: what an LLM cites has a ``url`` too, and is no file;
    * a text that is nothing but a ``data:`` URI, or the URL of a picture, film, sound or 3-D model;
    * a URL under a name such as ``audio_url`` or ``image_urls``, whatever it ends with.

    :param output: decoded JSON, or what ``result_type`` made of it (attrs, dataclasses).
    """
    found: dict[str, Media] = {}
    # A stack of our own: how deep an output is nested is the model's choice.
    rest: list[tuple[str, object, bool]] = [("", output, False)]
    while rest:
        path, value, named = rest.pop()
        fields = _fields(value)
        if fields is not None:
            media = _file(path, fields)
            if media is not None:
                found.setdefault(media.url, media)
            rest.extend(reversed(list(_inside(path, fields, skip_url=media is not None))))
        elif isinstance(value, list | tuple):
            items = [(f"{path}[{index}]", item, named) for index, item in enumerate(value)]
            rest.extend(reversed(items))
        elif isinstance(value, str) and (_is_media_url(value) or (named and _is_url(value))):
            found.setdefault(value, Media(path=path or "output", url=value))
    return list(found.values())


def _inside(
    path: str, fields: Mapping[Any, Any], *, skip_url: bool
) -> Iterator[tuple[str, object, bool]]:
    for name, value in fields.items():
        if not (skip_url and name == "url"):
            text = str(name)
            yield f"{path}.{text}" if path else text, value, bool(_URL_NAME.fullmatch(text))


def _fields(value: object) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    kind = type(value)
    if attrs.has(kind):
        return {field.name: getattr(value, field.name) for field in attrs.fields(kind)}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _file(path: str, fields: Mapping[Any, Any]) -> Media | None:
    url = fields.get("url")
    if not isinstance(url, str) or not _is_url(url):
        return None
    if not (len(fields) == 1 or _FILE_FIELDS & fields.keys() or _is_file_url(url)):
        return None
    return Media(
        path=path or "url",
        url=url,
        content_type=_text(fields.get("content_type")),
        file_name=_text(fields.get("file_name")),
        file_size=_whole(fields.get("file_size")),
        width=_whole(fields.get("width")),
        height=_whole(fields.get("height")),
        duration=_number(fields.get("duration")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None or number != int(number) else int(number)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        return None
    return value


def _is_inline(text: str) -> bool:
    return text[:5].lower() == "data:"


def _is_url(text: str) -> bool:
    if _is_inline(text):
        return "," in text and not _has_space(text[:256])
    return text[:8].lower().startswith(("https://", "http://")) and not _has_space(text)


def _has_space(text: str) -> bool:
    return any(c.isspace() for c in text)


def _is_file_url(url: str) -> bool:
    if _is_media_url(url):
        return True
    try:
        return bool(_FILES_HOST.fullmatch(urlsplit(url).hostname or ""))
    except ValueError:  # an unclosed bracket
        return False


def _is_media_url(text: str) -> bool:
    return _is_url(text) and (_is_inline(text) or is_media_name(_path_of(text)))


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def decode_data_uri(url: str) -> tuple[bytes, str]:
    """Content and media type of a ``data:`` URI (RFC 2397).

    :raises ValueError: if it is none.
    """
    head, comma, data = url[5:].partition(",")
    if not comma or not _is_inline(url):
        raise ValueError("not a data: URI: it has no comma")
    kind, *parameters = (part.strip() for part in head.split(";"))
    if "base64" not in (parameter.lower() for parameter in parameters):
        return unquote_to_bytes(data), kind
    try:
        return binascii.a2b_base64(unquote_to_bytes(data), strict_mode=True), kind
    except binascii.Error:
        raise ValueError("a data: URI whose base64 is damaged") from None
