"""No test calls fal itself by accident: a real call is billed.

Looked at is where names are resolved and sockets connect, in this process and while a test runs; every
other host is left alone. Knows nothing of fixtures and markers.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, Final

import pytest

from fal_async.protocol import wire
from fal_async.pytest_plugin.importing import WhenImported

__all__ = ["Guard", "is_fal"]

_RESOLVERS: Final = ("getaddrinfo", "gethostbyname", "gethostbyname_ex")
_CONNECTS: Final = ("connect", "connect_ex")
#: By this aiohttp resolves names where it is installed, and Python's own functions are not asked.
_AIODNS: Final = "aiodns"
_LOOKUPS: Final = ("getaddrinfo", "gethostbyname", "query", "query_dns")


def _domain(host: str) -> str:
    return ".".join(host.split(".")[-2:])


#: fal.run, fal.ai, fal.media and falrun.com; whatever is below them is fal's, too.
_DOMAINS: Final = frozenset(
    map(
        _domain,
        (wire.RUN_HOST, wire.REST_HOST, wire.CDN_HOST, *wire.BACKUP_HOSTS.values()),
    )
)


def is_fal(host: object) -> bool:
    """Whether a host is one of fal's."""
    if isinstance(host, bytes | bytearray):
        host = host.decode("ascii", "replace")
    return isinstance(host, str) and _domain(host.rstrip(".").lower()) in _DOMAINS


class Guard:
    """Stands in the way from :meth:`enter` to :meth:`leave`.

    :ivar met: the hosts that were asked for.
    """

    def __init__(self) -> None:
        self.met: list[str] = []
        self._active = False
        self._undo: list[Callable[[], None]] = []

    def enter(self) -> None:
        """Begin to look."""
        self.met.clear()
        self._active = True
        for name in _RESOLVERS:
            self._wrap(socket, name, lambda host, *_, **__: host)
        for name in _CONNECTS:
            self._wrap(socket.socket, name, lambda _, address: _host_of(address))
        self._mind_aiodns()

    def leave(self) -> None:
        """Look no longer; everything is as it was."""
        self._active = False
        while self._undo:
            self._undo.pop()()

    @contextmanager
    def complaining(self) -> Iterator[None]:
        """Fail what happens within, if it asked for fal and swallowed the failure."""
        try:
            yield
        except BaseException:
            self.met.clear()  # it has failed already
            raise
        if self.met:
            hosts, self.met = sorted(set(self.met)), []
            pytest.fail(_sentence(", ".join(hosts)), pytrace=False)

    def _mind_aiodns(self) -> None:
        module = sys.modules.get(_AIODNS)
        if module is not None:
            self._wrap_lookups(module)
            return
        finder = WhenImported(_AIODNS, self._wrap_lookups)
        sys.meta_path.insert(0, finder)

        def forget() -> None:
            with suppress(ValueError):  # whoever tidies up the finders was quicker
                sys.meta_path.remove(finder)

        self._undo.append(forget)

    def _wrap_lookups(self, module: ModuleType) -> None:
        for name in _LOOKUPS:
            if hasattr(module.DNSResolver, name):
                self._wrap(module.DNSResolver, name, lambda _, host, *__, **___: host)

    def _wrap(self, place: Any, name: str, host_of: Callable[..., object]) -> None:
        original = getattr(place, name)
        inherited = name not in vars(place)

        def guarded(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            host = host_of(*args, **kwargs)
            if self._active and is_fal(host):
                shown = host.decode() if isinstance(host, bytes | bytearray) else str(host)
                self.met.append(shown)
                pytest.fail(_sentence(shown))
            return original(*args, **kwargs)

        def undo() -> None:
            if vars(place).get(name) is not guarded:
                return  # somebody has put something over it; what is below does nothing now
            if inherited:
                delattr(place, name)
            else:
                setattr(place, name, original)

        setattr(place, name, guarded)
        self._undo.append(undo)


def _host_of(address: object) -> object:
    return address[0] if isinstance(address, tuple) and address else None


def _sentence(host: str) -> str:
    return (
        f"this test would have called fal itself ({host}), which is billed. Use the fixture fal_emulator, "
        "which an AsyncFal finds that is made within the test, not before; or allow it with "
        "@pytest.mark.fal(allow_network=True), for all tests with fal_allow_network = true in the "
        "configuration of pytest"
    )
