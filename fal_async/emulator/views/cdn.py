"""``v3.fal.media``: what models made, for whoever may read it (PROTOCOL 11)."""

from __future__ import annotations

from aiohttp import web

from fal_async.emulator.objects import decide
from fal_async.emulator.platform import Platform
from fal_async.emulator.views.answering import respond
from fal_async.protocol import failures
from fal_async.protocol.messages import Headers, HttpResponse

__all__ = ["download"]


async def download(platform: Platform, request: web.BaseRequest, path: str) -> web.StreamResponse:
    """Serve ``/files/{animal}/{name}``. Nobody is known here by an API key: it must not be sent."""
    if request.method not in {"GET", "HEAD"}:
        return respond(failures.method_not_allowed())
    stored = platform.objects.get(path, platform.clock.now())
    decision = "hide" if stored is None else decide(stored, reader=None)
    if stored is None or decision == "hide":
        return respond(failures.json_answer(404, {"detail": "File not found"}))
    if decision == "forbid":
        return respond(failures.json_answer(403, {"detail": "Access to this file is forbidden"}))
    content = stored.content
    body = content if isinstance(content, bytes) else await platform.background.in_thread(content)
    return respond(HttpResponse(200, Headers({"Content-Type": stored.content_type}), body))
