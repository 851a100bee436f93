"""``fal.run/…/realtime``: a connection to a model that answers inputs as they come (PROTOCOL 10)."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from fal_async.emulator.faults import Fault
from fal_async.emulator.ledger import Execution
from fal_async.emulator.model import Model
from fal_async.emulator.platform import Platform
from fal_async.emulator.raising import ModelFailure
from fal_async.emulator.realtime import Inbox, Realtime
from fal_async.emulator.runners import GaveUp
from fal_async.emulator.scenario import Caller
from fal_async.emulator.views.answering import named, respond
from fal_async.emulator.views.socket_faults import SocketBrokenError, break_socket
from fal_async.protocol import failures, wire
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.realtime import (
    AppFailed,
    SessionEnded,
    Timings,
    TokenRefused,
    build_control,
    decode_message,
)

__all__ = ["RealtimeSession"]

_LOG: Final = logging.getLogger("fal_async.emulator")
_LARGEST: Final = 256 * 1024 * 1024
_IDLE: Final = "no inputs, reconnect when needed!"


class RealtimeSession:
    """One connection."""

    def __init__(
        self,
        platform: Platform,
        request: web.BaseRequest,
        model: Model,
        caller: Caller,
        request_id: str,
    ) -> None:
        assert model.realtime is not None  # noqa: S101  # or nobody gets here
        self._platform = platform
        self._request = request
        self._model = model
        self._spec: Realtime = model.realtime
        self._caller = caller
        self._request_id = request_id
        self._socket = web.WebSocketResponse(compress=False, max_msg_size=_LARGEST)
        wanted = request.query.get(wire.MAX_BUFFERING_PARAMETER, "")
        self._inbox = Inbox(int(wanted) if wanted.isdecimal() else self._spec.buffering)
        self._changed = asyncio.Event()
        self._left = False
        self._refused = False
        self._sent = 0
        self._fault: Fault | None = None
        self._runner = 0

    async def refuse(self) -> web.StreamResponse:
        """Open it only to say that the token is not accepted."""
        await self._socket.prepare(self._request)
        await self._socket.send_str(build_control(TokenRefused(wire.UNAUTHORIZED)))
        await self._socket.close()
        return self._socket

    async def serve(self, until: float | None) -> web.StreamResponse:
        """Until either end has had enough.

        :param until: when the token expires that opened it.
        """
        platform, model = self._platform, self._model
        dispatcher = platform.dispatcher(model.application)
        event = await dispatcher.acquire(
            self._request_id, hint=self._request.headers.get(wire.RUNNER_HINT)
        )
        if isinstance(event, GaveUp):
            answer = failures.request_error(wire.RUNNER_SCHEDULING_FAILURE)
            return respond(named(answer, self._request_id))
        self._runner = event.runner
        self._fault = platform.faults.draw(model.id, "realtime")
        try:
            return await self._connected(until)
        finally:
            dispatcher.release(self._request_id)

    async def _connected(self, until: float | None) -> web.StreamResponse:
        await self._socket.prepare(self._request)
        platform = self._platform
        platform.background.note()
        reading = platform.background.spawn(self._read())
        timers = []
        if until is not None and self._spec.token_cuts:
            timers.append(platform.clock.call_at(until, self._expire))
        try:
            await self._work()
        except (SocketBrokenError, ConnectionError):
            pass
        finally:
            for timer in timers:
                timer.cancel()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            platform.background.note()
        return self._socket

    def _expire(self) -> None:
        self._refused = True
        self._changed.set()

    # --- inputs -------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                break
            self._platform.requests["realtime"] += 1
            self._inbox.put((_decoded(message.data), message.type is WSMsgType.TEXT))
            self._changed.set()
            self._platform.background.note()
        # Not if it is cancelled: an emulator that stops cuts its connections, and says no goodbye.
        self._left = True
        self._changed.set()

    async def _wait(self) -> bool:
        """Until there is something to do; False if there is nothing more."""
        clock = self._platform.clock
        idle = self._spec.idle_timeout
        until = None if idle is None else clock.now() + idle
        timer = None if until is None else clock.call_at(until, self._changed.set)
        try:
            while not (self._inbox or self._left or self._refused) and (
                until is None or clock.now() < until
            ):
                self._changed.clear()
                await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()
        if self._refused:
            await self._socket.send_str(build_control(TokenRefused(wire.UNAUTHORIZED)))
            await self._close()
            return False
        if not (self._inbox or self._left):
            await self._socket.send_str(build_control(SessionEnded(_IDLE)))
            await self._close()
            return False
        return bool(self._inbox)

    # --- results ------------------------------------------------------------------------------------

    async def _work(self) -> None:
        await self._meet_fault()
        while await self._wait():
            inputs = self._inbox.take(self._spec.batch)
            begun = self._platform.clock.now()
            try:
                results = await self._run([content for content, _ in inputs], text=inputs[-1][1])
            except Exception as failure:  # the model's, be it meant or a bug
                if not isinstance(failure, ModelFailure):
                    _LOG.error("model %s failed", self._model.id, exc_info=failure)
                reason = str(failure) or type(failure).__name__
                await self._socket.send_str(
                    build_control(AppFailed(wire.REALTIME_INTERNAL_ERROR, reason))
                )
                await self._close()
                return
            taken = self._platform.clock.now() - begun
            for result in results:
                await self._send(result, taken)

    async def _send(self, result: str | bytes, taken: float) -> None:
        if isinstance(result, str):
            await self._socket.send_str(result)
        else:
            await self._socket.send_bytes(result)
        if self._spec.timings:
            await self._socket.send_str(build_control(Timings(taken)))
        self._sent += 1
        self._platform.background.note()
        await self._meet_fault()

    async def _meet_fault(self) -> None:
        fault = self._fault
        if fault is None or self._sent != fault.events:
            return
        error = build_control(AppFailed(wire.REALTIME_INTERNAL_ERROR, "the model broke down"))
        await break_socket(fault, self._socket, self._request, error)
        if fault.kind == "socket_error":
            await self._close()
            raise SocketBrokenError

    async def _close(self) -> None:
        await self._socket.close(code=1000)

    async def _run(self, inputs: list[Any], *, text: bool) -> list[str | bytes]:
        """One run of the model, in the ledger; its results as they are sent."""
        platform, model = self._platform, self._model
        execution = platform.ledger.begin(
            Execution(
                request_id=self._request_id,
                model=model.id,
                application=model.application,
                key_id=self._caller.key_id,
                started=platform.clock.now(),
                runner=self._runner,
                fault=None if self._fault is None else self._fault.kind,
            )
        )
        platform.background.note()
        batched = self._spec.batch > 1
        try:
            output = self._spec.function(inputs if batched else inputs[0])
            output = await output if inspect.isawaitable(output) else output
            await platform.clock.sleep_until(execution.started + self._spec.run_time)
            outputs = list(output) if batched else [output]
            units = _units(model.units, inputs, outputs)
            results = [_encoded(output, text=text) for output in outputs]
        except asyncio.CancelledError:
            execution.ended = platform.clock.now()
            raise
        except Exception:  # the model's own bug, whatever it is
            execution.ended, execution.status = platform.clock.now(), 500
            raise
        execution.ended, execution.status, execution.billed = platform.clock.now(), 200, True
        execution.units = units
        return results


def _units(
    units: Decimal | Callable[[Any, Any], Decimal], inputs: list[Any], outputs: list[Any]
) -> Decimal:
    if not callable(units):
        return units * len(inputs)
    return sum((units(i, o) for i, o in zip(inputs, outputs, strict=False)), Decimal(0))


def _encoded(output: Any, *, text: bool) -> str | bytes:
    return msgspec.json.encode(output).decode() if text else msgspec.msgpack.encode(output)


def _decoded(data: str | bytes) -> Any:
    try:
        return decode_message(data)
    except Undecodable:
        return data
