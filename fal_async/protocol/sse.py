"""Server-sent events: bytes as they come, to events, and back (WHATWG HTML, 9.2).

A line ends at CR, LF or CRLF and nothing else; a CRLF may be cut between two chunks. Pure: knows nothing of
what the events say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from fal_async.errors import InputError

__all__ = ["Event", "EventParser", "encode_comment", "encode_event"]

_BOM: Final = b"\xef\xbb\xbf"


# No attrs class: hundreds of thousands are made in a second, and this is done in a sixth of the time.
class Event(msgspec.Struct, frozen=True, gc=False):
    """One event. ``data`` is its payload, lines joined by LF; ``event`` its name, empty for none."""

    data: bytes
    event: str = ""
    id: str = ""

    def __repr__(self) -> str:
        return f"Event(event={self.event!r}, id={self.id!r})"  # the payload is for no log


class EventParser:
    """Turns chunks of a stream, cut anywhere, into events.

    :param limit: largest event in bytes, so that a stream without an end fills no memory.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []  # of a line whose end is not here yet
        self._waiting = 0  # bytes in them
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
        events: list[Event] = []
        self.feed_into(events.append, chunk)
        return events

    def feed_into(self, take: Callable[[Event], object], chunk: bytes) -> None:
        """Hand over the events that this chunk completes, those before one beyond the limit, too.

        :raises ValueError: for an event beyond the limit.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")  # the second half of a CRLF that was cut
        if self._begun and b"\n" not in chunk and b"\r" not in chunk:
            self._keep(chunk)
            return
        buffer = self._with_what_waits(chunk)
        if not self._begun:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                self._keep(buffer)
                return
            self._begun = True
            buffer = buffer.removeprefix(_BOM)
        if b"\r" in buffer:
            self._after_cr = buffer.endswith(b"\r")
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._read(take, buffer)

    def _read(self, take: Callable[[Event], object], buffer: bytes) -> None:
        start = 0
        while self._data or self._name:  # an event has begun in an earlier chunk
            end = buffer.find(b"\n", start)
            if end < 0:
                self._keep(buffer[start:])
                return
            self._line(take, buffer[start:end])
            start = end + 1
        blocks = (buffer[start:] if start else buffer).split(b"\n\n")
        rest = blocks.pop()
        small = len(buffer) <= self._limit
        for block in blocks:
            # Nearly every event is one line, and nothing else.
            if small and block.startswith(b"data: ") and b"\n" not in block:
                take(Event(block[6:], "", self._id))
            else:
                for line in block.split(b"\n"):
                    self._line(take, line)
                self._line(take, b"")
        if b"\n" in rest:
            *lines, rest = rest.split(b"\n")
            for line in lines:
                self._line(take, line)
        self._keep(rest)

    def end(self) -> Event | None:
        """The event that stands at the end of the stream without a blank line after it, if one does.

        The standard drops it, as it may be half an event. Whether it is, its payload tells.
        """
        found: list[Event] = []
        self._read(found.append, self._with_what_waits(b"\n\n"))
        return found[0] if found else None

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._waiting += len(piece)
            self._check(self._size + self._waiting)

    def _with_what_waits(self, chunk: bytes) -> bytes:
        if not self._pieces:
            return chunk
        whole = b"".join((*self._pieces, chunk))
        self._pieces, self._waiting = [], 0
        return whole

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise ValueError(f"an event is larger than {self._limit} bytes")

    def _line(self, take: Callable[[Event], object], line: bytes) -> None:
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._size += len(value)
            self._check(self._size)
        elif line:
            self._field(line)
        elif self._data:
            take(self._finish())
        else:
            self._name = b""

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
