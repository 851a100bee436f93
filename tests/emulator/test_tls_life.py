"""An emulator with TLS starts, is reset and stops like any other, and nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from fal_async.emulator import Account, Emulator
from fal_async.emulator.tls.authority import Authority
from fal_async.emulator.tls.environment import NODE_PRELOAD
from tests.emulator.raw import post
from tests.emulator.tls_caller import line, proxied, trusting
from tests.support.virtual_time import turns

pytestmark = pytest.mark.usefixtures("silent", "unheard")

ECHO = "https://fal.run/emulator/echo"


@pytest.fixture
async def tls() -> AsyncIterator[Emulator]:
    async with Emulator(tls=True) as emulator:
        yield emulator


async def test_the_authority_is_in_a_folder_of_its_own_that_goes_with_it() -> None:
    async with Emulator(tls=True) as emulator:
        file = emulator.authority
        assert file.read_text(encoding="ascii").startswith("-----BEGIN CERTIFICATE-----")
        assert "PRIVATE" not in file.read_text(encoding="ascii")
        assert [*file.parent.iterdir()] == [file]
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not file.parent.exists()
    with pytest.raises(RuntimeError, match="does not run"):
        _ = emulator.authority


async def test_each_start_has_an_authority_of_its_own() -> None:
    emulator = Emulator(tls=True)
    async with emulator:
        first = emulator.authority.read_bytes()
    async with emulator:
        assert emulator.authority.read_bytes() != first
        async with proxied(emulator) as http, http.post(ECHO, json={"i": 1}) as answer:
            assert await answer.json() == {"i": 1}


async def test_stopping_ends_whatever_state_connections_are_in(tls: Emulator) -> None:
    tls.faults.add("stall", times=1)
    async with (
        line(tls) as silent,
        line(tls) as half,
        line(tls) as tunnel,
        line(tls) as handshaking,
        line(tls) as secured,
        line(tls) as called,
        line(tls) as idle,
    ):
        half.say(b"CONNECT fal.run")
        await tunnel.tunnel()
        await handshaking.tunnel()
        handshaking.say(b"\x16\x03\x01\x02\x00\x01")
        await secured.tunnel()
        await secured.secure(tls)
        await called.tunnel()
        await called.secure(tls)
        called.say(post("/emulator/echo", headers={"Host": "fal.run"}))
        await tls.until(lambda: tls.requests["run"] == 1)
        await idle.secure(tls)
        keep = {"Host": "fal.run", "Connection": "keep-alive"}
        idle.say(post("/emulator/echo", b"{}", headers=keep))
        await idle.head()
        await turns(5)
        await asyncio.wait_for(tls.stop(), 5)
        for one in (silent, half, tunnel, handshaking, secured, called, idle):
            assert (await one.rest()) in {b"", b"{}"}


async def test_stopping_ends_an_answer_that_nobody_reads() -> None:
    emulator = Emulator(tls=True)

    @emulator.model("you/much")
    def much(_: object) -> str:
        return "a" * (32 << 20)

    await emulator.start()
    async with line(emulator) as one:
        await one.secure(emulator)
        one.say(post("/you/much", headers={"Host": "fal.run"}))
        await one.head()
        await asyncio.wait_for(emulator.stop(), 5)
        await one.rest()


async def test_a_connection_that_begins_as_it_stops_is_ended(tls: Emulator) -> None:
    host, _, port = tls.url.removeprefix("http://").partition(":")
    connecting = [asyncio.open_connection(host, int(port)) for _ in range(5)]
    tasks = [asyncio.create_task(one) for one in connecting]
    await turns(1)
    await asyncio.wait_for(tls.stop(), 5)
    for done in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(done, tuple):
            reader, writer = done
            with suppress(ConnectionError):
                await reader.read()
            writer.close()


async def test_a_reset_leaves_authority_address_and_open_tunnels(tls: Emulator) -> None:
    async with proxied(tls) as http:
        async with http.post(ECHO, json={"i": 1}):
            pass
        before = (tls.url, tls.proxy_url, tls.authority, tls.environment())
        await tls.reset()
        assert (tls.url, tls.proxy_url, tls.authority, tls.environment()) == before
        assert len(tls.ledger) == 0
        async with http.post(ECHO, json={"i": 2}) as answer:
            assert await answer.json() == {"i": 2}
        assert tls._listener.http is not None
        assert len(tls._listener.http.connections) == 1


async def test_an_address_that_is_taken_leaves_no_authority(
    tls: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    other = Emulator(tls=True, port=int(tls.url.rpartition(":")[2]))
    with pytest.raises(OSError, match="in use"):
        await other.start()
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    await other.stop()


async def test_an_address_of_ones_own_is_certified_too() -> None:
    async with Emulator(tls=True, host="127.0.0.2") as emulator:
        base = emulator.url.replace("http:", "https:")
        assert base.startswith("https://127.0.0.2:")
        connector = aiohttp.TCPConnector(ssl=trusting(emulator))
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.post(f"{base}/fal.run/emulator/echo", json={}) as answer,
        ):
            assert answer.status == 200


async def test_on_every_address_it_is_found_at_loopback() -> None:
    async with Emulator(tls=True, host="0.0.0.0") as emulator:
        assert emulator.proxy_url.startswith("http://127.0.0.1:")
        async with proxied(emulator) as http, http.post(ECHO, json={}) as answer:
            assert answer.status == 200


# --- the environment ----------------------------------------------------------------------------------


async def test_the_environment_names_proxy_authority_and_a_key(tls: Emulator) -> None:
    assert tls.tls
    assert tls.environment() == {
        "HTTPS_PROXY": tls.proxy_url,
        "https_proxy": tls.proxy_url,
        "WSS_PROXY": tls.proxy_url,
        "wss_proxy": tls.proxy_url,
        "NO_PROXY": "localhost,127.0.0.1,::1",
        "no_proxy": "localhost,127.0.0.1,::1",
        "SSL_CERT_FILE": str(tls.authority),
        "REQUESTS_CA_BUNDLE": str(tls.authority),
        "CURL_CA_BUNDLE": str(tls.authority),
        "NODE_EXTRA_CA_CERTS": str(tls.authority),
        "NODE_OPTIONS": f"--require={NODE_PRELOAD}",
        "FAL_KEY": "emulator:any-key",
    }


async def test_websockets_of_a_client_that_looks_for_a_proxy_of_their_own_are_led_there(
    tls: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp's do: by HTTPS_PROXY alone they would go to fal itself, whoever made them."""
    for name, value in tls.environment().items():
        monkeypatch.setenv(name, value)
    connector = aiohttp.TCPConnector(ssl=trusting(tls))
    async with (
        aiohttp.ClientSession(connector=connector, trust_env=True) as http,
        http.ws_connect("wss://ws.fal.run/emulator/echo") as socket,
    ):
        await socket.send_json({"i": 1})
        assert (await socket.receive_json())["type"] == "start"
        assert await socket.receive_json() == {"i": 1}


