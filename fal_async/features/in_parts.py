"""Uploads in parts: several at once, each sent by itself until it arrives (PROTOCOL 11, D and E).

What arrived is remembered, so that an upload can be gone on with after a failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Final, Protocol

from fal_async.errors import UploadError
from fal_async.features.cdn import Cdn
from fal_async.features.progress import Progress
from fal_async.features.sources import Slice
from fal_async.features.storing import Storing, as_safe_as
from fal_async.protocol import wire
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.multipart import (
    Created,
    Part,
    complete_request,
    create_request,
    parse_created,
    parse_etag,
    part_request,
    presigned_complete_request,
    presigned_part_request,
)
from fal_async.protocol.storage import Initiated, StorageRequest, initiate_request, parse_initiated
from fal_async.protocol.upload_facts import UploadFacts

__all__ = ["InParts", "OnCdn", "Presigned", "Way", "begin_on_cdn", "begin_presigned"]

_CREATE: Final = "the beginning of an upload in parts"
_COMPLETE: Final = "the end of an upload in parts"


class Way(Protocol):
    """How the parts of one upload get to fal.

    :ivar url: where the file will be.
    """

    url: str

    async def part(self, number: int, body: Slice, progress: Progress) -> str:
        """Send one; its ETag."""
        ...

    async def complete(self, parts: list[Part]) -> None:
        """Make a file of them."""
        ...


def _check_etag(response: HttpResponse) -> str:
    etag = parse_etag(response.headers, response.body)
    if etag is None:
        raise Undecodable("it has no ETag")
    return etag


class OnCdn:
    """With a token."""

    def __init__(self, cdn: Cdn, storing: Storing, created: Created) -> None:
        self._cdn = cdn
        self._storing = storing
        self._created = created
        self.url = created.access_url

    async def part(self, number: int, body: Slice, progress: Progress) -> str:
        response = await self._cdn.send(
            lambda token: part_request(self._created, number, token),
            f"part {number} of an upload",
            body=body,
            progress=progress,
            check=_check_etag,
        )
        return _check_etag(response)

    async def complete(self, parts: list[Part]) -> None:
        completed = self._cdn.send(
            lambda token: complete_request(self._created, parts, token), _COMPLETE
        )
        await _unless_there(completed, self._storing, self.url)


class Presigned:
    """By a URL that is itself the permission."""

    def __init__(self, storing: Storing, initiated: Initiated) -> None:
        self._storing = storing
        self._initiated = initiated
        self.url = initiated.file_url

    async def part(self, number: int, body: Slice, progress: Progress) -> str:
        response = await self._storing.send(
            presigned_part_request(self._initiated, number),
            f"part {number} of an upload",
            body=body,
            progress=progress,
            check=_check_etag,
        )
        return _check_etag(response)

    async def complete(self, parts: list[Part]) -> None:
        request = presigned_complete_request(self._initiated, parts)
        await _unless_there(self._storing.send(request, _COMPLETE), self._storing, self.url)


async def _unless_there(completed: Awaitable[Any], storing: Storing, url: str) -> None:
    """A completion whose answer was lost is refused the second time, because there is nothing to complete."""
    try:
        await completed
    except UploadError as error:
        lost = error.first is not None and error.first.status is None
        if not lost or error.status not in {400, 404, 409, 410}:
            raise
        try:
            await storing.send(StorageRequest("HEAD", url), "the look for the file")
        except UploadError:
            raise error from None


async def begin_on_cdn(cdn: Cdn, storing: Storing, facts: UploadFacts) -> OnCdn:
    """Begin with a token."""
    response = await cdn.send(
        lambda token: create_request(token.base_url, token, facts),
        _CREATE,
        check=lambda response: parse_created(response.body),
    )
    return OnCdn(cdn, storing, parse_created(response.body))


async def begin_presigned(
    storing: Storing, rest: str, facts: UploadFacts, key: str | None
) -> Presigned:
    """Begin without a token."""
    response = await storing.send(
        initiate_request(rest, facts, in_parts=True),
        _CREATE,
        key=key,
        signed=True,
        check=lambda response: as_safe_as(rest, parse_initiated(response.body)),
    )
    return Presigned(storing, parse_initiated(response.body))


class InParts:
    """One upload, until it is complete; it may be gone on with after a failure.

    :ivar done: the parts that have arrived.
    """

    def __init__(self, way: Way) -> None:
        self.way = way
        self.done: dict[int, Part] = {}

    async def send(
        self, bodies: AsyncIterator[Slice], progress: Progress, *, at_once: int = wire.PARTS_AT_ONCE
    ) -> None:
        """Send the parts that have not arrived yet; the next is asked for when there is room for it.

        :raises Exception: the first failure of a part, of ``bodies``, or of the progress's callback. No other
            part is under way then.
        """
        room = asyncio.Semaphore(at_once)
        try:
            async with asyncio.TaskGroup() as group:
                await room.acquire()
                number = 0
                async for body in bodies:
                    number += 1
                    if number in self.done:
                        await progress.add(body.size)
                        continue
                    group.create_task(self._part(number, body, progress, room))
                    await room.acquire()
        except BaseExceptionGroup as failed:
            failure = _first(failed)
        else:
            return
        raise failure

    async def _part(
        self, number: int, body: Slice, progress: Progress, room: asyncio.Semaphore
    ) -> None:
        try:
            etag = await self.way.part(number, body, progress)
            self.done[number] = Part(number, etag)
        finally:
            room.release()

    async def complete(self) -> str:
        """Make a file of the parts; its URL."""
        await self.way.complete([self.done[number] for number in sorted(self.done)])
        return self.way.url


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
