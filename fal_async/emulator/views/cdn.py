"""``v3.fal.media``: what models made, for whoever may read it (PROTOCOL 11)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from fal_async.emulator.objects import decide
from fal_async.emulator.platform import Platform
from fal_async.emulator.ranges import file_answer
from fal_async.emulator.views.answering import broken, respond
from fal_async.protocol import failures
from fal_async.protocol.messages import HttpResponse

__all__ = ["download"]

#: Above this, looking at a whole file takes noticeably long.
_LARGE: Final = 1 << 20


async def download(platform: Platform, request: web.BaseRequest, path: str) -> web.StreamResponse:
    """Serve ``/files/{animal}/{name}``. Nobody is known here by an API key: it must not be sent."""
    if request.method not in {"GET", "HEAD"}:
        return respond(failures.method_not_allowed())
    platform.requests["download"] += 1
    fault = platform.faults.draw(path.lstrip("/"), "download")
    answer = await _answer(platform, request, path)
    if fault is None:
        return respond(answer)
    return await broken(fault, answer, "", request, platform.clock)


async def _answer(platform: Platform, request: web.BaseRequest, path: str) -> HttpResponse:
    stored = platform.objects.get(path, platform.clock.now())
    decision = "hide" if stored is None else decide(stored, reader=None)
    if stored is None or decision == "hide":
        return failures.json_answer(404, {"detail": "File not found"})
    if decision == "forbid":
        return failures.json_answer(403, {"detail": "Access to this file is forbidden"})
    content = stored.content
    body = content if isinstance(content, bytes) else await platform.background.in_thread(content)
    if len(body) <= _LARGE:
        return file_answer(body, stored.content_type, request.headers)
    return await platform.background.in_thread(
        lambda: file_answer(body, stored.content_type, request.headers)
    )
