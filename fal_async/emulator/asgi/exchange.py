"""One request of an application: what it is given, and what it says, until its answer is whole.

It is a server's part of ASGI's HTTP protocol. What the outcome means to the platform is told in ``running``.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final

from fal_async.emulator.asgi.calling import call_app
from fal_async.emulator.asgi.messages import Head, read_head
from fal_async.emulator.asgi.model import AsgiApp, Message
from fal_async.emulator.asgi.printing import Listener, listen
from fal_async.emulator.background import Background
from fal_async.emulator.channel import Channel
from fal_async.emulator.raising import CallCancelledError, ModelFailure, RunnerError, UnhandledError
from fal_async.protocol import wire

__all__ = ["Exchange"]

_LOG: Final = logging.getLogger("fal_async.emulator")

#: An answer that says its length and is not longer is passed on when it is whole.
_IN_ONE: Final = 1 << 20
_BODILESS: Final = frozenset((HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))


class Exchange:
    """One request and its answer.

    :param channel: takes the answer piece by piece, where there is somebody to be sent it while it is made.
    :ivar head: how the answer begins, once it has.
    :ivar body: all of it, unless it went through the channel.
    """

    def __init__(self, scope: dict[str, Any], body: bytes, channel: Channel | None = None) -> None:
        self.head: Head | None = None
        self.body = bytearray()
        self._scope = scope
        self._in_pieces = channel is not None and scope["method"] != "HEAD"
        self._request: bytes | None = body
        self._channel = channel
        self._streams = False
        self._soon: asyncio.Handle | None = None
        self._received = 0
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()
        self._left = self._cut = False

    async def answered(self) -> None:
        """Return once the answer is whole.

        :raises ModelFailure: it never will be.
        """
        await asyncio.shield(self._over)

    def leave(self) -> None:
        """The caller has gone: the application may hear of it."""
        self._left = True
        self._gone.set()

    def cut(self, failure: ModelFailure) -> None:
        """The platform has had enough of it: its task is about to be cancelled."""
        self._cut = True
        self.fail(failure)

    def fail(self, failure: ModelFailure) -> None:
        """Nothing of it that is still to come counts."""
        if not self._over.done():
            self._over.set_exception(failure)
            self._over.exception()  # who waits for it gets it; maybe nobody does
        self._close()

    async def call(
        self,
        app: AsgiApp,
        name: str,
        background: Background,
        listener: Listener | None = None,
    ) -> None:
        """Let the application have it. Goes on after the answer, if the application does.

        :param background: whose task this is.
        :param listener: hears what it prints.
        """
        listen(listener)
        error = await call_app(app, self._scope, self._receive, self._send)
        if isinstance(error, asyncio.CancelledError) and (self._cut or background.closing):
            self.fail(RunnerError(wire.RUNNER_DISCONNECTED))
            return
        if error is not None:
            _LOG.error("the application of %s failed", name, exc_info=error)
        elif not (self._over.done() or self._left):
            _LOG.error("the application of %s returned before its answer was whole", name)
        self.fail(self._failure(error))  # unless its answer is whole

    def _failure(self, error: BaseException | None) -> ModelFailure:
        if isinstance(error, SystemExit):
            return RunnerError(wire.RUNNER_DISCONNECTED)
        if self._left:
            return CallCancelledError(billed=True)
        if self.head is None:
            return UnhandledError()
        return RunnerError(wire.RUNNER_INCOMPLETE_RESPONSE)

    # --- the application's side ---------------------------------------------------------------------

    async def _receive(self) -> Message:
        body, self._request = self._request, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        # At once if it is so, in a call that is cancelled already, too: Starlette asks by one.
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._start(message)
        elif kind == "http.response.body":
            if self.head is None:
                raise RuntimeError("http.response.start comes before http.response.body")
            await self._add(
                self.head, bytes(message.get("body", b"")), more=message.get("more_body", False)
            )
        else:
            raise RuntimeError(f"an answer has no {kind!r}")

    def _start(self, message: Message) -> None:
        if self.head is not None:
            raise RuntimeError("the answer has begun already")
        head = self.head = read_head(message)
        if head.too_large:
            self.fail(RunnerError(wire.RUNNER_SERVER_ERROR))
        elif self._in_pieces and head.length is None and head.status not in _BODILESS:
            # Unless all of the body follows at once, the caller need not wait to see how it begins.
            self._soon = asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        if self._channel is not None and self.head is not None and not self._over.done():
            self._streams = True
            self._channel.begin(self.head.answer(), self.head.length)

    async def _add(self, head: Head, data: bytes, *, more: bool) -> None:
        if self._over.done():
            return
        self._received += len(data)
        if head.length is not None and self._received > head.length:
            raise RuntimeError("the body is longer than its Content-Length")
        whole = not more or self._received == head.length
        if self._soon is not None:
            self._soon.cancel()
        small = head.length is not None and head.length <= _IN_ONE
        if self._in_pieces and not (self._streams or whole or small):
            self._begin()
        if self._streams and self._channel is not None:
            if data:
                await self._channel.put(data)
        else:
            self.body += data
        if whole:
            self._finish(head)

    def _finish(self, head: Head) -> None:
        bodiless = head.status in _BODILESS or self._scope["method"] == "HEAD"
        if not bodiless and head.length is not None and self._received < head.length:
            self.fail(RunnerError(wire.RUNNER_INCOMPLETE_RESPONSE))
            return
        if self._streams and self._channel is not None:
            self._channel.whole = True
        if not self._over.done():
            self._over.set_result(None)
        self._close()

    def _close(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
        self._gone.set()
