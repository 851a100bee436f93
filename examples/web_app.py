"""A web application that holds one AsyncFal for all its visitors, and so one brake for all its calls.

    python examples/web_app.py 8080     # then open http://127.0.0.1:8080/?prompt=a+cat

Without a port it serves itself a single page and ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from html import escape

import aiohttp
from aiohttp import web

from fal_async import AsyncFal, FalError, ImageOutput, ModelError

FAL = web.AppKey("FAL", AsyncFal)


async def fal_of_the_app(app: web.Application) -> AsyncIterator[None]:
    """Open the client when the application starts, close it when it ends."""
    async with AsyncFal(timeout=120) as fal:
        app[FAL] = fal
        yield


async def picture(request: web.Request) -> web.Response:
    """A page with a picture of what the visitor asks for. A visitor who leaves cancels the call."""
    prompt = request.query.get("prompt", "a lighthouse at dawn")
    try:
        output = await request.app[FAL].run(
            "fal-ai/flux/schnell", {"prompt": prompt}, expire="1h", result_type=ImageOutput
        )
    except ModelError:
        return web.Response(status=400, text="The model does not take that prompt.")
    except FalError as error:
        print(error, file=sys.stderr)  # it holds neither key nor prompt
        return web.Response(status=502, text="No picture this time.")
    image = f'<img src="{escape(output.images[0].url)}" alt="{escape(prompt)}">'
    return web.Response(text=f"<!doctype html>{image}", content_type="text/html")


def application() -> web.Application:
    """The application, to be run by any aiohttp server."""
    app = web.Application()
    app.cleanup_ctx.append(fal_of_the_app)
    app.router.add_get("/", picture)
    return app


async def show_one_page() -> None:
    """Start on any free port, ask for one page, stop."""
    runner = web.AppRunner(application(), handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        url = f"http://{host}:{port}/?prompt=a+cat"
        async with aiohttp.ClientSession() as browser, browser.get(url) as page:
            print(page.status, await page.text())
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        web.run_app(
            application(), host="127.0.0.1", port=int(sys.argv[1]), handler_cancellation=True
        )
    else:
        asyncio.run(show_one_page())
