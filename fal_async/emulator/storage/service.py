"""The storage of the emulated fal: every operation, from a request that was read to its answer (PROTOCOL 11).

The sentences of its refusals are ours, and so are most of their statuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Final

import attrs

from fal_async.emulator.objects import Came
from fal_async.emulator.pieces import Pieces
from fal_async.emulator.platform import Platform
from fal_async.emulator.scenario import Caller
from fal_async.emulator.storage.access import Access
from fal_async.emulator.storage.routes import Route, presigned_path
from fal_async.emulator.storage.settings import StorageSettings
from fal_async.emulator.storage.unfinished import PART_NUMBER_MAX, Unfinished
from fal_async.protocol import failures, storage, wire
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.media_types import extension_of
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.multipart import Created, Part, build_created, build_part, parse_parts
from fal_async.protocol.upload_facts import UploadFacts, parse_upload_headers

__all__ = ["Asked", "StorageService", "refused"]


@attrs.frozen(kw_only=True)
class Asked:
    """A request to the storage, read.

    :ivar headers: names compare case-insensitively.
    :ivar content: its body; None if it was too large to be kept.
    :ivar cdn: the base URL under which this caller reaches the CDN.
    """

    headers: Mapping[str, str] = attrs.field(repr=False)
    query: Mapping[str, str] = attrs.field(repr=False)
    content: Pieces | None
    cdn: str

    @property
    def body(self) -> bytes:
        """All of it, in one piece."""
        return b"" if self.content is None else bytes(self.content)


def refused(status: int, detail: str) -> HttpResponse:
    """An answer that is a refusal."""
    return failures.json_answer(status, {"detail": detail})


class _RefusedError(Exception):
    """Turned away, with this answer. Stays inside this module."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.answer = refused(status, detail)


