"""A server's words, fit for a log: short, one line, and nothing in them that was not meant for it.

An error's text may quote the request: the key, the prompt, an image by value. All of it is masked here, whole
or in part. Pure text to text; which words an error shows is told by ``outcome``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from fal_async.protocol import codec, wire
from fal_async.protocol.messages import HttpRequest

__all__ = ["brief"]

_TEXT_MAX: Final = 200
#: More is not even looked at, since looking costs time: of the text, of it without its blobs, of the input.
_RAW_MAX: Final = 64 * 1024
_READ_MAX: Final = 600
_INPUT_MAX: Final = 32 * 1024

#: A stretch of a string as long as this is no chance.
_RUN: Final = 12
_KEY_RUN: Final = 8
#: Shorter strings are words that any sentence may hold.
_WORD_MIN: Final = 3

_BLOB: Final = re.compile(r"(?:data:[\w/+.;=-]*,)?[A-Za-z0-9+/_=-]{60,}|data:[\w/+.;=-]*,\S*")


def brief(text: str, request: HttpRequest) -> str:
    """The text without the request's key, its input, or a base64 blob; at most 200 characters of it."""
    text = _BLOB.sub("…", _one_line(text[:_RAW_MAX]))[:_READ_MAX]
    if text:
        for part in _key_parts(request):
            text = _without(text, part, _KEY_RUN)
        text = _without_input(text, request.body)
    return text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 1]}…"


def _one_line(text: str) -> str:
    # Escapes of a terminal and halves of characters go too.
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


def _key_parts(request: HttpRequest) -> list[str]:
    _, _, key = request.headers.get(wire.AUTHORIZATION, "").partition(" ")
    return sorted(filter(None, {key, *key.split(":")}), key=len, reverse=True)


def _without_input(text: str, body: bytes) -> str:
    long: list[str] = []
    short: list[str] = []
    room = _INPUT_MAX
    for string in _strings(body):
        for spelling in _spellings(string[:room]):
            (long if len(spelling) >= _RUN else short).append(spelling)
        room -= len(string)
        if room <= 0:
            break
    text = _without(text, "\n".join(long), _RUN)
    for word in sorted(set(short), key=len, reverse=True):
        if len(word) >= _WORD_MIN and word in text:
            text = _without(text, word, _RUN)
    return text


def _strings(body: bytes) -> Iterator[str]:
    try:
        left: list[Any] = [codec.decode_json(body)]
    except codec.Undecodable:
        return
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)


def _spellings(string: str) -> set[str]:
    """As it is, and as it stands in JSON and in Python."""
    written = (
        string,
        json.dumps(string)[1:-1],
        json.dumps(string, ensure_ascii=False)[1:-1],
        repr(string)[1:-1],
    )
    return {_one_line(spelling) for spelling in written}


def _without(text: str, source: str, run: int) -> str:
    """Mask every stretch of the text, at least ``run`` long, that stands in ``source``."""
    if len(source) < run:
        return re.sub(rf"(?<!\w){re.escape(source)}(?!\w)", "…", text) if source else text
    kept: list[str] = []
    at = 0
    while at < len(text):
        end = at + run
        if end <= len(text) and text[at:end] in source:
            while end < len(text) and text[at : end + 1] in source:
                end += 1
            kept.append("…")
            at = end
        else:
            kept.append(text[at])
            at += 1
    return "".join(kept)
