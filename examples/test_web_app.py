"""How a program that calls fal is tested: web_app.py, with the fixtures that come with fal_async.

    pytest examples/test_web_app.py

Each test has an emulator of its own, which the application finds by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer
from web_app import application

from fal_async.emulator import ThreadedEmulator

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def browser(fal_emulator: ThreadedEmulator) -> AsyncIterator[TestClient]:
    """A visitor of the application, which runs against the emulator."""
    async with TestClient(TestServer(application())) as client:
        yield client


async def test_a_visitor_gets_a_picture(
    browser: TestClient, fal_emulator: ThreadedEmulator
) -> None:
    page = await browser.get("/?prompt=a+cat")
    assert page.status == 200
    assert f'<img src="{fal_emulator.url}' in await page.text()
    assert fal_emulator.ledger.billed("fal-ai/flux/schnell") == 1


@pytest.mark.fal(faults=["reset"])
async def test_an_answer_that_is_lost_is_not_paid_for_twice(
    browser: TestClient, fal_emulator: ThreadedEmulator
) -> None:
    page = await browser.get("/")
    assert page.status == 502
    assert fal_emulator.ledger.billed() == 1


@pytest.mark.fal(locked={"test-key-id:test-key-secret": "Exhausted balance"})
async def test_a_visitor_does_not_see_why_there_is_no_picture(browser: TestClient) -> None:
    page = await browser.get("/")
    assert (page.status, await page.text()) == (502, "No picture this time.")
