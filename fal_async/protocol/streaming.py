"""What an event of a stream says: its payload as a value (PROTOCOL 8). Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import cattrs

from fal_async.errors import StructureError
from fal_async.protocol import wire
from fal_async.protocol.codec import Undecodable, decode_json
from fal_async.protocol.misfit import Misfit, name_of
from fal_async.protocol.model import parse_model_id
from fal_async.protocol.structuring import structure
from fal_async.protocol.workflow import parse_workflow_event

__all__ = ["Inflating", "event_reader", "stream_id"]


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


#: zlib's word for "gzip or deflate, whichever it is".
_EITHER: Final = 32 + zlib.MAX_WBITS


class Inflating:
    """Undoes a ``Content-Encoding`` of gzip or deflate piece by piece."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(_EITHER)

    def feed(self, piece: bytes) -> bytes:
        """What this piece says.

        :raises Undecodable: if it is damaged.
        """
        try:
            return self._decoder.decompress(piece)
        except zlib.error:
            raise Undecodable("its compression is damaged") from None
