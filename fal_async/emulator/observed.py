"""What an emulator can be asked while it serves, and afterwards: what ran, what is there, what has arrived.

How it is started, told and stopped is ``server``'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from fal_async.emulator.faults import FaultBook
from fal_async.emulator.history import RequestHistory
from fal_async.emulator.ledger import Ledger
from fal_async.emulator.platform import Platform
from fal_async.emulator.queueing.service import QueueService
from fal_async.emulator.queueing.view import QueueView
from fal_async.emulator.storage.service import StorageService
from fal_async.emulator.storage.view import StorageView

__all__ = ["Observed"]


class Observed:
    """An emulator, as it is looked at."""

    _platform: Platform
    _faults: FaultBook
    _storage: StorageService
    _queue: QueueService | None

    @property
    def ledger(self) -> Ledger:
        """What ran, and what was charged for."""
        return self._platform.ledger

    @property
    def history(self) -> RequestHistory:
        """What the platform API tells of past requests; its ``settings`` may be set."""
        return self._platform.history

    @property
    def storage(self) -> StorageView:
        """Every file on the CDN, uploads that have begun, and tokens."""
        return StorageView(self._platform, self._storage)

    @property
    def faults(self) -> FaultBook:
        """The rules in force; add to it and clear it at any time."""
        return self._faults

    @property
    def in_flight(self) -> int:
        """Requests in progress, direct and queued."""
        return self._platform.concurrency.in_flight

    @property
    def peak_in_flight(self) -> int:
        """The most there ever were at once."""
        return self._platform.concurrency.peak

    @property
    def refused(self) -> int:
        """Calls refused for a limit (429). Those of a fault are not counted."""
        return self._platform.concurrency.refused

    @property
    def received(self) -> int:
        """Direct calls that arrived, whatever became of them; each payload of a WebSocket is one."""
        return self._platform.received

    @property
    def requests(self) -> Counter[str]:
        """How many requests arrived, by operation.

        These are ``run``, ``stream``; ``connect`` for each WebSocket, ``websocket`` and ``realtime`` for what
        callers say over one; ``submit``, ``status``, ``status_stream``, ``result`` and ``cancel`` of the
        queue; ``browser_token``; ``token``, ``upload``, ``initiate``, ``put``, ``create``, ``part``,
        ``complete``, ``sign`` and ``download`` of the storage; ``history``, ``acl`` and ``settings`` of
        the platform's API.
        """
        return self._platform.requests

    @property
    def queue(self) -> QueueView:
        """What is queued, runs and has ended, since it was started.

        :raises RuntimeError: if it never was.
        """
        if self._queue is None:
            raise RuntimeError("the emulator has not been started")
        return QueueView(self._queue)

    @property
    def time(self) -> float:
        """Seconds since it started, on its own clock.

        :raises RuntimeError: if it was never started.
        """
        return self._platform.clock.now()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, such as ``lambda: emu.in_flight == 3``.

        It is asked whenever a call arrives, is let in or refused, starts, ends or is answered.
        """
        await self._platform.background.until(condition)
