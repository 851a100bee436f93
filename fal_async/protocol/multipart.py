"""Uploads in parts: on the CDN with a token, or by a presigned URL (PROTOCOL 11, D and E). Both directions.

Pure: URLs, headers and JSON. Which parts go when, and which again, is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import msgspec

from fal_async.protocol import codec, wire
from fal_async.protocol.storage import (
    CdnToken,
    Initiated,
    StorageRequest,
    object_of,
    text_of,
    url_of,
)
from fal_async.protocol.upload_facts import UploadFacts, build_upload_headers

__all__ = [
    "Created",
    "Part",
    "PartRoute",
    "build_created",
    "build_part",
    "build_parts",
    "complete_request",
    "create_request",
    "match_part",
    "parse_created",
    "parse_etag",
    "parse_parts",
    "part_count",
    "part_request",
    "presigned_complete_request",
    "presigned_part_request",
]

_encode: Final = msgspec.json.Encoder().encode
_JSON: Final = {"Content-Type": "application/json"}
#: A transfer that is packed would have another ETag.
_AS_IT_IS: Final = {"Accept-Encoding": "identity"}


@attrs.frozen(order=True)
class Part:
    """A part that has arrived. Numbers begin at 1; the ETag is as it came, quotes included."""

    number: int
    etag: str


@attrs.frozen
class Created:
    """An upload in parts that has begun on the CDN. The file is at ``access_url`` once it is complete."""

    access_url: str
    upload_id: str


def part_count(size: int, part_size: int = wire.PART_SIZE) -> int:
    """Of how many parts a file consists: at least one, which may be empty."""
    return max(1, -(-size // part_size))


# --- D: on the CDN, with a token ----------------------------------------------------------------------


def create_request(base: str, token: CdnToken, facts: UploadFacts) -> StorageRequest:
    """Begin; nothing is in the body.

    :param base: the base URL of the CDN, as the token has it.
    """
    headers = build_upload_headers(facts) | {wire.AUTHORIZATION: token.authorization}
    return StorageRequest("POST", f"{base}{wire.MULTIPART_PATH}", headers)


def build_created(upload: Created) -> dict[str, str]:
    """The answer."""
    return {"access_url": upload.access_url, "uploadId": upload.upload_id}


_UPLOAD_ID: Final = re.compile(r"[A-Za-z0-9._~%=+-]+")


def parse_created(body: bytes) -> Created:
    """Read the answer.

    :raises Undecodable: if the URL or the id is missing, or the id can be no step of a path.
    """
    content = object_of(body)
    upload_id = text_of(content, "uploadId", "upload_id")
    if not _UPLOAD_ID.fullmatch(upload_id) or upload_id.strip(".") == "":
        raise codec.Undecodable("its uploadId can be no part of a URL")
    return Created(url_of(content, "access_url"), upload_id)


def part_request(upload: Created, number: int, token: CdnToken) -> StorageRequest:
    """One part, whose bytes are the body."""
    headers = _AS_IT_IS | {wire.AUTHORIZATION: token.authorization}
    return StorageRequest("PUT", _of_upload(upload, str(number)), headers)


def complete_request(upload: Created, parts: Iterable[Part], token: CdnToken) -> StorageRequest:
    """Make one file of the parts."""
    headers = _JSON | {wire.AUTHORIZATION: token.authorization}
    return StorageRequest("POST", _of_upload(upload, "complete"), headers, build_parts(parts))


def _of_upload(upload: Created, step: str) -> str:
    return _below(upload.access_url, f"multipart/{upload.upload_id}/{step}")


# --- E: by a presigned URL ----------------------------------------------------------------------------


def presigned_part_request(upload: Initiated, number: int) -> StorageRequest:
    """One part, whose bytes are the body. No key, no token."""
    return StorageRequest("PUT", _below(upload.upload_url, str(number)), dict(_AS_IT_IS))


def presigned_complete_request(upload: Initiated, parts: Iterable[Part]) -> StorageRequest:
    """Make one file of the parts. No key, no token."""
    url = _below(upload.upload_url, "complete")
    return StorageRequest("POST", url, dict(_JSON), build_parts(parts))


def _below(url: str, step: str) -> str:
    """A step further down the path; the query, which is the signature, stays as it is."""
    path, mark, query = url.partition("?")
    return f"{path}/{step}{mark}{query}"


# --- parts --------------------------------------------------------------------------------------------


def build_part(part: Part) -> dict[str, object]:
    """What a presigned URL answers, beside the header (PROTOCOL 11, E)."""
    return {"partNumber": part.number, "etag": part.etag}


def parse_etag(headers: Mapping[str, str], body: bytes = b"") -> str | None:
    """The ETag of a part, verbatim: the header's, else the body's; None if none is usable."""
    etag: object = headers.get("ETag")
    if not etag:
        try:
            etag = object_of(body).get("etag")
        except codec.Undecodable:
            return None
    return etag if isinstance(etag, str) and etag and _sayable(etag) else None


def _sayable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def build_parts(parts: Iterable[Part]) -> bytes:
    """What completes an upload: the parts in their order, however they are given."""
    return _encode({"parts": [build_part(part) for part in sorted(parts)]})


def parse_parts(body: bytes) -> tuple[Part, ...]:
    """Read it, in the order it has.

    :raises Undecodable: if it is no list of parts.
    """
    listed: Any = object_of(body).get("parts")
    if not isinstance(listed, list):
        raise codec.Undecodable("it has no parts")
    return tuple(_parse_part(entry) for entry in listed)


def _parse_part(entry: Any) -> Part:
    content = entry if isinstance(entry, dict) else {}
    number = content.get("partNumber", content.get("part_number"))
    if type(number) is not int:
        raise codec.Undecodable("one of its parts has no number")
    return Part(number, text_of(content, "etag", "ETag"))


# --- where a part is sent -----------------------------------------------------------------------------


@attrs.frozen
class PartRoute:
    """A path below an upload in parts.

    :ivar number: of the part; None is its completion.
    """

    file: str
    upload_id: str
    number: int | None


_PART_PATH: Final = re.compile(r"(/.+)/multipart/([^/]+)/(?:(\d{1,6})|complete)")


def match_part(path: str) -> PartRoute | None:
    """Read the path of a part on the CDN, or of the completion; None if it is neither."""
    found = _PART_PATH.fullmatch(path)
    if found is None:
        return None
    return PartRoute(found[1], found[2], None if found[3] is None else int(found[3]))
