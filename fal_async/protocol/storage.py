"""Files on their way to fal: the CDN's tokens, uploads in one piece, signed URLs (PROTOCOL 11, A to C).

Both directions; uploads in parts are told by ``multipart``, what is said of a file by ``upload_facts``.
Pure: URLs, headers and JSON, never a file's bytes, which whoever sends them brings. Where something may be
sent again, and how often, is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import msgspec

from fal_async.errors import InputError
from fal_async.protocol import codec, wire
from fal_async.protocol.platform import parse_time
from fal_async.protocol.upload_facts import (
    UploadFacts,
    build_lifecycle_headers,
    build_upload_headers,
    file_name_of,
    is_header_value,
    parse_lifecycle_headers,
    readable_type,
)

__all__ = [
    "CdnToken",
    "Initiated",
    "StorageRequest",
    "build_initiated",
    "build_token",
    "direct_request",
    "initiate_request",
    "object_of",
    "parse_access_url",
    "parse_initiate",
    "parse_initiated",
    "parse_seconds",
    "parse_signed",
    "parse_token",
    "put_request",
    "sign_request",
    "text_of",
    "token_request",
    "url_of",
]

_encode: Final = msgspec.json.Encoder().encode
_JSON: Final = {"Content-Type": "application/json"}


@attrs.frozen
class StorageRequest:
    """What is sent, but for a file's bytes.

    :ivar headers: with the CDN's token where it is asked for; never with the API key, which only those
        to the REST host need.
    :ivar body: JSON, or empty where the file's bytes or nothing belong.
    """

    method: str
    url: str = attrs.field(repr=False)  # a presigned one is as good as a key
    headers: dict[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)


# --- answers, read ------------------------------------------------------------------------------------


def object_of(body: bytes) -> dict[str, Any]:
    """The object that a body is.

    :raises Undecodable: if it is none.
    """
    content = codec.decode_json(body)
    if not isinstance(content, dict):
        raise codec.Undecodable("it is no JSON object")
    return content


def text_of(content: Mapping[str, Any], *names: str) -> str:
    """The text under the first of these names that has one.

    :raises Undecodable: if none has.
    """
    for name in names:
        value = content.get(name)
        if isinstance(value, str) and value:
            return value
    raise codec.Undecodable(f"it has no {' or '.join(names)}")


_NEVER_IN_URL: Final = re.compile(r"[\x00-\x20\x7f-\U0010ffff\\]")


def url_of(content: Mapping[str, Any], *names: str) -> str:
    """The http or https URL under the first of these names that has a text.

    :raises Undecodable: if there is none, or it is no such URL.
    """
    url = text_of(content, *names)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # an unclosed bracket, a port that is no number
        usable = False
    if not usable or _NEVER_IN_URL.search(url):
        raise codec.Undecodable(f"its {names[0]} is no URL")
    return url


# --- A: a token for the CDN ---------------------------------------------------------------------------


@attrs.frozen
class CdnToken:
    """What the CDN takes in the API key's place.

    :ivar base_url: of the CDN that it is for, without a slash at the end.
    :ivar expires_at: in Unix seconds, by fal's clock.
    """

    token: str = attrs.field(repr=False)
    token_type: str
    base_url: str
    expires_at: float

    @property
    def authorization(self) -> str:
        """The value of the ``Authorization`` header."""
        return f"{self.token_type} {self.token}"

    def is_for(self, url: str) -> bool:
        """Whether ``url`` may be given the token: it lies on the CDN that it is for, or on fal's own."""
        try:
            there, here = urlsplit(url), urlsplit(self.base_url)
            same = (there.scheme, there.hostname, there.port) == (
                here.scheme,
                here.hostname,
                here.port,
            )
            of_fal = there.scheme == "https" and there.port in {None, 443}
        except ValueError:
            return False
        if "@" in there.netloc or _NEVER_IN_URL.search(url):
            return False
        return same or (of_fal and (there.hostname or "").endswith(".fal.media"))


def token_request(rest: str, *, seconds: int | None = None) -> StorageRequest:
    """Ask for a token: to be sent with the key.

    :param rest: the base URL of the REST host; so with the others below.
    :param seconds: how long it shall live; None is fal's own choice. Known of third parties only.
    """
    wish = {} if seconds is None else {"expiration_seconds": seconds}
    url = f"{rest}{wire.CDN_TOKEN_PATH}?{_STORAGE_TYPE}"
    return StorageRequest("POST", url, dict(_JSON), _encode(wish))


_STORAGE_TYPE: Final = f"{wire.STORAGE_TYPE_PARAMETER}={wire.STORAGE_TYPE}"
#: Ours: for how long a token is used, in seconds, that does not say when it expires.
_UNTOLD_LIFETIME: Final = 60.0


