"""Realtime: where a connection goes, its control messages and its codec, both directions (PROTOCOL 10).

Pure: frames to values and back. What a control message means for a connection is told by the features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

import attrs
import msgspec

from fal_async.errors import InputError
from fal_async.protocol import codec, wire
from fal_async.protocol.model import parse_model_id

__all__ = [
    "BUFFERING_MAX",
    "AppFailed",
    "Control",
    "SessionEnded",
    "Timings",
    "TokenRefused",
    "UnknownControl",
    "build_control",
    "decode_message",
    "encode_message",
    "read_control",
    "realtime_url",
]

#: Inputs that an application may be asked to keep (PROTOCOL 10).
BUFFERING_MAX: Final = 60


def realtime_url(
    base: str, model: str, path: str, *, max_buffering: int | None = None, token: str | None = None
) -> tuple[str, str]:
    """The URL of a connection, and the application it counts as.

    :param path: below the model's id; empty or beginning with a slash.
    :raises InputError: for a model, a path or a buffering that cannot be asked for.
    """
    parsed = parse_model_id(model)
    target = parsed
    if not isinstance(path, str):
        raise InputError(f"path is a string such as {wire.REALTIME_PATH!r}")
    if path.strip("/"):
        target = parse_model_id(f"{parsed}/{path.strip('/')}")
    query: dict[str, str] = {}
    if token is not None:
        query[wire.TOKEN_PARAMETER] = token
    if max_buffering is not None:
        if type(max_buffering) is not int or not 1 <= max_buffering <= BUFFERING_MAX:
            raise InputError(f"max_buffering is a whole number from 1 to {BUFFERING_MAX}")
        query[wire.MAX_BUFFERING_PARAMETER] = str(max_buffering)
    tail = f"?{urlencode(query)}" if query else ""
    return f"{base}/{target}{tail}", parsed.application


# --- control messages -----------------------------------------------------------------------------------


@attrs.frozen
class Timings:
    """How long the result before it took, in seconds."""

    seconds: float


@attrs.frozen
class AppFailed:
    """``x-fal-error``: the application failed, and closes the connection."""

    error: str
    reason: str = attrs.field(repr=False)


@attrs.frozen
class SessionEnded:
    """``x-fal-error`` ``TIMEOUT``: no inputs, or all was said. The normal end."""

    reason: str


@attrs.frozen
class TokenRefused:
    """``status: error``: the token is not accepted, or not any more."""

    error: str


@attrs.frozen
class UnknownControl:
    """A control message of a kind nobody has told us of. Nothing breaks of it."""

    content: dict[str, Any] = attrs.field(repr=False)


Control = Timings | AppFailed | SessionEnded | TokenRefused | UnknownControl


def read_control(text: str) -> Control | None:
    """The control message that a text frame holds; None if it is something else: a result, or plain text."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        content: dict[str, Any] = codec.decode_json(text.encode("utf-8", "surrogatepass"))
    except codec.Undecodable:
        return None
    kind = content.get("type")
    if kind == wire.REALTIME_ERROR:
        error, reason = _text(content.get("error")), _text(content.get("reason"))
        is_end = error == wire.REALTIME_TIMEOUT
        return SessionEnded(reason) if is_end else AppFailed(error or "UNKNOWN", reason)
    if kind == wire.REALTIME_MESSAGE:
        seconds = content.get("timing")
        if content.get("action") == wire.REALTIME_TIMINGS and isinstance(seconds, (int, float)):
            return Timings(float(seconds))
        return UnknownControl(content)
    if isinstance(kind, str) and kind.startswith(wire.REALTIME_PREFIX):
        return UnknownControl(content)
    if content.get("status") != "error" or not isinstance(content.get("error"), str):
        return None
    if content["error"] == wire.UNAUTHORIZED:
        return TokenRefused(content["error"])
    # A result may have a status and an error of its own, beside what it is about.
    return AppFailed("ERROR", content["error"]) if len(content) == 2 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def build_control(control: Control) -> str:
    """The text frame of a control message."""
    content: dict[str, Any]
    match control:
        case Timings(seconds):
            content = {
                "type": wire.REALTIME_MESSAGE,
                "action": wire.REALTIME_TIMINGS,
                "timing": seconds,
            }
        case AppFailed(error, reason):
            content = {"type": wire.REALTIME_ERROR, "error": error, "reason": reason}
        case SessionEnded(reason):
            content = {
                "type": wire.REALTIME_ERROR,
                "error": wire.REALTIME_TIMEOUT,
                "reason": reason,
            }
        case TokenRefused(error):
            content = {"status": "error", "error": error}
        case _:
            content = control.content
    return msgspec.json.encode(content).decode()


# --- messages -------------------------------------------------------------------------------------------


def encode_message(value: object, unstructure: Callable[[object], object]) -> bytes:
    """A message as MessagePack. Bytes travel as they are.

    :param value: a mapping, or an instance of a class that ``unstructure`` turns into one.
    :raises InputError: for what MessagePack cannot say. The text never shows the value.
    """
    try:
        plain = value if isinstance(value, dict) else unstructure(value)
        if not isinstance(plain, dict):
            raise InputError(
                f"a message is a mapping or an instance of an attrs class, not {type(value).__name__}"
            )
        return _encode(_plain(plain, unstructure))
    except InputError:
        raise
    except RecursionError:
        raise InputError("the message is nested too deeply, or holds itself") from None
    except Exception as error:  # the caller's own hooks raise what they like
        raise InputError(f"the message cannot be sent: {type(error).__name__}") from error


def _plain(value: Any, unstructure: Callable[[object], object]) -> Any:
    kind = type(value)
    if kind in _NATIVE:
        return value
    if isinstance(value, dict):
        return {key: _plain(item, unstructure) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, unstructure) for item in value]
    plain = unstructure(value)
    if plain is value or type(plain) is kind:
        raise InputError(f"a message holds a {kind.__name__}, which MessagePack cannot say")
    return _plain(plain, unstructure)


#: What MessagePack has a word of its own for.
_NATIVE: Final = frozenset((str, int, float, bool, type(None), bytes, bytearray, memoryview))

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def decode_message(frame: str | bytes) -> Any:
    """What a result frame says: MessagePack if binary, JSON or plain text if text.

    :raises Undecodable: for a binary frame that is not MessagePack.
    """
    if isinstance(frame, str):
        try:
            return codec.decode_json(frame.encode("utf-8", "surrogatepass"))
        except codec.Undecodable:
            return frame  # a raw endpoint of an application, without fal's framing (PROTOCOL 10)
    try:
        return _decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise codec.Undecodable("it is not MessagePack") from None
