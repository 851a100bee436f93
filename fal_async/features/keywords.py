"""The keyword arguments of all that calls a model, and which is whose.

Knows nothing of how they are carried out: whoever never uses the queue need not load it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypedDict

import attrs

from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.lifecycle import Expire
from fal_async.protocol.submitting import Priority, SubmitOptions
from fal_async.unset import Unset

__all__ = [
    "CallOptions",
    "Callback",
    "RunOptions",
    "SubmitKeywords",
    "Waiting",
    "split_keywords",
]

Callback = Callable[[Any], Awaitable[None] | None]
"""A plain or async function of one argument."""


@attrs.frozen(kw_only=True)
class Waiting:
    """How the caller wants to wait.

    :param on_submitted: called with the handle before the first wait.
    :param on_update: called with every change of the status.
    :param logs: whether updates bring log lines.
    :param cancel_on_exit: whether leaving early cancels the request.
    """

    on_submitted: Callback | None = None
    on_update: Callback | None = None
    logs: bool = False
    cancel_on_exit: bool = True


class CallOptions(TypedDict, total=False):
    """The keyword arguments of every call, ``result_type`` apart; told in full in ``AsyncFal.run``."""

    expire: Expire | None
    start_timeout: float | None
    timeout: float | Unset | None
    hint: str | None
    store_io: bool | None
    disable_fallback: bool | None
    tags: Mapping[str, str] | None
    headers: Mapping[str, str] | None
    key: str | None
    retry: RetryPolicy | None
    inline_below: int


class RunOptions(CallOptions, total=False):
    """The keyword arguments of ``AsyncFal.run``."""

    durable: bool
    on_submitted: Callback | None
    on_update: Callback | None
    cancel_on_exit: bool


class SubmitKeywords(CallOptions, total=False):
    """The keyword arguments of ``AsyncFal.submit`` and ``subscribe``."""

    priority: Priority | None
    webhook_url: str | None
    max_queue_length: int | None
    no_retry: bool
    retry_config: Mapping[str, int] | None
    on_submitted: Callback | None
    on_update: Callback | None
    logs: bool
    cancel_on_exit: bool


def split_keywords(options: SubmitKeywords) -> tuple[SubmitOptions, Waiting, dict[str, Any]]:
    """The queue's own options, how to wait, and what is left: the options of every call."""
    rest: dict[str, Any] = dict(options)
    queue = {f.name: rest.pop(f.name) for f in attrs.fields(SubmitOptions) if f.name in rest}
    waiting = {f.name: rest.pop(f.name) for f in attrs.fields(Waiting) if f.name in rest}
    return SubmitOptions(**queue), Waiting(**waiting), rest
