"""One run of an application's: called, told of a cancel, cut off in time; and what its answer costs.

What stands to it as ``executing`` stands to a model's function.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from multidict import CIMultiDict

from fal_async.emulator.asgi.exchange import Exchange
from fal_async.emulator.asgi.lifespan import AppStartError
from fal_async.emulator.asgi.messages import Head, build_scope
from fal_async.emulator.asgi.model import AsgiModel
from fal_async.emulator.asgi.printing import Listener, overhear
from fal_async.emulator.channel import Channel
from fal_async.emulator.contact import Contact
from fal_async.emulator.platform import Admitted, Platform
from fal_async.emulator.raising import RunnerError
from fal_async.emulator.settling import Settled
from fal_async.emulator.verdicts import runner_survives
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import HttpResponse

__all__ = ["run_app", "settle_answer", "signal_cancel"]

_NOTHING: Final = Decimal(0)
_CANCELLED: Final = 499
#: Behind the path of a call: where its cancel arrives (PROTOCOL 6.5).
_CANCEL: Final = "/cancel"


async def run_app(
    platform: Platform,
    admitted: Admitted,
    model: AsgiModel,
    started: float,
    contact: Contact,
    channel: Channel | None,
) -> Settled:
    """Run the application once.

    :param channel: takes its answer while it is made.
    :raises ModelFailure: what became of it instead.
    """
    clock = platform.clock
    state = await _state(platform, model)
    body = admitted.arrival.body
    scope = build_scope(
        admitted.arrival,
        admitted.caller,
        admitted.path,
        application=model.id,
        state=state,
        body=body,
    )
    exchange = Exchange(scope, body, channel)
    listener = None
    if model.prints:
        overhear()
        listener = Listener(contact.log)
    background = platform.background
    call = background.spawn(exchange.call(model.app, model.id, background, listener))
    telling = background.spawn(
        _tell_of_cancel(
            platform, admitted, model, contact, state, exchange, direct=channel is not None
        )
    )

    def time_out() -> None:
        exchange.cut(RunnerError(wire.REQUEST_TIMEOUT))
        call.cancel()  # its runner is stopped

    timer = clock.call_at(started + model.request_timeout, time_out)
    try:
        await exchange.answered()
    finally:
        timer.cancel()
        telling.cancel()
    await clock.sleep_until(started + platform.seconds(model, None))
    assert exchange.head is not None  # noqa: S101  # an answer that is whole has one
    left = channel is not None and contact.cancelled
    return settle_answer(model, exchange.head, bytes(exchange.body), left=left)


async def _state(platform: Platform, model: AsgiModel) -> Mapping[str, Any]:
    try:
        return (await platform.lifespans.of(model)).state
    except AppStartError:
        raise RunnerError(wire.STARTUP_TIMEOUT) from None


async def _tell_of_cancel(
    platform: Platform,
    admitted: Admitted,
    model: AsgiModel,
    contact: Contact,
    state: Mapping[str, Any],
    exchange: Exchange,
    *,
    direct: bool,
) -> None:
    await contact.until_cancelled()
    signal_cancel(platform, admitted, model, state)
    if direct:
        exchange.leave()


def signal_cancel(
    platform: Platform, admitted: Admitted, model: AsgiModel, state: Mapping[str, Any]
) -> None:
    """Tell the application that a call of it is to stop: a request beside it (PROTOCOL 6.5).

    Whether it has a route for it, and what it answers there, is its own affair.
    """
    if platform.background.closing:  # it hears of that otherwise
        return
    scope = build_scope(
        admitted.arrival,
        admitted.caller,
        f"{admitted.path.rstrip('/')}{_CANCEL}",
        application=model.id,
        state=state,
        method="POST",
        body=b"",
    )
    call = Exchange(scope, b"").call(model.app, model.id, platform.background)
    platform.background.spawn(call)


def settle_answer(model: AsgiModel, head: Head, body: bytes, *, left: bool = False) -> Settled:
    """What an application's answer comes to.

    One that does not say what it costs costs what the model does, failures of the caller's, too (as the
    framework's own source says of the platform); none of its own, however, and not if it stopped for a
    cancel.

    :param left: whether its caller had gone: who leaves is charged (PROTOCOL 3).
    """
    default = model.units if isinstance(model.units, Decimal) else _NOTHING
    if head.status == _CANCELLED and not left:
        default = _NOTHING
    units = default if head.units is None else head.units
    if head.status >= 500:
        units = _NOTHING
    headers = CIMultiDict(head.headers)
    if head.units is not None or head.status < 500:
        headers[wire.BILLABLE_UNITS] = failures.build_units(units)
    healthy = runner_survives(head.status, head.stop_runner)
    answer = HttpResponse(head.status, headers, body)
    return Settled(answer, units, units > 0, healthy)
