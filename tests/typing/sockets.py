"""What the type checkers infer of connections that stay. Checked, never run."""

from __future__ import annotations

from typing import Any, assert_type

import attrs

from fal_async import (
    AsyncFal,
    RealtimeConnection,
    RealtimeEvent,
    Reconnected,
    SocketOutputs,
    Timings,
    UnknownControl,
    WebSocketConnection,
)


@attrs.frozen
class Words:
    output: str


async def calls_over_one_socket(fal: AsyncFal) -> None:
    async with fal.websocket("fal-ai/any-llm") as plain:
        assert_type(plain, WebSocketConnection[Any])
    async with fal.websocket(
        "fal-ai/any-llm", result_type=Words, ahead=3, timeout=None, expire="1h"
    ) as ws:
        assert_type(ws, WebSocketConnection[Words])
        assert_type(await ws.run({"prompt": "why?"}), Words)
        assert_type(ws.map([{"prompt": "why?"}]), SocketOutputs[Words])
        async for words in ws.map([{}]):
            assert_type(words, Words)
        async for words in ws.stream({}):
            assert_type(words, Words)
    fal.websocket("fal-ai/any-llm", ahead="3")  # type: ignore[call-overload]
    fal.websocket("fal-ai/any-llm", durable=True)  # type: ignore[call-overload]


def say(event: RealtimeEvent) -> str:
    match event:
        case Timings(seconds):
            return f"{seconds} s"
        case Reconnected(why):
            return why
        case UnknownControl():
            return "?"


async def a_realtime_connection(fal: AsyncFal) -> None:
    async with fal.realtime("me/app", result_type=Words, on_event=say, reconnect=5) as connection:
        assert_type(connection, RealtimeConnection[Words])
        assert_type(await anext(connection), Words)
        async for words in connection:
            assert_type(words, Words)
        assert_type(connection.ended, str)
    async with fal.realtime("me/app", token=True, max_buffering=3) as plain:
        assert_type(plain, RealtimeConnection[Any])
    fal.realtime("me/app", max_buffering="3")  # type: ignore[call-overload]


async def a_token(fal: AsyncFal) -> None:
    assert_type(await fal.token("me/app", 60, flavour="newer"), str)
    await fal.token(["me/app"], flavour="modern")  # type: ignore[arg-type]
