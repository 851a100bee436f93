"""The emulator as a person or a test holds it: started, asked, told, stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import attrs
from aiohttp import web

from fal_async.emulator.app import App
from fal_async.emulator.asgi.lifespan import Lifespans
from fal_async.emulator.asgi.mounting import asgi_model
from fal_async.emulator.clock import RealClock, VirtualClock
from fal_async.emulator.faults import Fault
from fal_async.emulator.history import HistorySettings
from fal_async.emulator.listening import Listener
from fal_async.emulator.model import Model, ModelFunction
from fal_async.emulator.observed import Observed
from fal_async.emulator.queueing.requeueing import RequeueSettings
from fal_async.emulator.queueing.service import QueueService
from fal_async.emulator.runners import RunnerSettings
from fal_async.emulator.samples import Replay, read_samples
from fal_async.emulator.scenario import Account
from fal_async.emulator.settings import Settings
from fal_async.emulator.storage.settings import StorageSettings
from fal_async.protocol.hosts import Hosts

__all__ = ["Emulator"]

_F = TypeVar("_F", bound=ModelFunction)


class Emulator(Observed):
    """A local fal: ``async with Emulator() as emu:``, then point a client at ``emu.hosts``.

    :param host: address to listen on.
    :param port: 0 is any free one.
    :param tls: whether it answers for fal's hosts by name, over https and as an HTTPS proxy
        (:meth:`environment` leads clients there). Needs the extra ``emulator``.
    :param keys: the keys that exist; None: any key and no key are accepted. Or an :class:`Account`,
        which then says all about keys, locks and limits.
    :param locked: key → the reason its account is locked for.
    :param limit: the account's requests in progress at once; None is no limit. Settable later.
    :param name_limit: whether a 429 names the limit in its body.
    :param latency: seconds added to each round trip.
    :param run_time: seconds that models run which do not say; or a function of the input that tells.
    :param runners: of applications that do not say; None is as many as there are calls, at once.
    :param models: what it serves; None is :func:`default_models`.
    :param faults: rules of what shall go wrong.
    :param clock: "real", or "virtual": time stands still but for :meth:`advance`.
    :param requeue: how the queue treats what its runners failed at.
    :param history: what the account's history of requests shows.
    :param storage: how uploads are taken.
    :param seed: of everything that is left to chance.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool = False,
        keys: Collection[str] | Account | None = None,
        locked: Mapping[str, str] | None = None,
        limit: int | None = None,
        name_limit: bool = True,
        latency: float = 0.0,
        run_time: float | Callable[[Any], float] = 0.0,
        runners: RunnerSettings | None = None,
        models: Iterable[Model] | None = None,
        faults: Iterable[Fault] = (),
        clock: Literal["real", "virtual"] = "real",
        requeue: RequeueSettings | None = None,
        history: HistorySettings | None = None,
        storage: StorageSettings | None = None,
        seed: int = 0,
    ) -> None:
        self._listener = _listener(host, port, tls=tls)
        self._tls = tls
        self._app: App | None = None
        self._lifespans = Lifespans()
        self._first = Settings(
            keys=keys,
            locked=locked,
            limit=limit,
            name_limit=name_limit,
            latency=latency,
            run_time=run_time,
            runners=runners,
            models=models,
            faults=faults,
            clock=clock,
            requeue=requeue,
            history=history,
            storage=storage,
            seed=seed,
        )
        self._set_up(self._first)

    def _set_up(self, settings: Settings) -> None:
        made = settings.make()
        self._platform, self._faults, self._storage = made.platform, made.faults, made.storage
        self._platform.lifespans = self._lifespans
        self._kind_of_clock, self._requeue = made.clock, made.requeue
        self._queue: QueueService | None = None
        self._virtual: VirtualClock | None = None

    # --- life ---------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Listen. Belongs to the running loop from here to :meth:`stop`.

        :raises AppStartError: a mounted application did not start.
        """
        if self._listener.is_open:
            raise RuntimeError("the emulator is running already")
        await self._lifespans.serve(self._platform.models.values())
        try:
            app = self._open()
            await self._listener.open(self._serve)
        except BaseException:
            await self._lifespans.end()
            raise
        self._app = app
        return self

    def _open(self) -> App:
        self._virtual = VirtualClock() if self._kind_of_clock == "virtual" else None
        self._platform.open(self._virtual or RealClock())
        self._queue = QueueService(self._platform, self._requeue)
        return App(self._platform, self._queue, self._storage)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._app is None:
            raise ConnectionResetError("the emulator has stopped")
        return await self._app(request)

    async def reset(self, **settings: Any) -> None:
        """Be as if newly made: nothing recorded, queued or stored; models, rules and limits as at first.

        It goes on listening under its url, and idle connections stay; calls in flight are cut off. What
        ``ledger``, ``faults``, ``queue`` and the like have given before is no longer in use. A mounted
        application that it was made with goes on, and remembers what it does.

        :param settings: of those it was made with (``host``, ``port`` and ``tls`` aside), what shall be
            different until the next reset.
        """
        app, queue, platform = self._app, self._queue, self._platform
        self._set_up(attrs.evolve(self._first, **settings))
        if app is None or queue is None:
            return
        self._app = self._open()
        queue.close()
        await platform.close()
        await app.close()
        await self._lifespans.serve(self._platform.models.values())

    async def stop(self) -> None:
        """Stop at once: nothing of it is left, calls in flight are cut off.

        What it recorded stays, and it can be started again. Only a model's function that blocks a thread
        is waited for, and for ten seconds a mounted application that shuts down.
        """
        app, queue = self._app, self._queue
        if app is None or queue is None:
            return
        self._app = None
        self._listener.refuse()
        queue.close()
        await self._platform.close()
        await app.close()
        await self._lifespans.end()
        await self._listener.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    # --- asked --------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """``http://127.0.0.1:{port}``; the loopback address, too, if it listens on all there are."""
        return self._listener.url

    @property
    def hosts(self) -> Hosts:
        """Every service of fal, here."""
        return Hosts.local(self.url)

    @property
    def tls(self) -> bool:
        """Whether it answers for fal's hosts by name."""
        return self._tls

    @property
    def proxy_url(self) -> str:
        """What ``HTTPS_PROXY`` is set to: a proxy that knows fal's hosts, and refuses all others.

        :raises RuntimeError: if it was made without ``tls``.
        """
        return self._listener.proxy_url

    @property
    def authority(self) -> Path:
        """The certificate to trust, a PEM file: made anew by each start, gone when it stops.

        :raises RuntimeError: if it was made without ``tls``, or does not run.
        """
        return self._listener.authority

    def environment(self, authority: str | os.PathLike[str] | None = None) -> dict[str, str]:
        """The environment variables by which other programs find it where they look for fal.

        They are the proxy, the authority under the names that Python, curl and Node know, a key, and
        ``NODE_OPTIONS``, by which Node loads a file that leads it to the proxy.

        :param authority: the file with the certificate, if it was copied.
        :raises RuntimeError: if it was made without ``tls``, or does not run.
        """
        file = self.authority if authority is None else authority
        from fal_async.emulator.tls.environment import environment  # noqa: PLC0415  # for those who ask

        return environment(self.proxy_url, os.fspath(file), self._platform.account.keys)

    @property
    def limit(self) -> int | None:
        """The account's limit; set it, and it holds for the next call that arrives."""
        return self._platform.concurrency.limit

    @limit.setter
    def limit(self, value: int | None) -> None:
        self._set_limit(value)

    def _set_limit(self, value: int | None) -> None:
        self._platform.concurrency.limit = value
        self._platform.freed()

    # --- virtual time -------------------------------------------------------------------------------

    async def advance(self, seconds: float) -> None:
        """Let virtual time pass, instant by instant; what happens at one is done before the next.

        What has been sent to the emulator when this is called arrives before time moves.

        :raises RuntimeError: if the clock is real.
        """
        clock = self._virtual
        if clock is None:
            raise RuntimeError('only an emulator with clock="virtual" can be advanced')
        until = clock.now() + seconds
        await self._platform.background.settle()
        while clock.step(until):
            await self._platform.background.settle()

    # --- told ---------------------------------------------------------------------------------------

    def model_limit(self, application: str, limit: int | None) -> None:
        """Give a hot application a cap of its own (PROTOCOL 3.3); None takes it away."""
        caps = self._platform.concurrency.caps
        if limit is None:
            caps.pop(application, None)
        else:
            caps[application] = limit
        self._platform.freed()

    def register(self, *models: Model) -> None:
        """Serve more models."""
        self._platform.register(models)

    def mount(self, id: str, app: Any, **settings: Any) -> None:
        """Serve an ASGI application as a model: :func:`asgi_model`, which has the ``settings``, registered.

        One that is mounted while the emulator runs is started by its first call.
        """
        self.register(asgi_model(id, app, **settings))

    def replay(self, samples: str | os.PathLike[str]) -> Replay:
        """Answer calls from samples: with the output of the one that has the call's model and input.

        Of a model that there are samples of, no other call is answered: it fails, and the :class:`Replay`
        lists it.

        :param samples: a JSON file, or a folder of them (:func:`~fal_async.emulator.samples.read_samples`).
        :raises ValueError: if there are none, or one is not what it should be.
        """
        replay = Replay(read_samples(samples))
        self.register(*replay.models())
        return replay

    def model(self, id: str, **settings: Any) -> Callable[[_F], _F]:
        """Serve the decorated function as a model; ``settings`` are those of :class:`Model`."""

        def register(function: _F) -> _F:
            self.register(Model(id=id, function=function, **settings))
            return function

        return register


def _listener(host: str, port: int, *, tls: bool) -> Listener:
    if not tls:
        return Listener(host, port)
    from fal_async.emulator.tls.listening import TlsListener  # noqa: PLC0415  # for those who ask

    return TlsListener(host, port)
