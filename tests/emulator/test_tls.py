"""An emulator with TLS is fal to whoever looks for it by name: through a proxy, over https and over wss."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import io
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import abc

from fal_async.emulator import Emulator, MadeFile, ThreadedEmulator
from fal_async.emulator.services import SERVICES
from fal_async.protocol import wire
from tests.architecture.sources import CHECKOUT
from tests.emulator.tls_caller import proxied, trusting

pytestmark = pytest.mark.usefixtures("silent", "unheard")

ECHO = "https://fal.run/emulator/echo"


@pytest.fixture
async def tls() -> AsyncIterator[Emulator]:
    async with Emulator(tls=True) as emulator:
        yield emulator


@pytest.fixture
async def caller(tls: Emulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with proxied(tls) as http:
        yield http


class Here(abc.AbstractResolver):
    """All hosts are this machine, as with an entry in ``/etc/hosts``."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[abc.ResolveResult]:
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": family,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self) -> None:
        pass


def test_the_hosts_are_those_of_fal() -> None:
    assert {*SERVICES} == {
        "fal.run",
        "queue.fal.run",
        "ws.fal.run",
        "rest.fal.ai",
        "rest.alpha.fal.ai",
        "api.fal.ai",
        "v3.fal.media",
        "v3b.fal.media",
        "falrun.com",
        "queue.falrun.com",
    }


@pytest.mark.parametrize("host", SERVICES)
async def test_each_host_of_fal_has_a_certificate_and_an_answer(
    caller: aiohttp.ClientSession, host: str
) -> None:
    async with caller.get(f"https://{host}/none/of/them") as answer:
        assert answer.status in {401, 404, 405}
        assert answer.content_type == "application/json"


async def test_a_model_runs_and_its_picture_is_on_the_cdn(
    tls: Emulator, caller: aiohttp.ClientSession
) -> None:
    async with caller.post("https://fal.run/fal-ai/fast-sdxl", json={"prompt": "a cat"}) as answer:
        [image] = (await answer.json())["images"]
    assert image["url"].startswith("https://v3.fal.media/files/")
    async with caller.get(image["url"]) as answer:
        assert (await answer.read())[:3] == b"\xff\xd8\xff"
    assert tls.ledger.billed("fal-ai/fast-sdxl") == 1


@pytest.mark.parametrize("host", [wire.QUEUE_HOST, wire.BACKUP_HOSTS[wire.QUEUE_HOST]])
async def test_the_queue_speaks_of_itself_by_its_name(
    caller: aiohttp.ClientSession, host: str
) -> None:
    async with caller.post(f"https://{host}/emulator/echo", json={"i": 1}) as answer:
        submitted = await answer.json()
    assert submitted["status_url"].startswith("https://queue.fal.run/emulator/echo/requests/")
    async with caller.get(submitted["response_url"]) as answer:
        assert await answer.json() == {"i": 1}


async def test_a_websocket_goes_through_the_proxy(caller: aiohttp.ClientSession) -> None:
    async with caller.ws_connect("wss://fal.run/emulator/echo/realtime") as socket:
        await socket.send_str('{"i": 1}')
        assert json.loads((await socket.receive()).data) == {"i": 1}
    async with caller.ws_connect("wss://ws.fal.run/emulator/echo") as socket:
        await socket.send_str('{"i": 2}')
        assert [json.loads((await socket.receive()).data) for _ in range(3)][1] == {"i": 2}


async def test_a_stream_comes_event_by_event(tls: Emulator, caller: aiohttp.ClientSession) -> None:
    url = "https://fal.run/fal-ai/any-llm/stream"
    async with caller.post(url, json={"prompt": "hello"}) as answer:
        events = [line async for line in answer.content if line.startswith(b"data: ")]
    assert len(events) > 1
    assert tls.requests["stream"] == 1


async def test_a_stream_may_be_left_in_the_middle(
    tls: Emulator, caller: aiohttp.ClientSession
) -> None:
    url = "https://fal.run/fal-ai/any-llm/stream"
    for _ in range(5):
        async with caller.post(url, json={"prompt": "hello"}) as answer:
            await answer.content.readline()
        # left with most of it unread
    await tls.until(lambda: tls.in_flight == 0)
    assert tls.ledger.billed() == 5


async def test_one_tunnel_serves_many_calls(tls: Emulator, caller: aiohttp.ClientSession) -> None:
    for i in range(5):
        async with caller.post(ECHO, json={"i": i}) as answer:
            assert await answer.json() == {"i": i}
    assert tls._listener.http is not None
    assert len(tls._listener.http.connections) == 1


async def test_calls_at_once_have_tunnels_of_their_own(
    tls: Emulator, caller: aiohttp.ClientSession
) -> None:
    async def call(i: int) -> dict[str, int]:
        async with caller.post(ECHO, json={"i": i}) as answer:
            said: dict[str, int] = await answer.json()
            return said

    assert await asyncio.gather(*map(call, range(50))) == [{"i": i} for i in range(50)]
    assert tls.ledger.billed() == 50


