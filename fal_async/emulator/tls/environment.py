"""What other programs read in their environment, to find the emulator where they look for fal. Pure."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from fal_async.protocol import wire

__all__ = ["NODE_PRELOAD", "environment", "node_options"]

#: A key for an emulator that accepts any.
_ANY_KEY: Final = "emulator:any-key"

#: Lower case wins with curl and in Python, and may be what the surroundings have set. aiohttp asks for a
#: proxy by the scheme, so its WebSockets would go past that for https, to fal itself.
_PROXY: Final = ("HTTPS_PROXY", "https_proxy", "WSS_PROXY", "wss_proxy")
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
        "NODE_OPTIONS": node_options(str(NODE_PRELOAD)),
        wire.ENV_KEY: min(keys) if keys else _ANY_KEY,
    }


def node_options(file: str) -> str:
    """The option by which Node loads a file first, as it is read there: blanks divide options."""
    if set(file) & {" ", '"', "\\"}:
        escaped = file.replace("\\", "\\\\").replace('"', '\\"')
        file = f'"{escaped}"'
    return f"--require={file}"
