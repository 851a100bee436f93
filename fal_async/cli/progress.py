"""How a queued request gets on: in words for a person, as a document for a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from fal_async.cli.saying import printable
from fal_async.protocol import wire
from fal_async.protocol.queue import Completed, InProgress, InQueue, QueueStatus

__all__ = ["log_lines", "state_of", "status_document"]


def state_of(update: QueueStatus) -> str:
    """Where it stands, in a few words."""
    match update:
        case InQueue(queue_position=None):
            return "in the queue"
        case InQueue(queue_position=0):
            return "in the queue, next"
        case InQueue(queue_position=position):
            return f"in the queue, {position} ahead"
        case InProgress():
            return "running"
        case Completed(inference_time=seconds):
            after = "" if seconds is None else f" after {seconds:.2f} s"
            return f"{_end(update)}{after}"


def _end(update: Completed) -> str:
    if update.error is None and update.error_type is None:
        return "completed"
    said = ": ".join(filter(None, (update.error_type, update.error)))
    return f"failed ({printable(said)})"


def log_lines(update: QueueStatus) -> Iterator[str]:
    """What the runner wrote, a line each; nothing in it is obeyed by a terminal."""
    for entry in update.logs:
        for line in entry.message.splitlines():
            level = "" if entry.level is None else f"{printable(entry.level):<5} "
            yield f"  {level}{printable(line)}"


def status_document(update: QueueStatus, *, logs: bool) -> dict[str, Any]:
    """The status as JSON says it, with fal's word for it; what is not known is left out."""
    facts = attrs.asdict(update, filter=lambda _, value: value is not None)
    lines = facts.pop("logs")
    return {"status": _word(update), **facts, **({"logs": lines} if logs else {})}


def _word(update: QueueStatus) -> str:
    match update:
        case InQueue():
            return wire.IN_QUEUE
        case InProgress():
            return wire.IN_PROGRESS
        case Completed():
            return wire.COMPLETED
