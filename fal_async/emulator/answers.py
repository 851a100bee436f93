"""What a model may hand back besides plain JSON values: files it made, and answers of its own form.

Pure values; where files are kept and how answers travel is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

__all__ = ["Answer", "MadeFile", "StreamEvent"]


class MadeFile:
    """A file that a model made. Put it into the output where its object shall stand.

    The caller sees ``{"url": …, "content_type": …, **fields}``, the url on the CDN, or with ``inline``
    the whole content as a data URI (PROTOCOL 11, 16).

    :param content: the bytes, or a function that makes them: called when they are first fetched, off the
        event loop, and each time the same. So a million images cost nothing until somebody looks.
    :param extension: of the name, without its dot.
    :param fields: further fields of the object, such as ``width`` and ``height``.
    :param bare: whether the url alone stands there, without an object around it.
    """

    # No attrs class: msgspec would write it out by itself.
    __slots__ = ("bare", "content", "content_type", "extension", "fields", "inline")

    def __init__(
        self,
        content: bytes | Callable[[], bytes],
        content_type: str,
        extension: str,
        *,
        fields: Mapping[str, object] | None = None,
        inline: bool = False,
        bare: bool = False,
    ) -> None:
        self.content = content
        self.content_type = content_type
        self.extension = extension
        self.fields = dict(fields or {})
        self.inline = inline
        self.bare = bare


@attrs.frozen(kw_only=True)
class Answer:
    """An answer in a form of the model's own: any bytes, any content type, any status (PROTOCOL 3)."""

    body: bytes = attrs.field(default=b"", repr=False)
    content_type: str = "application/octet-stream"
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class StreamEvent:
    """An event of a model that streams, where its payload alone does not say all.

    :param name: its ``event:`` on the wire; empty for none.
    :param id: its ``id:``.
    """

    data: Any = attrs.field(repr=False)
    name: str = attrs.field(default="", kw_only=True)
    id: str = attrs.field(default="", kw_only=True)
