"""fal-client's realtime connections and its WebSockets, through the proxy like everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fal_async.emulator import Model, ThreadedEmulator
from fal_async.emulator.realtime import Realtime
from tests.conformance.either import done, entered

fal_client = pytest.importorskip("fal_client", reason="fal-client is not installed")
websockets = pytest.importorskip("websockets", reason="websockets is not installed")


@pytest.mark.parametrize("use_jwt", [True, False])
async def test_a_realtime_connection_answers_each_input(
    client: Any, emulator: ThreadedEmulator, use_jwt: bool
) -> None:
    async with entered(client.realtime, "emulator/echo", use_jwt=use_jwt) as connection:
        for i in range(3):
            await done(connection.send, {"i": i, "bytes": b"\x00\xff"})
            assert await done(connection.recv) == {"i": i, "bytes": b"\x00\xff"}
    assert emulator.requests["browser_token"] == int(use_jwt)
    assert emulator.ledger.billed("emulator/echo") == 3


async def test_the_buffer_may_be_limited(client: Any, emulator: ThreadedEmulator) -> None:
    async with entered(client.realtime, "emulator/echo", max_buffering=1) as connection:
        await done(connection.send, {"i": 1})
        assert await done(connection.recv) == {"i": 1}


async def test_an_application_that_fails_says_so(client: Any, emulator: ThreadedEmulator) -> None:
    def fail(_: object) -> None:
        raise ValueError("no")

    emulator.register(Model(id="you/broken", function=fail, realtime=Realtime(function=fail)))
    async with entered(client.realtime, "you/broken") as connection:
        await done(connection.send, {})
        with pytest.raises(fal_client.client.RealtimeError) as raised:
            await done(connection.recv)
        assert raised.value.error == "INTERNAL_ERROR"
        assert await done(connection.recv) is None


async def test_a_session_without_inputs_ends(client: Any, emulator: ThreadedEmulator) -> None:
    def echo(content: object) -> object:
        return content

    emulator.register(
        Model(id="you/brief", function=echo, realtime=Realtime(function=echo, idle_timeout=0.01))
    )
    async with entered(client.realtime, "you/brief") as connection:
        with pytest.raises(fal_client.client.RealtimeError) as raised:
            await done(connection.recv)
        assert raised.value.error == "TIMEOUT"
        assert await done(connection.recv) is None


async def test_a_model_that_nobody_knows_takes_no_connection(
    client: Any, emulator: ThreadedEmulator
) -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus) as raised:
        async with entered(client.realtime, "nobody/nothing"):
            pass
    assert raised.value.response.status_code == 404


@pytest.mark.parametrize("use_jwt", [True, False])
async def test_frames_can_be_exchanged_by_hand(client: Any, use_jwt: bool) -> None:
    async with entered(
        client.ws_connect, "emulator/echo", path="/realtime", use_jwt=use_jwt
    ) as socket:
        await done(socket.send, '{"i": 1}')
        assert json.loads(await done(socket.recv)) == {"i": 1}
