"""Where fal's services live, and which URLs may be given the key.

Pure: the environment is handed in as a mapping. Nothing here resolves or connects.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, urlsplit

import attrs

from fal_async.errors import InputError
from fal_async.protocol import wire

__all__ = ["Hosts", "backup_url", "hosts_from_environment", "is_loopback"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: A key given to a WebSocket origin travels as it does to the HTTP origin of the same security.
_HTTP_TWIN: Final = {"ws": "http", "wss": "https"}

#: Read differently by different parsers of URLs, and part of no URL.
_NEVER_IN_URL: Final = re.compile(r"[\x00-\x20\x7f\\]")
#: Two dots, in any spelling: a server may resolve them and leave the prefix.
_STEP_UP: Final = re.compile(r"(?:\.|%(?:25)*2e){2}", re.IGNORECASE)
_HOST: Final = re.compile(r"[^\s/\\?#@]+")


def _clean_base(text: str) -> str:
    if not isinstance(text, str):
        return text  # what is wrong with it is the check's to say
    scheme, colon, rest = text.partition("://")
    return f"{scheme.lower()}{colon}{rest.rstrip('/')}"


def _check_url(what: str, url: object, schemes: tuple[str, str]) -> None:
    if not isinstance(url, str):
        raise InputError(f"{what} is a base URL, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text would show what may have been meant for a key
        raise InputError(f"{what} is not a URL: look at its port and brackets") from None
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise InputError(f"{what} needs a scheme ({' or '.join(schemes)}) and a host")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise InputError(f"{what} is scheme, host and path only: no credentials, query or fragment")
    if _NEVER_IN_URL.search(url) or _STEP_UP.search(parts.path):
        raise InputError(f"{what} holds a blank, a backslash or a step up (..)")


def _base(default: str) -> str:
    schemes = ("ws", "wss") if default.startswith("ws") else ("http", "https")

    def check(_: object, attribute: attrs.Attribute[str], value: object) -> None:
        _check_url(f"Hosts.{attribute.name}", value, schemes)

    value: str = attrs.field(default=default, converter=_clean_base, validator=check)
    return value


@attrs.frozen(kw_only=True)
class Hosts:
    """The base URL of every service, each of which may carry a path prefix (PROTOCOL 1).

    :raises InputError: for a base URL with no host or another scheme than the service speaks, or with
        credentials, a query, a fragment, blanks or ``..``.
    """

    run: str = _base(f"https://{wire.RUN_HOST}")
    """Direct calls and event streams."""
    queue: str = _base(f"https://{wire.QUEUE_HOST}")
    """Requests that wait at fal: submit, status, result, cancel."""
    ws: str = _base(f"wss://{wire.WS_HOST}")
    """HTTP over WebSockets."""
    realtime: str = _base(f"wss://{wire.RUN_HOST}")
    """Realtime connections."""
    rest: str = _base(f"https://{wire.REST_HOST}")
    """Tokens, storage, webhook keys."""
    cdn: str = _base(f"https://{wire.CDN_HOST}")
    """Files. It takes tokens of its own, never the key."""
    api: str = _base(f"https://{wire.API_HOST}")
    """The platform API; never used for model calls."""

    @classmethod
    def local(cls, url: str) -> Hosts:
        """All services on one server, such as an emulator at ``http://127.0.0.1:8000``.

        Each is reached there under a path prefix that is its host name at fal.
        """
        base = _clean_base(url)
        _check_url("the URL of an emulator", base, ("http", "https"))
        socket = base.replace("http", "ws", 1)
        return cls(
            run=f"{base}/{wire.RUN_HOST}",
            queue=f"{base}/{wire.QUEUE_HOST}",
            ws=f"{socket}/{wire.WS_HOST}",
            realtime=f"{socket}/{wire.RUN_HOST}",
            rest=f"{base}/{wire.REST_HOST}",
            cdn=f"{base}/{wire.CDN_HOST}",
            api=f"{base}/{wire.API_HOST}",
        )

    @property
    def is_local(self) -> bool:
        """True if every service is on this machine's loopback, so that no key is needed."""
        return all(is_loopback(url) for url in self._bases())

    def trusts(self, url: str) -> bool:
        """Whether ``url`` may be given the API key: it lies on one of these origins, exactly.

        Scheme, host and port must be equal, and the path must lie under the base's prefix; the backup
        domains of fal's own hosts count as fal's. The CDN does not: it takes tokens of its own.
        """
        if _NEVER_IN_URL.search(url):
            return False
        try:
            parts = urlsplit(url)
            origin = _origin(parts)
        except ValueError:  # a port that is no number, an unclosed bracket
            return False
        return "@" not in parts.netloc and any(
            origin == of_fal and _is_under(prefix, parts.path)
            for of_fal, prefix in _key_places(self)
        )

    def insecure(self) -> tuple[str, ...]:
        """The base URLs that would carry the key in the clear over a network."""
        return tuple(
            base
            for base in self._bases()
            if urlsplit(base).scheme in {"http", "ws"} and not is_loopback(base)
        )

    def _bases(self) -> tuple[str, ...]:
        return (self.run, self.queue, self.ws, self.realtime, self.rest, self.cdn, self.api)


