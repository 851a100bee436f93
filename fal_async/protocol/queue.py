"""The queue's messages, both directions (PROTOCOL 6): what a submit answers, what a status says.

Read tolerantly: only what is needed is required, and what is unknown is passed over.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import attrs

from fal_async.protocol import wire

__all__ = [
    "CancelOutcome",
    "Completed",
    "InProgress",
    "InQueue",
    "LogLine",
    "QueueStatus",
    "Submission",
    "build_cancel",
    "build_status",
    "build_submission",
    "read_cancel",
    "read_status",
    "read_submission",
]


@attrs.frozen(kw_only=True)
class LogLine:
    """One line a runner wrote. Only ``message`` is sure to be there."""

    message: str = attrs.field(repr=False)
    timestamp: str | None = None
    level: str | None = None
    source: str | None = None


@attrs.frozen(kw_only=True)
class InQueue:
    """Waiting for a runner. ``queue_position`` is how many are ahead, 0 for next; None if it is not said."""

    request_id: str
    queue_position: int | None = None
    logs: tuple[LogLine, ...] = ()


@attrs.frozen(kw_only=True)
class InProgress:
    """On a runner. It may go back into the queue if the runner fails (PROTOCOL 6.2)."""

    request_id: str
    logs: tuple[LogLine, ...] = ()


@attrs.frozen(kw_only=True)
class Completed:
    """Ended: done, failed or cancelled; fal says COMPLETED for all three.

    :ivar error: what went wrong, in fal's words; None if nothing did.
    :ivar error_type: fal's machine word for it (PROTOCOL 5.2).
    :ivar inference_time: seconds on the runner, where fal says it.
    """

    request_id: str
    logs: tuple[LogLine, ...] = ()
    error: str | None = attrs.field(default=None, repr=False)
    error_type: str | None = None
    inference_time: float | None = None


QueueStatus = InQueue | InProgress | Completed


@attrs.frozen(kw_only=True)
class Submission:
    """fal's answer to a submit. URLs it does not name are None."""

    request_id: str
    response_url: str | None = None
    status_url: str | None = None
    cancel_url: str | None = None
    queue_position: int | None = None


class CancelOutcome(enum.StrEnum):
    """What a cancel found (PROTOCOL 6.5)."""

    REMOVED = "removed"
    """It was still queued, and is gone: nothing ran, nothing is billed."""
    SIGNALLED = "signalled"
    """It is running; the app was told. It may run to its end all the same, and be billed."""
    TOO_LATE = "too_late"
    """It had ended; its result can be fetched."""
    UNKNOWN = "unknown"
    """fal knows no such request."""


def read_submission(content: Any) -> Submission | None:
    """A submit's answer; None if it names no request, so that what was accepted is unknown."""
    if not isinstance(content, dict) or not isinstance(content.get("request_id"), str):
        return None
    return Submission(
        request_id=content["request_id"],
        response_url=_text(content.get("response_url")),
        status_url=_text(content.get("status_url")),
        cancel_url=_text(content.get("cancel_url")),
        queue_position=_whole(content.get("queue_position")),
    )


def build_submission(submission: Submission) -> dict[str, Any]:
    """What the queue answers to a submit (PROTOCOL 6.1)."""
    return {
        "status": wire.IN_QUEUE,
        **_build_urls(submission),
        "queue_position": submission.queue_position,
    }


def _build_urls(urls: Submission) -> dict[str, Any]:
    return {
        "request_id": urls.request_id,
        "response_url": urls.response_url,
        "status_url": urls.status_url,
        "cancel_url": urls.cancel_url,
    }


