"""``ws.fal.run``: any model's endpoint over a WebSocket, payload by payload (PROTOCOL 9)."""

from __future__ import annotations

import asyncio
from codecs import getincrementaldecoder
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import attrs
from aiohttp import WSMsgType, web

from fal_async.emulator.channel import Channel
from fal_async.emulator.contact import Contact
from fal_async.emulator.distorting import distort
from fal_async.emulator.executing import run_call
from fal_async.emulator.faults import Fault
from fal_async.emulator.platform import Admitted, Arrival, Platform
from fal_async.emulator.views.answering import named, query_of
from fal_async.emulator.views.socket_faults import SocketBrokenError, break_socket
from fal_async.protocol import wire
from fal_async.protocol.codec import content_type_of, is_json
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.model import ModelId
from fal_async.protocol.websocket import End, Start, build_end, build_start

__all__ = ["Gateway"]

_NOTHING: Final = HttpResponse(200, Headers(), b"")
#: A body that is no text goes in frames of this many bytes.
_FRAME: Final = 64 * 1024
_LARGEST: Final = 256 * 1024 * 1024


class Gateway:
    """One connection: payloads are answered one by one, in their order."""

    def __init__(
        self, platform: Platform, request: web.BaseRequest, model_id: ModelId, cdn: str
    ) -> None:
        self._platform = platform
        self._request = request
        self._model_id = model_id
        self._cdn = cdn
        self._socket = web.WebSocketResponse(compress=False, max_msg_size=_LARGEST)

    async def serve(self) -> web.StreamResponse:
        """Until the caller leaves. What runs then runs on, and is charged for."""
        await self._socket.prepare(self._request)
        self._platform.background.note()
        try:
            while True:
                message = await self._socket.receive()
                if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                    return self._socket
                data = message.data
                await self._answer(data.encode() if isinstance(data, str) else data)
        except (SocketBrokenError, ConnectionError):
            return self._socket
        finally:
            self._platform.background.note()

    async def _answer(self, payload: bytes) -> None:
        platform = self._platform
        request_id = platform.new_request_id()
        platform.requests["websocket"] += 1
        received = platform.clock.now()
        fault = platform.faults.draw(str(self._model_id), "websocket")
        await platform.travel()
        answer: HttpResponse | _Streamed = _NOTHING
        if fault is None or fault.ran:
            arrival = Arrival(
                request_id=request_id,
                received=received,
                method="POST",
                model_id=self._model_id,
                headers=self._request.headers,
                body=payload,
                cdn=self._cdn,
                query=query_of(self._request),
            )
            answer, ran = await self._ran(arrival, fault)
            if fault is not None and not ran:
                platform.faults.take_back(fault)  # there is no run for it to come after
                fault = None
        await platform.travel()
        if isinstance(answer, _Streamed):
            await self._say(answer.frames(request_id), fault, request_id)
        else:
            if fault is not None and not fault.kind.startswith("socket_"):
                distorted = distort(fault, answer, request_id)
                assert isinstance(distorted, HttpResponse)  # noqa: S101  # others are refused as rules
                answer, fault = distorted, None
            waited = platform.clock.now() - received
            await self._say(_frames(request_id, answer, waited), fault, request_id)
        platform.background.note()

    async def _ran(
        self, arrival: Arrival, fault: Fault | None
    ) -> tuple[HttpResponse | _Streamed, bool]:
        """The answer, and whether its model ran."""
        platform = self._platform
        admitted = platform.admit(arrival)
        if isinstance(admitted, HttpResponse):
            return named(admitted, arrival.request_id), False
        channel = None
        if platform.streams(self._model_id) or platform.mounted(self._model_id):
            channel = Channel(Contact(platform.clock))
        # A task of the emulator's, not of this connection: it goes on if the caller leaves.
        work = platform.background.spawn(run_call(platform, admitted, fault, channel))
        try:
            if channel is not None:
                first = await channel.take()
                if first is not None:
                    return _Streamed(admitted, channel, first, work), True
            answer, ran = await asyncio.shield(work)
        except BaseException:
            if channel is not None:
                channel.leave()
            raise
        return named(answer, arrival.request_id), ran

    async def _say(
        self, frames: AsyncGenerator[str | bytes], fault: Fault | None, request_id: str
    ) -> None:
        sent = 0
        async with aclosing(frames):
            async for frame in frames:
                if fault is not None and sent == fault.events:
                    failed = build_end(End(request_id, 500))
                    await break_socket(fault, self._socket, self._request, failed)
                    if fault.kind == "socket_error":
                        return
                if isinstance(frame, str):
                    await self._socket.send_str(frame)
                else:
                    await self._socket.send_bytes(frame)
                sent += 1
                self._platform.background.note()


_Work = asyncio.Task[tuple[HttpResponse, bool]]


@attrs.frozen
class _Streamed:
    """An answer that is still being made."""

    admitted: Admitted
    channel: Channel
    first: bytes
    work: _Work

    async def frames(self, request_id: str) -> AsyncGenerator[str | bytes]:
        """All that is said of it, as it comes; its end has the status that its model came to."""
        head = self.channel.head
        if head is None:
            kind = self.admitted.model.stream_type
            head = HttpResponse(200, Headers({"Content-Type": kind}), b"")
        kind, status = content_type_of(head.headers), head.status
        as_text = kind == wire.EVENT_STREAM or is_json(kind) or kind.startswith("text/")
        head = named(head, request_id)
        try:
            yield build_start(Start(request_id, status, Headers(head.headers)))
            event: bytes | None = self.first
            text = getincrementaldecoder("utf-8")("replace")  # a piece may end within a character
            while event is not None:
                piece = text.decode(event) if as_text else event
                if piece:
                    yield piece
                event = await self.channel.take()
            answer, _ = await asyncio.shield(self.work)
            yield build_end(End(request_id, answer.status))
        finally:
            self.channel.leave()


async def _frames(
    request_id: str, answer: HttpResponse, waited: float
) -> AsyncGenerator[str | bytes]:
    yield build_start(Start(request_id, answer.status, Headers(answer.headers)))
    kind = content_type_of(answer.headers)
    body = answer.body
    if kind == wire.EVENT_STREAM:
        for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
            if event:
                yield f"{event.decode()}\n\n"
    elif is_json(kind) or kind.startswith("text/"):
        if body:
            yield body.decode("utf-8", "replace")
    else:
        for at in range(0, len(body), _FRAME):
            yield body[at : at + _FRAME]
    yield build_end(End(request_id, answer.status, waited))
