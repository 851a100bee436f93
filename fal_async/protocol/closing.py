"""What the close codes of a WebSocket say (RFC 6455, 7.4; fal's own are unknown, PROTOCOL 10). Pure text."""

from __future__ import annotations

from typing import Final

__all__ = ["NORMAL", "explain_close"]

#: The one code that is no failure.
NORMAL: Final = 1000

_MEANINGS: Final = {
    NORMAL: "it was done",
    1001: "it is going away",
    1002: "it found an error in the protocol",
    1003: "it does not take this kind of data",
    1005: "it named no code",
    1006: "without a word",
    1007: "it found text that is not UTF-8",
    1008: "its policy forbids this",
    1009: "a message was too big",
    1010: "it misses an extension",
    1011: "it met an internal error",
    1012: "it restarts",
    1013: "it asks to try again later",
    1014: "a gateway got a bad answer",
    1015: "TLS failed",
    3000: "unauthorized",
    3003: "forbidden",
    3008: "it timed out",
}


def explain_close(code: int | None, reason: str = "") -> str:
    """A close in words: the code, what it means, and the reason as the server gave it.

    :param code: None if the connection just ended.
    :param reason: fit to be shown.
    """
    if code is None or code in {1006, 0}:
        return "the connection was lost"
    meaning = _MEANINGS.get(code)
    if meaning is None:
        meaning = "a code of the application's own" if 4000 <= code <= 4999 else "an unknown code"
    said = f": {reason}" if reason else ""
    return f"the server closed the connection with {code} ({meaning}){said}"
