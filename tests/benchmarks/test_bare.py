"""The bare socket that others are measured by makes the calls that they make."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from benchmarks.bare import bare_calls
from fal_async.emulator import Emulator, Model

KEY = {"Authorization": "Key id:secret", "Content-Type": "application/json"}


async def _echo(content: Any) -> Any:
    return content


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(models=(Model(id="bench/echo", function=_echo),)) as emulator:
        yield emulator


async def test_its_answers_are_those_of_the_model(emulator: Emulator) -> None:
    given = {"prompt": "x" * 300_000}  # comes in many pieces
    async with bare_calls(emulator.url, KEY, json.dumps(given).encode()) as call:
        answers = await asyncio.gather(*(call("bench/echo") for _ in range(20)))
        answers += [await call("bench/echo")]
    assert [json.loads(answer) for answer in answers] == [given] * 21
    assert emulator.ledger.billed() == 21


async def test_a_call_whose_connection_is_lost_fails(emulator: Emulator) -> None:
    emulator.faults.add("reset", operation="run")
    async with bare_calls(emulator.url, KEY, b"{}") as call:
        with pytest.raises(ConnectionError):
            await call("bench/echo")
