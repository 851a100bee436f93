"""Building and matching the URLs of the queue (PROTOCOL 1.2, 6). Text to value and back."""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import quote

import attrs

from fal_async.errors import InputError
from fal_async.protocol import wire
from fal_async.protocol.model import ModelId

__all__ = [
    "QueueRoute",
    "cancel_url",
    "check_request_id",
    "match_queue",
    "result_url",
    "status_url",
    "submit_url",
    "with_logs",
]

Operation = Literal["submit", "status", "stream", "result", "cancel"]
"""What a path on the queue's host asks for."""

_REQUESTS: Final = "requests"


def submit_url(base: str, model: ModelId, *, webhook: str | None, max_length: int | None) -> str:
    """Where a request is submitted; ``webhook`` is where fal shall tell its end."""
    query = []
    if webhook is not None:
        query.append(f"{wire.WEBHOOK_PARAMETER}={quote(webhook, safe='')}")
    if max_length is not None:
        query.append(f"{wire.MAX_QUEUE_LENGTH_PARAMETER}={max_length}")
    return f"{base}/{model}" + (f"?{'&'.join(query)}" if query else "")


def result_url(base: str, application: str, request_id: str) -> str:
    """Where the result lies. The subpath of the model does not count (PROTOCOL 1.2)."""
    return f"{base}/{application}/{_REQUESTS}/{request_id}"


def status_url(base: str, application: str, request_id: str) -> str:
    """Where the status is told; ``/stream`` behind it streams it."""
    return f"{result_url(base, application, request_id)}/status"


def cancel_url(base: str, application: str, request_id: str) -> str:
    """Where a PUT asks for the request to be stopped."""
    return f"{result_url(base, application, request_id)}/cancel"


def with_logs(url: str, *, logs: bool) -> str:
    """A status URL that says whether log lines are wanted (PROTOCOL 4: ``1`` or ``0``)."""
    return f"{url}{'&' if '?' in url else '?'}{wire.LOGS_PARAMETER}={int(logs)}"


@attrs.frozen
class QueueRoute:
    """What a path on the queue's host asks for."""

    operation: Operation
    target: str
    """The model id as it was given, subpath included."""
    request_id: str = ""


_TAILS: Final[tuple[tuple[tuple[str, ...], Operation], ...]] = (
    (("status", "stream"), "stream"),
    (("status",), "status"),
    (("cancel",), "cancel"),
    (("response",), "result"),
    ((), "result"),
)


def match_queue(path: str) -> QueueRoute:
    """Read a path, with or without the model's subpath, ``/response`` and a slash at its end.

    Anything that names no request is a submit.
    """
    parts = path.strip("/").split("/")
    # From the right: a model's own subpath may hold the word, too.
    for i in range(len(parts) - 2, 0, -1):
        if parts[i] != _REQUESTS or not parts[i + 1]:
            continue
        for tail, operation in _TAILS:
            if tuple(parts[i + 2 :]) == tail:
                return QueueRoute(operation, "/".join(parts[:i]), parts[i + 1])
    return QueueRoute("submit", "/".join(parts))


def check_request_id(value: object) -> str:
    """A request id that can stand in a path.

    :raises InputError: otherwise.
    """
    if (
        not isinstance(value, str)
        or not value
        or not value.replace("-", "").replace("_", "").isalnum()
    ):
        raise InputError("a request id is letters, digits and dashes")
    return value
