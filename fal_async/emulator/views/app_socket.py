"""``fal.run``: a WebSocket of a mounted application's own, realtime or any other (PROTOCOL 10).

The gateway opens the connection before it asks the application, as fal's does: of one that refuses it, the
caller hears by its closing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from decimal import Decimal
from typing import Final

from aiohttp import WSMsgType, web

from fal_async.emulator.asgi.calling import call_app
from fal_async.emulator.asgi.lifespan import AppStartError, Lifespan
from fal_async.emulator.asgi.messages import build_scope
from fal_async.emulator.asgi.model import AsgiModel, Message
from fal_async.emulator.asgi.running import signal_cancel
from fal_async.emulator.faults import Fault
from fal_async.emulator.ledger import Execution
from fal_async.emulator.platform import Admitted, Platform
from fal_async.emulator.runners import GaveUp
from fal_async.emulator.views.answering import named, respond
from fal_async.emulator.views.closing import close_socket
from fal_async.emulator.views.socket_faults import SocketBrokenError, break_socket
from fal_async.protocol import failures, wire
from fal_async.protocol.realtime import AppFailed, build_control

__all__ = ["AppSession"]

_LOG: Final = logging.getLogger("fal_async.emulator")
_LARGEST: Final = 256 * 1024 * 1024
#: Frames of the caller that wait for the application; then the caller waits.
_AHEAD: Final = 32
#: How fal's gateway ends a connection that the application did not take (its words in fal's own source).
_REFUSED: Final = b"Error while forwarding the request"
_BROKEN: Final = 1011
_VANISHED: Final = 1006


class AppSession:
    """One connection. It holds a slot, which it gives back when the application has done with it."""

    def __init__(
        self,
        platform: Platform,
        request: web.BaseRequest,
        admitted: Admitted,
        model: AsgiModel,
    ) -> None:
        self._platform = platform
        self._request = request
        self._admitted = admitted
        self._model = model
        self._request_id = admitted.arrival.request_id
        self._socket = web.WebSocketResponse(compress=False, max_msg_size=_LARGEST)
        self._frames: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._farewell: Message | None = None
        self._life: Lifespan | None = None
        self._greeted = self._accepted = self._over = self._mute = False
        self._fault: Fault | None = None
        self._sent = 0

    async def serve(self) -> web.StreamResponse:
        """Until either end has had enough."""
        work = self._platform.background.spawn(self._held())
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if not work.done():  # it is the caller that has gone, and not the emulator
                self._vanish()
            raise

    def _part(self, code: int, reason: str = "") -> None:
        """The connection is at its end; the application hears of it."""
        self._over = True
        if self._farewell is None:
            self._farewell = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._changed.set()

    def _vanish(self) -> None:
        """The caller has gone; if without a word, the application is told to stop, too (PROTOCOL 6.5)."""
        said = self._farewell is not None or self._socket.close_code not in {None, _VANISHED}
        self._part(_VANISHED)
        life, self._life = self._life, None
        if life is not None and not said:
            signal_cancel(self._platform, self._admitted, self._model, life.state)

    async def _held(self) -> web.StreamResponse:
        """A task of the emulator's, not of the connection: it may go on when the caller has left."""
        platform, model = self._platform, self._model
        dispatcher = platform.dispatcher(model.application)
        try:
            hint = self._request.headers.get(wire.RUNNER_HINT)
            event = await dispatcher.acquire(self._request_id, hint=hint)
            if isinstance(event, GaveUp):
                answer = failures.request_error(wire.RUNNER_SCHEDULING_FAILURE)
                return respond(named(answer, self._request_id))
            try:
                return await self._connected(event.runner, hint)
            finally:
                dispatcher.release(self._request_id)
        finally:
            platform.concurrency.leave(model.application, exempt=model.own)
            platform.freed()
            platform.background.note()

    async def _connected(self, runner: int, hint: str | None) -> web.StreamResponse:
        platform = self._platform
        self._fault = platform.faults.draw(self._model.id, "realtime")
        await self._socket.prepare(self._request)
        execution = platform.ledger.begin(
            Execution(
                request_id=self._request_id,
                model=self._model.id,
                application=self._model.application,
                key_id=self._admitted.caller.key_id,
                started=platform.clock.now(),
                runner=runner,
                hint=hint,
                fault=None if self._fault is None else self._fault.kind,
            )
        )
        platform.background.note()
        reading = platform.background.spawn(self._read())
        try:
            healthy = await self._call()
            execution.status = 200 if healthy else 500
            execution.billed = healthy
            if healthy and isinstance(self._model.units, Decimal):
                execution.units = self._model.units
        finally:
            execution.ended = platform.clock.now()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return self._socket

    # --- the application ----------------------------------------------------------------------------

    async def _call(self) -> bool:
        """Let the application have the connection; whether it took it and came to its end."""
        arrival = self._admitted.arrival
        offered = self._request.headers.get("Sec-WebSocket-Protocol", "")
        try:
            life = self._life = await self._platform.lifespans.of(self._model)
            scope = build_scope(
                arrival,
                self._admitted.caller,
                self._admitted.path,
                application=self._model.id,
                state=life.state,
                kind="websocket",
                subprotocols=[name.strip() for name in offered.split(",") if name.strip()],
            )
            await self._meet_fault()
            error = await call_app(self._model.app, scope, self._receive, self._send)
            self._life = None
        except AppStartError:
            error = None
        if isinstance(error, asyncio.CancelledError) and self._platform.background.closing:
            raise error
        if error is not None:
            _LOG.error("the application of %s failed", self._model.id, exc_info=error)
        if error is not None or not self._accepted:
            await self._close(_BROKEN, _REFUSED)
            return False
        await self._close(1000, b"")
        return True

    async def _receive(self) -> Message:
        if not self._greeted:
            self._greeted = True
            return {"type": "websocket.connect"}
        while not self._frames:
            if self._farewell is not None:
                return self._farewell
            self._changed.clear()
            await self._changed.wait()
        self._room.set()
        return self._frames.popleft()

    async def _read(self) -> None:
        """Take in what the caller says, and hear of its leaving, whether or not the application listens."""
        while True:
            frame = await self._socket.receive()
            if frame.type is WSMsgType.TEXT:
                self._frames.append({"type": "websocket.receive", "text": frame.data})
            elif frame.type is WSMsgType.BINARY:
                self._frames.append({"type": "websocket.receive", "bytes": frame.data})
            else:
                break
            self._platform.requests["realtime"] += 1
            self._platform.background.note()
            self._changed.set()
            while len(self._frames) >= _AHEAD:
                self._room.clear()
                await self._room.wait()
        code = self._socket.close_code
        if code is None or code == _VANISHED:
            self._vanish()
        else:
            self._part(code, str(frame.extra or ""))

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "websocket.accept" if not self._accepted:
                self._accepted = True
            case "websocket.send" if self._accepted:
                await self._pass_on(message)
            case "websocket.close" if not self._accepted:
                await self._close(_BROKEN, _REFUSED)
            case "websocket.close":
                reason = str(message.get("reason") or "").encode()
                await self._close(message.get("code", 1000), reason)
            case other:
                raise RuntimeError(f"there is no {other!r} at this point of a connection")

    async def _pass_on(self, message: Message) -> None:
        if self._over or self._mute:
            return
        data, text = message.get("bytes"), message.get("text")
        try:
            if data is not None:
                await self._socket.send_bytes(data)
            else:
                await self._socket.send_str(str(text))
        except ConnectionError:
            self._vanish()
            return
        self._sent += 1
        self._platform.background.note()
        await self._meet_fault()

    async def _close(self, code: int, reason: bytes) -> None:
        if not self._over:
            self._over = True
            await close_socket(self._socket, code, reason)
            self._part(code)

    async def _meet_fault(self) -> None:
        fault = self._fault
        if fault is None or self._sent != fault.events:
            return
        if fault.kind == "socket_stall":  # the caller hears no more; the application goes on
            self._mute = True
            return
        error = build_control(AppFailed(wire.REALTIME_INTERNAL_ERROR, "the model broke down"))
        try:
            await break_socket(fault, self._socket, self._request, error)
        except SocketBrokenError:
            self._part(_VANISHED)
            return
        if fault.kind == "socket_error":
            await self._close(1000, b"")
