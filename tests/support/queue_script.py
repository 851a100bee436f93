"""Acts of a queue for the scripted server: submits, statuses, streams of them, as they go over the wire."""

from __future__ import annotations

import json
from typing import Any

from tests.support.scripted_server import REQUEST_ID, Act, answer, head, in_pieces, say_and

STREAM = head(200, {"Content-Type": "text/event-stream", "x-fal-request-id": REQUEST_ID})
ACCEPTED = answer(content={"status": "IN_QUEUE", "request_id": REQUEST_ID})
QUEUED = {"status": "IN_QUEUE", "queue_position": 0, "logs": None}
RUNNING = {"status": "IN_PROGRESS", "logs": None}
DONE = {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": 1.0}}
FAILED = {**DONE, "error": "Invalid status code: 500"}
REFUSED = answer(405)


def event(content: Any) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def lines(*messages: str) -> list[dict[str, str]]:
    return [{"message": text, "timestamp": "2026-01-01T00:00:00Z"} for text in messages]


def streamed(*contents: Any, then: str = "finish") -> Act:
    """A stream of these statuses; ``then`` as in ``say_and``."""
    return say_and(STREAM + b"".join(map(event, contents)), then)


def in_pieces_streamed(*pieces: bytes, then: str = "finish") -> Act:
    """A stream whose bytes come in these pieces."""
    return in_pieces(STREAM, *pieces, then=then)


def polled(content: Any) -> Act:
    return answer(200 if content.get("status") == "COMPLETED" else 202, content)
