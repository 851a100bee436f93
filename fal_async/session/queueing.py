"""The queue: put a request in, wait for it, come back to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from fal_async.features.keywords import SubmitKeywords
from fal_async.features.spotting import has_files
from fal_async.session.parts import Parts

if TYPE_CHECKING:
    from fal_async.features.handle import RequestHandle

__all__ = ["Queueing"]

T = TypeVar("T")


class Queueing(Parts):
    """Requests that fal keeps."""

    async def submit(
        self, model: str, input: Any, **options: Unpack[SubmitKeywords]
    ) -> RequestHandle:
        """Put a request into fal's queue, and come back at once (PROTOCOL 6).

        Takes the options of :meth:`run`, and:

        :param priority: ``"low"`` runs after all others of the endpoint.
        :param webhook_url: where fal shall POST the end of the request.
        :param max_queue_length: if more requests than this wait at the endpoint, it is refused (429).
        :param no_retry: True forbids fal to run it again after a failure of a runner.
        :param retry_config: retries by condition, on applications of your own.
        :returns: the handle to follow, fetch and cancel it with, here or in another process.
        :raises InputError: for arguments that cannot be sent; nothing was.
        :raises TooManyRequestsError: over ``max_queue_length``; not queued, not billed.
        :raises ConnectionLostError: fal may have accepted it, and bill it.
        """
        given = await self._with_files_placed(input, options)
        submit, call, _ = self._preparing.submission(self._queue, model, given, None, options)
        return await self._queue.submit(submit, call)

    @overload
    async def subscribe(
        self, model: str, input: Any, *, result_type: None = None, **options: Unpack[SubmitKeywords]
    ) -> Any: ...

    @overload
    async def subscribe(
        self, model: str, input: Any, *, result_type: type[T], **options: Unpack[SubmitKeywords]
    ) -> T: ...

    async def subscribe(
        self,
        model: str,
        input: Any,
        *,
        result_type: type[Any] | None = None,
        **options: Unpack[SubmitKeywords],
    ) -> Any:
        """Submit, wait, fetch: a durable :meth:`run` with the options of :meth:`submit`, and ``logs``.

        :param logs: whether ``on_update`` gets the lines that the runner writes.
        :returns: the output.
        :raises CallTimeoutError: ``timeout`` passed; the request was cancelled unless ``cancel_on_exit`` is
            False. Like every error after the submit it carries the ``handle``.
        """
        given = await self._with_files_placed(input, options)
        submit, call, waiting = self._preparing.submission(
            self._queue, model, given, result_type, options
        )
        output, _ = await self._subscriber.subscribe(submit, call, waiting, result_type)
        return output

    def handle(
        self,
        model: str | RequestHandle | Mapping[str, str],
        request_id: str | None = None,
        *,
        key: str | None = None,
    ) -> RequestHandle:
        """A queued request to go on with: by model and request id, or from a handle or its dict.

        :param key: the key it was submitted with, where that was another than this session's.
        :raises InputError: if that names no request.
        """
        return self._queue.find(model, request_id, key)

    async def _with_files_placed(self, input: Any, options: SubmitKeywords) -> Any:
        if not has_files(input):
            return input
        inline_below, key = options.get("inline_below", 0), options.get("key")
        return await self._placing.placed(input, inline_below=inline_below, key=key)
