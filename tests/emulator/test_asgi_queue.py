"""A mounted application behind the queue: attempts, retries, cancels, its logs of time (PROTOCOL 5.4, 6)."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from fal_async.emulator import Emulator, RequeueSettings, RunnerSettings, asgi_model
from fal_async.errors import ModelError, RequestCancelledError, ServerError
from fal_async.protocol.queue import CancelOutcome
from fal_async.session import AsyncFal
from tests.emulator.asgi_apps import ID, App, Gate, Given, call, echo, mount, until

pytestmark = pytest.mark.usefixtures("unheard")
AT_ONCE = RequeueSettings(attempts=3, pause=0)


async def test_a_request_reaches_its_path_and_its_answer_is_the_result(emu: Emulator) -> None:
    async def named(given: Given) -> None:
        await given.answer({"id": given.headers["x-fal-request-id"]}, headers={"x-own": "1"})

    app = mount(emu, sub_path=named)
    async with AsyncFal(hosts=emu.hosts) as fal:
        handle = await fal.submit(f"{ID}/sub/path", {"a": 1}, webhook_url="https://example.com/x")
        assert await handle.result() == {"id": handle.request_id}
    scope = app.given[0].scope
    assert (scope["method"], scope["path"], scope["query_string"]) == ("POST", "/sub/path", b"")
    assert app.given[0].headers["x-fal-endpoint"] == "me/app/sub/path"
    assert [(e.status, e.billed, e.attempt) for e in emu.ledger] == [(200, True, 1)]


async def test_any_path_may_stand_behind_its_id_and_any_bytes_in_its_answer(emu: Emulator) -> None:
    async def stream(given: Given) -> None:
        await given.begin(200, {"content-type": "text/event-stream"})
        await given.add(b"data: 1\n\n")
        await given.add(b"data: 2\n\n", more=False)

    app = App(**{"a b": stream})
    emu.mount(ID, app)
    async with AsyncFal(hosts=emu.hosts) as fal:
        http = emu.hosts.queue
        submitted = await call_queue(f"{http}/{ID}/a%20b")
        result = f"{http}/{ID}/requests/{submitted}"
        handle = fal.handle(ID, submitted)
        async for _ in handle.updates():
            pass
        assert await body_of(result) == b"data: 1\n\ndata: 2\n\n"


async def call_queue(url: str) -> str:
    import aiohttp  # noqa: PLC0415  # one helper of one test

    async with (
        aiohttp.ClientSession() as http,
        http.post(aiohttp.client.URL(url, encoded=True), json={}) as response,
    ):
        request_id: str = (await response.json())["request_id"]
        return request_id


async def body_of(url: str) -> bytes:
    import aiohttp  # noqa: PLC0415

    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return await response.read()


async def test_a_failure_of_the_callers_is_final_and_told_as_it_was(emu: Emulator) -> None:
    detail = [{"loc": ["body", "x"], "msg": "no", "type": "value_error"}]

    async def refuse(given: Given) -> None:
        await given.answer({"detail": detail}, 422, {"x-fal-billable-units": "0"})

    app = mount(emu, root=refuse)
    async with AsyncFal(hosts=emu.hosts) as fal:
        with pytest.raises(ModelError, match=r"body\.x: no"):
            await fal.subscribe(ID, {})
    assert len(app.given) == 1
    assert not next(iter(emu.ledger)).billed


@pytest.mark.parametrize(
    ("status", "headers", "attempts"),
    [
        (500, {}, 1),
        (502, {}, 1),
        (503, {}, 3),
        (504, {}, 3),
        (500, {"X-Fal-Needs-Retry": "1"}, 3),
        (429, {"X-Fal-Needs-Retry": "1"}, 3),
        (503, {"X-Fal-Needs-Retry": "0"}, 1),
        (404, {"X-Fal-Needs-Retry": "1"}, 1),
    ],
)
async def test_what_it_answers_and_says_of_a_retry_decides_how_often_it_is_tried(
    status: int, headers: dict[str, str], attempts: int
) -> None:
    async def fail(given: Given) -> None:
        await given.answer({"detail": "no"}, status, headers)

    app = App(root=fail)
    async with Emulator(models=[asgi_model(ID, app)], requeue=AT_ONCE) as emu:
        async with AsyncFal(hosts=emu.hosts) as fal:
            handle = await fal.submit(ID, {})
            await emu.until(lambda: emu.queue.request(handle.request_id).ended is not None)
        result = emu.queue.request(handle.request_id).result
        assert result is not None
        assert result.response.status == status
        assert [e.attempt for e in emu.ledger] == [*range(1, attempts + 1)]
    assert len({given.headers["x-fal-request-id"] for given in app.given}) == 1


@pytest.mark.parametrize(
    ("status", "headers", "replaced"),
    [
        (200, {}, False),
        (500, {}, False),
        (503, {"X-Fal-Needs-Retry": "0"}, True),
        (200, {"x-fal-stop-runner": "1"}, True),
        (503, {"X-Fal-Needs-Retry": "0", "x-fal-stop-runner": "false"}, False),
    ],
)
async def test_what_it_answers_and_says_of_its_runner_decides_whether_that_is_kept(
    status: int, headers: dict[str, str], replaced: bool
) -> None:
    async def answer(given: Given) -> None:
        await given.answer({"detail": "x"}, status, headers)

    model = asgi_model(ID, App(root=answer, next=echo), runners=RunnerSettings(count=1))
    async with Emulator(models=[model]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        with suppress(ServerError):
            await fal.subscribe(ID, {})
        await fal.subscribe(f"{ID}/next", {})
        first, second = emu.ledger
    assert (first.runner != second.runner) is replaced


async def test_one_that_breaks_off_is_tried_again_on_another_runner() -> None:
    tries = 0

    async def fragile(given: Given) -> None:
        nonlocal tries
        tries += 1
        await given.begin(200, {"content-type": "application/json"})
        await given.add(b"{")
        if tries < 3:
            raise ConnectionError
        await given.add(b"}", more=False)

    model = asgi_model(ID, App(root=fragile))
    async with Emulator(models=[model], requeue=AT_ONCE) as emu, AsyncFal(hosts=emu.hosts) as fal:
        assert await fal.subscribe(ID, {}) == {}
        assert [(e.status, e.billed) for e in emu.ledger] == [
            (502, False),
            (502, False),
            (200, True),
        ]


async def test_one_that_takes_too_long_is_cut_off_and_tried_again() -> None:
    gates = [Gate(), Gate()]
    tries = 0

    async def slow(given: Given) -> None:
        nonlocal tries
        tries += 1
        if tries <= len(gates):
            await gates[tries - 1].wait()
        await given.answer(tries)

    app = App(root=slow)
    settings = {"clock": "virtual", "requeue": AT_ONCE}
    model = asgi_model(ID, app, request_timeout=10)
    async with Emulator(models=[model], **settings) as emu, AsyncFal(hosts=emu.hosts) as fal:  # type: ignore[arg-type]
        handle = await fal.submit(ID, {})
        for gate in gates:
            await gate.reached()
            await emu.advance(10.1)
        await emu.until(lambda: emu.queue.request(handle.request_id).ended is not None)
        assert await handle.result() == 3
        assert [e.status for e in emu.ledger] == [504, 504, 200]


# --- cancels --------------------------------------------------------------------------------------------


async def test_a_cancel_is_a_request_beside_it_which_it_may_heed(emu: Emulator) -> None:
    gate, cancelled = Gate(), asyncio.Event()

    async def work(given: Given) -> None:
        gate.open()
        await cancelled.wait()
        await given.answer({"detail": "Request cancelled by the client."}, 499)

    async def cancel(given: Given) -> None:
        cancelled.set()
        await given.answer({})

    app = mount(emu, work=work, work_cancel=cancel)
    async with AsyncFal(hosts=emu.hosts) as fal:
        handle = await fal.submit(f"{ID}/work", {})
        await gate.wait()
        assert await handle.cancel() is CancelOutcome.SIGNALLED
        with pytest.raises(RequestCancelledError):
            await handle.result()
    told = app.given[1]
    assert (told.scope["method"], told.path) == ("POST", "/work/cancel")
    assert told.headers["x-fal-request-id"] == handle.request_id
    assert told.headers["content-length"] == "0"
    assert [e.billed for e in emu.ledger] == [False]


async def test_one_without_a_route_for_it_runs_to_its_end_and_is_not_cut_off(emu: Emulator) -> None:
    begun, gate, disconnected = Gate(), Gate(), []

    async def work(given: Given) -> None:
        await given.receive()
        listening = asyncio.ensure_future(given.receive())
        begun.open()
        await gate.wait()
        disconnected.append(listening.done())
        await given.answer("done")
        await listening

    app = mount(emu, root=work)
    async with AsyncFal(hosts=emu.hosts) as fal:
        handle = await fal.submit(ID, {})
        await begun.wait()
        await handle.cancel()
        await until(lambda: app.ended == ["/cancel"])
        gate.open()
        assert await handle.result() == "done"
    assert disconnected == [False]
    assert [(e.status, e.billed) for e in emu.ledger] == [(200, True)]


async def test_direct_calls_and_the_queues_share_its_runners() -> None:
    gate = Gate()

    async def slow(given: Given) -> None:
        await gate.wait()
        await given.answer(1)

    model = asgi_model(ID, App(root=slow, quick=echo), runners=RunnerSettings(count=1))
    async with Emulator(models=[model]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        handle = await fal.submit(ID, {})
        await gate.reached()
        direct = asyncio.ensure_future(call(emu, "/quick"))
        await emu.until(lambda: emu.received == 1)
        assert len(emu.ledger) == 1
        gate.open()
        assert await handle.result() == 1
        assert (await direct).status == 200
