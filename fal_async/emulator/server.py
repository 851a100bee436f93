"""The emulator as a person or a test holds it: started, asked, told, stopped."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

from aiohttp import web

from fal_async.emulator.app import App
from fal_async.emulator.chance import Chance
from fal_async.emulator.clock import RealClock, VirtualClock, one_turn
from fal_async.emulator.faults import Fault, FaultBook
from fal_async.emulator.history import HistorySettings, RequestHistory
from fal_async.emulator.ledger import Ledger
from fal_async.emulator.model import Model, ModelFunction
from fal_async.emulator.models import default_models
from fal_async.emulator.platform import Platform
from fal_async.emulator.queueing.requeueing import RequeueSettings
from fal_async.emulator.queueing.service import QueueService
from fal_async.emulator.queueing.view import QueueView
from fal_async.emulator.runners import RunnerSettings
from fal_async.emulator.samples import Replay, read_samples
from fal_async.emulator.scenario import Account
from fal_async.emulator.storage.service import StorageService
from fal_async.emulator.storage.settings import StorageSettings
from fal_async.emulator.storage.view import StorageView
from fal_async.protocol.hosts import Hosts

__all__ = ["Emulator"]

_F = TypeVar("_F", bound=ModelFunction)


def _silent_logger() -> logging.Logger:
    """aiohttp reports broken requests and connections, which are this server's daily work."""
    logger = logging.Logger("fal_async.emulator.http")  # noqa: LOG001  # in no tree: heard by nobody
    logger.disabled = True
    return logger


_SILENT: Final = _silent_logger()


#: Where a caller on this machine finds a server that listens on every address.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

#: Bytes of a body that wait to be looked at. With aiohttp's own 64 KiB a large upload stops at each of them.
_READ_BUFFER: Final = 1 << 20


