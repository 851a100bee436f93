"""``rest.fal.ai/tokens``: short-lived tokens in both flavours (PROTOCOL 2.2)."""

from __future__ import annotations

from aiohttp import web

from fal_async.emulator.platform import Platform
from fal_async.emulator.scenario import Caller
from fal_async.emulator.views.answering import respond
from fal_async.errors import InputError
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.tokens import parse_token_request

__all__ = ["is_for_tokens", "token_call"]


def is_for_tokens(path: str) -> bool:
    """Whether tokens are given there."""
    return path.strip("/").partition("/")[0] == wire.TOKENS_PATH.strip("/")


async def token_call(platform: Platform, request: web.BaseRequest, path: str) -> web.StreamResponse:
    """Serve what :func:`is_for_tokens`."""
    platform.requests["browser_token"] += 1
    body = await request.read()
    await platform.travel()
    answer = _answered(platform, request, path, body)
    await platform.travel()
    platform.background.note()
    return respond(answer)


def _answered(platform: Platform, request: web.BaseRequest, path: str, body: bytes) -> HttpResponse:
    if request.method != "POST":
        return failures.method_not_allowed()
    judged = platform.account.judge(
        request.headers.get(wire.AUTHORIZATION), application="", public=False
    )
    if not isinstance(judged, Caller):
        return judged
    try:
        wanted = parse_token_request(path, body)
    except InputError as error:
        return failures.json_answer(422, {"detail": error.what})
    if wanted is None:
        return failures.json_answer(404, {"detail": "Not Found"})
    clock = platform.clock
    token = platform.tokens.issue(wanted, judged.key_id, clock.now(), clock.epoch)
    return failures.json_answer(200, token if wanted.flavour == "classic" else {"token": token})