class StorageService:
    """Tokens and uploads; what has arrived is among the platform's objects.

    :ivar settings: may be set at any time.
    """

    def __init__(self, platform: Platform, settings: StorageSettings) -> None:
        self.settings = settings
        self.access = Access(platform)
        self.unfinished: dict[str, Unfinished] = {}
        self._platform = platform
        self._numbers = count(1)
        self._operations: Final[Mapping[str, Callable[[Route, Asked], HttpResponse]]] = {
            "token": self._give_token,
            "upload": self._upload,
            "initiate": self._initiate,
            "put": self._put,
            "create": self._create,
            "part": self._part,
            "complete": self._complete,
            "sign": self._sign,
        }

    @property
    def _now(self) -> float:
        return self._platform.clock.now()

    def serve(self, route: Route, asked: Asked) -> HttpResponse:
        """The answer to a request; its effect is had."""
        try:
            return self._operations[route.operation](route, asked)
        except _RefusedError as error:
            return error.answer

    # --- A: tokens ----------------------------------------------------------------------------------

    def _give_token(self, _: Route, asked: Asked) -> HttpResponse:
        caller = self.caller(asked.headers)
        if isinstance(caller, HttpResponse):
            return caller
        _check_storage_type(asked)
        seconds = storage.parse_seconds(asked.body, "expiration_seconds")
        expires = self._now + (self.settings.token_lifetime if seconds is None else seconds)
        token = storage.CdnToken(
            self.access.tokens.give(caller.key_id, expires),
            wire.CDN_TOKEN_TYPE,
            asked.cdn,
            self._platform.unix(expires),
        )
        moment = datetime.fromtimestamp(token.expires_at, UTC).isoformat()
        return failures.json_answer(200, storage.build_token(token, moment))

    def caller(self, headers: Mapping[str, str]) -> Caller | HttpResponse:
        """Who asks with an API key, or the answer that turns them away (PROTOCOL 2.1)."""
        said = headers.get(wire.AUTHORIZATION)
        judged = self._platform.account.judge(said, application="", public=False)
        if said is None and isinstance(judged, HttpResponse):
            return refused(401, "Authentication is required")
        return judged

    def _holder(self, asked: Asked) -> str:
        holder = self.access.holder(asked.headers)
        if holder is None:
            raise _RefusedError(401, "The token is missing, unknown or has expired")
        return holder

    # --- B: in one piece, with a token --------------------------------------------------------------

    def _upload(self, _: Route, asked: Asked) -> HttpResponse:
        owner, content = self._holder(asked), self._content(asked)
        facts = parse_upload_headers(asked.headers)
        path = self._new_path(facts)
        self._keep(path, facts, content, owner, "direct")
        return failures.json_answer(200, {"access_url": asked.cdn + path})

    def _content(self, asked: Asked) -> Pieces:
        if asked.content is None:
            raise _RefusedError(413, "The body is larger than one request may bring")
        return asked.content

    def _new_path(self, facts: UploadFacts) -> str:
        number = next(self._numbers)
        folder = f"{self._platform.chance.integer('upload', number):016x}"[:8]
        name = self._platform.chance.file_name("upload", number).partition("/")[2]
        said = _UNSAFE.sub("_", facts.file_name or "")[-_NAME_SHOWN:]
        ending = f"_{said}" if said else f".{extension_of('', facts.content_type)}"
        return f"{wire.FILES_PREFIX}b/{folder}/{name}{ending}"

    def _keep(self, path: str, facts: UploadFacts, content: Pieces, owner: str, came: Came) -> None:
        wish = facts.lifecycle
        if wish is not None and wish.initial_acl is not None:
            wish = attrs.evolve(wish, initial_acl=self.access.applied(wish.initial_acl))
        self._platform.objects.put(
            path,
            content,
            facts.content_type,
            self._now,
            lifecycle=wish,
            owner=owner,
            name=facts.file_name,
            came=came,
        )

    # --- C and E: a presigned URL -------------------------------------------------------------------

    def _initiate(self, route: Route, asked: Asked) -> HttpResponse:
        caller = self.caller(asked.headers)
        if isinstance(caller, HttpResponse):
            return caller
        _check_storage_type(asked, gcs=self.settings.gcs and not route.in_parts)
        try:
            facts = storage.parse_initiate(asked.headers, asked.body)
        except Undecodable as error:
            raise _RefusedError(422, f"The request cannot be read: {error}") from None
        came: Came = "presigned_parts" if route.in_parts else "put"
        upload_id, upload = self._begin(facts, caller.key_id, came)
        upload.signature = self._platform.chance.uuid("signature", upload_id)
        upload.expires = self._now + self.settings.upload_lifetime
        answer = storage.Initiated(
            f"{asked.cdn}{presigned_path(upload_id)}?signature={upload.signature}",
            asked.cdn + upload.path,
        )
        return failures.json_answer(200, storage.build_initiated(answer))

    def _begin(self, facts: UploadFacts, owner: str, came: Came) -> tuple[str, Unfinished]:
        upload = Unfinished(self._new_path(facts), facts, owner, came)
        upload_id = self._platform.chance.uuid("upload", upload.path).replace("-", "")
        self.unfinished[upload_id] = upload
        return upload_id, upload

    def _put(self, route: Route, asked: Asked) -> HttpResponse:
        upload = self._presigned(route, asked, "put")
        declared = upload.facts.content_type
        if asked.headers.get("Content-Type") != declared:
            raise _RefusedError(403, f"The Content-Type is not the declared one, {declared}")
        content = self._content(asked)
        self._keep(upload.path, upload.facts, content, upload.owner, upload.came)
        upload.completed = ()
        return HttpResponse(200, Headers({"ETag": content.etag}), b"")

    def _presigned(self, route: Route, asked: Asked, *came: Came) -> Unfinished:
        if self.settings.keyless_urls and wire.AUTHORIZATION in asked.headers:
            raise _RefusedError(
                400,
                "A presigned URL is its own credential, and somebody else's host: an Authorization "
                "header there gives a key away",
            )
        upload = self.unfinished.get(route.upload_id)
        if upload is None or upload.came not in came:
            raise _RefusedError(404, "There is no such upload")
        if asked.query.get("signature") != upload.signature:
            raise _RefusedError(403, "The signature does not match")
        if upload.expires is not None and upload.expires <= self._now:
            raise _RefusedError(403, "The URL has expired")
        return upload

    # --- D and E: in parts --------------------------------------------------------------------------

    def _create(self, _: Route, asked: Asked) -> HttpResponse:
        owner = self._holder(asked)
        upload_id, upload = self._begin(parse_upload_headers(asked.headers), owner, "parts")
        created = Created(asked.cdn + upload.path, upload_id)
        return failures.json_answer(200, build_created(created))

    def _part(self, route: Route, asked: Asked) -> HttpResponse:
        upload = self._begun(route, asked)
        number = route.number or 0
        if not 1 <= number <= PART_NUMBER_MAX:
            raise _RefusedError(400, f"Parts are numbered from 1 to {PART_NUMBER_MAX}")
        if upload.completed is not None:
            raise _RefusedError(404, "The upload is complete")
        content = self._content(asked)
        upload.receive(number, content)
        headers = {"ETag": content.etag}
        if not route.presigned:
            return HttpResponse(200, Headers(headers), b"")
        return failures.json_answer(200, build_part(Part(number, content.etag)), headers)

    def _begun(self, route: Route, asked: Asked) -> Unfinished:
        if route.presigned:
            return self._presigned(route, asked, "presigned_parts")
        holder = self._holder(asked)
        upload = self.unfinished.get(route.upload_id)
        if upload is None or upload.came != "parts" or upload.path != route.path:
            raise _RefusedError(404, "There is no such upload")
        if upload.owner != holder:
            raise _RefusedError(403, "The upload is somebody else's")
        return upload

    def _complete(self, route: Route, asked: Asked) -> HttpResponse:
        upload = self._begun(route, asked)
        try:
            parts = parse_parts(asked.body)
        except Undecodable as error:
            raise _RefusedError(422, f"The list of parts cannot be read: {error}") from None
        done = failures.json_answer(200, {"access_url": asked.cdn + upload.path})
        if upload.completed is not None:
            if upload.completed != tuple(sorted(parts)):
                raise _RefusedError(409, "The upload is complete, with other parts")
            return done
        objection = upload.objection(parts, sorted_only=self.settings.sorted_parts)
        if objection is not None:
            raise _RefusedError(400, objection)
        content = upload.complete(parts)
        self._keep(upload.path, upload.facts, content, upload.owner, upload.came)
        return done

    # --- signed URLs --------------------------------------------------------------------------------

    def _sign(self, route: Route, asked: Asked) -> HttpResponse:
        holder = self._holder(asked)
        stored = self._platform.objects.get(route.path, self._now)
        if stored is None or self.access.decide(stored, asked.headers, None) == "hide":
            raise _RefusedError(404, "File not found")
        if stored.owner != holder:
            raise _RefusedError(403, "Only the owner of a file may sign its URL")
        seconds = storage.parse_seconds(asked.body, "duration") or wire.SIGNED_FOR
        if seconds > wire.SIGNED_FOR_MAX:
            raise _RefusedError(400, "A URL is signed for at most seven days")
        url = f"{asked.cdn}{stored.path}{self.access.sign(stored, seconds)}"
        return failures.json_answer(200, {"url": url})


_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
#: So much of a file's name is seen in its URL, from its end.
_NAME_SHOWN: Final = 64


def _check_storage_type(asked: Asked, *, gcs: bool = False) -> None:
    said = asked.query.get(wire.STORAGE_TYPE_PARAMETER, wire.STORAGE_TYPE)
    if said != wire.STORAGE_TYPE and not (gcs and said == wire.STORAGE_TYPE_OLD):
        raise _RefusedError(400, "There is no such storage type")
