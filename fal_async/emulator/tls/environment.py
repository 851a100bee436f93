"""What other programs read in their environment, to find the emulator where they look for fal. Pure."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from fal_async.protocol import wire

__all__ = ["NODE_PRELOAD", "environment"]

#: A key for an emulator that accepts any.
_ANY_KEY: Final = "emulator:any-key"

#: Lower case wins with curl and in Python, and may be what the surroundings have set.
_PROXY: Final = ("HTTPS_PROXY", "https_proxy")
#: Their own servers on this machine programs reach without the proxy, which knows none of them.
_DIRECT: Final = ("NO_PROXY", "no_proxy")
_HERE: Final = "localhost,127.0.0.1,::1"
#: Python's ssl and httpx; requests; curl; Node, which adds it to its own.
_AUTHORITY: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
#: Node's fetch and WebSocket know no proxy: they are led by a file that Node loads first.
NODE_PRELOAD: Final = Path(__file__).with_name("node_preload.cjs")


def environment(proxy: str, authority: str, keys: Collection[str] | None) -> dict[str, str]:
    """The variables and their values.

    :param keys: those that are accepted; None: any.
    """
    return {
        **dict.fromkeys(_PROXY, proxy),
        **dict.fromkeys(_DIRECT, _HERE),
        **dict.fromkeys(_AUTHORITY, authority),
        "NODE_OPTIONS": f"--require={_in_node_options(str(NODE_PRELOAD))}",
        wire.ENV_KEY: min(keys) if keys else _ANY_KEY,
    }


def _in_node_options(path: str) -> str:
    """A path as Node reads it among its options, which blanks divide."""
    if not set(path) & {" ", '"', "\\"}:
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
