"""Over TLS, closing takes two: a session waits for no end that says nothing, and leaves nothing open."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.architecture.sources import CHECKOUT
from tests.support.tls import FOLDER, server_context

PROGRAM = """
import asyncio
from fal_async import AsyncFal, Hosts

async def main():
    async with AsyncFal("a-key-id:a-key-secret", hosts=Hosts.local("https://localhost:{port}")) as fal:
        async with fal.stream("owner/app", {{}}) as events:
            async for event in events:
                break

asyncio.run(main())
"""
BEGINNING = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nx-fal-request-id: 1\r\n\r\ndata: {}\n\n"
)


@pytest.fixture
def rude_port() -> Iterator[int]:
    """A server that begins to answer, and then neither reads, writes nor closes."""
    over = threading.Event()

    def serve() -> None:
        accepted, _ = listening.accept()
        with server_context().wrap_socket(accepted, server_side=True) as secured:
            secured.recv(65536)
            secured.sendall(BEGINNING)
            over.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve)
        serving.start()
        yield listening.getsockname()[1]
        over.set()
        serving.join()


def test_a_stream_that_was_left_leaves_nothing_open(rude_port: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(port=rude_port)],
        env={"SSL_CERT_FILE": str(FOLDER / "server.pem"), "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
