"""What all of the platform API has in common: its errors, its times, its pace (PROTOCOL 14). Both directions.

It is no place of model calls: their failures look different, see ``failures`` and ``outcome``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from fal_async.protocol import codec, wire
from fal_async.protocol.failures import json_answer
from fal_async.protocol.messages import HttpResponse

__all__ = [
    "build_platform_error",
    "build_time",
    "parse_drift",
    "parse_reset",
    "parse_time",
    "read_platform_error",
]


def build_platform_error(kind: str, message: str, *, status: int | None = None) -> HttpResponse:
    """A failure of the platform API; ``kind`` is one of :data:`wire.PLATFORM_ERRORS`.

    :param status: where it is another than usual, such as 401.
    """
    content = {"error": {"type": kind, "message": message}}
    return json_answer(status or wire.PLATFORM_ERRORS[kind], content)


def read_platform_error(body: bytes) -> tuple[str, str]:
    """Type and message of a failure; empty where it says none."""
    try:
        content: Any = codec.decode_json(body)
    except codec.Undecodable:
        return "", ""
    said = content.get("error") if isinstance(content, dict) else None
    if not isinstance(said, dict):
        return "", ""
    kind, message = said.get("type"), said.get("message")
    return kind if isinstance(kind, str) else "", message if isinstance(message, str) else ""


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def build_time(unix: float) -> str:
    """Unix seconds as ISO 8601, to the millisecond below."""
    moment = _EPOCH + timedelta(milliseconds=math.floor(unix * 1000))
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def parse_time(text: object) -> float | None:
    """ISO 8601 as Unix seconds; one without a zone is UTC (PROTOCOL 0). None if it is no time."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH).total_seconds()


def parse_drift(headers: Mapping[str, str], asked: float, answered: float) -> float:
    """By how many seconds, at least, the answering clock differs from the asking one; 0 if it does not tell.

    :param asked: Unix time before the question, by the asking clock.
    :param answered: and after the answer.
    """
    try:
        date = parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (OverflowError, TypeError, ValueError):
        return 0.0
    return max(0.0, date - answered, asked - (date + 1.0))  # a date is cut to the second


def parse_reset(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a 429 ends, as its ``x-ratelimit-reset`` says; None if it does not.

    Documented as seconds (PROTOCOL 14). Elsewhere the name often means a Unix time, so a number of that
    size is read as one.

    :param now: Unix time.
    """
    try:
        seconds = float(headers.get(wire.RATELIMIT_RESET, ""))
    except ValueError:
        return None
    if not 0 <= seconds < math.inf:
        return None
    return max(0.0, seconds - now) if seconds > _LONG_AGO else seconds


#: No pause is 30 years; as a Unix time it is the year 2001.
_LONG_AGO: Final = 1e9
