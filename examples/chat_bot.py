"""A chat bot: words as the model says them, pictures from the queue, "stop", and one AsyncFal for everybody.

    python examples/chat_bot.py chat    # type "ann: why is the sky blue?", "ann: /picture a cat", "ann: stop"

Without a word it holds a short conversation with itself and ends. It speaks to any chat: give ``Bot.serve``
the messages as they come, and a function that says something to a user.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from fal_async import AsyncFal, FalError, ImageOutput, InProgress, InQueue, QueueStatus


@dataclass(frozen=True)
class Message:
    """What a user says."""

    user: str
    text: str


Say = Callable[[str, str], Awaitable[None]]
"""Says something (the second) to a user (the first)."""


class Bot:
    """Answers many users at once, each of them one thing at a time."""

    def __init__(self, fal: AsyncFal, say: Say) -> None:
        self._fal = fal
        self._say = say
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def serve(self, messages: AsyncIterable[Message]) -> None:
        """Answer until there are no more messages and the last answer is given."""
        async with asyncio.TaskGroup() as answers:
            async for message in messages:
                user = message.user
                busy = self._busy.get(user)
                if message.text == "stop":
                    if busy is not None:
                        busy.cancel()
                elif busy is not None:
                    await self._say(user, '(one thing at a time: say "stop" first)\n')
                else:
                    task = self._busy[user] = answers.create_task(self._answer(message))
                    task.add_done_callback(lambda _, user=user: self._busy.pop(user))

    async def _answer(self, message: Message) -> None:
        user, text = message.user, message.text
        try:
            if text.startswith("/picture "):
                await self._paint(user, text.removeprefix("/picture "))
            else:
                await self._talk(user, text)
        except asyncio.CancelledError:
            await self._say(user, "(stopped)\n")
            raise
        except FalError as error:  # its text holds neither the key nor what the user said
            await self._say(user, f"(no answer: {error})\n")

    async def _talk(self, user: str, text: str) -> None:
        """Each word as soon as it is there. Leaving the block closes the connection."""
        said = ""
        async with self._fal.stream("fal-ai/any-llm", {"prompt": text}, idle=60) as events:
            async for event in events:
                await self._say(user, event["output"].removeprefix(said))
                said = event["output"]
        await self._say(user, "\n")

    async def _paint(self, user: str, prompt: str) -> None:
        """Through the queue, where one may have to wait. Stopped, the request is taken out of it."""

        async def tell(update: QueueStatus) -> None:
            match update:
                case InQueue(queue_position=int(ahead)):
                    await self._say(user, f"({ahead} ahead of you)\n")
                case InProgress():
                    await self._say(user, "(painting)\n")

        output = await self._fal.subscribe(
            "fal-ai/flux/dev",
            {"prompt": prompt},
            expire="1d",
            on_update=tell,
            result_type=ImageOutput,
        )
        await self._say(user, f"{output.images[0].url}\n")


async def typed() -> AsyncIterator[Message]:
    """What is typed, as ``user: text``."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        user, _, text = line.partition(":")
        yield Message(user.strip(), text.strip())


async def rehearsed() -> AsyncIterator[Message]:
    """A conversation for those who only look on."""
    yield Message("ann", "why is the sky blue?")
    yield Message("bob", "/picture a lighthouse at dawn")
    yield Message("cleo", "tell me everything")
    yield Message("cleo", "stop")


async def to_the_screen(user: str, words: str) -> None:
    """What a user is told, for all to see."""
    print(f"[{user}] {words}", end="" if words.endswith("\n") else "\n", flush=True)


async def main() -> None:
    """One AsyncFal for all users, and so one brake for all their calls."""
    messages = typed() if sys.argv[1:] == ["chat"] else rehearsed()
    async with AsyncFal() as fal:
        await Bot(fal, to_the_screen).serve(messages)


if __name__ == "__main__":
    asyncio.run(main())
