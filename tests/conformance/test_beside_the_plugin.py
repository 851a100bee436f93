"""An emulator with TLS in a test that the pytest plugin watches: nothing of it looks like a call of fal."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.conftest import Run, run

__all__ = ["run"]

pytest_plugins = ["pytester"]

pytest.importorskip("fal_client", reason="fal-client is not installed")


def test_fal_client_is_let_through_to_it_and_nowhere_else(run: Run) -> None:
    done = run(
        """
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
            monkeypatch.setattr("fal_client.client.MAX_ATTEMPTS", 1)
            with pytest.raises(Exception):
                call()
        """
    )
    done.assert_outcomes(passed=2, failed=1)
