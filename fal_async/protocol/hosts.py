"""Where fal's services live, and which URLs may be given the key.

Pure: the environment is handed in as a mapping. Nothing here resolves or connects.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import attrs

from fal_async.errors import InputError
from fal_async.protocol import wire

__all__ = ["Hosts", "backup_url", "hosts_from_environment", "is_loopback"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
#: A key given to a WebSocket origin travels as it does to the HTTP origin of the same security.
_HTTP_TWIN: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def _clean_base(text: Any) -> Any:
    return text.rstrip("/") if isinstance(text, str) else text


def _check_base(_: object, attribute: attrs.Attribute[str], value: object) -> None:
    name = attribute.name
    if not isinstance(value, str):
        raise InputError(f"Hosts.{name} is a base URL, not {type(value).__name__}")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise InputError(f"Hosts.{name} is not a URL: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == 0:
        raise InputError(f"Hosts.{name} needs a scheme and a host, such as https://fal.run")
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise InputError(
            f"Hosts.{name} is scheme, host and path only: no credentials, query or fragment"
        )


def _base(default: str) -> str:
    value: str = attrs.field(default=default, converter=_clean_base, validator=_check_base)
    return value


@attrs.frozen(kw_only=True)
class Hosts:
    """The base URL of every service, each of which may carry a path prefix (PROTOCOL 1).

    :raises InputError: for a base URL with no scheme or host, or with credentials or a query.
    """

    run: str = _base(f"https://{wire.RUN_HOST}")
    """Direct calls and event streams."""
    queue: str = _base(f"https://{wire.QUEUE_HOST}")
    ws: str = _base(f"wss://{wire.WS_HOST}")
    """HTTP over WebSockets."""
    realtime: str = _base(f"wss://{wire.RUN_HOST}")
    rest: str = _base(f"https://{wire.REST_HOST}")
    """Tokens, storage, webhook keys."""
    cdn: str = _base(f"https://{wire.CDN_HOST}")
    api: str = _base(f"https://{wire.API_HOST}")
    """The platform API; never used for model calls."""

    @classmethod
    def local(cls, url: str) -> Hosts:
        """All services on one server, such as an emulator at ``http://127.0.0.1:8000``.

        Each is reached there under a path prefix that is its host name at fal.
        """
        base = _clean_base(url)
        cls(run=base)  # says what is wrong with it, if anything is
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
        try:
            wanted = urlsplit(url)
            return any(_covers(base, wanted) for base in self._key_bases())
        except ValueError:  # a port that is no number, an unclosed bracket
            return False

    def insecure(self) -> tuple[str, ...]:
        """The base URLs that would carry the key in the clear over a network."""
        return tuple(
            base
            for base in self._bases()
            if urlsplit(base).scheme in {"http", "ws"} and not is_loopback(base)
        )

    def _bases(self) -> tuple[str, ...]:
        return (self.run, self.queue, self.ws, self.realtime, self.rest, self.cdn, self.api)

    def _key_bases(self) -> tuple[SplitResult, ...]:
        return _split_bases(
            (self.run, self.queue, self.ws, self.realtime, self.rest, self.api),
        )


@lru_cache(maxsize=64)
def _split_bases(bases: tuple[str, ...]) -> tuple[SplitResult, ...]:
    backups = (backup_url(base) for base in bases)
    return tuple(urlsplit(base) for base in (*bases, *backups) if base)


def _covers(base: SplitResult, url: SplitResult) -> bool:
    if _origin(base) != _origin(url) or url.username is not None or url.password is not None:
        return False
    prefix = base.path
    path = url.path
    if ".." in path.split("/") or "%2e" in path.lower():
        return False  # a server may resolve the dots and leave the prefix
    return not prefix or path == prefix or path.startswith(prefix + "/")


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    scheme = url.scheme.lower()
    return (
        _HTTP_TWIN.get(scheme, scheme),
        url.hostname or "",
        url.port or _DEFAULT_PORTS.get(scheme),
    )


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine: ``localhost`` or a loopback address."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def backup_url(url: str) -> str | None:
    """The same URL on fal's backup domain, or None (PROTOCOL 1: exact host match, https only)."""
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
        return Hosts.local(emulator)
    run = environ.get(wire.ENV_RUN_HOST) or wire.RUN_HOST
    queue = environ.get(wire.ENV_QUEUE_HOST) or f"queue.{run}"
    for name, host in ((wire.ENV_RUN_HOST, run), (wire.ENV_QUEUE_HOST, queue)):
        if "://" in host or "/" in host:
            raise InputError(
                f"{name} is a host name such as {wire.RUN_HOST}, without scheme or path"
            )
    return Hosts(run=f"https://{run}", realtime=f"wss://{run}", queue=f"https://{queue}")
