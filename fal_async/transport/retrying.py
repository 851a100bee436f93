"""A transport that sends again what may be sent again; it turns answers that are no success into errors.

What may be is decided in ``policy.retry``; here it is only carried out.
"""

from __future__ import annotations

import attrs

from fal_async.errors import ConnectError, FalError
from fal_async.policy.retry import next_wait
from fal_async.protocol.hosts import backup_url
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.protocol.outcome import error_from_response
from fal_async.transport.base import Call, Clock, Transport

__all__ = ["Retrying"]


class Retrying:
    """Only ever returns a 2xx."""

    def __init__(self, inner: Transport, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    async def send(self, request: HttpRequest, call: Call) -> HttpResponse:
        """The answer of the first send that succeeds.

        :raises FalError: the last failure, its ``billing`` that of the whole call, its ``first`` the first
            failure.
        """
        first: FalError | None = None
        waited = 0.0
        target, backup = request, backup_url(request.url)
        while True:
            try:
                response = await self._inner.send(target, call)
            except FalError as error:
                failure = error
            else:
                if 200 <= response.status < 300:
                    return response
                failure = error_from_response(response, target)
            call.current = failure.billing
            call.settle()
            first = first or failure
            wait = next_wait(
                call.policy,
                failure,
                sends=call.attempts,
                waited=waited,
                chance=self._clock.chance(),
            )
            if wait is None:
                raise _closed(failure, first, call)
            if isinstance(failure, ConnectError) and backup is not None and target is request:
                target = attrs.evolve(request, url=backup)  # it may be up: no reason to wait
                continue
            target = request
            waited += wait
            if wait > 0:
                await self._clock.sleep(wait)


def _closed(failure: FalError, first: FalError, call: Call) -> FalError:
    failure.billing = call.settled.worse(failure.billing)
    failure.attempts = call.attempts
    if first is not failure:
        failure.first = first
    return failure
