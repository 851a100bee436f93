"""What an event of a stream says: its payload as a value (PROTOCOL 8). Pure."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import cattrs

from fal_async.errors import StructureError
from fal_async.protocol import wire
from fal_async.protocol.codec import Undecodable, content_type_of, decode_json
from fal_async.protocol.misfit import Misfit, name_of
from fal_async.protocol.model import parse_model_id
from fal_async.protocol.sse import Event, EventParser
from fal_async.protocol.structuring import structure
from fal_async.protocol.workflow import parse_workflow_event

__all__ = ["Intake", "event_reader", "stream_id"]


@lru_cache(maxsize=1024)
def stream_id(model: str) -> str:
    """The id under which a model streams: ``/stream`` added, unless its path ends in one.

    :raises InputError: for a model id that is none.
    """
    parsed = parse_model_id(model)
    ends_in_one = parsed.path.rpartition("/")[2] == wire.STREAM
    return str(parsed) if ends_in_one else f"{parsed}/{wire.STREAM}"


def event_reader(
    model: str, result_type: Any, converter: cattrs.BaseConverter | None
) -> Callable[[bytes], Any]:
    """How to read the payloads of a model's events.

    :param result_type: None for plain JSON (bytes, where the payload is none), and for a workflow's known
        events their own classes; ``bytes`` for the raw payload; anything else is given to cattrs.
    """
    if result_type is bytes:
        return _as_it_is
    if result_type is None:
        return _read_workflow_event if parse_model_id(model).namespace else _read_plain
    return lambda data: _read_structured(data, result_type, converter)


def _as_it_is(data: bytes) -> bytes:
    return data


def _read_plain(data: bytes) -> Any:
    try:
        return decode_json(data)
    except Undecodable:  # it never said that it was JSON
        return data


def _read_workflow_event(data: bytes) -> Any:
    return parse_workflow_event(_read_plain(data))


def _read_structured(data: bytes, wanted: Any, converter: cattrs.BaseConverter | None) -> Any:
    value = _read_plain(data)
    try:
        return structure(value, wanted, converter)
    except Misfit as misfit:
        failure = StructureError(f"an event does not fit {name_of(wanted)}: {misfit}")
        failure.value, failure.path, failure.body = value, misfit.path, data
        raise failure from misfit.reason


class Intake:
    """Makes events of the pieces of a body, whatever its type: of another one, each piece is an event.

    :param limit: largest event in bytes.
    :param whole: whether a body that is no stream of events is one event, rather than its pieces.
    :ivar ready: events to be given, in order.
    """

    def __init__(self, headers: Mapping[str, str], limit: int, *, whole: bool) -> None:
        self.ready: deque[Event] = deque()
        self._limit = limit
        packed = headers.get("Content-Encoding", "identity").strip().lower() != "identity"
        self._inflater = zlib.decompressobj(_EITHER) if packed else None
        says_events = content_type_of(headers) == wire.EVENT_STREAM
        self._parser = EventParser(limit) if says_events else None
        self.is_whole = whole and not says_events
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def has_events(self) -> bool:
        """Whether it is a stream of events."""
        return self._parser is not None

    def take(self, piece: bytes) -> None:
        """The next piece.

        :raises Undecodable: if its compression is damaged.
        :raises ValueError: beyond the limit.
        """
        if self._inflater is not None:
            try:
                piece = self._inflater.decompress(piece)
            except zlib.error:
                raise Undecodable("its compression is damaged") from None
        if not piece:
            return
        if self._parser is not None:
            self._parser.feed_into(self.ready.append, piece)
        elif self.is_whole:
            self._pieces.append(piece)
            self._size += len(piece)
            if self._size > self._limit:
                raise ValueError(f"the answer is larger than {self._limit} bytes")
        else:
            self.ready.append(Event(piece))

    def end(self) -> bytes | None:
        """The body is over; what there is of an event that was cut, else None.

        One that lacks but the blank line at its end is whole if its payload is.
        """
        if self.is_whole:
            self.ready.append(Event(b"".join(self._pieces)))
        left = None if self._parser is None else self._parser.end()
        if left is None:
            return b"" if self._inflater is not None and not self._inflater.eof else None
        try:
            decode_json(left.data)
        except Undecodable:
            return left.data
        self.ready.append(left)
        return None


#: zlib's word for "gzip or deflate, whichever it is".
_EITHER: Final = 32 + zlib.MAX_WBITS
