"""``api.fal.ai``: the platform API, of which there is the history of requests (PROTOCOL 14)."""

from __future__ import annotations

from email.utils import formatdate

from aiohttp import web

from fal_async.emulator.history_query import build_page, parse_query
from fal_async.emulator.platform import Platform
from fal_async.emulator.scenario import Caller
from fal_async.emulator.views.answering import respond
from fal_async.errors import InputError
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.platform import build_platform_error

__all__ = ["platform_call"]


async def platform_call(
    platform: Platform, request: web.BaseRequest, path: str
) -> web.StreamResponse:
    """Serve any path of the platform API's host; ``path`` is without the query."""
    platform.requests["history"] += 1
    platform.background.note()
    await request.read()
    await platform.travel()
    answer = _answered(platform, request, path)
    await platform.travel()
    response = respond(answer)
    # Its own clock, which need not be the machine's.
    response.headers["Date"] = formatdate(platform.unix(), usegmt=True)
    return response


def _answered(platform: Platform, request: web.BaseRequest, path: str) -> HttpResponse:
    if path.rstrip("/") != wire.HISTORY_PATH:
        return build_platform_error("not_found", "The emulator knows no such path")
    if request.method != "GET":
        return failures.method_not_allowed()
    judged = platform.account.judge(
        request.headers.get(wire.AUTHORIZATION), application="", public=False
    )
    if not isinstance(judged, Caller):
        said = "Authentication is required" if judged.status == 401 else "The account is locked"
        return build_platform_error("authorization_error", said, status=judged.status)
    if not platform.history.settings.readable:
        return build_platform_error(
            "authorization_error", "The key has no permission to read requests"
        )
    now = platform.unix()
    try:
        query = parse_query(request.query.items(), now)
    except InputError as error:
        return build_platform_error("validation_error", error.what)
    return failures.json_answer(200, build_page(query, platform.history, now))
