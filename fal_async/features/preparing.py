"""What every call is made with: the session's defaults under the caller's own options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fal_async.errors import InputError
from fal_async.features.keywords import SubmitKeywords, Waiting, split_keywords
from fal_async.features.run import request_headers
from fal_async.features.spotting import check_inline
from fal_async.policy.retry import RetryPolicy
from fal_async.policy.timeouts import check_timeout
from fal_async.protocol.lifecycle import Expire
from fal_async.transport.base import Call
from fal_async.unset import UNSET, Unset

if TYPE_CHECKING:
    from fal_async.features.queue import Queue, Submit

__all__ = ["Preparing"]


class Preparing:
    """Checks options, and makes of them what the features take.

    :param timeout: seconds for calls that give none of their own.
    :param retry: what is sent again of calls that do not say.
    """

    def __init__(self, timeout: float | None, retry: RetryPolicy | None) -> None:
        self._timeout = check_timeout(timeout)
        self._retry = RetryPolicy() if retry is None else _checked(retry)

    def call(
        self,
        *,
        timeout: float | Unset | None = UNSET,
        key: str | None = None,
        retry: RetryPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        inline_below: int = 0,
        expire: Expire | None = None,
        start_timeout: float | None = None,
        hint: str | None = None,
        store_io: bool | None = None,
        disable_fallback: bool | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> tuple[Call, dict[str, str]]:
        """The account of a call, and its headers, from the options that all calls share."""
        # Each by its name, here and below: gathered in a dict they cost every call a microsecond.
        if inline_below:  # of the input's files, which have been placed by now
            check_inline(inline_below)
        call = Call(
            self._retry if retry is None else _checked(retry),
            key=key,
            timeout=self._timeout if isinstance(timeout, Unset) else check_timeout(timeout),
        )
        return call, request_headers(
            headers, expire, start_timeout, hint, store_io, disable_fallback, tags
        )

    def submission(
        self, queue: Queue, model: str, input: Any, result_type: Any, options: SubmitKeywords
    ) -> tuple[Submit, Call, Waiting]:
        """All that makes a request for the queue, and how to wait for it."""
        own, waiting, rest = split_keywords(options)
        call, headers = self.call(**rest)
        return queue.prepare(model, input, headers, call, result_type, own), call, waiting


def _checked(retry: RetryPolicy) -> RetryPolicy:
    if not isinstance(retry, RetryPolicy):
        raise InputError(f"retry is a RetryPolicy, not {type(retry).__name__}")
    return retry
