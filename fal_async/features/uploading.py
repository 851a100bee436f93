"""Putting files into fal's storage: in one piece, or in parts if they are large (PROTOCOL 11).

Which way a file takes is decided here; how a request is sent until it is answered, in ``storing``; what is
read, in ``given`` and ``sources``. Uploading costs nothing, so whatever may pass is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Hashable
from contextlib import aclosing
from typing import Any, Final, Protocol, TypeVar

import attrs

from fal_async.errors import FalError, InputError, UploadError
from fal_async.features.cdn import Cdn
from fal_async.features.given import Given, Stream, Uploadable, as_given, parts_of
from fal_async.features.in_parts import InParts, Way, begin_on_cdn, begin_presigned
from fal_async.features.progress import OnProgress, Progress
from fal_async.features.sources import Held, Slice, Source
from fal_async.features.storing import Storing, as_safe_as, unreachable
from fal_async.policy.patience import Patience
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol import wire
from fal_async.protocol.auth import check_key
from fal_async.protocol.hosts import Hosts
from fal_async.protocol.lifecycle import Expire, InitialAcl, LifecyclePreference, parse_expire
from fal_async.protocol.media_types import extension_of, type_of_name
from fal_async.protocol.signatures import SIGNATURE_SIZE, type_of_content
from fal_async.protocol.storage import (
    direct_request,
    initiate_request,
    parse_access_url,
    parse_initiated,
    put_request,
)
from fal_async.protocol.upload_facts import UploadFacts, build_upload_headers, file_name_of
from fal_async.transport.base import Call, Clock, Transport
from fal_async.types import File

__all__ = ["Uploader"]

T = TypeVar("T")

#: Files that are open at once.
_FILES: Final = 64
#: Parts of a stream that are in memory at once, the one that is being filled apart.
_STREAMED_AT_ONCE: Final = 6
#: Uploads that broke off and are remembered.
_UNFINISHED: Final = 64
#: Keys whose tokens are remembered.
_KEYS: Final = 64
#: For so many seconds the CDN is not tried again when it was out of order.
_CDN_DOWN: Final = 60.0
#: What is answered for an upload in parts that the CDN no longer knows.
_FORGOTTEN: Final = frozenset((400, 403, 404, 409, 410))


class Inside(Protocol):
    """Where work is done that ends with the session."""

    def inside(self, call: Call, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """Do it."""
        ...


@attrs.frozen
class _Wishes:
    content_type: str | None
    file_name: str | None
    lifecycle: LifecyclePreference | None

    def facts(self, given: Given, head: bytes) -> UploadFacts:
        """What is told fal of a file that begins like this."""
        named = self.file_name or given.name or ""
        kind = (
            self.content_type
            or given.content_type
            or type_of_name(named)
            or type_of_content(head)
            or "application/octet-stream"
        )
        name = file_name_of(named) or f"file.{extension_of('', kind)}"
        return UploadFacts(kind, name, self.lifecycle)


class Uploader:
    """Uploads files, as many at once as it is asked to, over the connections of a session.

    :param plain: a transport that never adds the key.
    :param signed: one that adds it where it may go.
    :param gate: ends what is under way when the session is closed.
    :param wall_time: Unix seconds, for an answer that does not say what time it is.
    :param patience: how often and how long each request is tried.
    :param idle: seconds in which nothing moves, after which a transfer counts as lost.
    :param parts_above: more bytes than this go up in parts.
    :param part_size: bytes of every part but the last.
    """

    def __init__(
        self,
        plain: Transport,
        signed: Transport,
        gate: Inside,
        hosts: Hosts,
        clock: Clock,
        wall_time: Callable[[], float],
        *,
        patience: Patience = Patience(tries=5, budget=30.0),  # noqa: B008 - frozen
        idle: float = 60.0,
        parts_above: int = wire.MULTIPART_ABOVE,
        part_size: int = wire.PART_SIZE,
    ) -> None:
        self._gate = gate

        def make() -> _Uploads:
            storing = Storing(plain, signed, clock, patience=patience, idle=idle)
            return _Uploads(storing, hosts, clock, wall_time, parts_above, part_size)

        self._make = make
        self._uploads: _Uploads | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def upload(
        self,
        data: Uploadable,
        *,
        content_type: str | None = None,
        file_name: str | None = None,
        expire: Expire | None = None,
        acl: InitialAcl | None = None,
        on_progress: OnProgress | None = None,
        key: str | None = None,
    ) -> File:
        """Put a file into fal's storage; told in full at ``AsyncFal.upload``.

        :param key: whose file it shall be; None: the session's.
        :raises InputError: for what cannot be uploaded; nothing was sent.
        :raises UploadError: if it cannot be read to its end, or not be stored.
        """
        if key is not None:
            check_key(key)
        if on_progress is not None and not callable(on_progress):
            raise InputError("on_progress is a function")
        wishes = _Wishes(content_type, file_name, _lifecycle(expire, acl))
        asked = UploadFacts(content_type or "x/y", file_name, wishes.lifecycle)
        build_upload_headers(asked)  # says what cannot be sent
        loop = asyncio.get_running_loop()
        if self._uploads is None or self._loop is not loop:
            self._uploads, self._loop = self._make(), loop
        call = Call(RetryPolicy.never(), key=key, free=True)
        return await self._gate.inside(call, self._uploads.upload(data, wishes, on_progress, key))


def _lifecycle(expire: Expire | None, acl: InitialAcl | None) -> LifecyclePreference | None:
    said = parse_expire(expire)
    if acl is None:
        return said
    if said is None:
        return LifecyclePreference(None, acl)
    if said.initial_acl is not None:
        raise InputError("the access list is given twice: in expire, and as acl")
    return LifecyclePreference(said.expire, acl)


class _Uploads:
    """All uploads of one event loop."""

    def __init__(
        self,
        storing: Storing,
        hosts: Hosts,
        clock: Clock,
        wall_time: Callable[[], float],
        parts_above: int,
        part_size: int,
    ) -> None:
        self._parts_above = parts_above
        self._part_size = part_size
        self._storing = storing
        self._hosts = hosts
        self._clock = clock
        self._wall_time = wall_time
        self._files = asyncio.Semaphore(_FILES)
        self._cdns: dict[str | None, Cdn] = {}
        self._unfinished: dict[Hashable, InParts] = {}
        self._cdn_is_back = 0.0

    async def upload(
        self, data: object, wishes: _Wishes, on_progress: OnProgress | None, key: str | None
    ) -> File:
        given = await as_given(data, wishes.content_type, wishes.file_name)
        if isinstance(given.content, Stream):
            return await self._stream(given.content, given, wishes, on_progress, key)
        async with self._files, given.content as source:
            facts = wishes.facts(given, await _head(source))
            progress = Progress(on_progress, source.size)
            if source.size > self._parts_above:
                url = await self._in_parts(source, facts, progress, key)
            else:
                url = await self._whole(source, facts, progress, key)
        return await _done(url, facts, progress)

    async def _stream(
        self,
        stream: Stream,
        given: Given,
        wishes: _Wishes,
        on_progress: OnProgress | None,
        key: str | None,
    ) -> File:
        progress = Progress(on_progress, None)
        async with aclosing(parts_of(stream, self._part_size)) as parts:
            first = await anext(parts, bytearray())
            facts = wishes.facts(given, bytes(first[:SIGNATURE_SIZE]))
            second = await anext(parts, None)
            if second is None:
                url = await self._whole(Held(first), facts, progress, key)
            else:
                upload = InParts(await self._begin(facts, key))
                bodies = _bodies(first, second, parts)
                del first, second
                async with aclosing(bodies):
                    await upload.send(bodies, progress, at_once=_STREAMED_AT_ONCE)
                url = await upload.complete()
        return await _done(url, facts, progress)

    # --- in one piece -----------------------------------------------------------------------------------

    async def _whole(
        self, source: Source, facts: UploadFacts, progress: Progress, key: str | None
    ) -> str:
        body = Slice(source, 0, source.size)

        async def on_cdn() -> str:
            cdn = self._cdn(key)
            response = await cdn.send(
                lambda token: direct_request(cdn.base, token, facts),
                "the upload",
                body=body,
                progress=progress,
                check=lambda response: parse_access_url(response.body),
            )
            return parse_access_url(response.body)

        async def presigned() -> str:
            response = await self._storing.send(
                initiate_request(self._hosts.rest, facts),
                "the beginning of an upload",
                key=key,
                signed=True,
                check=lambda response: as_safe_as(self._hosts.rest, parse_initiated(response.body)),
            )
            initiated = parse_initiated(response.body)
            request = put_request(initiated.upload_url, facts.content_type)
            await self._storing.send(request, "the upload", body=body, progress=progress)
            return initiated.file_url

        async def presigned_in_time() -> str:
            try:
                return await presigned()
            except UploadError as error:
                # How long the URL holds is not known; it may have ended while it was tried again.
                if error.status not in _FORGOTTEN or error.attempts == 1:
                    raise
            return await presigned()

        return await self._by_cdn_or(on_cdn, presigned_in_time)

    async def _by_cdn_or(
        self,
        on_cdn: Callable[[], Coroutine[Any, Any, T]],
        presigned: Callable[[], Coroutine[Any, Any, T]],
    ) -> T:
        """The other way is taken where the CDN, or what gives its tokens, cannot be reached or is down."""
        first: FalError | None = None
        if self._clock.now() >= self._cdn_is_back:
            try:
                return await on_cdn()
            except UploadError as error:
                if not unreachable(error):
                    raise
                first = error
                self._cdn_is_back = self._clock.now() + _CDN_DOWN
        try:
            return await presigned()
        except FalError as error:
            error.first = first or error.first
            raise

    def _cdn(self, key: str | None) -> Cdn:
        cdn = self._cdns.get(key)
        if cdn is None:
            if len(self._cdns) >= _KEYS:
                del self._cdns[next(iter(self._cdns))]
            cdn = self._cdns[key] = Cdn(
                self._storing,
                self._clock,
                self._wall_time,
                rest=self._hosts.rest,
                base=self._hosts.cdn,
                key=key,
            )
        return cdn

    # --- in parts ---------------------------------------------------------------------------------------

    async def _begin(self, facts: UploadFacts, key: str | None) -> Way:
        async def on_cdn() -> Way:
            return await begin_on_cdn(self._cdn(key), self._storing, facts)

        async def presigned() -> Way:
            return await begin_presigned(self._storing, self._hosts.rest, facts, key)

        return await self._by_cdn_or(on_cdn, presigned)

    async def _in_parts(
        self, source: Source, facts: UploadFacts, progress: Progress, key: str | None
    ) -> str:
        known = None if source.identity is None else (source.identity, facts, key)
        upload = None if known is None else self._unfinished.pop(known, None)
        if upload is not None:
            try:
                return await self._go_on(upload, known, source, progress)
            except UploadError as error:
                if error.status not in _FORGOTTEN:
                    raise
            self._unfinished.pop(known, None)
            progress.restart()
        upload = InParts(await self._begin(facts, key))
        return await self._go_on(upload, known, source, progress)

    async def _go_on(
        self, upload: InParts, known: Hashable, source: Source, progress: Progress
    ) -> str:
        try:
            async with aclosing(_slices(source, self._part_size)) as slices:
                await upload.send(slices, progress)
            await source.check()
            return await upload.complete()
        except BaseException:
            if known is not None and upload.done:
                if len(self._unfinished) >= _UNFINISHED:
                    del self._unfinished[next(iter(self._unfinished))]
                self._unfinished[known] = upload
            raise


async def _head(source: Source) -> bytes:
    async with aclosing(source.chunks(0, min(SIGNATURE_SIZE, source.size))) as chunks:
        async for chunk in chunks:
            return bytes(chunk)
    return b""


async def _slices(source: Source, part_size: int) -> AsyncGenerator[Slice]:
    for start in range(0, source.size, part_size):
        yield Slice(source, start, min(start + part_size, source.size))


async def _bodies(
    first: bytearray, second: bytearray, rest: AsyncGenerator[bytearray]
) -> AsyncGenerator[Slice]:
    waiting = [second, first]
    del first, second
    while waiting:
        yield _held(waiting.pop())
    async for part in rest:
        yield _held(part)


def _held(part: bytearray) -> Slice:
    return Slice(Held(part), 0, len(part))


async def _done(url: str, facts: UploadFacts, progress: Progress) -> File:
    await progress.end()
    return File(
        url=url,
        content_type=facts.content_type,
        file_name=facts.file_name,
        file_size=progress.total,
    )
