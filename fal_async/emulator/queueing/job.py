"""One queued request, from its submission to the day its result is thrown away. Pure values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs

from fal_async.protocol import codec, wire
from fal_async.protocol.messages import HttpResponse
from fal_async.protocol.queue import Completed, InProgress, InQueue, LogLine, QueueStatus

__all__ = ["Job", "Result", "keeping_time", "result_of"]


@attrs.frozen
class Result:
    """How a request ended: the answer to whoever fetches it, and what its status says of a failure."""

    response: HttpResponse
    error: str | None = attrs.field(default=None, repr=False)
    error_type: str | None = None


def result_of(response: HttpResponse) -> Result:
    """What the status of a request with this answer says.

    A failure of the platform says its own words; of an application's only the HTTP status is told (as in
    webhooks, PROTOCOL 7; the words in a status are not documented).
    """
    if response.status < 400:
        return Result(response)
    error_type = response.headers.get(wire.ERROR_TYPE)
    said = None if error_type is None else _detail(response.body)
    return Result(response, said or f"Invalid status code: {response.status}", error_type)


def _detail(body: bytes) -> str | None:
    try:
        content = codec.decode_json(body)
    except codec.Undecodable:
        return None
    detail = content.get("detail") if isinstance(content, dict) else None
    return detail if isinstance(detail, str) else None


def keeping_time(response: HttpResponse, *, stored: bool) -> float:
    """Seconds that a result can be fetched after its completion (PROTOCOL 6.4)."""
    size = len(response.body)
    if stored and size <= wire.PAYLOAD_MAX:
        return wire.PAYLOAD_KEPT
    return wire.RESULT_KEPT if size < wire.LARGE_RESULT else wire.LARGE_RESULT_KEPT


@attrs.define(kw_only=True, eq=False)
class Job:
    """A queued request. What is below ``payload`` is the queue's to change."""

    request_id: str
    model: str
    """The id it was submitted to."""
    application: str
    """``[namespace/]owner/app``: what it is found under, and whose runners it waits for."""
    submitted: float
    """Seconds on the emulator's clock."""
    low: bool = False
    """Whether its priority is ``low``."""
    start_by: float | None = None
    """When its start timeout passes."""
    hint: str | None = None
    exempt: bool = False
    """Whether the account's limit does not apply: the application is the caller's own."""
    stored: bool = True
    """Whether the payload is stored, and so kept for longer."""
    budget: Mapping[str, int] = attrs.field(factory=dict)
    """condition → retries, where the caller has limited them."""
    webhook: str | None = attrs.field(default=None, repr=False)
    """Where its end is to be told."""
    payload: Any = attrs.field(default=None, repr=False)
    """What running it takes: the queue does not look into it."""

    state: str = wire.IN_QUEUE
    number: int = 0
    """The how-manieth request of the queue it is."""
    attempts: int = 0
    """How often a runner has taken it."""
    failures: Counter[str] = attrs.field(factory=Counter)
    """condition → how often it was tried again or given up for it."""
    started: float | None = None
    """When its last attempt began."""
    ended: float | None = None
    """When it was completed."""
    runner: int | None = None
    """The runner it is on, or was on last."""
    cancel_requested: bool = False
    """Whether a cancel came while it was in progress."""
    result: Result | None = attrs.field(default=None, repr=False)
    """How it ended; None before, and once it is no longer kept."""
    expired: bool = False
    """Whether its result has been thrown away: nobody finds it any more."""
    logs: list[LogLine] = attrs.field(factory=list, repr=False)
    """What it wrote, in all of its attempts."""

    @property
    def key(self) -> tuple[bool, int]:
        """Its place in line: all normal ones before all low ones, each in the order they came."""
        return (self.low, self.number)

    @property
    def seconds(self) -> float | None:
        """How long its last attempt took; None if there was none, or it has not ended."""
        if self.started is None or self.ended is None:
            return None
        return self.ended - self.started

    def status(self, position: int | None, *, after: int = 0) -> QueueStatus:
        """What a status says of it.

        :param position: how many are ahead, while it is in line.
        :param after: how many log lines are left out, from the first on.
        """
        if self.state == wire.IN_QUEUE:
            return InQueue(request_id=self.request_id, queue_position=position)
        logs = tuple(self.logs[after:])
        if self.state == wire.IN_PROGRESS:
            return InProgress(request_id=self.request_id, logs=logs)
        result = self.result
        return Completed(
            request_id=self.request_id,
            logs=logs,
            error=None if result is None else result.error,
            error_type=None if result is None else result.error_type,
            inference_time=self.seconds,
        )
