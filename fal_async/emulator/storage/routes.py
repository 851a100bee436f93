"""Which operation of the storage a path is (PROTOCOL 11). Pure.

Where presigned URLs lead is the emulator's own choice: no client may look into them.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from fal_async.protocol import wire
from fal_async.protocol.multipart import match_part

__all__ = ["Route", "match_cdn", "match_rest", "presigned_path"]


@attrs.frozen
class Route:
    """An operation, and what it is about.

    :ivar operation: its name in faults and counts.
    :ivar method: the one it has.
    :ivar path: of the file, where the URL has it; else of the request.
    :ivar upload_id: of an upload that has begun.
    :ivar number: of a part.
    :ivar presigned: whether the URL is, so that nothing else may be a credential.
    :ivar in_parts: whether the upload that begins is one in parts.
    """

    operation: str
    method: str
    path: str
    upload_id: str = ""
    number: int | None = None
    presigned: bool = False
    in_parts: bool = False


def match_rest(path: str) -> Route | None:
    """An operation on the REST host."""
    if path == wire.CDN_TOKEN_PATH:
        return Route("token", "POST", path)
    if path == wire.INITIATE_PATH:
        return Route("initiate", "POST", path)
    if path == wire.INITIATE_MULTIPART_PATH:
        return Route("initiate", "POST", path, in_parts=True)
    return None


_PRESIGNED: Final = re.compile(r"/presigned/([0-9a-f]+)(?:/(?:(\d{1,6})|(complete)))?")


def presigned_path(upload_id: str) -> str:
    """Where the bytes of an upload go."""
    return f"/presigned/{upload_id}"


def match_cdn(method: str, path: str) -> Route | None:
    """An operation on the CDN; None where a file is fetched, or nothing known is."""
    if path == wire.UPLOAD_PATH:
        return Route("upload", "POST", path)
    if path == wire.MULTIPART_PATH:
        return Route("create", "POST", path, in_parts=True)
    part = match_part(path)
    if part is not None:
        operation, verb = ("complete", "POST") if part.number is None else ("part", "PUT")
        return Route(operation, verb, part.file, part.upload_id, part.number)
    found = _PRESIGNED.fullmatch(path)
    if found is not None:
        return _presigned(*found.groups(), path=path)
    if method == "POST" and path.startswith(wire.FILES_PREFIX) and path.endswith("/sign"):
        return Route("sign", "POST", path.removesuffix("/sign"))
    return None


def _presigned(upload_id: str, number: str | None, end: str | None, *, path: str) -> Route:
    if end is not None:
        return Route("complete", "POST", path, upload_id, presigned=True)
    if number is None:
        return Route("put", "PUT", path, upload_id, presigned=True)
    return Route("part", "PUT", path, upload_id, int(number), presigned=True)
