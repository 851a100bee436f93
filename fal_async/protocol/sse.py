"""Server-sent events: bytes as they come, to events, and back (WHATWG HTML, 9.2).

A line ends at CR, LF or CRLF and nothing else; a CRLF may be cut between two chunks. Pure: knows nothing of
what the events say.
"""

from __future__ import annotations

from typing import Final

import attrs

from fal_async.errors import InputError

__all__ = ["Event", "EventParser", "encode_comment", "encode_event"]

_BOM: Final = b"\xef\xbb\xbf"


@attrs.frozen
class Event:
    """One event. ``data`` is its payload, lines joined by LF; ``event`` its name, empty for none."""

    data: bytes = attrs.field(repr=False)
    event: str = ""
    id: str = ""


class EventParser:
    """Turns chunks of a stream, cut anywhere, into events.

    :param limit: largest event in bytes, so that a stream without an end fills no memory.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._limit = limit
        self._rest = b""
        self._begun = False
        self._after_cr = False
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""
        self._id = ""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completes.

        :raises ValueError: for an event beyond the limit.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")  # the second half of a CRLF that was cut
        buffer = self._rest + chunk if self._rest else chunk
        if not self._begun:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                self._rest = buffer
                return []
            self._begun = True
            buffer = buffer.removeprefix(_BOM)
        if b"\r" in buffer:
            self._after_cr = buffer.endswith(b"\r")
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = buffer.split(b"\n")
        if self._size + len(self._rest) > self._limit:
            raise ValueError(f"an event is larger than {self._limit} bytes")
        events: list[Event] = []
        for line in lines:
            if line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(value)
                self._size += len(value)
                if self._size > self._limit:
                    raise ValueError(f"an event is larger than {self._limit} bytes")
            elif line:
                self._field(line)
            elif self._data:
                events.append(self._finish())
            else:
                self._name = b""
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":  # without a colon
            self._data.append(value)
        elif name == b"event":
            self._name = value
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        # Comments have an empty name; unknown fields are to be ignored; `retry` is for browsers.

    def _finish(self) -> Event:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        event = Event(data, self._name.decode("utf-8", "replace") if self._name else "", self._id)
        self._data, self._size, self._name = [], 0, b""
        return event


def encode_event(data: str | bytes, *, event: str = "", id: str = "") -> bytes:
    """One event as it goes over the wire: a ``data:`` line for each of its lines.

    :raises InputError: for a name or id with a line break in it.
    """
    if any(c in text for text in (event, id) for c in "\r\n"):
        raise InputError("an event's name and id are one line each")
    raw = data.encode() if isinstance(data, str) else data
    head = f"event: {event}\n" if event else ""
    head += f"id: {id}\n" if id else ""
    lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return head.encode() + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"


def encode_comment(text: str) -> bytes:
    """A comment, which keeps the connection alive (PROTOCOL 6.3: every 15 s)."""
    return f": {text}\n\n".encode()
