"""A service with a limit that it tells nobody beforehand, and calls to it through a brake."""

from __future__ import annotations

import asyncio

from fal_async import RetryPolicy
from fal_async.protocol.failures import concurrency_limit_reached
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.transport.base import Call
from fal_async.transport.clock import LoopClock
from fal_async.transport.limiting import Limiting
from tests.support.fakes import post, respond

ROUND_TRIP = 0.02


class Service:
    """Works on up to ``limit`` calls at once, ``job`` seconds each, and refuses the others at once."""

    def __init__(self, limit: int = 10**9, job: float = 0.5, *, named: bool = False) -> None:
        self.limit = limit
        self.job = job
        self.named = named
        self.working = 0
        self.peak = 0
        self.refused = 0
        self.order: list[str] = []
        """The bodies of the requests accepted, in order."""
        self.hold: asyncio.Event | None = None
        self.fail: dict[str, Exception] = {}
        self.retry_after: float | None = None

    async def send(self, request: HttpRequest, call: Call) -> HttpResponse:
        call.begin_send()
        await asyncio.sleep(ROUND_TRIP / 2)  # noqa: TID251 - virtual
        call.connected(ROUND_TRIP)
        if self.working >= self.limit:
            self.refused += 1
            await asyncio.sleep(ROUND_TRIP / 2)  # noqa: TID251 - virtual
            named = self.limit if self.named else None
            return concurrency_limit_reached(named, retry_after=self.retry_after)
        name = request.body.decode()
        self.order.append(name)
        self.working += 1
        self.peak = max(self.peak, self.working)
        try:
            if self.hold is not None:
                await self.hold.wait()
            await asyncio.sleep(self.job)  # noqa: TID251 - virtual
        finally:
            self.working -= 1
        if name in self.fail:
            raise self.fail[name]
        return respond()


class Calls:
    """Calls through a brake to a service."""

    def __init__(self, service: Service, ceiling: int | None = None) -> None:
        self.service = service
        self.limiting = Limiting(service, LoopClock(), ceiling)
        self.made: list[Call] = []

    def start(
        self,
        *names: str,
        account: str = "",
        application: str = "a/b",
        policy: RetryPolicy | None = None,
    ) -> list[asyncio.Task[HttpResponse]]:
        return [
            asyncio.create_task(self.one(name, account, application, policy or RetryPolicy()))
            for name in names
        ]

    async def one(
        self, name: str, account: str, application: str, policy: RetryPolicy
    ) -> HttpResponse:
        request = post()
        request.body, request.application = name.encode(), application
        call = Call(policy)
        call.account = account
        self.made.append(call)
        return await self.limiting.send(request, call)

    def assert_idle(self) -> None:
        """No slot is lost, nobody waits, no timer runs on for nobody."""
        for lane in self.limiting._lanes.values():
            limits = lane.brake.snapshot()
            assert (limits.in_flight, limits.waiting) == (0, 0)
            assert not lane._waiting


def numbered(count: int) -> list[str]:
    return [f"{n:04}" for n in range(count)]
