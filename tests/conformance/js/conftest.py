"""One emulator with TLS and one Node for all tests of a worker; between two, all is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fal_async.emulator import ThreadedEmulator
from tests.conformance.js.node import Node, cache_folder, installed, the_node

KEY = "conformance:secret"


@pytest.fixture(scope="session")
def node_modules(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    the_node()
    return installed(cache_folder(request.config, tmp_path_factory))


@pytest.fixture(scope="session")
def the_emulator() -> Iterator[ThreadedEmulator]:
    pytest.importorskip("trustme", reason="TLS needs trustme")
    with ThreadedEmulator(tls=True, keys={KEY}) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def one_node(node_modules: Path, the_emulator: ThreadedEmulator) -> Iterator[Node]:
    with Node(node_modules, the_emulator.environment()) as node:
        yield node


@pytest.fixture
def emulator(the_emulator: ThreadedEmulator) -> ThreadedEmulator:
    the_emulator.wait(the_emulator.reset())
    return the_emulator


@pytest.fixture
def js(one_node: Node, emulator: ThreadedEmulator) -> Node:
    """Runs JavaScript that takes ``emulator`` for fal."""
    return one_node
