"""An application of your own, called as fal would call it: its models' gateway and queue, on this machine.

python examples/own_app.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import msgpack
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from fal_async import AsyncFal, ModelError
from fal_async.emulator import Emulator, asgi_model


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Begin, which may take long, and end."""
    app.state.greeting = "Hello"
    yield


async def greet(request: Request) -> JSONResponse:
    """Answer a call, or say what is wrong with it as fal does."""
    name = (await request.json()).get("name")
    if not name:
        wrong = {"loc": ["body", "name"], "msg": "Field required", "type": "missing"}
        return JSONResponse({"detail": [wrong]}, 422, headers={"x-fal-billable-units": "0"})
    return JSONResponse({"text": f"{request.app.state.greeting}, {name}"})


async def letters(request: Request) -> StreamingResponse:
    """Stream an answer."""
    name = (await request.json())["name"]

    async def events() -> AsyncIterator[str]:
        for end in range(1, len(name) + 1):
            yield f'data: {{"text": "{name[:end]}"}}\n\n'

    return StreamingResponse(events(), media_type="text/event-stream")


async def live(socket: WebSocket) -> None:
    """Answer as long as somebody asks."""
    await socket.accept()
    async for frame in socket.iter_bytes():
        name = msgpack.decode(frame)["name"]
        await socket.send_bytes(msgpack.encode({"text": f"Hello, {name}"}))


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", greet, methods=["POST"]),
        Route("/stream", letters, methods=["POST"]),
        WebSocketRoute("/realtime", live),
    ],
)


async def main() -> None:
    """Call it in all these ways."""
    models = [asgi_model("me/greeter", app)]
    async with Emulator(models=models) as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        print(await fal.run("me/greeter", {"name": "Ada"}))
        print(await fal.subscribe("me/greeter", {"name": "Grace"}))  # through the queue
        async with fal.stream("me/greeter", {"name": "Ada"}) as events:
            print([event["text"] async for event in events])
        async with fal.realtime("me/greeter") as connection:
            await connection.send({"name": "Alan"})
            print(await anext(connection))
        try:
            await fal.run("me/greeter", {})
        except ModelError as error:
            print(error)
        print(emulator.ledger)


if __name__ == "__main__":
    asyncio.run(main())
