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
            failure. A call that is ``stopped`` is not sent again.
        """
        waited = 0.0
        target = request
        while True:
            try:
                response = await self._inner.send(target, call)
            except FalError as error:
                failure = error
            else:
                if 200 <= response.status < 300:
                    return response
                failure = error_from_response(response, target)
            failure.attempts = call.attempts
            call.current = failure.billing
            call.settle()
            call.first = call.first or failure
            # The backup domain may be up: no reason to wait before it is tried.
            down = target is request and isinstance(failure, ConnectError)
            other = backup_url(request.url) if down else None
            wait = next_wait(
                call.policy,
                failure,
                sends=call.attempts,
                waited=waited,
                chance=0.0 if other else self._clock.chance(),
                free=call.free,
            )
            if wait is None or call.stopped:
                raise _closed(failure, call)
            target = attrs.evolve(request, url=other) if other else request
            if wait > 0:
                waited += wait
                await self._clock.sleep(wait)


def _closed(failure: FalError, call: Call) -> FalError:
    failure.billing = call.settled.worse(failure.billing)
    if call.first is not failure:
        failure.first = call.first
    return failure
