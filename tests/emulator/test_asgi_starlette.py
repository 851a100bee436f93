"""An application of somebody's framework: Starlette, on which FastAPI and fal's own stand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import msgpack
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from fal_async.emulator import Emulator, asgi_model
from fal_async.errors import AccessDeniedError, NotFoundError, ServerError
from fal_async.session import AsyncFal
from tests.emulator.asgi_apps import ID, call, until
from tests.emulator.raw import connected, post
from tests.support.virtual_time import turns

pytestmark = pytest.mark.usefixtures("unheard")
LARGE = 3 << 20


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    app.state.done = []
    yield {"greeting": "Hello"}
    app.state.done.append("ended")


async def greet(request: Request) -> Response:
    content = await request.json()
    said = f"{request.state.greeting} {content['name']}"
    after = BackgroundTask(request.app.state.done.append, said)
    return JSONResponse({"said": said}, background=after)


async def numbers(request: Request) -> Response:
    most = (await request.json())["n"]

    async def events() -> AsyncIterator[str]:
        for n in range(most):
            yield f'data: {{"n": {n}}}\n\n'

    return StreamingResponse(events(), media_type="text/event-stream")


async def endless(request: Request) -> Response:
    async def events() -> AsyncIterator[str]:
        try:
            while True:
                yield "data: 1\n\n"
                await turns(1)
        finally:
            request.app.state.done.append("left")

    return StreamingResponse(events(), media_type="text/event-stream")


async def refuse(request: Request) -> Response:
    raise HTTPException(403, "not you")


async def fail(request: Request) -> Response:
    raise ZeroDivisionError


async def file(request: Request) -> Response:
    return FileResponse(request.app.state.file)


async def live(socket: WebSocket) -> None:
    await socket.accept()
    async for given in socket.iter_bytes():
        await socket.send_bytes(msgpack.encode({"got": msgpack.decode(given)}))


class Unchanged(BaseHTTPMiddleware):
    """The kind that passes every answer on in pieces, and tasks of its own between."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


@pytest.fixture
async def app(tmp_path: Path) -> Starlette:
    routes = [
        Route("/", greet, methods=["POST"]),
        Route("/stream", numbers, methods=["POST"]),
        Route("/endless", endless, methods=["POST"]),
        Route("/refuse", refuse, methods=["POST"]),
        Route("/fail", fail, methods=["POST"]),
        Route("/file", file),
        WebSocketRoute("/realtime", live),
    ]
    middleware = [Middleware(Unchanged)]
    app = Starlette(routes=routes, lifespan=lifespan, middleware=middleware)
    app.state.file = tmp_path / "a.bin"
    app.state.file.write_bytes(b"a" * LARGE)
    return app


@pytest.fixture
async def own(app: Starlette) -> AsyncIterator[Emulator]:
    async with Emulator(models=[asgi_model(ID, app)]) as emulator:
        yield emulator


@pytest.fixture
async def fal(own: Emulator) -> AsyncIterator[AsyncFal]:
    async with AsyncFal(hosts=own.hosts) as client:
        yield client


async def test_it_answers_directly_and_behind_the_queue_and_works_on_after(
    fal: AsyncFal, app: Starlette, own: Emulator
) -> None:
    assert await fal.run(ID, {"name": "A"}) == {"said": "Hello A"}
    assert await fal.subscribe(ID, {"name": "B"}) == {"said": "Hello B"}
    await until(lambda: app.state.done == ["Hello A", "Hello B"])
    await own.stop()
    assert app.state.done[-1] == "ended"


async def test_its_errors_are_told_as_they_are(fal: AsyncFal) -> None:
    with pytest.raises(AccessDeniedError, match="403"):
        await fal.run(f"{ID}/refuse", {})
    with pytest.raises(ServerError, match="500"):
        await fal.run(f"{ID}/fail", {})
    with pytest.raises(NotFoundError):
        await fal.run(f"{ID}/nothing", {})


async def test_it_streams_and_takes_realtime_connections(fal: AsyncFal) -> None:
    async with fal.stream(ID, {"n": 3}) as stream:
        assert [event async for event in stream] == [{"n": 0}, {"n": 1}, {"n": 2}]
    async with fal.realtime(ID) as connection:
        await connection.send({"n": 1})
        assert await anext(aiter(connection)) == {"got": {"n": 1}}


async def test_a_file_of_its_is_sent_as_it_is(own: Emulator) -> None:
    answer = await call(own, "/file", method="GET")
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(LARGE))
    assert answer.body == b"a" * LARGE
    assert answer.headers["ETag"]


async def test_who_leaves_a_stream_ends_it(own: Emulator, app: Starlette) -> None:
    async with connected(own) as (reader, writer):
        writer.write(post(f"/fal.run/{ID}/endless", b"{}"))
        await reader.readuntil(b"data: 1")
        writer.transport.abort()
        await until(lambda: app.state.done == ["left"])
    await own.until(lambda: all(e.ended for e in own.ledger))
    assert [e.billed for e in own.ledger] == [True]
