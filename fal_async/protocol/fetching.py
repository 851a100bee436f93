"""The HTTP of fetching a file (PROTOCOL 11; RFC 9110, 13-15): where it may lie, and what answers mean.

Pure: headers in, facts out. Nothing of fal's own: files lie with strangers too, and none is given the key.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit

import attrs

from fal_async.errors import DownloadError
from fal_async.protocol.outcome import retry_after

__all__ = ["Extent", "check_url", "full_extent", "host_of", "redirected", "refusal", "rest_extent"]

_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_PASSING: Final = frozenset((408, 421, 425, 429))
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
#: What the system's resolver takes for an IPv4 address, in spellings that `ipaddress` does not: "127.1".
_NUMERIC: Final = re.compile(r"(?:[^.]*\.)*(?:\d+|0[xX][0-9a-fA-F]*)\.?")
_REASONS: Final = {
    401: "not everybody may read the file",
    403: "not everybody may read the file, or its URL has expired",
    404: "the file is hidden, expired or was never there",
    410: "the file is gone",
}


@attrs.frozen
class Extent:
    """What an answer says of the whole file.

    :ivar start: where in the file its body begins.
    :ivar total: the file's size in bytes; None if it does not say.
    :ivar validator: what proves, later on, that it is still the same file; None if nothing does.
    """

    start: int
    total: int | None
    validator: str | None


def check_url(url: str, *, local: bool) -> None:
    """Whether a file may be asked for there.

    :param local: whether it may be on this machine, or in a network of its own.
    :raises DownloadError: for what is no http or https URL, or is not for strangers to name.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # an unclosed bracket, a port that is no number
        raise DownloadError("the file's URL is none") from None
    if parts.scheme not in {"http", "https"}:
        raise DownloadError("only http, https and data URLs can be fetched")
    if not host or port == 0:
        raise DownloadError("the file's URL is none")
    if not local and not _is_public(host):
        raise DownloadError("the file's URL points at this machine, or into a private network")


def _is_public(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return False
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_global
    except ValueError:
        return not _NUMERIC.fullmatch(name)


def host_of(url: str) -> str:
    """For messages: of a URL that was checked, what holds no secret."""
    return urlsplit(url).hostname or ""


def redirected(url: str, status: int, headers: Mapping[str, str]) -> str | None:
    """Where the answer leads; None if it does not.

    :raises DownloadError: if that is no URL, or in the clear and ``url`` was not.
    """
    location = headers.get("Location")
    if status not in _REDIRECTS or location is None:
        return None
    try:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
    except ValueError:
        raise DownloadError(f"{host_of(url)} redirects to something that is no URL") from None
    if url[:6].lower() == "https:" and scheme != "https":
        raise DownloadError(f"{host_of(url)} redirects from https to something else")
    return target


def refusal(url: str, status: int, headers: Mapping[str, str]) -> DownloadError:
    """What an answer means that is not the file."""
    reason = _REASONS.get(status)
    return DownloadError(
        f"{host_of(url)} answered {status}{f': {reason}' if reason else ''}",
        status=status,
        retryable=status >= 500 or status in _PASSING,
        retry_after=retry_after(headers),
    )


def full_extent(headers: Mapping[str, str]) -> Extent:
    """Of a 200. Without a strong validator, or where ranges are refused, it cannot be resumed."""
    length = headers.get("Content-Length", "")
    etag = headers.get("ETag", "").strip()
    validator = etag if etag.startswith('"') else headers.get("Last-Modified")
    if headers.get("Accept-Ranges", "").strip().lower() == "none":
        validator = None
    return Extent(0, int(length) if length.isdecimal() else None, validator)


def rest_extent(headers: Mapping[str, str], known: Extent) -> Extent | None:
    """Of a 206 that was asked for after ``known``; None if it is not a part of that file."""
    found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None:
        return None
    total = None if found[3] == "*" else int(found[3])
    if known.total is not None and total not in {None, known.total}:
        return None
    return Extent(int(found[1]), total if known.total is None else known.total, known.validator)
