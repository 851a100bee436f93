"""Asking fal what costs nothing: where a request stands, its result, its cancel. Asked until it is answered.

What a failure to ask means, and how long to go on, is decided in ``policy.patience``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import attrs

from fal_async._version import VERSION
from fal_async.errors import (
    AnswerError,
    Billing,
    ConnectionLostError,
    FalError,
    StatusError,
)
from fal_async.features.handle import RequestHandle
from fal_async.policy.patience import Patience
from fal_async.policy.retry import Resend, RetryPolicy
from fal_async.protocol import codec, wire
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.outcome import error_from_response
from fal_async.transport.base import Call, Clock, Transport

__all__ = ["HEADERS", "ONCE", "TWICE", "Asker", "Question", "read_content", "unreadable"]

T = TypeVar("T")

ONCE: Final = RetryPolicy.never()
#: Where no connection is made, once more at once; there may be a backup domain to make it to (PROTOCOL 1).
TWICE: Final = RetryPolicy(sends=2, budget=1.0, resend=frozenset({Resend.UNSENT}))

#: A silent question takes longer each time, up to this, in seconds: it may be a large result on a slow line.
_WITHIN_MOST: Final = 900.0
#: An answer about a request is small, whatever it is packed in.
_CONTENT_MAX: Final = 16 * 1024 * 1024

#: ``identity``: a compressed answer that arrives damaged is lost, and compressing JSON saves little.
HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": f"fal-async/{VERSION}"}


@attrs.frozen(kw_only=True)
class Question(Generic[T]):
    """What is asked about a request.

    :param read: makes of a 2xx what is wanted.
    :param within: seconds after which no answer is a lost answer.
    :param input: of the request, which the text of a failure must not repeat; as far as it is known here.
    """

    handle: RequestHandle
    url: str
    read: Callable[[HttpResponse], T]
    method: str = "GET"
    within: float = 20.0
    input: bytes = attrs.field(default=b"", repr=False)


class Asker:
    """Puts questions, each by itself; what they have in common is the session they go through.

    :param transport: brings 2xx answers or raises.
    """

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock

    async def ask(self, question: Question[T], patience_with: Callable[[FalError], Patience]) -> T:
        """The answer, however often it has to be asked for.

        :raises FalError: the last failure, when ``patience_with`` it has ended; ``attempts`` are all sends.
        """
        last: Patience | None = None
        first: FalError | None = None
        tries = sent = 0
        waited, within = 0.0, question.within
        while True:
            begun = self._clock.now()
            try:
                return await self.put(question, within=within)
            except FalError as error:
                sent = error.attempts = sent + max(1, error.attempts)
                patience = patience_with(error)
                if patience is not last:  # another trouble has a patience of its own
                    last, tries, waited = patience, 0, 0.0
                tries += 1
                wait = patience.next_wait(
                    tries=tries,
                    waited=waited,
                    chance=self._clock.chance(),
                    retry_after=error.retry_after,
                )
                first = first or error
                if wait is None:
                    error.first = None if first is error else first
                    raise
                if self._clock.now() - begun >= within:
                    within = min(2 * within, _WITHIN_MOST)
            waited += wait
            await self._clock.sleep(wait)

    async def put(
        self, question: Question[T], *, policy: RetryPolicy = TWICE, within: float | None = None
    ) -> T:
        """Ask once.

        :raises FalError: if there is no answer, or one that cannot be read.
        """
        handle = question.handle
        request = HttpRequest(
            method=question.method,
            url=question.url,
            headers={"Accept": "application/json", **HEADERS},
            application=handle.application,
        )
        call = Call(policy, key=handle.key, free=True)
        try:
            async with asyncio.timeout(question.within if within is None else within):
                response = await self._transport.send(request, call)
        except StatusError as error:
            _mask(error, question)
            raise
        except TimeoutError as error:
            if isinstance(error, FalError):
                raise
            raise ConnectionLostError("fal fell silent", billing=Billing.UNKNOWN) from None
        return question.read(response)


def _mask(error: StatusError, question: Question[Any]) -> None:
    """Say it again, without the input of the request: the question itself holds none of it."""
    if question.input and error.status is not None:
        said = HttpResponse(error.status, error.headers, error.body or b"")
        about = HttpRequest(method=question.method, url=question.url, body=question.input)
        error.args = error_from_response(said, about).args


def read_content(response: HttpResponse) -> Any:
    """What an answer about a request says.

    :raises AnswerError: if it cannot be read: somebody in between, or damaged on the way.
    """
    try:
        packed = response.headers.get("Content-Encoding", "")
        return codec.decode_json(codec.decompress(response.body, packed, _CONTENT_MAX))
    except codec.Undecodable as error:
        failure = unreadable(response, f"the answer does not decode: {error}")
    raise failure


def unreadable(response: HttpResponse, what: str) -> AnswerError:
    """A success that does not say what it was asked."""
    return AnswerError(
        what,
        billing=Billing.UNKNOWN,
        status=response.status,
        headers=Headers(response.headers),
        body=response.body,
        request_id=response.headers.get(wire.REQUEST_ID),
    )
