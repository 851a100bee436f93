"""Parts of files: what a ``Range`` asks for, and the answer (RFC 9110, 13.1.5 and 14). Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Final

import attrs

from fal_async.protocol.messages import Headers, HttpResponse

__all__ = ["Given", "etag_of", "file_answer", "judge_range"]

_RANGE: Final = re.compile(r"bytes *= *(?:(\d+) *- *(\d*)|- *(\d+)) *")


def etag_of(content: bytes) -> str:
    """A strong one: other bytes have another."""
    return f'"{zlib.crc32(content):08x}-{len(content):x}"'


@attrs.frozen
class Given:
    """What is given of a file: the bytes from ``start`` up to ``stop``."""

    status: int
    headers: Headers
    start: int
    stop: int


def judge_range(size: int, etag: str, content_type: str, asked: Mapping[str, str]) -> Given:
    """The file, the part of it that the headers ask for, or 416.

    Several parts at once and units other than bytes are no part at all: the file is given whole, as it is
    where ``If-Range`` names another version of it.
    """
    headers = {"Content-Type": content_type, "Accept-Ranges": "bytes", "ETag": etag}
    found = _RANGE.fullmatch(asked.get("Range", "").strip())
    if found is None or asked.get("If-Range", etag).strip() != etag:
        return Given(200, Headers(headers), 0, size)
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size - 1
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < int(first):  # no range, says the RFC
            return Given(200, Headers(headers), 0, size)
    if start > end:
        return Given(416, Headers(headers | {"Content-Range": f"bytes */{size}"}), 0, 0)
    part = {"Content-Range": f"bytes {start}-{end}/{size}"}
    return Given(206, Headers(headers | part), start, end + 1)


def file_answer(content: bytes, content_type: str, asked: Mapping[str, str]) -> HttpResponse:
    """The answer of :func:`judge_range`, with its bytes."""
    given = judge_range(len(content), etag_of(content), content_type, asked)
    body = content[given.start : given.stop]
    return HttpResponse(given.status, given.headers, body)
