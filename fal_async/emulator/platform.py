"""The emulated fal itself: its account, models, runners, objects and ledger, and who is let in.

It holds the pure parts together and knows the clock, but no HTTP server: the views bring calls, and
take answers. What happens to a call that was let in is told by ``executing``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any, Final

import attrs

from fal_async.emulator.answers import MadeFile
from fal_async.emulator.asgi.lifespan import Lifespans
from fal_async.emulator.asgi.model import AsgiModel
from fal_async.emulator.background import Background
from fal_async.emulator.chance import Chance
from fal_async.emulator.clock import Clock
from fal_async.emulator.concurrency import Concurrency
from fal_async.emulator.dispatch import Dispatcher
from fal_async.emulator.faults import FaultBook
from fal_async.emulator.history import RequestHistory
from fal_async.emulator.ledger import Ledger
from fal_async.emulator.model import Model
from fal_async.emulator.objects import ObjectStore
from fal_async.emulator.runners import RunnerPool, RunnerSettings
from fal_async.emulator.scenario import Account, Caller
from fal_async.emulator.tokens import TokenBook
from fal_async.errors import InputError
from fal_async.protocol import failures, wire
from fal_async.protocol.lifecycle import LifecyclePreference
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.model import ModelId, parse_model_id
from fal_async.protocol.options import parse_lifecycle_header, parse_start_timeout

__all__ = ["Admitted", "Arrival", "Platform"]

_LOG: Final = logging.getLogger("fal_async.emulator")


@attrs.frozen(kw_only=True)
class Arrival:
    """A call of a model as it came in, direct or for the queue."""

    request_id: str
    received: float
    method: str
    model_id: ModelId
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Names compare case-insensitively."""
    body: bytes = attrs.field(repr=False)
    cdn: str
    """The base URL under which this caller reaches the CDN."""
    query: str = attrs.field(default="", repr=False)
    """What stood behind the question mark, as it was."""
    token: str | None = attrs.field(default=None, repr=False)
    """What a browser shows instead of a key, where it may: for a stream of events (PROTOCOL 4)."""


@attrs.frozen(kw_only=True)
class Admitted:
    """A call of a model that exists, by a caller who may."""

    arrival: Arrival
    caller: Caller
    model: Model
    path: str
    start_by: float | None
    lifecycle: LifecyclePreference | None


_STREAM: Final = f"/{wire.STREAM}"