def read_status(content: Any, request_id: str) -> QueueStatus | None:
    """A status object; the body decides, whatever the HTTP status was (PROTOCOL 17).

    A word that is none of the three counts as running: it is not done, and more will be heard of it. None if
    it is no status at all.

    :param request_id: for an answer that does not name it.
    """
    if not isinstance(content, dict) or not isinstance(content.get("status"), str):
        return None
    request_id = _text(content.get("request_id")) or request_id
    logs = _read_logs(content.get("logs"))
    word = content["status"]
    if word == wire.IN_QUEUE:
        position = _whole(content.get("queue_position"))
        return InQueue(request_id=request_id, queue_position=position, logs=logs)
    if word != wire.COMPLETED:
        return InProgress(request_id=request_id, logs=logs)
    metrics = content.get("metrics")
    seconds = metrics.get("inference_time") if isinstance(metrics, dict) else None
    return Completed(
        request_id=request_id,
        logs=logs,
        error=_text(content.get("error")),
        error_type=_text(content.get("error_type")),
        inference_time=float(seconds) if isinstance(seconds, (int, float)) else None,
    )


def build_status(status: QueueStatus, urls: Submission, *, logs: bool) -> dict[str, Any]:
    """A status object as the queue writes it, every key of its state present (PROTOCOL 6.2).

    :param logs: whether they were asked for; else they are null, as they always are of what is queued.
    """
    content: dict[str, Any] = {"status": _WORDS[type(status)], **_build_urls(urls)}
    content["logs"] = [_build_log(line) for line in status.logs] if logs else None
    content["metrics"] = {}
    match status:
        case InQueue():
            content["logs"] = None
            content["queue_position"] = status.queue_position
        case Completed():
            content["metrics"] = {"inference_time": status.inference_time}
            said = {"error": status.error, "error_type": status.error_type}
            content.update((name, text) for name, text in said.items() if text is not None)
    return content


_WORDS: Final[dict[type[QueueStatus], str]] = {
    InQueue: wire.IN_QUEUE,
    InProgress: wire.IN_PROGRESS,
    Completed: wire.COMPLETED,
}


def _build_log(line: LogLine) -> dict[str, str]:
    fields = {"timestamp": line.timestamp, "level": line.level, "source": line.source}
    return {"message": line.message, **{k: v for k, v in fields.items() if v is not None}}


def _read_logs(entries: Any) -> tuple[LogLine, ...]:
    if not isinstance(entries, list):
        return ()
    return tuple(
        LogLine(
            message=str(entry.get("message") or ""),
            timestamp=_text(entry.get("timestamp")),
            level=_text(entry.get("level")),
            source=_text(entry.get("source")),
        )
        for entry in entries
        if isinstance(entry, dict)
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


_CANCEL_WORDS: Final = {
    wire.CANCEL_OK: CancelOutcome.REMOVED,
    wire.CANCELLATION_REQUESTED: CancelOutcome.SIGNALLED,
    wire.ALREADY_COMPLETED: CancelOutcome.TOO_LATE,
    wire.NOT_FOUND: CancelOutcome.UNKNOWN,
}


def read_cancel(status: int, content: Any) -> CancelOutcome | None:
    """What a cancel's answer says (PROTOCOL 6.5): by its word, else by its HTTP status, if by either."""
    word = content.get("status") if isinstance(content, dict) else None
    if isinstance(word, str) and word in _CANCEL_WORDS:
        return _CANCEL_WORDS[word]
    by_status = {400: CancelOutcome.TOO_LATE, 404: CancelOutcome.UNKNOWN}
    return CancelOutcome.SIGNALLED if 200 <= status < 300 else by_status.get(status)


def build_cancel(outcome: CancelOutcome) -> tuple[int, dict[str, str]]:
    """The HTTP status and the body that tell what a cancel found (PROTOCOL 6.5)."""
    statuses = {
        CancelOutcome.REMOVED: 200,
        CancelOutcome.SIGNALLED: 202,
        CancelOutcome.TOO_LATE: 400,
        CancelOutcome.UNKNOWN: 404,
    }
    words = {found: word for word, found in _CANCEL_WORDS.items()}
    return statuses[outcome], {"status": words[outcome]}