_Origin = tuple[str, str, int | None]


@lru_cache(maxsize=64)
def _key_places(hosts: Hosts) -> tuple[tuple[_Origin, str], ...]:
    """Origin and prefix of all that may be given the key, the backup domains included."""
    bases = (hosts.run, hosts.queue, hosts.ws, hosts.realtime, hosts.rest, hosts.api)
    backups = filter(None, map(backup_url, bases))
    places = map(urlsplit, (*bases, *backups))
    return tuple((_origin(place), place.path) for place in places)


def _origin(url: SplitResult) -> _Origin:
    scheme = _HTTP_TWIN.get(url.scheme, url.scheme)
    port = _DEFAULT_PORTS.get(scheme) if url.port is None else url.port
    return scheme, url.hostname or "", port


def _is_under(prefix: str, path: str) -> bool:
    if not prefix:
        return True
    return (path == prefix or path.startswith(f"{prefix}/")) and not _STEP_UP.search(path)


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine: ``localhost`` or a loopback address."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def backup_url(url: str) -> str | None:
    """The same URL on fal's backup domain, or None (PROTOCOL 1: exact host match; we add: https only).

    ``url`` is one that can be sent: its port is a number.
    """
    parts = urlsplit(url)
    backup = wire.BACKUP_HOSTS.get(parts.hostname or "")
    if backup is None or parts.scheme != "https" or parts.port not in {None, 443}:
        return None
    return parts._replace(netloc=backup).geturl()


def hosts_from_environment(environ: Mapping[str, str]) -> Hosts:
    """Where the environment says the services live (PROTOCOL 1.3, and our ``FAL_EMULATOR_URL``).

    ``FAL_RUN_HOST`` and ``FAL_QUEUE_RUN_HOST`` are bare host names, always https; the queue's default
    is ``queue.`` before the run host.

    :raises InputError: for values that are no hosts.
    """
    emulator = environ.get(wire.ENV_EMULATOR_URL)
    if emulator:
        _check_url(wire.ENV_EMULATOR_URL, emulator, ("http", "https"))
        return Hosts.local(emulator)
    run = environ.get(wire.ENV_RUN_HOST) or wire.RUN_HOST
    queue = environ.get(wire.ENV_QUEUE_HOST) or f"queue.{run}"
    for name, host in ((wire.ENV_RUN_HOST, run), (wire.ENV_QUEUE_HOST, queue)):
        if not _HOST.fullmatch(host):
            raise InputError(
                f"{name} is a host name such as {wire.RUN_HOST}, without scheme, path or blanks"
            )
    return Hosts(run=f"https://{run}", realtime=f"wss://{run}", queue=f"https://{queue}")
