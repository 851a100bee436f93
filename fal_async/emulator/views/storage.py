"""Uploads, on the hosts where they are asked for: ``rest.fal.ai`` and the CDN (PROTOCOL 11)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from fal_async.emulator.faults import Fault
from fal_async.emulator.platform import Platform
from fal_async.emulator.storage.routes import Route
from fal_async.emulator.storage.service import Asked, StorageService
from fal_async.emulator.views.answering import broken, expect_body, respond
from fal_async.emulator.views.receiving import receive, receive_half
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.upload_facts import parse_file_name

__all__ = ["storage_call"]

_NOTHING: Final = HttpResponse(200, Headers(), b"")


async def storage_call(
    platform: Platform, storage: StorageService, request: web.BaseRequest, route: Route, cdn: str
) -> web.StreamResponse:
    """Serve an operation of the storage.

    :param cdn: the base URL of the CDN that the answer shall speak of.
    """
    platform.requests[route.operation] += 1
    fault = platform.faults.draw(_subject(route, request), route.operation)
    platform.background.note()
    if fault is not None and fault.kind.endswith(("_on_arrival", "_midway")):
        if fault.kind.endswith("_midway"):
            await expect_body(request)
            await receive_half(request)
        return await broken(fault, _NOTHING, "", request, platform.clock)
    await expect_body(request)
    content = await receive(request, storage.settings.max_upload)
    await platform.travel()
    asked = Asked(headers=request.headers, query=request.query, content=content, cdn=cdn)
    if request.method != route.method:
        answer, fault = failures.method_not_allowed(), None
    elif fault is not None and not fault.ran:
        answer = _NOTHING
        if fault.kind == "token_expired":
            storage.access.end_token(request.headers)
    else:
        answer = storage.serve(route, asked)
        fault = _after(platform, fault, answer)
    await platform.travel()
    platform.background.note()
    if fault is None:
        return respond(answer)
    return await broken(fault, answer, "", request, platform.clock)


def _subject(route: Route, request: web.BaseRequest) -> str:
    """What the ``model`` of a fault is compared with."""
    if route.operation in {"upload", "create"}:
        return parse_file_name(request.headers.get(wire.FILE_NAME, "")) or ""
    subject = route.path.lstrip("/")
    if route.number is not None and not route.presigned:
        return f"{subject}/{route.number}"
    return subject


def _after(platform: Platform, fault: Fault | None, answer: HttpResponse) -> Fault | None:
    """The fault that comes after an effect; none if there was no effect."""
    if fault is not None and answer.status >= 400:
        platform.faults.take_back(fault)
        return None
    return fault
