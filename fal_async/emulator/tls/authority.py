"""A certificate authority that lives as long as the emulator, and vouches for fal's hosts."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

__all__ = ["Authority", "MissingExtraError", "look_for_trustme"]

_FILE: Final = "fal-emulator-authority.pem"


class MissingExtraError(ImportError):
    """TLS was asked for, and what makes certificates is not installed."""

    def __init__(self) -> None:
        super().__init__("TLS needs trustme: pip install 'fal-async[emulator]'")


def look_for_trustme() -> None:
    """Complain early.

    :raises MissingExtraError: if trustme is not there.
    """
    _trustme()


class Authority:
    """An authority that nobody knows, and a server's certificate by it.

    Its own key is never written to a file. Its certificate is, in a folder that only this user can read.

    :param names: the hosts and addresses that the server answers for.
    """

    def __init__(self, names: Iterable[str]) -> None:
        maker = _trustme()
        authority = maker.CA(organization_name="fal_async emulator, for this run only")
        self.context: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["http/1.1"])
        authority.issue_cert(*names).configure_cert(self.context)
        self._folder = TemporaryDirectory(prefix="fal-emulator-")
        self.path: Final = Path(self._folder.name) / _FILE
        authority.cert_pem.write_to_path(str(self.path))

    def close(self) -> None:
        """Take its file away."""
        self._folder.cleanup()


def _trustme() -> Any:
    try:
        import trustme  # noqa: PLC0415  # an extra, and slow to load
    except ImportError:
        raise MissingExtraError from None
    return trustme
