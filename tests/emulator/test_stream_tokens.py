"""A browser reads streams of events with a token in the URL instead of a key (PROTOCOL 4, 8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from fal_async.emulator import Emulator

pytestmark = pytest.mark.usefixtures("silent", "unheard")
KEY = {"Authorization": "Key id:secret"}


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator(keys={"id:secret"}, clock="virtual") as emulator:
        yield emulator


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def classic(http: aiohttp.ClientSession, emu: Emulator, alias: str) -> str:
    return str(await asked(http, emu, "", {"allowed_apps": [alias], "token_expiration": 60}))


async def newer(http: aiohttp.ClientSession, emu: Emulator, path: str) -> str:
    said = await asked(http, emu, "realtime", {"allowed_apps": [path], "duration": 60})
    return str(said["token"])


async def asked(http: aiohttp.ClientSession, emu: Emulator, at: str, content: object) -> Any:
    url = f"{emu.url}/rest.fal.ai/tokens/{at}"
    async with http.post(url, json=content, headers=KEY) as response:
        assert response.status == 200
        return await response.json()


async def streamed(http: aiohttp.ClientSession, emu: Emulator, token: str) -> tuple[int, str]:
    url = f"{emu.url}/fal.run/fal-ai/any-llm/stream?fal_jwt_token={token}"
    async with http.post(url, json={"prompt": "hi"}) as response:
        return response.status, await response.text()


async def submitted(http: aiohttp.ClientSession, emu: Emulator) -> str:
    url = f"{emu.url}/queue.fal.run/emulator/echo/some/path"
    async with http.post(url, json={}, headers=KEY) as response:
        return str((await response.json())["status_url"])


async def followed(http: aiohttp.ClientSession, url: str, token: str) -> tuple[int, str]:
    async with http.get(f"{url}/stream?logs=0&fal_jwt_token={token}") as response:
        return response.status, await response.text()


async def test_a_model_streams_to_who_has_a_token(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    for given in (
        await classic(http, emu, "any-llm"),
        await newer(http, emu, "fal-ai/any-llm/stream"),
    ):
        status, text = await streamed(http, emu, given)
        assert status == 200
        assert text.startswith('data: {"output"')
    assert [execution.key_id for execution in emu.ledger] == ["id", "id"]


async def test_a_status_streams_to_who_has_a_token(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    url = await submitted(http, emu)
    for given in (
        await classic(http, emu, "echo"),
        await newer(http, emu, "emulator/echo/some/path/stream"),
    ):
        status, text = await followed(http, url, given)
        assert status == 200
        assert '"COMPLETED"' in text


async def test_a_token_of_another_application_or_of_yesterday_is_refused(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    url = await submitted(http, emu)
    other = await classic(http, emu, "fast-sdxl")
    old = [await classic(http, emu, alias) for alias in ("any-llm", "echo")]
    await emu.advance(60)
    for bad in (other, *old, "invented"):
        assert (await streamed(http, emu, bad))[0] == 401
        assert (await followed(http, url, bad))[0] == 401


async def test_a_token_is_no_key_to_anything_else(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    given = await classic(http, emu, "echo")
    status_url = await submitted(http, emu)
    async with http.get(f"{status_url}?fal_jwt_token={given}") as status:
        assert status.status == 401
    run = f"{emu.url}/fal.run/emulator/echo?fal_jwt_token={given}"
    async with http.post(run, json={}) as answer:
        assert answer.status == 401


async def test_a_token_for_a_request_that_nobody_made_finds_none(
    emu: Emulator, http: aiohttp.ClientSession
) -> None:
    given = await classic(http, emu, "echo")
    url = f"{emu.url}/queue.fal.run/emulator/echo/requests/764cabcf-b745-4b3e-ae38-1200304cf45b"
    assert (await followed(http, f"{url}/status", given))[0] == 404