class Platform:
    """State of one emulator, and the door to it.

    :ivar latency: seconds added to each round trip.
    :ivar run_time: of models that do not say how long they run.
    """

    def __init__(
        self,
        account: Account,
        chance: Chance,
        faults: FaultBook,
        *,
        latency: float = 0.0,
        run_time: float | Callable[[Any], float] = 0.0,
        runners: RunnerSettings | None = None,
    ) -> None:
        self.account = account
        self.chance = chance
        self.faults = faults
        self.latency = latency
        self.run_time = run_time
        self.ledger = Ledger()
        self.history = RequestHistory()
        self.objects = ObjectStore()
        self.concurrency = Concurrency(account.limit)
        self.background = Background()
        self.tokens = TokenBook(chance)
        self.lifespans = Lifespans()
        self.models: dict[str, Model] = {}
        self.received = 0
        self.requests: Counter[str] = Counter()
        self.freed: Callable[[], None] = lambda: None
        """Called when a slot or a runner may have become free."""
        self._runners = runners or RunnerSettings()
        self._applications: dict[str, Model] = {}
        self._missed: set[str] = set()
        self._mounted: list[AsgiModel] = []
        self._dispatchers: dict[str, Dispatcher] = {}
        self._files = count(1)
        self._clock: Clock | None = None

    # --- life ---------------------------------------------------------------------------------------

    def open(self, clock: Clock) -> None:
        """Begin, with runners that know nothing of an earlier life."""
        self._clock = clock
        self._dispatchers.clear()

    async def close(self) -> None:
        """End all that runs; what was recorded stays."""
        for dispatcher in self._dispatchers.values():
            dispatcher.close()
        await self.background.close()

    @property
    def clock(self) -> Clock:
        """The time it lives in."""
        if self._clock is None:
            raise RuntimeError("the emulator has not been started")
        return self._clock

    def unix(self, at: float | None = None) -> float:
        """A time on its clock, or now, as Unix seconds."""
        return self.clock.epoch + (self.clock.now() if at is None else at)

    def register(self, models: Iterable[Model]) -> None:
        """Serve these models; one of an id already served replaces it."""
        for model in models:
            self.models[model.id] = model
            self._applications.setdefault(model.application, model)
        self._mounted = [model for model in self.models.values() if isinstance(model, AsgiModel)]

    # --- the door -----------------------------------------------------------------------------------

    def new_request_id(self) -> str:
        """The id of the call arriving now."""
        self.received += 1
        self.background.note()
        return self.chance.uuid("request", self.received)

    async def travel(self) -> None:
        """One way of a round trip."""
        if self.latency:
            await self.clock.sleep_until(self.clock.now() + self.latency / 2)

    def admit(self, arrival: Arrival) -> Admitted | HttpResponse:
        """Let a direct call in, or turn it away (PROTOCOL 2.1, 3.3, 5.2).

        The order of the checks is an inference; and that a call let in holds its slot also while it
        waits for a runner.
        """
        caller = self.recognise(arrival.headers, arrival.model_id, token=arrival.token)
        if isinstance(caller, HttpResponse):
            return caller
        admitted = self.address(arrival, caller)
        if isinstance(admitted, HttpResponse):
            return admitted
        model = admitted.model
        over = self.concurrency.enter(model.application, exempt=model.own)
        self.background.note()
        if over is not None:
            named = over.limit if self.account.name_limit else None
            return failures.concurrency_limit_reached(named)
        return admitted

    def recognise(
        self, headers: Mapping[str, str], model_id: ModelId, *, token: str | None = None
    ) -> Caller | HttpResponse:
        """Who asks for something of an application, if there is one and they may (PROTOCOL 2.1)."""
        application = model_id.application
        if token is None:
            model, _ = self._find(model_id)
            caller = self.account.judge(
                headers.get(wire.AUTHORIZATION),
                application=application,
                public=model is not None and model.public,
            )
        else:
            known = self.tokens.find(token, model_id, self.clock.now())
            caller = failures.unknown_key() if known is None else Caller(known.key_id)
        if isinstance(caller, Caller) and application not in self._applications:
            self._miss(application)
            return failures.application_not_found(application)
        return caller

    def _miss(self, application: str) -> None:
        """Say once what fal's own words do not: it may well be there at fal."""
        if application not in self._missed:
            self._missed.add(application)
            _LOG.warning(
                "this emulator does not serve %s. Its OpenAPI document adds it: --openapi FILE, or "
                "models_from_openapi; or a function of yours: Emulator.model",
                application,
            )

    def address(self, arrival: Arrival, caller: Caller) -> Admitted | HttpResponse:
        """The model of an application that exists, or the application's refusal."""
        model, path = self._find(arrival.model_id)
        if model is None:
            return failures.path_not_found(f"/{arrival.model_id.path}")
        if arrival.method not in model.methods:
            return failures.method_not_allowed()
        try:
            seconds = parse_start_timeout(arrival.headers)
        except InputError as error:
            return failures.request_error(wire.BAD_REQUEST, error.what)
        return Admitted(
            arrival=arrival,
            caller=caller,
            model=model,
            path=path,
            start_by=None if seconds is None else arrival.received + seconds,
            lifecycle=parse_lifecycle_header(arrival.headers),
        )

    def streams(self, model_id: ModelId) -> bool:
        """Whether a model streams under this id: it, or an application that may."""
        model, path = self._find(model_id)
        if isinstance(model, AsgiModel):
            return path.endswith(_STREAM)
        return model is not None and model.stream is not None and path == _STREAM

    def mounted(self, model_id: ModelId) -> tuple[AsgiModel, str] | None:
        """The application that is called by this id, and the path behind its own."""
        model, path = self._find(model_id)
        return (model, path) if isinstance(model, AsgiModel) else None

    def read_target(self, path: str) -> ModelId:
        """The id that the path of a URL names. What stands behind an application's own id may be any path.

        :raises InputError: it names none.
        """
        target = path.lstrip("/")
        for model in self._mounted:
            if target.startswith(f"{model.id}/") and target.rstrip("/") not in self.models:
                application = model.model_id.application
                return attrs.evolve(model.model_id, path=target[len(application) + 1 :])
        return parse_model_id(target.strip("/"))

    def _find(self, model_id: ModelId) -> tuple[Model | None, str]:
        """The model of this id, or one that answers for paths below its own."""
        target = base = str(model_id)
        model = self.models.get(target)
        if model is None and target.endswith(_STREAM):
            streaming = self.models.get(target.removesuffix(_STREAM))
            if streaming is not None and streaming.stream is not None:
                return streaming, _STREAM
        while base and (model is None or not (model.subpaths or base == target)):
            base = base.rpartition("/")[0]
            model = self.models.get(base)
        return model, target[len(base) :]

    def live_model(self, model_id: ModelId) -> Model | None:
        """The model that takes realtime connections under this id."""
        target = str(model_id)
        for model in self.models.values():
            if model.realtime is not None and f"{model.id}{model.realtime.path}" == target:
                return model
        return None

    # --- for those let in ---------------------------------------------------------------------------

    def dispatcher(self, application: str) -> Dispatcher:
        """The runners of an application."""
        found = self._dispatchers.get(application)
        if found is None:
            settings = self._applications[application].runners or self._runners
            found = Dispatcher(RunnerPool(settings), self.clock, self.freed)
            self._dispatchers[application] = found
        return found

    def is_own(self, application: str) -> bool:
        """Whether an application is the caller's own."""
        return self._applications[application].own

    def seconds(self, model: Model, content: Any) -> float:
        """How long a run on this input lasts at least."""
        run_time = self.run_time if model.run_time is None else model.run_time
        return run_time(content) if callable(run_time) else run_time

    def keep(self, file: MadeFile, admitted: Admitted) -> str:
        """Put a file on the CDN; its path there."""
        path = f"/files/{self.chance.file_name('file', next(self._files))}.{file.extension}"
        self.objects.put(
            path,
            file.content,
            file.content_type,
            self.clock.now(),
            lifecycle=admitted.lifecycle,
            owner=admitted.caller.key_id,
        )
        return path
