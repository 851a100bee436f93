"""An emulator with TLS in a test that the pytest plugin watches: nothing of it looks like a call of fal."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.conftest import INI

pytest_plugins = ["pytester"]

pytest.importorskip("fal_client", reason="fal-client is not installed")

TESTS = """
import fal_client
import pytest
from fal_async.emulator import ThreadedEmulator

@pytest.fixture
def tls(monkeypatch):
    with ThreadedEmulator(tls=True) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        yield emulator

def call():
    client = fal_client.SyncClient()
    try:
        return client.run("emulator/echo", {"i": 1})
    finally:
        client._client.close()

def test_by_the_proxy(tls):
    assert call() == {"i": 1}
    assert tls.ledger.billed() == 1

def test_beside_the_fixture(fal_emulator, tls):
    assert call() == {"i": 1}
    assert fal_emulator.ledger.billed() == 1

def test_without_either(monkeypatch):
    monkeypatch.setenv("FAL_KEY", "a:b")
    with pytest.raises(Exception):
        call()
"""


def test_fal_client_is_let_through_to_it_and_nowhere_else(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makefile(".ini", pytest=INI.format(mode="auto"))
    pytester.makepyfile(TESTS)
    # In a process of its own: httpx and cryptography do not bear to be imported twice.
    done = pytester.runpytest_subprocess(
        "-p", "fal_async.pytest_plugin", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider"
    )
    done.assert_outcomes(passed=2, failed=1)
