"""``v3.fal.media``: files, for whoever may read them (PROTOCOL 11)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from fal_async.emulator.objects import StoredObject
from fal_async.emulator.pieces import Pieces
from fal_async.emulator.platform import Platform
from fal_async.emulator.ranges import file_answer, judge_range
from fal_async.emulator.storage.access import Access
from fal_async.emulator.storage.service import refused
from fal_async.emulator.views.answering import broken, respond
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import HttpResponse

__all__ = ["download"]

#: Above this, looking at a whole file takes noticeably long.
_LARGE: Final = 1 << 20


async def download(
    platform: Platform, access: Access, request: web.BaseRequest, path: str
) -> web.StreamResponse:
    """Serve ``/files/…``. Nobody is known here by an API key: it must not be sent."""
    if request.method not in {"GET", "HEAD"}:
        return respond(failures.method_not_allowed())
    platform.requests["download"] += 1
    fault = platform.faults.draw(path.lstrip("/"), "download")
    platform.background.note()
    found = _found(platform, access, request, path)
    if fault is None and isinstance(found, StoredObject) and isinstance(found.content, Pieces):
        return await _sent(found.content, found.content_type, request)
    answer = found if isinstance(found, HttpResponse) else await _whole(platform, request, found)
    if fault is None:
        return respond(answer)
    return await broken(fault, answer, "", request, platform.clock)


def _found(
    platform: Platform, access: Access, request: web.BaseRequest, path: str
) -> StoredObject | HttpResponse:
    """The file, or why there is none for this caller."""
    if access.is_void(request.headers):
        return refused(401, "The token is unknown or has expired")
    stored = platform.objects.get(path, platform.clock.now())
    if stored is None:
        return refused(404, "File not found")
    identity = request.query.get(wire.IDENTITY_PARAMETER)
    decision = access.decide(stored, request.headers, identity)
    if decision == "hide":
        return refused(404, "File not found")
    if decision == "forbid":
        return refused(403, "Access to this file is forbidden")
    return stored


async def _sent(content: Pieces, content_type: str, request: web.BaseRequest) -> web.StreamResponse:
    """What was uploaded, piece by piece: however large, it is not copied."""
    given = judge_range(content.size, content.etag, content_type, request.headers)
    response = web.StreamResponse(status=given.status, headers=given.headers)
    response.content_length = given.stop - given.start
    await response.prepare(request)
    if request.method != "HEAD":
        for piece in content.within(given.start, given.stop):
            await response.write(piece)
    await response.write_eof()
    return response


async def _whole(
    platform: Platform, request: web.BaseRequest, stored: StoredObject
) -> HttpResponse:
    """The answer as a value; what a model makes may be made only now, in a thread."""
    content = stored.content
    if callable(content):
        body = await platform.background.in_thread(content)
    else:
        body = bytes(content)
    if len(body) <= _LARGE:
        return file_answer(body, stored.content_type, request.headers)
    return await platform.background.in_thread(
        lambda: file_answer(body, stored.content_type, request.headers)
    )