class Emulator:
    """A local fal: ``async with Emulator() as emu:``, then point a client at ``emu.hosts``.

    :param host: address to listen on.
    :param port: 0 is any free one.
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
        self._address = (host, port)
        self._port = port
        self._sockets: asyncio.Server | None = None
        self._http: web.Server | None = None
        self._app: App | None = None
        self._first: dict[str, Any] = {
            "keys": keys,
            "locked": locked,
            "limit": limit,
            "name_limit": name_limit,
            "latency": latency,
            "run_time": run_time,
            "runners": runners,
            "models": None if models is None else tuple(models),
            "faults": tuple(faults),
            "clock": clock,
            "requeue": requeue,
            "history": history,
            "storage": storage,
            "seed": seed,
        }
        self._set_up(**self._first)

    def _set_up(
        self,
        *,
        keys: Collection[str] | Account | None,
        locked: Mapping[str, str] | None,
        limit: int | None,
        name_limit: bool,
        latency: float,
        run_time: float | Callable[[Any], float],
        runners: RunnerSettings | None,
        models: Iterable[Model] | None,
        faults: Iterable[Fault],
        clock: Literal["real", "virtual"],
        requeue: RequeueSettings | None,
        history: HistorySettings | None,
        storage: StorageSettings | None,
        seed: int,
    ) -> None:
        """Make all that it knows and remembers."""
        if isinstance(keys, Account):
            if locked is not None or limit is not None or not name_limit:
                raise TypeError("an Account says itself what is locked, and what its limit is")
            account = keys
        else:
            account = Account(keys=keys, locked=locked, limit=limit, name_limit=name_limit)
        chance = Chance(seed)
        self._faults = FaultBook(chance)
        for fault in faults:
            self._faults.add(fault)
        self._platform = Platform(
            account, chance, self._faults, latency=latency, run_time=run_time, runners=runners
        )
        self._platform.register(default_models() if models is None else models)
        if history is not None:
            self._platform.history.settings = history
        self._storage = StorageService(self._platform, storage or StorageSettings())
        self._kind_of_clock = clock
        self._requeue = requeue or RequeueSettings()
        self._queue: QueueService | None = None
        self._virtual: VirtualClock | None = None

    # --- life ---------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Listen. Belongs to the running loop from here to :meth:`stop`."""
        if self._sockets is not None:
            raise RuntimeError("the emulator is running already")
        app = self._open()
        http = web.Server(
            self._serve,
            request_factory=_unlimited,
            handler_cancellation=True,
            access_log=None,
            logger=_SILENT,
            lingering_time=0,
            read_bufsize=_READ_BUFFER,
        )
        loop = asyncio.get_running_loop()
        sockets = await loop.create_server(http, *self._address, backlog=1024)
        self._app, self._http, self._sockets = app, http, sockets
        self._port = sockets.sockets[0].getsockname()[1]
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
        ``ledger``, ``faults``, ``queue`` and the like have given before is no longer in use.

        :param settings: of those it was made with (``host`` and ``port`` aside), what shall be different
            until the next reset.
        """
        app, queue, platform = self._app, self._queue, self._platform
        self._set_up(**{**self._first, **settings})
        if app is None or queue is None:
            return
        self._app = self._open()
        queue.close()
        await platform.close()
        await app.close()

    async def stop(self) -> None:
        """Stop at once: nothing of it is left, calls in flight are cut off.

        What it recorded stays, and it can be started again. Only a model's function that blocks a thread
        is waited for.
        """
        app, queue, http, sockets = self._app, self._queue, self._http, self._sockets
        if app is None or queue is None or http is None or sockets is None:
            return
        self._app = self._http = self._sockets = None
        sockets.close()
        queue.close()
        transports = [connection.transport for connection in http.connections]
        await self._platform.close()
        await app.close()
        http.pre_shutdown()
        await http.shutdown(0.1)
        for transport in transports:
            if transport is not None:
                transport.abort()  # one that still has something to send would not end otherwise
        await sockets.wait_closed()
        for _ in range(3):  # transports are gone some turns after they were told to
            await one_turn()

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
        host = _LOOPBACK.get(self._address[0], self._address[0])
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def hosts(self) -> Hosts:
        """Every service of fal, here."""
        return Hosts.local(self.url)

    @property
    def ledger(self) -> Ledger:
        """What ran, and what was charged for."""
        return self._platform.ledger

    @property
    def history(self) -> RequestHistory:
        """What the platform API tells of past requests; its ``settings`` may be set."""
        return self._platform.history

    @property
    def storage(self) -> StorageView:
        """Every file on the CDN, uploads that have begun, and tokens."""
        return StorageView(self._platform, self._storage)

    @property
    def faults(self) -> FaultBook:
        """The rules in force; add to it and clear it at any time."""
        return self._faults

    @property
    def in_flight(self) -> int:
        """Requests in progress, direct and queued."""
        return self._platform.concurrency.in_flight

    @property
    def peak_in_flight(self) -> int:
        """The most there ever were at once."""
        return self._platform.concurrency.peak

    @property
    def refused(self) -> int:
        """Calls refused for a limit (429). Those of a fault are not counted."""
        return self._platform.concurrency.refused

    @property
    def received(self) -> int:
        """Direct calls that arrived, whatever became of them."""
        return self._platform.received

    @property
    def requests(self) -> Counter[str]:
        """How many requests arrived, by operation.

        These are ``run``, ``stream``; ``submit``, ``status``, ``status_stream``, ``result`` and
        ``cancel`` of the queue; ``token``, ``upload``, ``initiate``, ``put``, ``create``, ``part``,
        ``complete``, ``sign`` and ``download`` of the storage; ``history``, ``acl`` and ``settings`` of
        the platform's API.
        """
        return self._platform.requests

    @property
    def queue(self) -> QueueView:
        """What is queued, runs and has ended, since it was started.

        :raises RuntimeError: if it never was.
        """
        if self._queue is None:
            raise RuntimeError("the emulator has not been started")
        return QueueView(self._queue)

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

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, such as ``lambda: emu.in_flight == 3``.

        It is asked whenever a call arrives, is let in or refused, starts, ends or is answered.
        """
        await self._platform.background.until(condition)

    # --- virtual time -------------------------------------------------------------------------------

    @property
    def time(self) -> float:
        """Seconds since it started, on its own clock.

        :raises RuntimeError: if it was never started.
        """
        return self._platform.clock.now()

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


def _unlimited(
    message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
) -> web.BaseRequest:
    """A request whose body may be of any size."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=0)
