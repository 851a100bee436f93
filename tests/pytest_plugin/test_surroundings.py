"""What code under test finds around it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from os import environ  # noqa: TID251  # it is what is tested
from pathlib import Path
from types import ModuleType

import pytest

from fal_async.pytest_plugin.surroundings import surroundings
from tests.architecture.sources import CHECKOUT
from tests.pytest_plugin.conftest import INI, PLUGINS, Run

pytest_plugins = ["pytester"]

URL = "http://127.0.0.1:8000"


def test_the_environment_leads_to_the_emulator_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAL_KEY_ID", "mine")
    monkeypatch.setenv("FAL_KEY_SECRET", "secret")
    monkeypatch.setenv("NO_PROXY", "example.com")
    before = dict(environ)
    with surroundings(URL):
        assert environ["FAL_EMULATOR_URL"] == URL
        assert environ["FAL_RUN_HOST"] == environ["FAL_QUEUE_RUN_HOST"] == "127.0.0.1:8000"
        assert environ["FAL_KEY"] == "test-key-id:test-key-secret"
        assert "FAL_KEY_ID" not in environ
        assert "FAL_KEY_SECRET" not in environ
        assert environ["NO_PROXY"] == "127.0.0.1,example.com"
    assert dict(environ) == before


CLIENT = """
import os
RUN_HOST = os.environ.get("FAL_RUN_HOST", "fal.run")
QUEUE_HOST = os.environ.get("FAL_QUEUE_RUN_HOST", f"queue.{RUN_HOST}")
RUN_URL_FORMAT = f"https://{RUN_HOST}/"
QUEUE_URL_FORMAT = f"https://{QUEUE_HOST}/"
REALTIME_URL_FORMAT = f"wss://{RUN_HOST}/"
REST_URL = "https://rest.fal.ai"
CDN_URL = "https://v3.fal.media"
"""
NAMES = ("RUN_URL_FORMAT", "QUEUE_URL_FORMAT", "REALTIME_URL_FORMAT", "REST_URL", "CDN_URL")
REAL = [
    "https://fal.run/",
    "https://queue.fal.run/",
    "wss://fal.run/",
    "https://rest.fal.ai",
    "https://v3.fal.media",
]
EMULATED = [
    f"{URL}/fal.run/",
    f"{URL}/queue.fal.run/",
    "ws://127.0.0.1:8000/fal.run/",
    f"{URL}/rest.fal.ai",
    f"{URL}/v3.fal.media",
]


def where_it_leads() -> list[str]:
    client = importlib.import_module("fal_client.client")
    return [getattr(client, name) for name in NAMES]


@pytest.fixture
def not_yet_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Something that looks like fal-client, which nobody has imported."""
    package = tmp_path / "fal_client"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "client.py").write_text(CLIENT)
    for name in [name for name in sys.modules if name.partition(".")[0] == "fal_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("fal_client", "fal_client.client"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("not_yet_imported")
def test_a_client_that_is_there_already_is_led_to_the_emulator_and_back() -> None:
    assert where_it_leads() == REAL
    with surroundings(URL):
        assert where_it_leads() == EMULATED
    assert where_it_leads() == REAL


@pytest.mark.usefixtures("not_yet_imported")
def test_a_client_that_is_imported_meanwhile_is_too() -> None:
    finders = list(sys.meta_path)
    with surroundings(URL):
        assert where_it_leads() == EMULATED
    assert where_it_leads() == REAL
    assert sys.meta_path == finders


def test_a_client_that_is_not_installed_is_not_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "fal_client").mkdir()
    (tmp_path / "fal_client" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "fal_client"]:
        monkeypatch.delitem(sys.modules, name)
    with surroundings(URL), pytest.raises(ModuleNotFoundError):
        importlib.import_module("fal_client.client")
    monkeypatch.delitem(sys.modules, "fal_client")


WITH_FAL_CLIENT = """
import pytest
{at_the_top}

def test_plain(fal_emulator):
    import fal_client
    fal_client.run("fal-ai/fast-sdxl", arguments={{"prompt": "a cat"}})
    output = fal_client.subscribe("fal-ai/fast-sdxl", arguments={{"prompt": "a cat"}})
    assert output["images"]
    assert fal_client.upload(b"text", "text/plain").startswith(fal_emulator.url)
    assert fal_emulator.ledger.billed() == 2

async def test_async(fal_emulator):
    import fal_client
    client = fal_client.AsyncClient()
    await client.run("fal-ai/fast-sdxl", arguments={{"prompt": "a cat"}})
    assert fal_emulator.ledger.billed() == 1

def test_where_it_leads_without_the_fixture():
    import fal_client.client
    assert fal_client.client.RUN_URL_FORMAT == "https://fal.run/"
    assert fal_client.client.QUEUE_URL_FORMAT == "https://queue.fal.run/"
    assert fal_client.client.CDN_URL == "https://v3.fal.media"
"""


