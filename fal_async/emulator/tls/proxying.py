"""What a forward proxy is asked for, and what it says. Pure.

A caller asks for a tunnel to a host (CONNECT), or for a whole URL. It gets fal's hosts, which are here, and
no others.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from fal_async.emulator.services import SERVICES

__all__ = [
    "ESTABLISHED",
    "HEAD_MAX",
    "begins_connect",
    "names_origin",
    "objection",
    "origin_of",
    "refusal",
    "refusal_text",
    "requested_tunnel",
    "without_origin",
]

#: Bytes of a CONNECT request; aiohttp's own limit on a line is about half of it.
HEAD_MAX: Final = 16 * 1024
ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"

_CONNECT: Final = b"CONNECT "
_HTTPS: Final = 443
_WHOLE_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_REASONS: Final = {400: "Bad Request", 403: "Forbidden", 431: "Request Header Fields Too Large"}


def begins_connect(data: bytes) -> bool:
    """Whether this is CONNECT, or the beginning of its word."""
    return data.startswith(_CONNECT) or _CONNECT.startswith(data)


def requested_tunnel(head: bytes) -> tuple[str, int] | None:
    """Host and port of a CONNECT request, or None if it is none."""
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    try:
        place = urlsplit(f"//{words[1]}")
        host, port = place.hostname, place.port
    except ValueError:  # a port that is no number, an unclosed bracket
        return None
    return None if not host or port is None or place.path else (host, port)


def objection(host: str, port: int) -> str | None:
    """Why a tunnel is refused, or None if there may be one."""
    if host in SERVICES and port == _HTTPS:
        return None
    return refusal_text(host if port == _HTTPS else f"{host}:{port}")


def refusal_text(place: str) -> str:
    """The sentence for a place that is not fal's."""
    return (
        f"This proxy is an emulator of fal. It answers for {', '.join(SERVICES)} itself, over https on"
        f" port 443, and connects to nobody else; {place} is not one of them.\n"
    )


def refusal(status: int, sentence: str) -> bytes:
    """A whole answer to a CONNECT request; the connection ends with it."""
    body = sentence.encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def names_origin(target: str) -> bool:
    """Whether a request's target is a whole URL, as proxies get it."""
    return _WHOLE_URL.match(target) is not None


def origin_of(target: str) -> str:
    """The host and port of a whole URL: what may be said of it."""
    place = re.split(r"[/?#]", target.partition("://")[2], maxsplit=1)[0]
    return place.rpartition("@")[2]


def without_origin(target: str) -> str:
    """A target as the server itself would get it; of another's URL nothing is taken away."""
    if not names_origin(target):
        return target
    origin = origin_of(target)
    if origin.partition(":")[0].lower() not in SERVICES:
        return target
    path = target.partition("://")[2].partition(origin)[2]
    return path if path.startswith("/") else f"/{path}"
