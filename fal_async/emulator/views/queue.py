"""``queue.fal.run``: submit, status, result, cancel (PROTOCOL 6). Status streams: see ``status_stream``."""

from __future__ import annotations

from typing import Final

import attrs
from aiohttp import web

from fal_async.emulator.faults import Fault
from fal_async.emulator.platform import Arrival, Platform
from fal_async.emulator.queueing.job import Job
from fal_async.emulator.queueing.service import QueueService, Wishes
from fal_async.emulator.views.answering import broken, expect_body, named, query_of, respond
from fal_async.emulator.views.status_stream import stream_status
from fal_async.emulator.views.telling import status_content, urls_of
from fal_async.errors import InputError
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.model import ModelId
from fal_async.protocol.queue import CancelOutcome, build_cancel, build_submission
from fal_async.protocol.routes import QueueRoute, match_queue

__all__ = ["Places", "queue_call"]

#: route → the operation's name in faults and counts, and the one method it has.
_OPERATIONS: Final = {
    "submit": ("submit", "POST"),
    "status": ("status", "GET"),
    "stream": ("status_stream", "GET"),
    "result": ("result", "GET"),
    "cancel": ("cancel", "PUT"),
}
_NOTHING: Final = HttpResponse(200, Headers(), b"")


@attrs.frozen(kw_only=True)
class Places:
    """The base URLs under which this caller reaches the other services."""

    queue: str
    cdn: str


async def queue_call(
    platform: Platform, queue: QueueService, request: web.BaseRequest, path: str, places: Places
) -> web.StreamResponse:
    """Serve any path of the queue's host; ``path`` is without the query."""
    route = match_queue(path)
    operation, method = _OPERATIONS[route.operation]
    platform.requests[operation] += 1
    platform.background.note()
    request_id = route.request_id or queue.new_request_id()
    try:
        model_id = platform.read_target(route.target)
    except InputError:
        await request.read()
        return respond(named(failures.application_not_found(route.target), request_id))
    job = queue.find(model_id.application, request_id)
    fault = platform.faults.draw(str(model_id) if job is None else job.model, operation)
    if fault is not None and fault.kind.endswith("_on_arrival"):
        return await broken(fault, _NOTHING, request_id, request, platform.clock)
    await expect_body(request)
    body = await request.read()
    await platform.travel()
    exchange = _Exchange(platform, queue, request, model_id, request_id, places, fault)
    if request.method != method:
        return respond(named(failures.method_not_allowed(), request_id))
    if operation == "status_stream":
        answer = exchange.stream_turned_away() or await exchange.stream()
    elif fault is not None and not fault.ran and operation in _WITH_EFFECT:
        answer = _NOTHING
    elif operation == "submit":
        answer = exchange.submit(body)
    else:
        answer = exchange.turned_away() or exchange.answer(route)
    if isinstance(answer, web.StreamResponse):
        return answer
    await platform.travel()
    platform.background.note()
    if operation == "submit" and fault is not None and fault.ran and answer.status >= 400:
        platform.faults.take_back(fault)  # turned away: nothing was accepted for it to come after
        exchange.fault = None
    if exchange.fault is None:
        return respond(answer)
    return await broken(exchange.fault, answer, request_id, request, platform.clock)


#: Operations that change something: a fault may come before it, or after.
_WITH_EFFECT: Final = frozenset(("submit", "cancel"))


@attrs.define
class _Exchange:
    """One request and all it is about."""

    platform: Platform
    queue: QueueService
    request: web.BaseRequest
    model_id: ModelId
    request_id: str
    places: Places
    fault: Fault | None

    def turned_away(self) -> HttpResponse | None:
        """The answer to a caller who may not ask, or asks for what there is not."""
        job = self.job
        # Whether a key is needed depends on the model, whose subpath these URLs do not have.
        asked = self.model_id if job is None else self.platform.read_target(job.model)
        return self._refused(asked, token=None)

    def stream_turned_away(self) -> HttpResponse | None:
        """As :meth:`turned_away`; a browser has a token for streams of the model (PROTOCOL 4, 8)."""
        token = self.request.query.get(wire.TOKEN_PARAMETER)
        if token is None:
            return self.turned_away()
        model = str(self.model_id) if self.job is None else self.job.model
        return self._refused(self.platform.read_target(f"{model}/{wire.STREAM}"), token=token)

    def _refused(self, asked: ModelId, *, token: str | None) -> HttpResponse | None:
        caller = self.platform.recognise(self.request.headers, asked, token=token)
        if isinstance(caller, HttpResponse):
            return named(caller, self.request_id)
        return None if self.job is not None else self._cancel_answer(CancelOutcome.UNKNOWN)

    @property
    def job(self) -> Job | None:
        return self.queue.find(self.model_id.application, self.request_id)

    def submit(self, body: bytes) -> HttpResponse:
        arrival = Arrival(
            request_id=self.request_id,
            received=self.platform.clock.now(),
            method=self.request.method,
            model_id=self.model_id,
            headers=self.request.headers,
            body=body,
            cdn=self.places.cdn,
            query=query_of(self.request),
        )
        query = self.request.query
        wishes = Wishes(
            webhook=query.get(wire.WEBHOOK_PARAMETER),
            max_length=query.get(wire.MAX_QUEUE_LENGTH_PARAMETER),
        )
        job = self.queue.submit(arrival, wishes)
        if isinstance(job, HttpResponse):
            return named(job, self.request_id)
        # A fast runner may have it already: what the submit says is what was so on arrival.
        position = self.queue.state.position(job) or 0
        submission = build_submission(urls_of(job, self.places.queue, position))
        return named(failures.json_answer(200, submission), self.request_id)

    def answer(self, route: QueueRoute) -> HttpResponse:
        job = self.job
        assert job is not None  # noqa: S101  # or it was turned away
        if route.operation == "cancel":
            return self._cancel_answer(self.queue.cancel(job))
        if route.operation == "status":
            done = job.state == wire.COMPLETED
            content = status_content(
                self.queue, job, self.places.queue, logs=wants_logs(self.request)
            )
            return named(failures.json_answer(200 if done else 202, content), self.request_id)
        if job.result is None:
            unfinished = {"detail": "Request is still in progress"}
            return named(failures.json_answer(400, unfinished), self.request_id)
        return named(job.result.response, self.request_id)

    async def stream(self) -> web.StreamResponse | HttpResponse:
        job = self.job
        assert job is not None  # noqa: S101  # or it was turned away
        return await stream_status(
            self.queue,
            job,
            self.request,
            self.places.queue,
            logs=wants_logs(self.request),
            fault=self.fault,
        )

    def _cancel_answer(self, outcome: CancelOutcome) -> HttpResponse:
        return named(failures.json_answer(*build_cancel(outcome)), self.request_id)


def wants_logs(request: web.BaseRequest) -> bool:
    """Whether log lines were asked for (PROTOCOL 17: either spelling)."""
    return request.query.get(wire.LOGS_PARAMETER, "").lower() in {"1", "true"}