@pytest.mark.parametrize("at_the_top", ["", "import fal_client"])
def test_fal_client_is_led_there_whenever_it_is_imported(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, at_the_top: str
) -> None:
    pytest.importorskip("fal_client", reason="fal-client comes with the dev extra")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    # fal-client leaves connections to the garbage collector
    pytester.makefile(".ini", pytest=INI.format(mode="auto").replace("filterwarnings = error", ""))
    pytester.makepyfile(WITH_FAL_CLIENT.format(at_the_top=at_the_top))
    plugins = [argument for plugin in PLUGINS for argument in ("-p", plugin)]
    done = pytester.run(sys.executable, "-m", "pytest", *plugins, "-p", "no:cacheprovider")
    done.assert_outcomes(passed=3)


SHARED_BY_FAL_CLIENT = """
import fal_client
import pytest

@pytest.mark.parametrize("time", range(4))
async def test_each_on_a_loop_of_its_own(fal_emulator, time):
    await fal_client.run_async("emulator/echo", arguments={})
    assert (await fal_client.upload_async(b"text", "text/plain")).startswith(fal_emulator.url)
    assert fal_emulator.ledger.billed() == 1

@pytest.mark.parametrize("time", range(4))
def test_each_with_an_emulator_of_its_own(fal_emulator, time):
    fal_client.run("emulator/echo", arguments={})
    assert fal_client.upload(b"text", "text/plain").startswith(fal_emulator.url)
    assert fal_emulator.ledger.billed() == 1

@pytest.mark.fal(keys=["another:key"])
def test_another_key(fal_emulator_session):
    fal_client.run("emulator/echo", arguments={})
    [execution] = fal_emulator_session.ledger
    assert execution.key_id == "another"
"""


def test_what_functions_of_fal_client_share_begins_anew_with_each_emulator(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its account, its token for uploads, and connections that are bound to an event loop."""
    pytest.importorskip("fal_client", reason="fal-client comes with the dev extra")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    pytester.makefile(".ini", pytest=INI.format(mode="auto").replace("filterwarnings = error", ""))
    pytester.makepyfile(SHARED_BY_FAL_CLIENT)
    plugins = [argument for plugin in PLUGINS for argument in ("-p", plugin)]
    done = pytester.run(sys.executable, "-m", "pytest", *plugins, "-p", "no:cacheprovider")
    done.assert_outcomes(passed=9)


class SharedClient:
    """As fal-client's: what it has made stands under names of its own, beside its settings."""

    def __init__(self) -> None:
        self.key = None


def test_what_functions_of_fal_client_had_before_they_have_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package, client = ModuleType("fal_client"), SharedClient()
    vars(package)["sync_client"] = client
    monkeypatch.setitem(sys.modules, "fal_client", package)
    vars(client)["_auth"] = "mine"
    with surroundings(URL):
        assert vars(client) == {"key": None}
        vars(client).update(_auth="the emulator's", _token_manager="the emulator's")
    assert vars(client) == {"key": None, "_auth": "mine"}


def test_collecting_imports_neither_the_client_nor_the_emulator(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    pytester.makepyfile(
        """
        import sys

        def test_it():
            heavy = {"aiohttp", "attrs", "cattrs", "msgspec", "fal_async.session"}
            assert not heavy & set(sys.modules)
        """
    )
    plugins = ("-p", "fal_async.pytest_plugin", "-p", "pytest_asyncio.plugin")
    done = pytester.run(
        sys.executable,
        "-m",
        "pytest",
        *plugins,
        "-o",
        "asyncio_default_fixture_loop_scope=function",
    )
    done.assert_outcomes(passed=1)


def test_pytest_finds_it_by_its_entry_point() -> None:
    configuration = Path(CHECKOUT, "setup.cfg").read_text(encoding="utf-8")
    assert "pytest11 =\n    fal_async = fal_async.pytest_plugin\n" in configuration
