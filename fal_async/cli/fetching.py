"""Fetching files for the command line: over connections of their own, each watched by whoever wants to.

What is fetched, and what it is called, is the callers' business.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Final, Self

from fal_async.features.downloading import Downloader
from fal_async.policy.patience import Patience
from fal_async.protocol.fetching import full_extent
from fal_async.protocol.messages import HttpRequest
from fal_async.transport.base import Call, Clock, StreamedResponse, Streaming
from fal_async.transport.clock import LoopClock
from fal_async.transport.http import Http
from fal_async.transport.pool import Pool
from fal_async.transport.proxies import ProxyRouter
from fal_async.transport.streams import HttpStreams

__all__ = ["Fetcher", "OnFetched", "Watched"]

OnFetched = Callable[[int, int | None], None]
"""Told how many bytes of a file are here, and how many there are; None where its server does not say."""

#: Somebody waits at a terminal.
_PATIENCE: Final = Patience(tries=3, budget=20.0)


class Fetcher:
    """Has what files are fetched with. Use it as ``async with``.

    :param local: whether files may be fetched from this machine, as from an emulator's CDN.
    """

    def __init__(self, *, local: bool, clock: Clock | None = None) -> None:
        self._local = local
        self._clock = clock or LoopClock()
        # Connections of its own: whatever the client's may know, nothing of it goes to a stranger.
        self._pool = Pool()
        http = Http(self._pool, self._clock, ProxyRouter("env"), max_answer_bytes=1)
        self._streams = HttpStreams(http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    def downloader(self, tell: OnFetched | None = None) -> Downloader:
        """What fetches one file that is watched, or any number of others.

        :param tell: told of every piece of it.
        """
        streams = self._streams if tell is None else Watched(self._streams, tell)
        return Downloader(streams, self._clock, local=self._local, patience=_PATIENCE)


class Watched:
    """Streams that tell how much of one file has arrived, over all the attempts that it takes.

    :param tell: told after each piece; after a restart from the beginning the numbers begin anew.
    """

    def __init__(self, streams: Streaming, tell: OnFetched) -> None:
        self._streams = streams
        self._tell = tell
        self._here = 0
        self._total: int | None = None

    def has_room(self) -> bool:
        """As the streams themselves have it."""
        return self._streams.has_room()

    @asynccontextmanager
    async def open(
        self, request: HttpRequest, call: Call, *, idle: float | None
    ) -> AsyncIterator[StreamedResponse]:
        """The answer, watched."""
        async with self._streams.open(request, call, idle=idle) as response:
            if response.status == 200:  # all of it; what a 206 brings is added to what is here
                self._here, self._total = 0, full_extent(response.headers).total
            yield _Counted(response, self._count)

    def _count(self, size: int) -> None:
        self._here += size
        self._tell(self._here, self._total)


class _Counted:
    def __init__(self, response: StreamedResponse, count: Callable[[int], None]) -> None:
        self._response = response
        self._count = count
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncGenerator[bytes]:
        async with aclosing(self._response.chunks()) as chunks:
            async for chunk in chunks:
                self._count(len(chunk))
                yield chunk
