"""Parts of files: what a ``Range`` asks for, and the answer (RFC 9110, 13.1.5 and 14). Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Final

from fal_async.protocol.messages import Headers, HttpResponse

__all__ = ["etag_of", "file_answer"]

_RANGE: Final = re.compile(r"bytes *= *(?:(\d+) *- *(\d*)|- *(\d+)) *")


def etag_of(content: bytes) -> str:
    """A strong one: other bytes have another."""
    return f'"{zlib.crc32(content):08x}-{len(content):x}"'


def file_answer(content: bytes, content_type: str, asked: Mapping[str, str]) -> HttpResponse:
    """The file, the part of it that the headers ask for, or 416.

    Several parts at once and units other than bytes are no part at all: the file is given whole, as it is
    where ``If-Range`` names another version of it.
    """
    etag = etag_of(content)
    headers = {"Content-Type": content_type, "Accept-Ranges": "bytes", "ETag": etag}
    found = _RANGE.fullmatch(asked.get("Range", "").strip())
    if found is None or asked.get("If-Range", etag).strip() != etag:
        return HttpResponse(200, Headers(headers), content)
    size = len(content)
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size - 1
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < int(first):  # no range, says the RFC
            return HttpResponse(200, Headers(headers), content)
    if start > end:
        whole = {"Content-Range": f"bytes */{size}"}
        return HttpResponse(416, Headers(headers | whole), b"")
    part = {"Content-Range": f"bytes {start}-{end}/{size}"}
    return HttpResponse(206, Headers(headers | part), content[start : end + 1])
