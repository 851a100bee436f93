"""An application's life: begun before its first call, ended after its last, in one and the same task.

Where its calls come from is not known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from fal_async.emulator.asgi.calling import call_app
from fal_async.emulator.asgi.model import AsgiApp, AsgiModel, Message
from fal_async.emulator.asgi.printing import stop_overhearing
from fal_async.emulator.model import Model

__all__ = ["AppStartError", "Lifespan", "Lifespans"]

_LOG: Final = logging.getLogger("fal_async.emulator")
#: How long an application may take to shut down, in seconds: of real time, whatever the emulator's clock.
_PATIENCE: Final = 10


class AppStartError(RuntimeError):
    """A mounted application did not start; the text says which, and its own last words."""


class Lifespan:
    """One application's life.

    :ivar state: what it put there as it started; each call gets a copy.
    """

    def __init__(self, app: AsgiApp, name: str) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._name = name
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ending = asyncio.Event()
        self._ended = asyncio.Event()
        self._told = 0
        self._task = asyncio.create_task(self._live(), name=f"lifespan of {name}")

    async def begun(self) -> None:
        """Return once it has started.

        :raises AppStartError: it did not, and will not.
        """
        await asyncio.shield(self._begun)

    async def end(self) -> None:
        """Let it shut down, and cut it off if that takes too long."""
        if not self._task.done() and self._begun.done():
            self._ending.set()
            await self._shut_down()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._begun.done() and not self._begun.cancelled():
            self._begun.exception()  # whoever waited has heard of it

    async def _shut_down(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._ended.wait()
        except TimeoutError:
            said = "the application of %s did not shut down within %d seconds, and is cut off"
            _LOG.error(said, self._name, _PATIENCE)

    async def _live(self) -> None:
        asgi = {"version": "3.0", "spec_version": "2.0"}
        scope = {"type": "lifespan", "asgi": asgi, "state": self.state}
        error = await call_app(self._app, scope, self._receive, self._send)
        if isinstance(error, SystemExit):
            self._fail("it left its process")
        if isinstance(error, asyncio.CancelledError):
            pass  # its end was not waited for any longer
        elif error is not None and not self._begun.done():  # it knows no lifespan, and needs none
            _LOG.debug("the application of %s takes no lifespan: %r", self._name, error)
        elif error is not None and self._begun.exception() is None:
            _LOG.error("the application of %s failed", self._name, exc_info=error)
        self._begin()
        self._ended.set()

    def _begin(self) -> None:
        if not self._begun.done():
            self._begun.set_result(None)

    def _fail(self, said: str) -> None:
        """It will not start; of what it said the last line is shown."""
        if self._begun.done():
            return
        _LOG.error("the application of %s did not start\n%s", self._name, said)
        last = said.strip().rpartition("\n")[2] or "it does not say why"
        error = AppStartError(f"the application of {self._name} did not start: {last}")
        self._begun.set_exception(error)

    async def _receive(self) -> Message:
        self._told += 1
        if self._told == 1:
            return {"type": "lifespan.startup"}
        await self._ending.wait()
        if self._told > 2:  # there is nothing more to be told: its task is about to be cancelled
            await asyncio.get_running_loop().create_future()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "lifespan.startup.complete":
                self._begin()
            case "lifespan.startup.failed":
                self._fail(str(message.get("message", "")))
            case "lifespan.shutdown.failed":
                _LOG.error(
                    "the application of %s did not shut down well\n%s",
                    self._name,
                    message.get("message", ""),
                )
                self._ended.set()
            case _:
                self._ended.set()


class Lifespans:
    """The lives of all applications of one emulator. An application mounted twice has one life."""

    def __init__(self) -> None:
        self._lives: dict[int, Lifespan] = {}

    async def serve(self, models: Iterable[Model]) -> None:
        """Start the applications among these, one after the other; end all others.

        :raises AppStartError: one did not start. Those before it have been ended.
        """
        served = [model for model in models if isinstance(model, AsgiModel)]
        try:
            for known in self._lives.keys() - {id(model.app) for model in served}:
                await self._lives.pop(known).end()
            for model in served:
                await self.of(model)
        except BaseException:
            await self.end()
            raise

    async def of(self, model: AsgiModel) -> Lifespan:
        """The life of a model's application, which is started if it has not been.

        :raises AppStartError: it did not start.
        """
        life = self._lives.get(id(model.app))
        if life is None:
            life = self._lives[id(model.app)] = Lifespan(model.app, model.id)
        await life.begun()
        return life

    async def end(self) -> None:
        """Shut all of them down."""
        stop_overhearing()
        lives, self._lives = self._lives, {}
        for life in lives.values():
            await life.end()
