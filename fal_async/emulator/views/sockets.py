"""WebSockets: which of the two protocols is meant, and who is let in (PROTOCOL 9, 10)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from fal_async.emulator.asgi.model import AsgiModel
from fal_async.emulator.model import Model
from fal_async.emulator.platform import Admitted, Arrival, Platform
from fal_async.emulator.scenario import Caller
from fal_async.emulator.views.answering import broken, named, query_of, respond
from fal_async.emulator.views.app_socket import AppSession
from fal_async.emulator.views.gateway import Gateway
from fal_async.emulator.views.realtime import RealtimeSession
from fal_async.errors import InputError
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.model import ModelId

__all__ = ["socket_call", "wants_socket"]

_NOTHING: Final = HttpResponse(200, Headers(), b"")


def wants_socket(request: web.BaseRequest) -> bool:
    """Whether it is a handshake."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def socket_call(
    platform: Platform, request: web.BaseRequest, service: str | None, path: str, cdn: str
) -> web.StreamResponse:
    """Serve a handshake and what follows it; ``path`` is without the query."""
    platform.requests["connect"] += 1
    platform.background.note()
    request_id = platform.chance.uuid("connect", platform.requests["connect"])
    await platform.travel()
    try:
        model_id = platform.read_target(path)
    except InputError:
        target = path.strip("/")
        return respond(named(failures.application_not_found(target), request_id))
    fault = platform.faults.draw(str(model_id), "connect")
    if fault is not None:
        return await broken(fault, _NOTHING, request_id, request, platform.clock)
    if service == wire.WS_HOST:
        return await _gateway(platform, request, model_id, request_id, cdn)
    if service == wire.RUN_HOST:
        return await _realtime(platform, request, model_id, request_id, cdn)
    return respond(named(failures.json_answer(404, {"detail": "Not Found"}), request_id))


async def _gateway(
    platform: Platform, request: web.BaseRequest, model_id: ModelId, request_id: str, cdn: str
) -> web.StreamResponse:
    caller = platform.recognise(request.headers, model_id)
    if isinstance(caller, HttpResponse):
        return respond(named(caller, request_id))
    return await Gateway(platform, request, model_id, cdn).serve()


async def _realtime(
    platform: Platform, request: web.BaseRequest, model_id: ModelId, request_id: str, cdn: str
) -> web.StreamResponse:
    token = request.query.get(wire.TOKEN_PARAMETER)
    model = platform.live_model(model_id)
    known = None if token is None else platform.tokens.find(token, model_id, platform.clock.now())
    if token is None:
        caller = platform.recognise(request.headers, model_id)
        if isinstance(caller, HttpResponse):
            return respond(named(caller, request_id))
    else:
        caller = Caller("" if known is None else known.key_id)
    mounted = platform.mounted(model_id)
    if mounted is not None:
        if token is not None and known is None:
            return respond(named(failures.unknown_key(), request_id))
        return await _application(platform, request, model_id, mounted, caller, request_id, cdn)
    if model is None or model.realtime is None:
        return respond(named(failures.path_not_found(f"/{model_id.path}"), request_id))
    session = RealtimeSession(platform, request, model, caller, request_id)
    if token is not None and known is None:
        if not model.realtime.says_unauthorized:
            return respond(named(failures.unknown_key(), request_id))
        return await session.refuse()
    refusal = _refused(platform, model)
    if refusal is not None:
        return respond(named(refusal, request_id))
    try:
        return await session.serve(None if known is None else known.until)
    finally:
        platform.concurrency.leave(model.application, exempt=model.own)
        platform.freed()
        platform.background.note()


def _refused(platform: Platform, model: Model) -> HttpResponse | None:
    """The refusal of a connection that would be one too many; else it has a slot from here on."""
    over = platform.concurrency.enter(model.application, exempt=model.own)
    platform.background.note()
    if over is None:
        return None
    return failures.concurrency_limit_reached(over.limit if platform.account.name_limit else None)


async def _application(
    platform: Platform,
    request: web.BaseRequest,
    model_id: ModelId,
    mounted: tuple[AsgiModel, str],
    caller: Caller,
    request_id: str,
    cdn: str,
) -> web.StreamResponse:
    """Let a mounted application have the connection: any path of it, realtime or not."""
    model, path = mounted
    refusal = _refused(platform, model)
    if refusal is not None:
        return respond(named(refusal, request_id))
    arrival = Arrival(
        request_id=request_id,
        received=platform.clock.now(),
        method=request.method,
        model_id=model_id,
        headers=request.headers,
        body=b"",
        cdn=cdn,
        query=query_of(request),
    )
    admitted = Admitted(
        arrival=arrival, caller=caller, model=model, path=path, start_by=None, lifecycle=None
    )
    return await AppSession(platform, request, admitted, model).serve()
