"""Asking after a queued request: it costs nothing, so whatever fails may be asked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fal_async.cli.saying import say
from fal_async.errors import (
    AnswerError,
    Billing,
    FalError,
    GatewayError,
    ServerError,
    TooManyRequestsError,
    TransportError,
)
from fal_async.features.handle import RequestHandle
from fal_async.session import AsyncFal

__all__ = ["UnansweredError", "asking"]

_OF_THE_ASKING: Final = (
    AnswerError,
    GatewayError,
    ServerError,
    TooManyRequestsError,
    TransportError,
)


class UnansweredError(FalError):
    """fal was asked after a request, and no answer came. The request goes its way."""

    _advice = "Asking again costs nothing."


@asynccontextmanager
async def asking(
    model: str, request_id: str, *, timeout: float | None
) -> AsyncIterator[tuple[AsyncFal, RequestHandle]]:
    """The request, for as long as its session is open.

    :raises UnansweredError: where no answer came, or none within ``timeout``.
    """
    try:
        async with AsyncFal() as fal, asyncio.timeout(timeout):
            yield fal, fal.handle(model, request_id)
    except _OF_THE_ASKING as error:
        # The request's own failures say what it cost; of others that is not known.
        if error.billing is not Billing.UNKNOWN:
            raise
        raise UnansweredError(error.what, attempts=error.attempts) from None
    except TimeoutError as error:
        if isinstance(error, FalError):
            raise
        raise UnansweredError(f"nothing more was heard within {timeout:g} s") from None
    except asyncio.CancelledError:
        say("the request is left as it is", head="interrupted:")
        raise
