"""fal's own framework: a subclass of ``fal.App``, unchanged, behind the emulated gateway and queue.

It runs where ``fal`` is installed, which brings some ninety packages; seen with 1.83.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from fal_async.emulator import Emulator, RequeueSettings, RunnerSettings, asgi_model
from fal_async.errors import (
    AccessDeniedError,
    ModelError,
    NotFoundError,
    RequestCancelledError,
    ServerError,
)
from fal_async.protocol.queue import CancelOutcome
from fal_async.session import AsyncFal
from tests.emulator.asgi_apps import ID, call, until

fal = pytest.importorskip("fal", reason="fal's own framework is not installed: pip install fal")
fastapi = pytest.importorskip("fastapi")
pydantic = pytest.importorskip("pydantic")
exceptions = pytest.importorskip("fal.exceptions")

# Its own, of the Pydantic beside it.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


TASKS: dict[str, asyncio.Task[Any]] = {}


class Input(pydantic.BaseModel):
    prompt: str = pydantic.Field(min_length=1)
    steps: int = 3


class Output(pydantic.BaseModel):
    text: str
    request_id: str | None = None
    endpoint: str | None = None


class MyApp(fal.App):
    """As its documentation has it."""

    machine_type = "S"
    request_timeout = 600
    max_concurrency = 2

    def setup(self) -> None:
        self.greeting = "Hello"

    @fal.endpoint("/")
    def generate(self, input: Input) -> Output:
        context = self.current_request
        return Output(
            text=f"{self.greeting} {input.prompt}",
            request_id=context.request_id,
            endpoint=context.endpoint,
        )

    begun = torn_down = False

    def teardown(self) -> None:
        type(self).torn_down = True

    @fal.endpoint("/units")
    def units(self, input: Input, response: fastapi.Response) -> Output:
        response.headers["x-fal-billable-units"] = "2.5"
        print("counted")  # noqa: T201 - for the logs
        return Output(text=input.prompt)

    @fal.endpoint("/app-error")
    def app_error(self, input: Input) -> Output:
        raise exceptions.AppException(message="not today", status_code=403)

    @fal.endpoint("/field-error")
    def field_error(self, input: Input) -> Output:
        raise exceptions.FieldException(field="prompt", message="too rude", billable_units=2)

    @fal.endpoint("/crash")
    def crash(self, input: Input) -> Output:
        raise RuntimeError("a bug")

    @fal.endpoint("/gpu")
    def gpu(self, input: Input) -> Output:
        raise RuntimeError("CUDA out of memory")

    @fal.endpoint("/stream")
    def stream(self, input: Input) -> fastapi.responses.StreamingResponse:
        async def events() -> AsyncIterator[str]:
            for step in range(input.steps):
                yield f'data: {{"step": {step}}}\n\n'

        return fastapi.responses.StreamingResponse(events(), media_type="text/event-stream")

    @fal.endpoint("/train")
    async def train(self, input: Input, request: fastapi.Request) -> Output:
        work = asyncio.create_task(asyncio.Event().wait())
        TASKS[request.headers["x-fal-request-id"]] = work
        type(self).begun = True
        try:
            await work
        except asyncio.CancelledError:
            raise exceptions.RequestCancelledException("Training was stopped.") from None
        return Output(text="trained")

    @fal.endpoint("/train/cancel")
    async def cancel(self, request: fastapi.Request) -> dict[str, str]:
        TASKS[request.headers["x-fal-request-id"]].cancel()
        return {}

    @fal.endpoint("/ws", is_websocket=True)
    async def ws(self, websocket: fastapi.WebSocket) -> None:
        await websocket.accept()
        for n in range(2):
            await websocket.send_json({"n": n})
        await websocket.close()

    @fal.realtime("/realtime", buffering=5)
    def live(self, input: Input) -> dict[str, str]:
        if input.prompt == "fail":
            raise ValueError("not that")
        return {"text": input.prompt.upper()}


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("FAL_RUNNER_STATE", "")  # it sets this, and we take it away again
    MyApp.begun = MyApp.torn_down = False
    return MyApp


@pytest.fixture
async def emu(app: Any) -> AsyncIterator[Emulator]:
    requeue = RequeueSettings(attempts=2, pause=0)
    async with Emulator(models=[asgi_model(ID, app, prints=True)], requeue=requeue) as emulator:
        yield emulator
    assert app.torn_down
    for task in asyncio.all_tasks():  # its realtime endpoint leaves one behind when it fails
        if "_background_emitter" in repr(task.get_coro()):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def client(emu: Emulator) -> AsyncIterator[AsyncFal]:
    async with AsyncFal(hosts=emu.hosts) as client:
        yield client


async def test_it_answers_directly_and_behind_the_queue(client: AsyncFal, emu: Emulator) -> None:
    direct = await client.run(ID, {"prompt": "a cat"})
    queued = await client.subscribe(ID, {"prompt": "a dog"})
    assert [direct["text"], queued["text"]] == ["Hello a cat", "Hello a dog"]
    ids = [execution.request_id for execution in emu.ledger]
    assert [direct["request_id"], queued["request_id"]] == ids
    assert direct["endpoint"] == "me/app/"


async def test_what_it_says_it_costs_is_what_is_charged(client: AsyncFal, emu: Emulator) -> None:
    await client.run(f"{ID}/units", {"prompt": "x"})
    with pytest.raises(ModelError, match="at least 1 character"):
        await client.run(ID, {"prompt": ""})
    with pytest.raises(ModelError, match=r"body\.prompt: too rude \(value_error\)"):
        await client.subscribe(f"{ID}/field-error", {"prompt": "x"})
    with pytest.raises(NotFoundError, match="Path /nope not found"):
        await client.run(f"{ID}/nope", {})
    assert [execution.units for execution in emu.ledger] == [Decimal("2.5"), 0, 2, 0]


async def test_its_errors_have_fals_shapes(client: AsyncFal, emu: Emulator) -> None:
    with pytest.raises(AccessDeniedError, match="not today"):
        await client.run(f"{ID}/app-error", {"prompt": "x"})
    form = {"Content-Type": "application/x-www-form-urlencoded"}  # as curl says of any body
    answer = await call(emu, "", {"prompt": 5}, headers=form)
    assert answer.status == 422
    assert answer.headers["x-fal-billable-units"] == "0"
    assert answer.json["detail"][0]["loc"] == ["body", "prompt"]


async def test_its_crash_is_not_ours_and_a_gpu_that_fails_is_tried_again(
    client: AsyncFal, emu: Emulator
) -> None:
    with pytest.raises(ServerError, match="Internal Server Error"):
        await client.subscribe(f"{ID}/crash", {"prompt": "x"})
    with pytest.raises(ServerError, match="CUDA"):
        await client.subscribe(f"{ID}/gpu", {"prompt": "x"})
    assert [(e.status, e.attempt, e.billed) for e in emu.ledger] == [
        (500, 1, False),
        (503, 1, False),
        (503, 2, False),
    ]
    assert (await client.run(ID, {"prompt": "x"}))["text"] == "Hello x"


async def test_what_it_prints_is_in_the_logs(client: AsyncFal, emu: Emulator) -> None:
    handle = await client.submit(f"{ID}/units", {"prompt": "x"})
    await handle.result()
    assert [line.message for line in emu.queue.request(handle.request_id).logs] == ["counted"]


async def test_it_streams(client: AsyncFal) -> None:
    async with client.stream(ID, {"prompt": "x", "steps": 3}) as stream:
        assert [event async for event in stream] == [{"step": 0}, {"step": 1}, {"step": 2}]


async def test_it_heeds_a_cancel(client: AsyncFal, emu: Emulator, app: Any) -> None:
    handle = await client.submit(f"{ID}/train", {"prompt": "x"})
    await until(lambda: app.begun)
    cancel = await handle.cancel()
    assert cancel is CancelOutcome.SIGNALLED
    with pytest.raises(RequestCancelledError, match="Training was stopped"):
        await handle.result()
    assert [(e.status, e.billed) for e in emu.ledger] == [(499, False)]


async def test_its_realtime_endpoint_talks_with_our_client(client: AsyncFal) -> None:
    async with client.realtime(ID) as connection:
        await connection.send({"prompt": "a cat"})
        assert await anext(aiter(connection)) == {"text": "A CAT"}
    async with client.realtime(ID) as connection:
        await connection.send({"prompt": "fail"})
        with pytest.raises(ServerError, match="INTERNAL_ERROR: not that"):
            await anext(aiter(connection))


async def test_its_other_sockets_are_passed_on(emu: Emulator) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{emu.url}/fal.run/{ID}/ws") as socket,
    ):
        assert [json.loads(frame.data) async for frame in socket] == [{"n": 0}, {"n": 1}]
        assert socket.close_code == 1000


async def test_the_gateway_over_websockets_reaches_it(client: AsyncFal) -> None:
    async with client.websocket(ID) as connection:
        assert (await connection.run({"prompt": "a cat"}))["text"] == "Hello a cat"


def test_its_own_settings_hold_unless_told_otherwise(app: Any) -> None:
    model = asgi_model(ID, app)
    assert (model.request_timeout, model.runners) == (600.0, RunnerSettings(count=2))
    assert asgi_model(ID, app, request_timeout=5).request_timeout == 5
