"""What goes wrong at the far end: every kind of fault, in every operation that knows it, now and then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, get_args

from fal_async.emulator import Fault
from fal_async.emulator.faults import KINDS, Operation

__all__ = ["mishaps"]

#: operation → the share of its requests that meet a fault.
_SHARES: Final = {
    "run": 0.12,
    "stream": 0.20,
    "submit": 0.10,
    "status": 0.10,
    "status_stream": 0.12,
    "result": 0.10,
    "cancel": 0.15,
    "attempt": 0.08,
    "download": 0.12,
    "token": 0.10,
    "upload": 0.12,
    "initiate": 0.10,
    "put": 0.10,
    "create": 0.10,
    "part": 0.12,
    "complete": 0.10,
    "sign": 0.10,
    "connect": 0.10,
    "websocket": 0.15,
    "realtime": 0.30,
}
#: What makes another file of a file, and nobody can tell. Of a call's answer it can be told.
_FORGERIES: Final = frozenset(
    (
        *("answer", "empty_body", "bad_json", "nan", "lone_surrogate", "byte_order_mark"),
        *("cut_short", "huge_body", "not_json", "wrong_content_type"),
    )
)
_SETTINGS: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "slow": ({"seconds": 0.4},),
    "huge_body": ({"size": 300_000},),
    "too_many_requests": ({}, {"retry_after": 0.1}),
    # Port 9 of this machine: nobody is there, and nothing leaves it.
    "redirect": ({"location": "http://127.0.0.1:9/"},),
    "stream_stalls": ({"events": 0}, {"events": 2}),
    "stream_ends": ({"events": 1}, {"events": 3}),
    "stream_cut": ({"events": 0}, {"events": 2}),
    "socket_close": ({"status": 1011}, {"status": 1001, "events": 0}),
    "socket_drop": ({"events": 0}, {"events": 1}, {"events": 2}),
    "stream_refused": ({}, {"status": 503}),
}


def mishaps(share: float) -> Iterator[Fault]:
    """The rules.

    :param share: by which the usual shares are multiplied.
    """
    for operation, usual in _SHARES.items():
        rules = [rule for kind in KINDS for rule in _of_kind(kind, operation)]
        for kind, settings in rules:
            probability = usual * share / len(rules)
            yield Fault(kind, operation=operation, probability=probability, **settings)  # type: ignore[arg-type]


def _of_kind(kind: str, operation: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if operation == "download" and kind in _FORGERIES:
        return
    if kind == "answer":
        yield from ((kind, settings) for settings in _answers(operation))
        return
    for settings in _SETTINGS.get(kind, ({},)):
        if _is_known(kind, operation):
            yield kind, settings


def _answers(operation: str) -> Iterator[dict[str, Any]]:
    """Answers that are no success: one of the model, and one of the platform, which is not charged for."""
    if not _is_known("answer", operation):
        return
    runs = operation in get_args(Operation)[:2] or operation == "websocket"
    body = b'{"detail":"as told"}'
    yield {"status": 409, "body": body, "ran": runs}
    yield {"status": 503, "body": body, "ran": False}


def _is_known(kind: str, operation: str) -> bool:
    try:
        Fault(kind, operation=operation)  # type: ignore[arg-type]
    except ValueError:
        return False
    return True
