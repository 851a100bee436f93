"""The emulated fal itself: who may call what, on which runner, at what cost.

It joins the pure parts and knows the clock, but no HTTP server: the views bring calls, and take answers.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Any, Final, TypeVar

import attrs

from fal_async.emulator.answers import MadeFile
from fal_async.emulator.chance import Chance
from fal_async.emulator.clock import Clock, one_turn
from fal_async.emulator.concurrency import Concurrency
from fal_async.emulator.dispatch import Dispatcher
from fal_async.emulator.faults import Fault, FaultBook
from fal_async.emulator.inputs import read_input
from fal_async.emulator.ledger import Execution, Ledger
from fal_async.emulator.model import Call, Model
from fal_async.emulator.objects import ObjectStore
from fal_async.emulator.raising import InvalidInputError, ModelFailure, RunnerError
from fal_async.emulator.runners import GaveUp, RunnerPool
from fal_async.emulator.scenario import Account, Caller
from fal_async.emulator.settling import Settled, settle_failure, settle_output
from fal_async.errors import InputError
from fal_async.protocol import failures, wire
from fal_async.protocol.lifecycle import LifecyclePreference
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.model import parse_model_id
from fal_async.protocol.options import parse_lifecycle_header, parse_start_timeout

__all__ = ["Admitted", "Arrival", "Platform"]

_LOG: Final = logging.getLogger("fal_async.emulator")
_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class Arrival:
    """A direct call as it came in."""

    request_id: str
    received: float
    method: str
    target: str
    """The model id and path called, without leading or trailing slash."""
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Names compare case-insensitively."""
    body: bytes = attrs.field(repr=False)
    cdn: str
    """The base URL under which this caller reaches the CDN."""


@attrs.frozen(kw_only=True)
class Admitted:
    """A call that holds a slot."""

    arrival: Arrival
    caller: Caller
    model: Model
    path: str
    start_by: float | None
    lifecycle: LifecyclePreference | None