async def test_the_authority_may_have_been_copied(tls: Emulator, tmp_path: Path) -> None:
    there = tmp_path / "ca.pem"
    assert tls.environment(there)["SSL_CERT_FILE"] == str(there)


@pytest.mark.parametrize("keys", [["b:2", "a:1"], Account(keys=frozenset(["b:2", "a:1"]))])
async def test_the_key_is_one_that_is_known(keys: list[str] | Account) -> None:
    async with Emulator(tls=True, keys=keys) as emulator:
        assert emulator.environment()["FAL_KEY"] == "a:1"


# --- without it -----------------------------------------------------------------------------------------


async def test_without_tls_there_is_neither_proxy_nor_authority(emu: Emulator) -> None:
    assert not emu.tls
    for ask in (lambda: emu.proxy_url, lambda: emu.authority, emu.environment):
        with pytest.raises(RuntimeError, match="without tls=True"):
            ask()


async def test_without_tls_nobody_is_given_a_tunnel(emu: Emulator) -> None:
    async with line(emu) as one:
        assert not (await one.tunnel()).startswith(b"HTTP/1.1 2")


async def test_without_tls_a_whole_url_is_no_way_to_anybody_else(emu: Emulator) -> None:
    async with line(emu) as one:
        one.say(post("http://example.com/", method="GET", headers={"Host": "example.com"}))
        assert (await one.head()).startswith(b"HTTP/1.1 404 ")


def test_without_tls_nothing_of_it_is_loaded() -> None:
    program = (
        "import sys\nfrom fal_async.emulator import Emulator\nEmulator()\n"
        "print([name for name in sys.modules if name.startswith(('trustme', 'cryptography',"
        " 'fal_async.emulator.tls.'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_where_trustme_is_missing_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ImportError, match=r"pip install 'fal-async\[emulator\]'"):
        Emulator(tls=True)
    Emulator()


async def test_who_trusts_one_emulator_does_not_trust_another(tls: Emulator) -> None:
    async with Emulator(tls=True) as other, proxied(tls) as http:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.post(ECHO, json={}, proxy=other.proxy_url)


def test_an_authority_is_good_for_the_names_it_was_made_for() -> None:
    authority = Authority(["a.example", "127.0.0.1"])
    try:
        assert authority.context.cert_store_stats()["x509"] == 0
    finally:
        authority.close()
