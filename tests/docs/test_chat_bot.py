"""The example of a bot does what it says, for many users at once."""

from __future__ import annotations

import asyncio
import runpy
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fal_async import AsyncFal
from fal_async.emulator import Emulator, RunnerSettings
from tests.docs.pages import CHECKOUT

EXAMPLE = runpy.run_path(str(CHECKOUT / "examples" / "chat_bot.py"))
Bot, Message = EXAMPLE["Bot"], EXAMPLE["Message"]


class Chat:
    """Messages as a test sends them, and what each user was told."""

    def __init__(self) -> None:
        self.told: defaultdict[str, str] = defaultdict(str)
        self._sent: asyncio.Queue[Any] = asyncio.Queue()
        self._news = asyncio.Event()

    def send(self, user: str, text: str) -> None:
        self._sent.put_nowait(Message(user, text))

    def end(self) -> None:
        self._sent.put_nowait(None)

    async def messages(self) -> AsyncIterator[Any]:
        while (message := await self._sent.get()) is not None:
            yield message

    async def say(self, user: str, words: str) -> None:
        self.told[user] += words
        self._news.set()

    async def until(self, user: str, words: str) -> None:
        async with asyncio.timeout(20):
            while words not in self.told[user]:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(runners=RunnerSettings(count=1)) as emulator:
        yield emulator


async def test_many_users_share_one_session_and_each_gets_the_whole_answer(
    emulator: Emulator,
) -> None:
    chat = Chat()
    async with AsyncFal(hosts=emulator.hosts) as fal:
        users = [f"user {i}" for i in range(20)]
        for user in users:
            chat.send(user, "why?")
        chat.end()
        await Bot(fal, chat.say).serve(chat.messages())
        whole = await fal.run("fal-ai/any-llm", {"prompt": "why?"})
    assert {chat.told[user] for user in users} == {f"{whole['output']}\n"}


async def test_stop_ends_an_answer_in_its_midst(emulator: Emulator) -> None:
    chat = Chat()
    emulator.faults.add("stream_stalls", events=3)
    async with AsyncFal(hosts=emulator.hosts) as fal, asyncio.TaskGroup() as tasks:
        tasks.create_task(Bot(fal, chat.say).serve(chat.messages()))
        chat.send("ann", "why?")
        await chat.until("ann", " ")
        chat.send("ann", "and how?")
        await chat.until("ann", "one thing at a time")
        chat.send("ann", "stop")
        await chat.until("ann", "(stopped)")
        chat.send("ann", "stop")
        chat.end()
    assert fal.limits is not None
    assert fal.limits.in_flight == 0


async def test_who_waits_in_the_queue_sees_the_place_and_stop_takes_the_request_out(
    emulator: Emulator,
) -> None:
    chat, opened = Chat(), asyncio.Event()

    @emulator.model("fal-ai/flux/dev")
    async def gated(content: Any) -> Any:
        await opened.wait()
        return {"images": [{"url": "https://v3.fal.media/files/a.jpeg"}]}

    async with AsyncFal(hosts=emulator.hosts) as fal, asyncio.TaskGroup() as tasks:
        tasks.create_task(Bot(fal, chat.say).serve(chat.messages()))
        chat.send("ann", "/picture a cat")
        await chat.until("ann", "(painting)")
        chat.send("bob", "/picture a dog")
        await chat.until("bob", "(0 ahead of you)")
        chat.send("bob", "stop")
        await chat.until("bob", "(stopped)")
        opened.set()
        await chat.until("ann", "a.jpeg")
        chat.end()
    assert emulator.ledger.billed() == 1


async def test_a_failure_is_said_without_what_the_user_said(emulator: Emulator) -> None:
    chat = Chat()
    emulator.faults.add("internal_error", operation="stream")
    async with AsyncFal(hosts=emulator.hosts) as fal:
        chat.send("ann", "my secret")
        chat.end()
        await Bot(fal, chat.say).serve(chat.messages())
    assert "no answer" in chat.told["ann"]
    assert "secret" not in chat.told["ann"]