def parse_token(body: bytes, *, now: float, cdn: str) -> CdnToken:
    """Read the answer, tolerantly: only the token itself must be there.

    :param now: Unix seconds: a token that does not say when it expires is taken to do so in a minute.
    :param cdn: the base URL of the CDN, where the answer names none.
    :raises Undecodable: if there is no token, or none that can be sent.
    """
    content = object_of(body)
    token = text_of(content, "token")
    kind = content.get("token_type") or wire.CDN_TOKEN_TYPE
    if not isinstance(kind, str) or not is_header_value(f"{kind} {token}"):
        raise codec.Undecodable("its token can stand in no header")
    base = url_of(content, "base_url") if content.get("base_url") else cdn
    expires = parse_time(content.get("expires_at"))
    return CdnToken(
        token, kind, base.rstrip("/"), now + _UNTOLD_LIFETIME if expires is None else expires
    )


def build_token(token: CdnToken, expires_at: str) -> dict[str, object]:
    """The answer; ``expires_at`` is the same moment as ISO 8601."""
    return {
        "token": token.token,
        "token_type": token.token_type,
        "base_url": token.base_url,
        "expires_at": expires_at,
    }


def parse_seconds(body: bytes, name: str) -> float | None:
    """A wish for a lifetime in a request's body; None where there is none that makes sense."""
    try:
        seconds: Any = object_of(body).get(name)
    except codec.Undecodable:
        return None
    usable = type(seconds) in {int, float} and 0 < seconds < _TOO_LONG
    return float(seconds) if usable else None


#: Ours, in seconds: no lifetime is 300 years, and dates end before.
_TOO_LONG: Final = 1e10


# --- B: in one piece, with a token --------------------------------------------------------------------


def direct_request(base: str, token: CdnToken, facts: UploadFacts) -> StorageRequest:
    """All of a file's bytes at once, which are the body.

    :param base: the base URL of the CDN.
    """
    headers = build_upload_headers(facts) | {wire.AUTHORIZATION: token.authorization}
    return StorageRequest("POST", f"{base}{wire.UPLOAD_PATH}", headers)


def parse_access_url(body: bytes) -> str:
    """Where the file is now.

    :raises Undecodable: if the answer does not say.
    """
    return url_of(object_of(body), "access_url", "url")


# --- C: in one piece, to a presigned URL --------------------------------------------------------------


@attrs.frozen
class Initiated:
    """An upload that has begun. ``upload_url`` is as good as a key, and never to be given one."""

    upload_url: str = attrs.field(repr=False)
    file_url: str


def initiate_request(rest: str, facts: UploadFacts, *, in_parts: bool = False) -> StorageRequest:
    """Ask for a presigned URL: to be sent with the key.

    :param in_parts: the file shall go there in parts (PROTOCOL 11, E).
    """
    path = wire.INITIATE_MULTIPART_PATH if in_parts else wire.INITIATE_PATH
    content = {
        "file_name": file_name_of(facts.file_name or "") or "file",
        "content_type": facts.content_type,
    }
    headers = _JSON | build_lifecycle_headers(facts.lifecycle)
    return StorageRequest("POST", f"{rest}{path}?{_STORAGE_TYPE}", headers, _encode(content))


def parse_initiate(headers: Mapping[str, str], body: bytes) -> UploadFacts:
    """Read the request.

    :raises Undecodable: if one of the two fields is missing.
    """
    content = object_of(body)
    name, kind = text_of(content, "file_name"), text_of(content, "content_type")
    return UploadFacts(readable_type(kind), file_name_of(name), parse_lifecycle_headers(headers))


def build_initiated(upload: Initiated) -> dict[str, str]:
    """The answer."""
    return {"upload_url": upload.upload_url, "file_url": upload.file_url}


def parse_initiated(body: bytes) -> Initiated:
    """Read the answer, of the one kind and the other.

    :raises Undecodable: if one of the two URLs is missing.
    """
    content = object_of(body)
    return Initiated(url_of(content, "upload_url"), url_of(content, "file_url"))


def put_request(upload_url: str, content_type: str) -> StorageRequest:
    """All of a file's bytes, which are the body; the content type is the one declared. No key, no token."""
    return StorageRequest("PUT", upload_url, {"Content-Type": content_type})


# --- signed URLs --------------------------------------------------------------------------------------


def sign_request(
    file_url: str, token: CdnToken, *, seconds: int = wire.SIGNED_FOR
) -> StorageRequest:
    """Ask for a URL by which anybody may read a file for a while.

    :raises InputError: for no time at all, or for more than a week.
    """
    if not 0 < seconds <= wire.SIGNED_FOR_MAX:
        raise InputError("a URL is signed for at most seven days")
    content = {"duration": seconds, "scope": ["read"]}
    headers = _JSON | {wire.AUTHORIZATION: token.authorization}
    bare = file_url.partition("#")[0].partition("?")[0]
    return StorageRequest("POST", f"{bare}/sign", headers, _encode(content))


def parse_signed(body: bytes) -> str:
    """Read the answer: a URL, whose place in it the sheet does not tell.

    :raises Undecodable: if it has none.
    """
    content = codec.decode_json(body)
    found = content if isinstance(content, dict) else {"url": content}
    return url_of(found, "url", "signed_url", "access_url")
