"""Strings made up by a shape: of a pattern, of a format, or sentences that mean nothing. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Final

from fal_async.emulator.models.language import sentences
from fal_async.emulator.openapi.checking import fits
from fal_async.emulator.openapi.patterns import write_match
from fal_async.emulator.openapi.shapes import Text

__all__ = ["write_text"]

_TRIES: Final = 50
_LONGEST: Final = 1 << 20  # a document may ask for more, which nobody would wait for
_PROSE: Final = re.compile(r".*(text|output|description|caption|transcript|prompt|lyrics|reason).*")
_ID: Final = re.compile(r"(.*_)?(uu)?id")


def write_text(shape: Text, name: str, key: bytes, draw: Callable[[int], int]) -> str:
    """A string of that shape; of a pattern that is beyond this, some string.

    :param name: of the field it is for.
    :param key: 32 bytes, of which it is made.
    :param draw: gives a number below the one given, another at each call.
    """
    if shape.pattern is not None:
        for more in range(_TRIES):
            text = write_match(shape.pattern.pattern, draw, at_least=more)
            if fits(shape, text):
                return text
    text = _formatted(shape.format or ("uuid" if _ID.fullmatch(name) else ""), key)
    if not text:
        said = sentences(key.hex())
        text = " ".join(said) if _PROSE.match(name) else next(said)
    while len(text) < min(shape.shortest, _LONGEST):
        text += f" {text}"
    return text if shape.longest is None else text[: shape.longest]


def _formatted(form: str, key: bytes) -> str:
    """A string of a format; empty for one that is not known."""
    day = f"20{key[0] % 30:02d}-{key[1] % 12 + 1:02d}-{key[2] % 28 + 1:02d}"
    time = f"{key[3] % 24:02d}:{key[4] % 60:02d}:{key[5] % 60:02d}"
    digits = key.hex()
    match form:
        case "date-time":
            return f"{day}T{time}Z"
        case "date":
            return day
        case "time":
            return f"{time}Z"
        case "email":
            return f"{digits[:8]}@example.com"
        case "binary" | "byte" | "base64":
            return base64.b64encode(key).decode()
        case "uri" | "url":
            return f"https://example.com/{digits[:8]}"
        case "uuid":
            return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"
        case _:
            return ""
