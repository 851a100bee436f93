"""Fetching files: streamed to disk or read whole, resumed after a break, never with the key (PROTOCOL 11).

What an answer means is told by ``protocol.fetching``; how a file gets its name by ``transport.files``.
Fetching costs nothing, so whatever may pass is tried again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from fal_async._version import VERSION
from fal_async.errors import ConnectError, DownloadError, InputError, TransportError
from fal_async.features.landing import (
    BLOCK,
    InMemory,
    IntoStream,
    OnDisk,
    Place,
    Sink,
    disk_error,
    too_large,
)
from fal_async.policy.patience import Patience
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.fetching import (
    Extent,
    check_url,
    full_extent,
    host_of,
    redirected,
    refusal,
    rest_extent,
)
from fal_async.protocol.media import decode_data_uri
from fal_async.protocol.messages import HttpRequest
from fal_async.transport.base import Call, Clock, StreamedResponse, Streaming
from fal_async.transport.files import in_thread, write_new

__all__ = ["Downloaded", "Downloader", "Place"]

_REDIRECTS: Final = 5
_HEADERS: Final = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": f"fal-async/{VERSION}",
}


@attrs.frozen(kw_only=True)
class Downloaded:
    """A file on disk.

    :ivar path: where it is; not where it was to go, if something was there already.
    :ivar size: its length in bytes.
    :ivar content_type: its media type, as its server says.
    """

    path: Path
    size: int
    content_type: str | None = None


class Downloader:
    """Fetches files, as many at once as it is asked to.

    :param streams: a transport that adds no key.
    :param local: whether files may be fetched from this machine and private networks: from an emulator's CDN,
        yes. An output of the real fal has no business to make us ask our own services.
    :param patience: how often and how long it is tried without getting any further.
    :param idle: seconds of silence after which a connection counts as lost.
    """

    def __init__(
        self,
        streams: Streaming,
        clock: Clock,
        *,
        local: bool = False,
        patience: Patience = Patience(tries=5, budget=60.0),  # noqa: B008 - frozen
        idle: float = 60.0,
    ) -> None:
        self._streams = streams
        self._clock = clock
        self._local = local
        self._patience = patience
        self._idle = idle

    async def save(self, url: str, to: Place, *, make_folder: bool = False) -> Downloaded:
        """Fetch a file, or decode a ``data:`` URI, to a new file; never over one that is there.

        It is written beside its place under another name, and appears whole or not at all. Nothing is left
        behind of a failure or a cancellation.

        :param make_folder: whether to make the folder it goes to.
        :raises DownloadError: if it cannot be had, or not be written.
        """
        try:
            if _is_inline(url):
                content, kind = await in_thread(_decode, url)
                target = to(kind) if callable(to) else to
                path = await in_thread(
                    write_new, target.parent, target.name, content, make_folder=make_folder
                )
                return Downloaded(path=path, size=len(content), content_type=kind)
            return await self._save_remote(url, OnDisk(to, make_folder=make_folder))
        except OSError as error:
            raise disk_error(error) from error

    async def read(self, url: str, *, most: int = 64 * 1024 * 1024) -> bytes:
        """The content of a file, in memory.

        :param most: bytes beyond which it is an error.
        :raises DownloadError: if it cannot be had, or is larger.
        """
        if _is_inline(url):
            content, _ = await in_thread(_decode, url)
            if len(content) > most:
                raise too_large(most)
            return content
        memory = InMemory(most)
        await self._fetch(url, memory)
        return b"".join(memory.chunks)

    async def write(self, url: str, file: Any) -> int:
        """The content of a file, into an open one; how many bytes that was.

        :param file: with a ``write`` for bytes, plain or async. If it can neither ``seek`` nor ``truncate``,
            a break that cannot be resumed is the end.
        :raises DownloadError: if it cannot be had, or not be written; a part of it may have been.
        """
        sink = IntoStream(file)
        try:
            if _is_inline(url):
                content, _ = await in_thread(_decode, url)
                await sink.write(content)
                return len(content)
            return await self._fetch(url, sink)
        except OSError as error:
            raise disk_error(error) from error

    async def _save_remote(self, url: str, file: OnDisk) -> Downloaded:
        try:
            size = await self._fetch(url, file)
            return Downloaded(path=await file.publish(), size=size, content_type=file.content_type)
        finally:
            await file.discard()

    async def _fetch(self, url: str, sink: Sink) -> int:
        """Everything into the sink; how much that was."""
        progress = _Progress()
        tries, waited, reached = 0, 0.0, 0
        while True:
            try:
                await self._attempt(url, sink, progress)
            except DownloadError as failure:
                if not failure.retryable:
                    raise
                if progress.size >= reached + BLOCK:  # it gets on, if in pieces
                    tries, waited, reached = 0, 0.0, progress.size
                tries += 1
                wait = self._patience.next_wait(
                    tries=tries,
                    waited=waited,
                    chance=self._clock.chance(),
                    retry_after=failure.retry_after,
                )
                if wait is None:
                    failure.attempts = progress.attempts
                    raise
            else:
                return progress.size
            waited += wait
            await self._clock.sleep(wait)

    async def _attempt(self, url: str, sink: Sink, progress: _Progress) -> None:
        progress.attempts += 1
        try:
            async with self._get(url, progress.range_headers()) as (where, response):
                if not progress.begin(where, response):
                    await sink.restart(response.headers.get("Content-Type"), progress.extent.total)
                async with aclosing(response.chunks()) as chunks:
                    async for chunk in chunks:
                        await sink.write(chunk)
                        progress.size += len(chunk)
        except TransportError as error:
            again = not isinstance(error, ConnectError) or error.retryable
            raise DownloadError(
                f"the file did not arrive: {error.what}", retryable=again
            ) from error
        except InputError as error:  # a URL that only aiohttp minds, a proxy that is none
            raise DownloadError(f"the file cannot be asked for: {error.what}") from None
        progress.check_end()

    @asynccontextmanager
    async def _get(
        self, url: str, headers: dict[str, str]
    ) -> AsyncIterator[tuple[str, StreamedResponse]]:
        """The answer at the end of the redirects, each of them looked at before it is followed."""
        for _ in range(_REDIRECTS + 1):
            check_url(url, local=self._local)
            request = HttpRequest(method="GET", url=url, headers=_HEADERS | headers)
            call = Call(RetryPolicy.never(), free=True)
            async with self._streams.open(request, call, idle=self._idle) as response:
                target = redirected(url, response.status, response.headers)
                if target is None:
                    yield url, response
                    return
                url = target
        raise DownloadError(f"redirected more than {_REDIRECTS} times")


class _Progress:
    """How far the fetching of one file has come, over all its attempts."""

    def __init__(self) -> None:
        self.size = 0
        self.attempts = 0
        self.extent = Extent(0, None, None)

    def range_headers(self) -> dict[str, str]:
        """What asks for the rest alone, if it is sure to be of the same file."""
        if not self.size or self.extent.validator is None:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.extent.validator}

    def begin(self, url: str, response: StreamedResponse) -> bool:
        """An answer is here; whether it goes on where the last one broke off.

        :raises DownloadError: if it is not the file.
        """
        status, headers = response.status, response.headers
        asked_for_rest = bool(self.range_headers())
        encoding = headers.get("Content-Encoding", "identity").strip().lower()
        is_plain = encoding in {"", "identity"}
        if asked_for_rest and status in {206, 416}:
            # Of a compressed part nobody knows what of the file it is.
            rest = rest_extent(headers, self.extent) if status == 206 and is_plain else None
            if rest is None or rest.start != self.size:
                self.extent = Extent(0, None, None)  # from the start, then
                raise DownloadError(f"{host_of(url)} does not give the rest", retryable=True)
            self.extent = rest
            return True
        if status != 200:
            raise refusal(url, status, headers)
        if not is_plain:
            raise DownloadError(f"{host_of(url)} sends the file compressed, unasked")
        self.extent, self.size = full_extent(headers), 0
        return False

    def check_end(self) -> None:
        """The body has ended.

        :raises DownloadError: if this is not all of it.
        """
        total = self.extent.total
        if total is not None and total != self.size:
            raise DownloadError("the file broke off before its end", retryable=True)


def _is_inline(url: str) -> bool:
    return url[:5].lower() == "data:"


def _decode(url: str) -> tuple[bytes, str | None]:
    try:
        content, kind = decode_data_uri(url)
    except ValueError as error:
        raise DownloadError(str(error)) from None
    return content, kind.lower() or None
