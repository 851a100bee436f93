"""A mounted application's life: begun before its calls, ended after them; reset, stopped, failed."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import MutableMapping
from typing import Any

import pytest

from fal_async.emulator import AppStartError, Emulator, ThreadedEmulator, asgi_model
from fal_async.errors import FalError
from fal_async.session import AsyncFal
from tests.emulator.asgi_apps import ID, Given, Receive, Send, call
from tests.support.virtual_time import in_virtual_time

pytestmark = pytest.mark.usefixtures("unheard")


class Living:
    """An application with a lifespan.

    :ivar told: what happened to it, in order; with the task that it happened in, for its lifespan.
    """

    def __init__(self, *, fails: str = "") -> None:
        self.told: list[str] = []
        self.tasks: set[object] = set()
        self._fails = fails

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self.told.append("call")
            scope["state"]["n"] = scope["state"].get("n", 0) + 1
            return await Given(scope, receive, send).answer(dict(scope["state"]))
        while True:
            event = (await receive())["type"].partition(".")[2]
            self.told.append(event)
            self.tasks.add(asyncio.current_task())
            scope["state"]["begun"] = self.told.count("startup")
            if self._fails == event:
                said = f"Traceback (most recent call last):\nValueError: no {event}"
                await send({"type": f"lifespan.{event}.failed", "message": said})
                raise ValueError(f"no {event}")
            await send({"type": f"lifespan.{event}.complete"})
            if event == "shutdown":
                return None


async def test_it_starts_with_the_emulator_and_ends_after_its_last_call_in_one_task() -> None:
    app = Living()
    async with Emulator(models=[asgi_model(ID, app)]) as emu:
        assert app.told == ["startup"]
        assert (await call(emu)).json == {"begun": 1, "n": 1}
        assert (await call(emu)).json == {"begun": 1, "n": 1}, "each call has a state of its own"
    assert app.told == ["startup", "call", "call", "shutdown"]
    assert len(app.tasks) == 1


async def test_one_that_is_mounted_meanwhile_is_started_by_its_first_call(emu: Emulator) -> None:
    app = Living()
    emu.mount(ID, app)
    assert app.told == []
    answers = await asyncio.gather(call(emu), call(emu))
    assert [answer.status for answer in answers] == [200, 200]
    assert app.told == ["startup", "call", "call"]
    await emu.stop()
    assert app.told[-1] == "shutdown"


async def test_one_that_is_mounted_twice_lives_once() -> None:
    app = Living()
    async with Emulator(models=[asgi_model(ID, app), asgi_model("me/other", app)]) as emu:
        assert (await call(emu, model="me/other")).status == 200
    assert app.told == ["startup", "call", "shutdown"]


async def test_an_emulator_that_is_started_again_starts_it_again() -> None:
    app = Living()
    emu = Emulator(models=[asgi_model(ID, app)])
    for n in (1, 2):
        async with emu:
            assert (await call(emu)).json["begun"] == n
    assert app.told == 2 * ["startup", "call", "shutdown"]


async def test_a_reset_leaves_it_as_it_is_and_ends_one_that_was_mounted_later() -> None:
    first, later = Living(), Living()
    async with Emulator(models=[asgi_model(ID, first)]) as emu:
        emu.mount("me/later", later)
        await call(emu, model="me/later")
        await emu.reset()
        assert (first.told, later.told) == (["startup"], ["startup", "call", "shutdown"])
        assert (await call(emu, model="me/later")).status == 404
        assert (await call(emu)).status == 200
        await emu.reset(models=[asgi_model(ID, later)])
        assert first.told[-1] == "shutdown"
        assert (await call(emu)).json["begun"] == 2


async def test_one_that_does_not_start_ends_the_start_and_what_had_started(
    caplog: pytest.LogCaptureFixture,
) -> None:
    well, ill = Living(), Living(fails="startup")
    emu = Emulator(models=[asgi_model("me/well", well), asgi_model(ID, ill)])
    with pytest.raises(AppStartError, match="of me/app did not start: ValueError: no startup"):
        await emu.start()
    assert well.told == ["startup", "shutdown"]
    assert "Traceback" in caplog.text
    ill._fails = ""
    async with emu:
        assert (await call(emu)).status == 200


async def test_one_that_does_not_start_at_its_first_call_fails_its_calls(emu: Emulator) -> None:
    emu.mount(ID, Living(fails="startup"))
    for _ in range(2):
        answer = await call(emu)
        assert (answer.status, answer.headers["X-Fal-Error-Type"]) == (504, "startup_timeout")
    async with AsyncFal(hosts=emu.hosts) as fal:
        with pytest.raises(FalError, match=r"forwarding the request|closed"):
            async with fal.realtime(ID) as connection:
                await anext(aiter(connection))
    assert not any(e.billed for e in emu.ledger)


async def test_one_that_does_not_end_well_is_told_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Emulator(models=[asgi_model(ID, Living(fails="shutdown"))]):
        pass
    first, *_ = [record.getMessage() for record in caplog.records]
    assert first.startswith("the application of me/app did not shut down well")
    assert "no shutdown" in first


@in_virtual_time
async def test_one_that_does_not_end_is_cut_off_after_ten_seconds_and_told_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = asyncio.get_running_loop().time
    cut_off: list[float] = []

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        began = clock()
        try:
            await asyncio.Event().wait()
        finally:
            cut_off.append(clock() - began)

    async with Emulator(models=[asgi_model(ID, app)]):
        pass
    assert cut_off == [pytest.approx(10)]
    assert "the application of me/app did not shut down within 10 seconds" in caplog.text


async def test_one_whose_life_ends_early_is_told_in_the_log_and_serves_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            raise ZeroDivisionError
        await Given(scope, receive, send).answer(1)

    async with Emulator(models=[asgi_model(ID, app)]) as emu:
        assert (await call(emu)).status == 200
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("how", ["at once", "as Starlette tells it", "later"])
async def test_one_that_leaves_its_process_does_not_take_the_emulator_along(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            return await Given(scope, receive, send).answer(1)
        await receive()
        if how == "as Starlette tells it":
            await send({"type": "lifespan.startup.failed", "message": "SystemExit: no key"})
        elif how == "later":
            await send({"type": "lifespan.startup.complete"})
        raise SystemExit(3)

    emu = Emulator(models=[asgi_model(ID, app)])
    if how == "later":
        async with emu:
            assert (await call(emu)).status == 200
    else:
        said = "it left its process" if how == "at once" else "SystemExit: no key"
        with pytest.raises(AppStartError, match=f"of me/app did not start: {said}"):
            await emu.start()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_one_that_asks_for_more_after_its_end_is_ended() -> None:
    told: list[str] = []

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        while True:
            event = (await receive())["type"]
            told.append(event)
            await send({"type": f"{event}.complete"})

    async with Emulator(models=[asgi_model(ID, app)]):
        pass
    assert told == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize("how", ["raises", "returns"])
async def test_one_that_knows_no_lifespan_needs_none(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            if how == "raises":
                raise AssertionError
            return
        await Given(scope, receive, send).answer(1)

    async with Emulator(models=[asgi_model(ID, app)]) as emu:
        assert (await call(emu)).status == 200
    assert caplog.records == []


async def test_a_start_that_is_given_up_leaves_nothing_behind() -> None:
    begun = asyncio.Event()

    async def slow(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        begun.set()
        await asyncio.Event().wait()

    starting = asyncio.ensure_future(Emulator(models=[asgi_model(ID, slow)]).start())
    await begun.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_where_nobody_can_listen_nothing_lives() -> None:
    app = Living()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        emu = Emulator(models=[asgi_model(ID, app)], port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await emu.start()
    assert app.told == ["startup", "shutdown"]


def test_in_a_thread_it_lives_on_the_emulators_loop() -> None:
    app = Living()
    with ThreadedEmulator(models=[]) as emu:
        emu.mount(ID, app)
        assert asyncio.run(call(emu)).json == {"begun": 1, "n": 1}
        emu.wait(emu.reset())
        assert app.told == ["startup", "call", "shutdown"]
