"""The direct call: one POST, one answer (PROTOCOL 3).

Builds the request, minds the caller's ``timeout``, reads the answer. It knows a transport, not aiohttp.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

import attrs
import cattrs
from multidict import istr

from fal_async._version import VERSION
from fal_async.errors import AnswerError, CallTimeoutError, FalError, InputError
from fal_async.protocol import wire
from fal_async.protocol.auth import check_key
from fal_async.protocol.billing import billable_units
from fal_async.protocol.codec import encode_input
from fal_async.protocol.lifecycle import Expire
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.model import parse_model_id
from fal_async.protocol.options import RequestOptions, build_option_headers, check_headers
from fal_async.protocol.outcome import read_answer
from fal_async.protocol.structuring import check_result_type, default_converter
from fal_async.transport.base import Call, Clock, Transport

__all__ = [
    "Direct",
    "RunResult",
    "build_run_request",
    "request_headers",
    "send_within",
    "timed_out",
]

T_co = TypeVar("T_co", covariant=True)


@attrs.frozen(kw_only=True)
class RunResult(Generic[T_co]):
    """A successful call, with what came beside its output.

    :ivar output: what ``run`` gives.
    :ivar request_id: fal's id of the request.
    :ivar billable_units: what fal counts the call as (PROTOCOL 3.1); None if the answer does not say.
    :ivar headers: the answer's headers, case-insensitive.
    :ivar elapsed: seconds from the call's first slot to the end of its answer.
    :ivar attempts: how many times it was sent, refusals (429) not counted.
    """

    output: T_co = attrs.field(repr=False)  # prompts and data URIs are echoed in it
    request_id: str | None
    billable_units: Decimal | None
    headers: Mapping[str, str] = attrs.field(repr=False)
    elapsed: float
    attempts: int


#: ``identity``: a compressed answer that arrives damaged is lost, and compressing JSON saves little.
_FIXED: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": f"fal-async/{VERSION}",
}


@lru_cache(maxsize=1024, typed=True)  # typed: True is no lifetime, though it equals 1
def _known_options(
    expire: Expire | None,
    start_timeout: float | None,
    hint: str | None,
    store_io: bool | None,  # noqa: FBT001
    disable_fallback: bool | None,  # noqa: FBT001
    tags: tuple[tuple[str, str], ...],
) -> dict[str, str]:
    options = RequestOptions(
        expire=expire,
        start_timeout=start_timeout,
        hint=hint,
        store_io=store_io,
        disable_fallback=disable_fallback,
        tags=dict(tags),
    )
    return {istr(name): value for name, value in (_FIXED | build_option_headers(options)).items()}


def request_headers(
    own: Mapping[str, str] | None = None,
    expire: Expire | None = None,
    start_timeout: float | None = None,
    hint: str | None = None,
    store_io: bool | None = None,  # noqa: FBT001
    disable_fallback: bool | None = None,  # noqa: FBT001
    tags: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The headers of a call, but for the key: a new dict, its names as aiohttp wants them.

    :param own: the caller's; where both name a header, the caller's own words win.
    :raises InputError: for options or headers that cannot be sent.
    """
    pairs = () if tags is None else _pairs(tags)
    options = (expire, start_timeout, hint, store_io, disable_fallback, pairs)
    try:
        headers = dict(_known_options(*options))
    except TypeError:  # something unhashable, which no option may be: let them say so
        headers = dict(_known_options.__wrapped__(*options))
    if own:
        checked = check_headers(own)
        taken = {name.lower() for name in checked}
        headers = {name: value for name, value in headers.items() if name.lower() not in taken}
        headers.update(checked)
    return headers


def _pairs(tags: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(tags, Mapping):
        raise InputError(f"tags is a mapping, not {type(tags).__name__}")
    return tuple(tags.items())


@lru_cache(maxsize=1024)
def _model_url(base: str, model: str) -> tuple[str, str]:
    parsed = parse_model_id(model)
    return f"{base}/{parsed}", parsed.application


def build_run_request(base: str, model: str, body: bytes, headers: dict[str, str]) -> HttpRequest:
    """The request of a direct call: ``POST {base}/{model}`` with the bare input as its body (PROTOCOL 3).

    :raises InputError: for a model id that is none.
    """
    if not isinstance(model, str):
        parse_model_id(model)  # says what is wrong with it
    url, application = _model_url(base, model)
    return HttpRequest(method="POST", url=url, headers=headers, body=body, application=application)


def send_within(
    transport: Transport, request: HttpRequest, call: Call
) -> Coroutine[Any, Any, HttpResponse]:
    """Send, within the call's ``timeout`` if it has one.

    :raises CallTimeoutError: when it passed; the verdict on what had been sent is its ``billing``.
    """
    if call.timeout is None:
        return transport.send(request, call)
    return _send_in_time(transport, request, call)


async def _send_in_time(transport: Transport, request: HttpRequest, call: Call) -> HttpResponse:
    try:
        async with asyncio.timeout(None) as call.timer:  # set going by the call's first slot
            return await transport.send(request, call)
    except TimeoutError as error:
        if isinstance(error, FalError):
            raise
        raise timed_out(call) from None


def timed_out(call: Call) -> CallTimeoutError:
    """The error for a call whose ``timeout`` has passed."""
    error = CallTimeoutError(
        f"no answer within the call's timeout of {call.timeout:g} s",
        billing=call.billing,
        request_id=call.request_id,
        attempts=call.attempts,
        retryable=True,
    )
    error.first = call.first
    return error


class Direct:
    """Makes direct calls over a transport that only ever brings a 2xx."""

    def __init__(
        self,
        transport: Transport,
        base: str,
        converter: cattrs.BaseConverter | None,
        clock: Clock,
        max_answer_bytes: int,
    ) -> None:
        self._transport = transport
        self._base = base
        self._converter = converter
        self._unstructure = (converter or default_converter()).unstructure
        self._clock = clock
        self._limit = max_answer_bytes

    def prepare(
        self, model: str, input: object, headers: dict[str, str], call: Call, result_type: Any
    ) -> HttpRequest:
        """Check all that makes a call, before anything is sent.

        :raises InputError: for what cannot be sent, or not be structured in the end.
        """
        if call.key is not None:
            check_key(call.key)
        if result_type is not None:
            check_result_type(result_type, self._converter)
        body = encode_input(input, self._unstructure)
        return build_run_request(self._base, model, body, headers)

    # Not a coroutine of its own: with many calls in flight, each one more is felt.
    def send(self, request: HttpRequest, call: Call) -> Coroutine[Any, Any, HttpResponse]:
        """The answer, to be awaited; always a success."""
        return send_within(self._transport, request, call)

    def output(self, response: HttpResponse, call: Call, result_type: Any) -> Any:
        """What the answer holds.

        :raises AnswerError: if that is not what was asked for.
        """
        try:
            return read_answer(response, result_type, self._converter, self._limit)
        except AnswerError as error:
            error.attempts = call.attempts
            raise

    def result(self, output: Any, response: HttpResponse, call: Call) -> RunResult[Any]:
        """The output with what came beside it."""
        now = self._clock.now()
        return RunResult(
            output=output,
            request_id=response.headers.get(wire.REQUEST_ID),
            billable_units=billable_units(response.headers),
            headers=Headers(response.headers),
            elapsed=now - (now if call.started is None else call.started),
            attempts=call.attempts,
        )
