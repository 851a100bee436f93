"""The queue at work: its state on the emulator's clock, its jobs on their runners, its answers as values.

It knows no HTTP server: the views bring requests, and take answers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import attrs

from fal_async.emulator.clock import Timer
from fal_async.emulator.contact import Contact
from fal_async.emulator.distorting import distort
from fal_async.emulator.executing import kills_runner, run_attempt
from fal_async.emulator.faults import Fault
from fal_async.emulator.platform import Admitted, Arrival, Platform
from fal_async.emulator.queueing.job import Job
from fal_async.emulator.queueing.requeueing import RequeueSettings
from fal_async.emulator.queueing.state import Begun, Ended, QueueEvent, QueueState
from fal_async.emulator.queueing.watching import Watches
from fal_async.emulator.runners import RunnerPool
from fal_async.emulator.settling import Settled
from fal_async.errors import InputError
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.options import parse_start_timeout
from fal_async.protocol.queue import CancelOutcome, LogLine
from fal_async.protocol.submitting import parse_low_priority, parse_retries

__all__ = ["QueueService", "Wishes"]


@attrs.frozen(kw_only=True)
class Wishes:
    """What a submit's URL asks for."""

    webhook: str | None = None
    max_length: str | None = None


class QueueService:
    """The queue of one emulator, in one of its lives."""

    def __init__(self, platform: Platform, settings: RequeueSettings) -> None:
        self._platform = platform
        self._submitted = 0
        self.clock = platform.clock
        self.state = QueueState(platform.concurrency, self._pool, settings)
        self.watches = Watches(self.clock)
        self._contacts: dict[str, Contact] = {}
        self._timer: Timer | None = None
        self._timer_at: float | None = None
        self._pumping = False
        platform.freed = self.pump

    def close(self) -> None:
        """Set no more timers."""
        if self._timer is not None:
            self._timer.cancel()

    def _pool(self, application: str) -> RunnerPool:
        return self._platform.dispatcher(application).pool

    # --- asked --------------------------------------------------------------------------------------

    def find(self, application: str, request_id: str) -> Job | None:
        """The job that a URL names, unless nobody finds it any more."""
        self.pump()
        job = self.state.find(request_id)
        if job is None or job.expired or job.application != application:
            return None
        return job

    def new_request_id(self) -> str:
        """The id of a request arriving now."""
        self._submitted += 1
        return self._platform.chance.uuid("queued", self._submitted)

    # --- told ---------------------------------------------------------------------------------------

    def submit(self, arrival: Arrival, wishes: Wishes) -> Job | HttpResponse:
        """Put a request in line, or turn it away. Its input is the model's to judge, later."""
        platform = self._platform
        caller = platform.recognise(arrival.headers, arrival.model_id)
        if isinstance(caller, HttpResponse):
            return caller
        application = arrival.model_id.application
        try:
            seconds = parse_start_timeout(arrival.headers)
            longest = _length(wishes.max_length)
        except InputError as error:
            return failures.request_error(wire.BAD_REQUEST, error.what)
        if longest is not None and self.state.length(application) > longest:
            return failures.queue_full()
        headers, own = arrival.headers, platform.is_own(application)
        job = Job(
            request_id=arrival.request_id,
            model=str(arrival.model_id),
            application=application,
            submitted=arrival.received,
            low=parse_low_priority(headers),
            start_by=None if seconds is None else arrival.received + seconds,
            hint=headers.get(wire.RUNNER_HINT),
            exempt=own,
            stored=platform.history.stores(headers),
            budget=parse_retries(headers, own=own),
            webhook=wishes.webhook,
            payload=platform.address(arrival, caller),
        )
        received = platform.unix(arrival.received)
        platform.history.accept(job.request_id, job.model, received, headers, arrival.body)
        self.state.submit(job, self.clock.now())
        self.pump()
        return job

    def cancel(self, job: Job) -> CancelOutcome:
        """Ask for a job to be stopped; its model hears of it."""
        outcome = self.state.cancel(job, self.clock.now())
        if outcome is CancelOutcome.SIGNALLED:
            self._contacts[job.request_id].cancel()
        self.pump()
        return outcome

    # --- at work ------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Make happen what is due; to be called when slots or runners were freed by others."""
        if self._pumping:
            return
        self._pumping = True
        try:
            # Once more after each turn: what others did meanwhile may have freed a runner.
            while events := self.state.advance(self.clock.now()):
                for event in events:
                    self._record(event)
                    if isinstance(event, Begun):
                        self._begin(event.job)
                for application in {event.job.application for event in events}:
                    self._platform.dispatcher(application).pump()
                self.watches.wake(event.job for event in events)
                self._platform.background.note()
            self._set_timer()
        finally:
            self._pumping = False

    def _record(self, event: QueueEvent) -> None:
        job, platform = event.job, self._platform
        if isinstance(event, Begun) and job.started is not None:
            platform.history.start(job.request_id, platform.unix(job.started))
        elif isinstance(event, Ended) and job.ended is not None and job.result is not None:
            platform.history.end(job.request_id, platform.unix(job.ended), job.result.response)

    def _set_timer(self) -> None:
        wakes_at = self.state.wakes_at()
        if wakes_at != self._timer_at:
            self.close()
            self._timer_at = wakes_at
            self._timer = None if wakes_at is None else self.clock.call_at(wakes_at, self._ring)

    def _ring(self) -> None:
        self._timer = self._timer_at = None
        self.pump()

    def _begin(self, job: Job) -> None:
        def hear(message: str, level: str) -> None:
            self._log(job, message, level)

        contact = Contact(self.clock, hear)
        self._contacts[job.request_id] = contact
        self._platform.background.spawn(self._attempt(job, job.payload, contact))

    async def _attempt(self, job: Job, called: Admitted | HttpResponse, contact: Contact) -> None:
        """One attempt, from the runner's taking the job to what comes after it."""
        fault = self._platform.faults.draw(job.model, "attempt")
        settled = await self._settled(job, called, contact, fault)
        response, healthy = settled.response, settled.healthy
        if fault is not None:
            broken = distort(fault, response, job.request_id)
            assert isinstance(broken, HttpResponse)  # noqa: S101  # no other kind breaks an attempt
            response, healthy = broken, healthy and not kills_runner(fault)
        del self._contacts[job.request_id]
        self.state.finish(job, self.clock.now(), response, healthy=healthy)
        self.pump()

    async def _settled(
        self, job: Job, called: Admitted | HttpResponse, contact: Contact, fault: Fault | None
    ) -> Settled:
        if isinstance(called, HttpResponse):
            return Settled(called)
        if fault is not None and not fault.ran:
            return Settled(_NOTHING)
        if fault is not None:
            # A failing attempt is never charged for, and so a request at most once.
            status = fault.status or wire.REQUEST_ERROR_STATUS.get(fault.kind, 200)
            fault = attrs.evolve(fault, billed=fault.billed and status < 500)
        runner = job.runner or 0
        return await run_attempt(
            self._platform, runner, called, fault, attempt=job.attempts, contact=contact
        )

    def _log(self, job: Job, message: str, level: str) -> None:
        now = self.clock.now()
        moment = datetime.fromtimestamp(self.clock.epoch + now, UTC).replace(tzinfo=None)
        line = LogLine(
            message=message, timestamp=f"{moment.isoformat()}Z", level=level, source="USER"
        )
        job.logs.append(line)
        self.watches.tell(job)
        self._platform.background.note()


_NOTHING: Final = HttpResponse(200, Headers(), b"")


def _length(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal():
        raise InputError(f"{wire.MAX_QUEUE_LENGTH_PARAMETER} is a whole number")
    return int(text)
