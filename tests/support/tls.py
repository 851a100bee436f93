"""A server's certificate that nobody trusts, for localhost, 127.0.0.1, fal.run and falrun.com.

It was made with openssl for these tests, signs itself, and is good until 2120.
"""

from __future__ import annotations

import ssl
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "samples" / "tls"


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "server.pem", FOLDER / "server.key")
    return context


def trusting_context() -> ssl.SSLContext:
    """A client's, which trusts that certificate and no other."""
    return ssl.create_default_context(cafile=str(FOLDER / "server.pem"))
