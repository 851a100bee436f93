"""A transport that is told what becomes of each request, and a clock that only moves when it is slept on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fal_async.errors import FalError
from fal_async.protocol.billing import billing_of
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.transport.base import Call

APPLICATION = "owner/app"


def post(url: str = "https://fal.run/owner/app", **headers: str) -> HttpRequest:
    return HttpRequest(
        method="POST", url=url, headers=headers, body=b'{"prompt":"a cat"}', application=APPLICATION
    )


def respond(
    status: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b"{}"
) -> HttpResponse:
    return HttpResponse(status, Headers(headers or {}), body)


class VirtualClock:
    """``sleep`` returns at once, and it is that much later."""

    def __init__(self, chance: float = 0.5) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self._chance = chance

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def chance(self) -> float:
        return self._chance


Outcome = HttpResponse | FalError | Callable[[HttpRequest, Call], HttpResponse]


class FakeTransport:
    """Gives one outcome after the other; the last is repeated. What was sent is in ``sent``."""

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self._outcomes = list(outcomes)
        self.sent: list[HttpRequest] = []

    @property
    def urls(self) -> list[str]:
        return [request.url for request in self.sent]

    async def send(self, request: HttpRequest, call: Call) -> HttpResponse:
        call.begin_send()
        self.sent.append(request)
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if callable(outcome):
            outcome = outcome(request, call)
        if isinstance(outcome, FalError):
            call.current = outcome.billing
            raise outcome
        call.current = billing_of(outcome.status, outcome.headers)
        return outcome
