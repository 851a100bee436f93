"""What may be asked of the queue beside the options of every call: priority, fal's own retries, webhooks.

PROTOCOL 4. Checked where the value is made, so that nothing unsendable gets as far as the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs
import msgspec

from fal_async.errors import InputError
from fal_async.protocol import wire

__all__ = [
    "Priority",
    "SubmitOptions",
    "build_submit_headers",
    "parse_low_priority",
    "parse_retries",
]

Priority = Literal["normal", "low"]
"""``low`` runs after all ``normal`` requests of the same endpoint."""


def _check_priority(_: object, __: object, value: object) -> None:
    if value is not None and value not in wire.PRIORITIES:
        raise InputError(f"priority is one of {', '.join(wire.PRIORITIES)}")


def _check_no_retry(_: object, __: object, value: object) -> None:
    if not isinstance(value, bool):
        raise InputError(f"no_retry is True or False, not {type(value).__name__}")


def _retries(value: Mapping[str, int] | None) -> tuple[tuple[str, int], ...]:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise InputError(f"retry_config is a mapping, not {type(value).__name__}")
    for condition, retries in value.items():
        if condition not in wire.RETRY_CONDITIONS:
            raise InputError(f"retry_config names some of {', '.join(wire.RETRY_CONDITIONS)}")
        if type(retries) is not int or not 0 <= retries < wire.ATTEMPTS_MAX:
            raise InputError(f"retry_config gives whole numbers from 0 to {wire.ATTEMPTS_MAX - 1}")
    return tuple(value.items())


def _check_webhook(_: object, __: object, value: Any) -> None:
    if value is None:
        return
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputError("webhook_url is an absolute URL, such as https://example.com/hook")


def _check_length(_: object, __: object, value: Any) -> None:
    if value is not None and (type(value) is not int or value < 0):
        raise InputError("max_queue_length is a whole number of at least 0")


@attrs.frozen(kw_only=True)
class SubmitOptions:
    """The queue's own switches of one request.

    :param priority: ``"low"`` waits for all others of the endpoint; None is ``"normal"``.
    :param no_retry: True forbids fal to run the request again after a failure of a runner.
    :param retry_config: retries by condition (``server_error``, ``timeout``, ``connection_error``), each at
        most 9; heeded by fal only on applications of your own.
    :param webhook_url: where fal shall POST the end of the request.
    :param max_queue_length: if more requests than this wait at the endpoint, it is refused (429).
    :raises InputError: for a value that fal would refuse or ignore.
    """

    priority: Priority | None = attrs.field(default=None, validator=_check_priority)
    no_retry: bool = attrs.field(default=False, validator=_check_no_retry)
    retry_config: tuple[tuple[str, int], ...] = attrs.field(default=None, converter=_retries)
    webhook_url: str | None = attrs.field(default=None, validator=_check_webhook)
    max_queue_length: int | None = attrs.field(default=None, validator=_check_length)


def build_submit_headers(options: SubmitOptions) -> dict[str, str]:
    """The headers that say these options. The webhook and the length are said in the URL: see ``routes``."""
    headers: dict[str, str] = {}
    if options.priority is not None:
        headers[wire.QUEUE_PRIORITY] = options.priority
    if options.no_retry:
        headers[wire.NO_RETRY] = "1"
    if options.retry_config:
        config = {condition: {"retries": retries} for condition, retries in options.retry_config}
        headers[wire.RETRY_CONFIG] = msgspec.json.encode(config).decode()
    return headers


def parse_low_priority(headers: Mapping[str, str]) -> bool:
    """Whether a request asks for the low priority; words that are none of the two mean nothing."""
    return headers.get(wire.QUEUE_PRIORITY, "").lower() == "low"


def parse_retries(headers: Mapping[str, str], *, own: bool) -> dict[str, int]:
    """condition → retries, for those conditions that a request limits, as the platform reads it.

    What cannot be read is ignored. ``X-Fal-No-Retry`` wins.

    :param own: whether the application is the caller's own: of others, the config is not heeded.
    """
    if headers.get(wire.NO_RETRY, "").lower() in {"1", "true", "yes"}:
        return dict.fromkeys(wire.RETRY_CONDITIONS, 0)
    try:
        config = msgspec.json.decode(headers.get(wire.RETRY_CONFIG, "")) if own else None
    except msgspec.DecodeError:
        return {}
    named = config if isinstance(config, dict) else {}
    limits = {
        condition: limit["retries"]
        for condition, limit in named.items()
        if condition in wire.RETRY_CONDITIONS and isinstance(limit, dict) and "retries" in limit
    }
    return {c: n for c, n in limits.items() if type(n) is int and n >= 0}
