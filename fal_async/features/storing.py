"""Requests to fal's storage, each sent until it is answered: they cost nothing, however often (PROTOCOL 11).

What the requests are is told by ``protocol.storage`` and ``protocol.multipart``. A transfer in which no byte
moves for a while counts as lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from fal_async._version import VERSION
from fal_async.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConnectError,
    FalError,
    InputError,
    TransportError,
    UploadError,
)
from fal_async.features.progress import Progress
from fal_async.policy.patience import Patience
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.messages import BodyStream, Headers, HttpRequest, HttpResponse
from fal_async.protocol.outcome import error_from_response, retry_after
from fal_async.protocol.storage import Initiated, StorageRequest
from fal_async.transport.base import Call, Clock, Transport

__all__ = ["Storing", "as_safe_as", "unreachable"]

_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"fal-async/{VERSION}",
}
_PASSING: Final = frozenset((408, 421, 425, 429))
#: Transfers at once, of all uploads together: more would share the same line.
_TRANSFERS: Final = 64


def unreachable(error: FalError) -> bool:
    """Whether the storage was not there to answer, or is out of order: another way to it may do."""
    down = error.status is None or error.status >= 500
    return isinstance(error, UploadError) and error.retryable and down


def as_safe_as(rest: str, upload: Initiated) -> Initiated:
    """A presigned URL to which a file goes no less protected than what it was asked for with.

    :raises Undecodable: if it would.
    """
    if rest.startswith("https:") and not upload.upload_url.startswith("https:"):
        raise Undecodable("its upload_url is not https")
    return upload


class Storing:
    """Sends storage requests.

    :param plain: a transport that never adds the key.
    :param signed: one that adds it where it may go.
    :param patience: how often and how long each is tried.
    :param idle: seconds in which nothing moves, after which a transfer counts as lost.
    """

    def __init__(
        self, plain: Transport, signed: Transport, clock: Clock, *, patience: Patience, idle: float
    ) -> None:
        self._plain = plain
        self._signed = signed
        self._clock = clock
        self._patience = patience
        self._idle = idle
        self._transfers = asyncio.Semaphore(_TRANSFERS)

    async def send(
        self,
        request: StorageRequest,
        what: str,
        *,
        key: str | None = None,
        signed: bool = False,
        body: BodyStream | None = None,
        progress: Progress | None = None,
        check: Callable[[HttpResponse], object] | None = None,
    ) -> HttpResponse:
        """The answer, a 2xx, however often it has to be asked for.

        :param what: what is asked for, as the subject of a message: "the upload".
        :param signed: whether the key belongs to it.
        :param body: the file's bytes, if they do.
        :param check: raises ``Undecodable`` for an answer that is none.
        :raises UploadError: the last failure; ``first`` is the first one, if it was another.
        :raises AuthenticationError: for the key.
        """
        sending = _Sending(body, progress, self._idle)
        first: FalError | None = None
        tries, waited = 0, 0.0
        while True:
            tries += 1
            try:
                response = await self._once(request, what, sending, key, signed=signed)
                if check is not None:
                    _read(response, what, check)
            except UploadError as failure:
                await sending.withdraw()
                failure.attempts = tries
                first = first or failure
                wait = (
                    self._patience.next_wait(
                        tries=tries,
                        waited=waited,
                        chance=self._clock.chance(),
                        retry_after=failure.retry_after,
                    )
                    if failure.retryable
                    else None
                )
                if wait is None:
                    failure.first = None if first is failure else first
                    raise
            except BaseException:
                await sending.withdraw()
                raise
            else:
                return response
            waited += wait
            await self._clock.sleep(wait)

    async def _once(
        self,
        request: StorageRequest,
        what: str,
        sending: _Sending,
        key: str | None,
        *,
        signed: bool,
    ) -> HttpResponse:
        async with self._transfers:
            try:
                response = await self._exchange(request, sending, key, signed=signed)
            except TransportError as error:
                again = not isinstance(error, ConnectError) or error.retryable
                raise UploadError(f"{what} was lost: {error.what}", retryable=again) from error
            except TimeoutError as error:
                if not sending.stalled:  # the caller's own code has run out of time
                    raise
                raise UploadError(
                    f"{what} was lost: nothing moved for {self._idle:g} s", retryable=True
                ) from error
            except InputError as error:  # a URL that only aiohttp minds, a proxy that is none
                raise UploadError(f"{what} cannot be sent: {error.what}") from None
        if 200 <= response.status < 300:
            return response
        raise _refusal(what, response, request if signed else None)

    async def _exchange(
        self, request: StorageRequest, sending: _Sending, key: str | None, *, signed: bool
    ) -> HttpResponse:
        message = HttpRequest(
            method=request.method,
            url=request.url,
            headers=_HEADERS | request.headers,
            body=request.body,
            stream=None if sending.body is None else sending,
        )
        call = Call(RetryPolicy.never(), key=key, free=True)
        transport = self._signed if signed else self._plain
        async with asyncio.timeout(self._idle) as sending.timer:
            return await transport.send(message, call)


class _Sending:
    """The body of a request, watched while it goes out."""

    def __init__(self, body: BodyStream | None, progress: Progress | None, idle: float) -> None:
        self.body = body
        self._progress = progress
        self._idle = idle
        self._sent = 0
        self._sends = 0
        self.timer: asyncio.Timeout | None = None

    @property
    def size(self) -> int:
        return 0 if self.body is None else self.body.size

    @property
    def stalled(self) -> bool:
        return self.timer is not None and self.timer.expired()

    async def chunks(self) -> AsyncGenerator[bytes | memoryview]:
        assert self.body is not None  # noqa: S101
        timer = self.timer
        assert timer is not None  # noqa: S101
        loop = asyncio.get_running_loop()
        await self.withdraw()  # aiohttp sends a PUT again by itself, if its connection was stale
        this = self._sends
        async with aclosing(self.body.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
                if self._sends != this or timer.expired():
                    return  # it was given up meanwhile
                timer.reschedule(loop.time() + self._idle)
                self._sent += len(chunk)
                if self._progress is not None:
                    await self._progress.add(len(chunk))

    async def withdraw(self) -> None:
        """What was sent was sent in vain."""
        self._sends += 1
        sent, self._sent = self._sent, 0
        if self._progress is not None and sent:
            await self._progress.add(-sent)


def _read(response: HttpResponse, what: str, check: Callable[[HttpResponse], object]) -> None:
    try:
        check(response)
    except Undecodable as error:
        failure = UploadError(
            f"the answer to {what} is none: {error}", status=response.status, retryable=True
        )
    else:
        return
    failure.body, failure.headers = response.body, Headers(response.headers)
    raise failure


def _refusal(what: str, response: HttpResponse, signed: StorageRequest | None) -> FalError:
    status = response.status
    if signed is not None and status in {401, 403}:
        asked = HttpRequest(method=signed.method, url=signed.url)
        error = error_from_response(response, asked)
        if isinstance(error, (AuthenticationError, AccessDeniedError)):
            return error
    return UploadError(
        f"{what} was answered with {status}",
        status=status,
        retryable=status >= 500 or status in _PASSING,
        retry_after=retry_after(response.headers),
        headers=Headers(response.headers),
        body=response.body,
    )
