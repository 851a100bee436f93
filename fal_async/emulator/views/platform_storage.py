"""``api.fal.ai/v1/storage``: access lists, signed URLs and the account's settings (PROTOCOL 11)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from fal_async.emulator.objects import StoredObject
from fal_async.emulator.platform import Platform
from fal_async.emulator.storage.service import StorageService
from fal_async.emulator.storage.view import path_of
from fal_async.emulator.views.answering import respond
from fal_async.protocol import failures, storage, wire
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.lifecycle import (
    InitialAcl,
    LifecyclePreference,
    build_acl,
    parse_acl,
    parse_lifecycle,
)
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.platform import build_platform_error

__all__ = ["platform_storage"]

#: path → the operation it is counted as, and its methods.
_OPERATIONS: Final = {
    wire.FILE_ACL_PATH: ("acl", ("GET", "PUT")),
    wire.FILE_SIGN_PATH: ("sign", ("POST",)),
    wire.STORAGE_SETTINGS_PATH: ("settings", ("GET", "PUT")),
}
#: What holds where an access list was never set.
_PUBLIC: Final = InitialAcl("allow")


async def platform_storage(
    platform: Platform, service: StorageService, request: web.BaseRequest, path: str
) -> web.StreamResponse:
    """Serve a path below ``/v1/storage/``."""
    operation, methods = _OPERATIONS.get(path.rstrip("/"), ("", ()))
    platform.background.note()
    body = await request.read()
    await platform.travel()
    if not operation:
        return respond(build_platform_error("not_found", "The emulator knows no such path"))
    platform.requests[operation] += 1
    if request.method not in methods:
        answer = failures.method_not_allowed()
    else:
        answer = _answered(platform, service, request, operation, body)
    await platform.travel()
    return respond(answer)


def _answered(
    platform: Platform,
    service: StorageService,
    request: web.BaseRequest,
    operation: str,
    body: bytes,
) -> HttpResponse:
    caller = service.caller(request.headers)
    if isinstance(caller, HttpResponse):
        said = "Authentication is required" if caller.status == 401 else "The account is locked"
        return build_platform_error("authorization_error", said, status=caller.status)
    if operation == "settings":
        return _settings(platform, body if request.method == "PUT" else None)
    stored = _file(platform, request, caller.key_id)
    if isinstance(stored, HttpResponse):
        return stored
    if operation == "sign":
        return _signed(service, stored, request.query["url"], body)
    return _acl(platform, service, stored, body if request.method == "PUT" else None)


def _file(platform: Platform, request: web.BaseRequest, owner: str) -> StoredObject | HttpResponse:
    url = request.query.get("url", "")
    try:
        path, query = path_of(url), urlsplit(url).query
    except ValueError:
        path, query = "", ""
    if not path or query:
        return build_platform_error("validation_error", "url is that of a file, without a query")
    stored = platform.objects.get(path, platform.clock.now())
    if stored is None:
        return build_platform_error("not_found", "There is no such file")
    if stored.owner != owner:
        return build_platform_error("authorization_error", "The file is somebody else's")
    return stored


def _signed(service: StorageService, stored: StoredObject, url: str, body: bytes) -> HttpResponse:
    seconds = storage.parse_seconds(body, "expiration_seconds")
    if seconds is None or not 1 <= seconds <= wire.SIGNED_FOR_MAX:
        return build_platform_error(
            "validation_error", f"expiration_seconds is 1 to {wire.SIGNED_FOR_MAX}"
        )
    return failures.json_answer(200, {"signed_url": url + service.access.sign(stored, seconds)})


def _acl(
    platform: Platform, service: StorageService, stored: StoredObject, body: bytes | None
) -> HttpResponse:
    acl = stored.acl or _PUBLIC
    if body is not None:
        try:
            wish = parse_acl(storage.object_of(body))
        except Undecodable:
            wish = None
        if wish is None:
            return build_platform_error("validation_error", "The body is an access list")
        acl = service.access.applied(wish)
        platform.objects.set_acl(stored.path, acl)
    return failures.json_answer(200, build_acl(acl))


def _settings(platform: Platform, body: bytes | None) -> HttpResponse:
    if body is not None:
        try:
            storage.object_of(body)
        except Undecodable:
            return build_platform_error("validation_error", "The body is an object")
        platform.objects.defaults = (
            parse_lifecycle(body.decode("utf-8", "replace")) or LifecyclePreference()
        )
    now = platform.objects.defaults
    acl = None if now.initial_acl is None else build_acl(now.initial_acl)
    content = {"expiration_duration_seconds": now.expire, "initial_acl": acl}
    return failures.json_answer(200, content)
