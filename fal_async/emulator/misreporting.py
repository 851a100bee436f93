"""What the queue says of a request, changed in ways that a reader has to bear (PROTOCOL 6.2, 18). Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from fal_async.protocol import wire

__all__ = ["MISREPORTS", "misreport"]

_Content = dict[str, Any]


def _without(key: str) -> Callable[[_Content], _Content]:
    return lambda content: {name: value for name, value in content.items() if name != key}


def _with_more(content: _Content) -> _Content:
    return {"eta": {"seconds": 12.5, "sure": False}, **content, "tier": None, "shards": [1, "b"]}


def _in_other_words(content: _Content) -> _Content:
    if content.get("status") not in {wire.IN_QUEUE, wire.IN_PROGRESS}:
        return content
    return {**content, "status": "WARMING_UP"}


MISREPORTS: Final[dict[str, Callable[[_Content], _Content]]] = {
    "no_logs": _without("logs"),
    "no_metrics": _without("metrics"),
    "no_queue_position": _without("queue_position"),
    "extra_fields": _with_more,
    "unknown_status": _in_other_words,
}


def misreport(kind: str, body: bytes) -> bytes:
    """A JSON object, changed as the kind of fault says."""
    return msgspec.json.encode(MISREPORTS[kind](msgspec.json.decode(body)))