class Platform:
    """State and rules of one emulator; lives inside one event loop."""

    clock: Clock
    """Set when the emulator starts: a real one belongs to its loop."""

    def __init__(
        self, account: Account, chance: Chance, faults: FaultBook, *, latency: float = 0.0
    ) -> None:
        self.account = account
        self.latency = latency
        self.chance = chance
        self.faults = faults
        self.ledger = Ledger()
        self.objects = ObjectStore()
        self.concurrency = Concurrency(account.limit)
        self.models: dict[str, Model] = {}
        self.received = 0
        self._dispatchers: dict[str, Dispatcher] = {}
        self._applications: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._in_threads: set[Future[Any]] = set()
        self.activity = 0
        """Grows with everything that happens."""
        self._calls = count(1)
        self._files = count(1)

    def register(self, models: Iterable[Model]) -> None:
        """Serve these models; one of an id already served replaces it."""
        for model in models:
            self.models[model.id] = model
            self._applications.add(model.application)

    # --- one call -----------------------------------------------------------------------------------

    def new_request_id(self) -> str:
        """The id of the call arriving now."""
        self.received += 1
        return self.chance.uuid("request", next(self._calls))

    async def travel(self) -> None:
        """One way of a round trip."""
        if self.latency:
            await self.clock.sleep_until(self.clock.now() + self.latency / 2)

    async def run(self, arrival: Arrival, fault: Fault | None) -> tuple[HttpResponse, bool]:
        """Answer a direct call: the answer, and whether its model ran.

        Runs to its end even if the caller leaves: it is charged either way (PROTOCOL 3).
        """
        admitted = self.admit(arrival)
        if isinstance(admitted, HttpResponse):
            answer, ran = admitted, False
        else:
            answer, ran = await asyncio.shield(self.spawn(self._execute(admitted, fault)))
        named = {**answer.headers, wire.REQUEST_ID: arrival.request_id, wire.SERVED_FROM: _HERE}
        return HttpResponse(answer.status, Headers(named), answer.body), ran

    def admit(self, arrival: Arrival) -> Admitted | HttpResponse:
        """Let a call in, or turn it away (PROTOCOL 2.1, 3.3, 5.2).

        A direct call holds its slot from here on, also while it waits for a runner (an inference).
        """
        try:
            model_id = parse_model_id(arrival.target)
        except InputError:
            return failures.application_not_found(arrival.target)
        application = model_id.application
        model, path = self._find(str(model_id), application)
        public = model is not None and model.public
        caller = self.account.judge(
            arrival.headers.get(wire.AUTHORIZATION), application=application, public=public
        )
        if isinstance(caller, HttpResponse):
            return caller
        if application not in self._applications:
            return failures.application_not_found(application)
        if model is None:
            return failures.path_not_found(f"/{model_id.path}")
        if arrival.method not in model.methods:
            return failures.method_not_allowed()
        try:
            seconds = parse_start_timeout(arrival.headers)
        except InputError as error:
            return failures.request_error(wire.BAD_REQUEST, error.what)
        over = self.concurrency.enter(application, exempt=model.own)
        if over is not None:
            return failures.concurrency_limit_reached(
                over.limit if self.account.name_limit else None
            )
        return Admitted(
            arrival=arrival,
            caller=caller,
            model=model,
            path=path,
            start_by=None if seconds is None else arrival.received + seconds,
            lifecycle=parse_lifecycle_header(arrival.headers),
        )

    def _find(self, target: str, application: str) -> tuple[Model | None, str]:
        model = self.models.get(target)
        if model is not None:
            return model, ""
        base = target
        while base != application:
            base = base.rpartition("/")[0]
            model = self.models.get(base)
            if model is not None and model.subpaths:
                return model, target[len(base) :]
        return None, ""

    async def _execute(self, admitted: Admitted, fault: Fault | None) -> tuple[HttpResponse, bool]:
        model, arrival = admitted.model, admitted.arrival
        job = arrival.request_id
        dispatcher = self._dispatcher(model)
        try:
            event = await dispatcher.acquire(
                job, start_by=admitted.start_by, hint=arrival.headers.get(wire.RUNNER_HINT)
            )
            if isinstance(event, GaveUp):
                return _given_up(event), False
            healthy = True
            try:
                settled = await self._run_on(event.runner, admitted, fault)
                healthy = settled.healthy
            finally:
                dispatcher.release(job, healthy=healthy)
            return settled.response, True
        finally:
            # Before the answer leaves, so that its receiver finds the slot free (PROTOCOL 3.3).
            self.concurrency.leave(model.application, exempt=model.own)

    def _dispatcher(self, model: Model) -> Dispatcher:
        found = self._dispatchers.get(model.application)
        if found is None:
            found = Dispatcher(RunnerPool(model.runners), self.clock)
            self._dispatchers[model.application] = found
        return found

    async def _run_on(self, runner: int, admitted: Admitted, fault: Fault | None) -> Settled:
        arrival = admitted.arrival
        execution = self.ledger.begin(
            Execution(
                request_id=arrival.request_id,
                model=admitted.model.id,
                application=admitted.model.application,
                key_id=admitted.caller.key_id,
                started=self.clock.now(),
                runner=runner,
                hint=arrival.headers.get(wire.RUNNER_HINT),
                fault=None if fault is None else fault.kind,
            )
        )
        settled = await self._work(admitted, execution.started)
        execution.ended = self.clock.now()
        execution.status = settled.response.status
        execution.units = settled.units
        execution.billed = settled.billed and (fault is None or fault.billed)
        return settled

    async def _work(self, admitted: Admitted, started: float) -> Settled:
        """Run the model's function, and let its run time pass."""
        model, arrival = admitted.model, admitted.arrival
        content: Any = None
        try:
            content = read_input(model, arrival.method, arrival.body)
            seconds = model.seconds(content)
            output = await self._call(model, content, admitted)
            in_time = seconds <= model.request_timeout
            await self.clock.sleep_until(started + min(seconds, model.request_timeout))
            if not in_time:
                return settle_failure(model, RunnerError(wire.REQUEST_TIMEOUT))
            settle = partial(settle_output, model, content, output, partial(self._place, admitted))
            # Files that go inline are made now, which takes its time.
            return await self.in_thread(settle) if _wants_inline(content) else settle()
        except InvalidInputError as failure:
            return settle_failure(model, failure)
        except Exception as failure:  # whatever a model raises is the model's answer
            if not isinstance(failure, ModelFailure):
                _LOG.error("model %s failed", model.id, exc_info=failure)
            elif content is not None:
                await self.clock.sleep_until(started + model.seconds(content))
            return settle_failure(model, failure)

    async def _call(self, model: Model, content: Any, admitted: Admitted) -> Any:
        call: Callable[[], Any] = partial(model.function, content)
        if model.takes_call:
            call = partial(model.function, content, self._call_seen(admitted))
        if model.thread:
            return await self.in_thread(call)
        output = call()
        return await output if inspect.isawaitable(output) else output

    def _call_seen(self, admitted: Admitted) -> Call:
        arrival = admitted.arrival
        seen = {k.lower(): v for k, v in arrival.headers.items() if k.lower() != "authorization"}
        return Call(
            request_id=arrival.request_id,
            model=admitted.model.id,
            path=admitted.path,
            method=arrival.method,
            headers=seen,
            key_id=admitted.caller.key_id,
            chance=self.chance.integer("call", arrival.request_id),
        )

    def _place(self, admitted: Admitted, file: MadeFile) -> dict[str, object]:
        if file.inline:
            data = file.content if isinstance(file.content, bytes) else file.content()
            url = f"data:{file.content_type};base64,{b64encode(data).decode()}"
            return {"url": url, "content_type": file.content_type, **file.fields}
        name = self.chance.file_name("file", next(self._files))
        path = f"/files/{name}.{file.extension}"
        self.objects.put(
            path,
            file.content,
            file.content_type,
            self.clock.now(),
            lifecycle=admitted.lifecycle,
            owner=admitted.caller.key_id,
        )
        url = f"{admitted.arrival.cdn}{path}"
        return {"url": url, "content_type": file.content_type, **file.fields}

    # --- what runs beside ---------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run something to its end, or to the emulator's."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def in_thread(self, call: Callable[[], _T]) -> _T:
        """Run something in a thread of the emulator's own."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(thread_name_prefix="fal-emulator")
        future = self._threads.submit(call)
        self._in_threads.add(future)
        future.add_done_callback(self._in_threads.discard)
        return await asyncio.wrap_future(future)

    async def settle(self) -> None:
        """Return when nothing more happens unless time passes or something new is sent.

        The loop is watched for a while: what others have written to a socket needs some of its turns to
        come in. Functions in threads are waited for.
        """
        quiet = 0
        while quiet < _QUIET_TURNS:
            before = self.activity
            if self._in_threads:
                await asyncio.wait([asyncio.wrap_future(f) for f in self._in_threads])
            await one_turn()
            quiet = quiet + 1 if self.activity == before else 0

    async def close(self) -> None:
        """End all that runs. A function in a thread is waited for."""
        for dispatcher in self._dispatchers.values():
            dispatcher.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            running = [asyncio.wrap_future(future) for future in self._in_threads]
            await asyncio.gather(*running, return_exceptions=True)
            self._threads.shutdown()  # its threads have nothing left to do


_HERE: Final = "emulator"
#: From connecting to the request's arrival on loopback it takes about ten turns of the loop.
_QUIET_TURNS: Final = 50


def _wants_inline(content: Any) -> bool:
    return isinstance(content, dict) and bool(content.get("sync_mode"))


def _given_up(event: GaveUp) -> HttpResponse:
    if event.reason == "start_timeout":
        return failures.start_timed_out()
    return failures.request_error(wire.RUNNER_SCHEDULING_FAILURE)
