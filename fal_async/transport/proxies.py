"""Which proxy a URL goes through. The environment is read once per origin, by us.

aiohttp's own way (``trust_env``) asks a thread twice per request, which costs two thirds of the throughput,
and reads netrc, which collides with the key.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

from fal_async.errors import InputError
from fal_async.protocol.hosts import is_loopback

__all__ = ["Proxies", "ProxyRouter"]

Proxies = Literal["env"] | str | Mapping[str, str] | None
"""``"env"``: as the environment says; a URL for everything; a mapping from scheme to URL; None: no proxy."""

_SCHEMES: Final = ("http", "https")


class ProxyRouter:
    """Finds the proxy of a URL, once per origin.

    :raises InputError: for a proxy that is no http or https URL.
    """

    def __init__(self, proxies: Proxies) -> None:
        if isinstance(proxies, str) and proxies != "env":
            proxies = dict.fromkeys(_SCHEMES, proxies)
        if isinstance(proxies, Mapping):
            proxies = {_scheme(scheme): _check(url) for scheme, url in proxies.items()}
        elif proxies is not None and proxies != "env":
            raise InputError(
                f"proxies is 'env', a URL, a mapping or None, not {type(proxies).__name__}"
            )
        self._proxies = proxies
        self._known: dict[tuple[str, str], str | None] = {}

    def proxy_of(self, url: str) -> str | None:
        """The proxy's URL, or None for a direct connection. Loopback never goes through one."""
        if self._proxies is None:
            return None
        parts = urlsplit(url)
        origin = (parts.scheme, parts.netloc)
        if origin not in self._known:
            self._known[origin] = self._resolve(url, *origin)
        return self._known[origin]

    def _resolve(self, url: str, scheme: str, netloc: str) -> str | None:
        if is_loopback(url):
            return None
        scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
        if isinstance(self._proxies, Mapping):
            return self._proxies.get(scheme)
        if urllib.request.proxy_bypass(netloc):
            return None
        found = urllib.request.getproxies()
        proxy = found.get(scheme) or found.get("all")
        return _check(proxy, f"the environment's proxy for {scheme}") if proxy else None


def _scheme(name: object) -> str:
    if name not in _SCHEMES:
        raise InputError(f"proxies maps http and https to URLs, not {name!r}")
    return str(name)


def _check(url: object, what: str = "a proxy") -> str:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        good = parts and parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, an unclosed bracket
        good = False
    if not good:
        # Not shown: it may hold the proxy's password.
        raise InputError(f"{what} is a URL such as http://host:port (http or https)")
    return str(url)