async def test_large_bodies_go_both_ways_unchanged(
    tls: Emulator, caller: aiohttp.ClientSession
) -> None:
    async with caller.post(
        "https://rest.fal.ai/storage/auth/token", json={}, headers={"Authorization": "Key a:b"}
    ) as answer:
        token = (await answer.json())["token"]
    data = bytes(range(256)) * (32 << 12)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/png"}
    async with caller.post(
        "https://v3.fal.media/files/upload", data=io.BytesIO(data), headers=headers
    ) as answer:
        url = (await answer.json())["access_url"]
    assert url.startswith("https://v3.fal.media/files/b/")
    async with caller.get(url) as answer:
        got = await answer.read()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    assert tls.storage[url].size == len(data)


async def test_who_resolves_the_names_to_this_machine_needs_no_proxy(tls: Emulator) -> None:
    port = int(tls.url.rpartition(":")[2])
    connector = aiohttp.TCPConnector(ssl=trusting(tls), resolver=Here())
    url = f"https://queue.fal.run:{port}/emulator/echo"
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.post(url, json={}) as answer,
    ):
        assert (await answer.json())["status"] == "IN_QUEUE"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_it_is_reached_over_https_by_its_address_too(tls: Emulator, host: str) -> None:
    port = int(tls.url.rpartition(":")[2])
    base = f"https://{host}:{port}"
    connector = aiohttp.TCPConnector(ssl=trusting(tls), family=socket.AF_INET)
    async with aiohttp.ClientSession(connector=connector) as http:
        url = f"{base}/queue.fal.run/emulator/echo"
        async with http.post(url, json={}) as answer:
            assert (await answer.json())["status_url"].startswith(f"{url}/requests/")


async def test_plain_http_is_served_on_the_same_port(tls: Emulator) -> None:
    url = f"{tls.hosts.run}/emulator/echo"
    async with aiohttp.ClientSession() as http, http.post(url, json={"i": 1}) as answer:
        assert await answer.json() == {"i": 1}


async def test_who_does_not_trust_the_authority_is_not_served_and_disturbs_nobody(
    tls: Emulator, caller: aiohttp.ClientSession
) -> None:
    async with aiohttp.ClientSession(proxy=tls.proxy_url) as stranger:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await stranger.post(ECHO, json={})
    async with caller.post(ECHO, json={"i": 1}) as answer:
        assert await answer.json() == {"i": 1}
    assert tls.ledger.billed() == 1


@pytest.mark.parametrize("kind", ["reset", "close", "half_body", "stall"])
async def test_faults_break_what_is_inside_a_tunnel(
    tls: Emulator, caller: aiohttp.ClientSession, kind: str
) -> None:
    tls.faults.add(kind)
    timeout = aiohttp.ClientTimeout(total=0.2 if kind == "stall" else None)
    with pytest.raises((aiohttp.ClientError, TimeoutError)):
        async with caller.post(ECHO, json={"i": 1}, timeout=timeout) as answer:
            await answer.read()
    assert tls.ledger.billed() == 1


async def test_files_of_models_are_where_their_urls_say(
    tls: Emulator, caller: aiohttp.ClientSession
) -> None:
    @tls.model("you/note")
    def note(_: object) -> dict[str, object]:
        return {"file": MadeFile(b"a cat", "text/plain", "txt")}

    async with caller.post("https://fal.run/you/note", json={}) as answer:
        url = (await answer.json())["file"]["url"]
    async with caller.get(url) as answer:
        assert await answer.read() == b"a cat"


def test_code_that_blocks_finds_it_in_a_thread_of_its_own() -> None:
    with ThreadedEmulator(tls=True) as emulator:
        host, _, port = emulator.proxy_url.removeprefix("http://").partition(":")
        connection = http.client.HTTPSConnection(host, int(port), context=trusting(emulator))
        connection.set_tunnel("fal.run", 443)
        connection.request("POST", "/emulator/echo", b'{"i":1}')
        assert connection.getresponse().read() == b'{"i":1}'
        connection.close()
        assert emulator.ledger.billed() == 1


SESSION = """
import asyncio
from fal_async import AsyncFal

async def main():
    async with AsyncFal() as fal:
        print(str(fal.hosts.run), await fal.run("emulator/echo", {"i": 1}))
        print(await fal.run("emulator/echo", {"i": 2}, durable=True))
        url = str((await fal.upload(b"a cat", content_type="text/plain")).url)
        print(url.partition("/files/")[0], await fal.read(url))
        async with fal.realtime("emulator/echo") as connection:
            await connection.send({"i": 3})
            print(await anext(connection))

asyncio.run(main())
"""


def test_our_own_client_finds_it_by_the_environment() -> None:
    with ThreadedEmulator(tls=True, keys=["an-id:a-secret"]) as emulator:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SESSION],
            env=emulator.environment() | {"PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout.splitlines(), done.stderr) == (
            [
                "https://fal.run {'i': 1}",
                "{'i': 2}",
                "https://v3.fal.media b'a cat'",
                "{'i': 3}",
            ],
            "",
        )
        assert [run.key_id for run in emulator.ledger] == ["an-id"] * 3
