"""What every part of a session has in hand: the features, and what holds for all calls.

Features that many programs never use are made, and their modules loaded, when they are first asked for: that
halves what importing ``AsyncFal`` takes beyond importing aiohttp.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import cattrs

from fal_async.features.preparing import Preparing
from fal_async.features.run import Direct
from fal_async.protocol.hosts import Hosts
from fal_async.transport.base import Clock
from fal_async.transport.stack import Stack

if TYPE_CHECKING:
    from fal_async.features.downloading import Downloader
    from fal_async.features.placing import Placing
    from fal_async.features.queue import Queue
    from fal_async.features.subscribe import Subscriber
    from fal_async.features.uploading import Uploader

__all__ = ["Parts"]


class Parts:
    """Made by ``AsyncFal``; what its methods are built on."""

    _hosts: Hosts
    _stack: Stack
    _clock: Clock
    _wall_time: Callable[[], float]
    _converter: cattrs.BaseConverter | None
    _max_answer_bytes: int
    _direct: Direct
    _poll_rate: float
    _preparing: Preparing

    @cached_property
    def _queue(self) -> Queue:
        from fal_async.features.queue import Queue  # noqa: PLC0415

        return Queue(
            self._stack.free,
            self._stack.streams,
            self._hosts.queue,
            self._converter,
            self._clock,
            max_answer_bytes=self._max_answer_bytes,
            poll_rate=self._poll_rate,
        )

    @cached_property
    def _subscriber(self) -> Subscriber:
        from fal_async.features.subscribe import Subscriber  # noqa: PLC0415

        return Subscriber(self._queue)

    @cached_property
    def _downloader(self) -> Downloader:
        from fal_async.features.downloading import Downloader  # noqa: PLC0415

        return Downloader(self._stack.plain_streams, self._clock, local=self._hosts.is_local)

    @cached_property
    def _uploader(self) -> Uploader:
        from fal_async.features.uploading import Uploader  # noqa: PLC0415

        stack = self._stack
        return Uploader(
            stack.plain, stack.signed, stack.free, self._hosts, self._clock, self._wall_time
        )

    @cached_property
    def _placing(self) -> Placing:
        from fal_async.features.placing import Placing  # noqa: PLC0415

        return Placing(self._uploader)
