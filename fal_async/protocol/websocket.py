"""HTTP over WebSockets: the frames that answer a payload, read and built (PROTOCOL 9).

Pure: frames in, parts of answers out, and back. Which payload an answer belongs to is not known here: they
come strictly in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from fal_async.protocol import codec, wire
from fal_async.protocol.messages import Headers

__all__ = ["AnswerReader", "End", "Part", "Piece", "Start", "Stray", "build_end", "build_start"]

#: A meta message is small; a longer frame is not even looked into.
_META_MAX: Final = 64 * 1024


@attrs.frozen
class Start:
    """An answer begins."""

    request_id: str
    status: int
    headers: Headers = attrs.field(factory=Headers)


@attrs.frozen
class Piece:
    """A piece of its body."""

    data: bytes = attrs.field(repr=False)


@attrs.frozen
class End:
    """An answer is complete. ``status`` may be another than it began with, if it failed on the way."""

    request_id: str
    status: int
    time_to_first_byte: float | None = None


@attrs.frozen
class Stray:
    """A frame between answers that begins none. It means nothing that is known of, but it may explain."""

    data: bytes = attrs.field(repr=False)


Part = Start | Piece | End | Stray


class AnswerReader:
    """Tells meta messages from bodies: fed frame by frame, it gives one part for each.

    Between answers a text frame that says ``start`` begins one, and one that says ``end`` with a failure is
    one: taken for nothing, it would leave its payload the answer to the next. Within an answer only an
    ``end`` of the same request ends it: a body may hold both keys of a meta message, and be of many frames.
    """

    def __init__(self) -> None:
        self._open: Start | None = None
        self._ended = ""

    @property
    def within(self) -> bool:
        """Whether an answer has begun and not ended."""
        return self._open is not None

    def feed(self, frame: str | bytes) -> Part:
        """What the frame is. Never fails: what is not understood is part of the body, or a :class:`Stray`."""
        data = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame
        meta = _meta(data) if isinstance(frame, str) else None
        opened = self._open
        if opened is None:
            if meta is not None and self._is_failure(meta):
                return self._end(meta, 0)
            if meta is None or meta["type"] != wire.META_START:
                return Stray(data)
            self._open = Start(
                meta["request_id"], _status(meta, 200), _headers(meta.get("headers"))
            )
            return self._open
        if meta is None or meta["type"] != wire.META_END or meta["request_id"] != opened.request_id:
            return Piece(data)
        return self._end(meta, opened.status)

    def _is_failure(self, meta: Mapping[str, Any]) -> bool:
        """Of an answer that never began; not the end of the last one, said twice."""
        known = meta["type"] != wire.META_END or meta["request_id"] == self._ended
        return not known and _status(meta, 0) >= 400

    def _end(self, meta: Mapping[str, Any], status: int) -> End:
        self._open, self._ended = None, meta["request_id"]
        waited = meta.get("time_to_first_byte_seconds")
        is_number = isinstance(waited, (int, float)) and not isinstance(waited, bool)
        return End(
            self._ended,
            _status(meta, status),
            float(waited) if is_number and waited is not None else None,
        )


def _meta(data: bytes) -> dict[str, Any] | None:
    """The content of a meta message: an object with a type and a request id, both of them strings."""
    if len(data) > _META_MAX or data.lstrip()[:1] != b"{" or b"request_id" not in data:
        return None
    try:
        content: dict[str, Any] = codec.decode_json(data)
    except codec.Undecodable:
        return None
    named = isinstance(content.get("type"), str) and isinstance(content.get("request_id"), str)
    return content if named else None


def _status(meta: Mapping[str, Any], otherwise: int) -> int:
    status = meta.get("status")
    return status if type(status) is int and 100 <= status <= 999 else otherwise


def _headers(content: object) -> Headers:
    """Header values come as strings or as lists of them."""
    if not isinstance(content, dict):
        return Headers()
    return Headers(
        {
            name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            for name, value in content.items()
            if value is not None
        }
    )


# --- the other end --------------------------------------------------------------------------------------


def build_start(start: Start) -> str:
    """The frame that begins an answer."""
    return _frame(
        {
            "type": wire.META_START,
            "request_id": start.request_id,
            "status": start.status,
            "headers": dict(start.headers),
        }
    )


def build_end(end: End) -> str:
    """The frame that ends an answer."""
    content: dict[str, object] = {
        "type": wire.META_END,
        "request_id": end.request_id,
        "status": end.status,
    }
    if end.time_to_first_byte is not None:
        content["time_to_first_byte_seconds"] = end.time_to_first_byte
    return _frame(content)


def _frame(content: Mapping[str, object]) -> str:
    return msgspec.json.encode(content).decode()
