"""The direct call, plain or durable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, Unpack, overload

from fal_async.features.keywords import Callback, RunOptions, Waiting
from fal_async.features.run import RunResult
from fal_async.features.spotting import has_files
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.lifecycle import Expire
from fal_async.session.parts import Parts
from fal_async.unset import UNSET, Unset

__all__ = ["Running"]

T = TypeVar("T")


class Running(Parts):
    """Calls that are waited for."""

    @overload
    async def run(
        self,
        model: str,
        input: Any,
        *,
        result_type: None = None,
        **options: Unpack[RunOptions],
    ) -> Any: ...

    @overload
    async def run(
        self,
        model: str,
        input: Any,
        *,
        result_type: type[T],
        **options: Unpack[RunOptions],
    ) -> T: ...

    async def run(
        self,
        model: str,
        input: Any,
        *,
        expire: Expire | None = None,
        start_timeout: float | None = None,
        timeout: float | Unset | None = UNSET,
        result_type: type[Any] | None = None,
        hint: str | None = None,
        store_io: bool | None = None,
        disable_fallback: bool | None = None,
        tags: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        retry: RetryPolicy | None = None,
        inline_below: int = 0,
        durable: bool = False,
        on_submitted: Callback | None = None,
        on_update: Callback | None = None,
        cancel_on_exit: bool = True,
    ) -> Any:
        """Call a model and wait for its answer (``POST https://fal.run/{model}``, PROTOCOL 3).

        fal bills the call in full once it was sent, even if its answer is lost. So nothing that may have been
        billed is sent again unless ``retry`` says so, and whatever comes back as a success is returned, or
        kept in the error that is raised.

        :param model: ``owner/app`` with any subpath, such as ``"fal-ai/flux/dev"``.
        :param input: a mapping, or an instance of an attrs class; a field that is None by default and None
            is left out. A ``Path``, a ``File.local(...)`` or a Pillow image anywhere in it is uploaded first,
            the same bytes once a session, and its URL takes its place; a string is never taken for a path.
        :param expire: how long what the call makes shall live: seconds, a ``timedelta``, one of fal's words
            (``"1h"``, ``"7d"``, ``"immediate"``, ``"never"`` …), or a :class:`LifecyclePreference`, which
            can carry an ACL.
        :param start_timeout: seconds, at least 1, in which a runner must have started.
        :param timeout: seconds from the moment the call first has a slot, connecting, resends and the answer
            included; None for no limit; not given: the session's. Waiting for the first slot is not
            counted: bound it with ``asyncio.timeout``.
        :param result_type: what to make of the output: an attrs class, a dataclass, a TypedDict, anything
            cattrs structures; ``bytes`` for the raw body. None: plain JSON, or bytes where the answer is not
            JSON.
        :param hint: calls with the same hint go to the same runner if possible.
        :param store_io: whether fal keeps input and output; None: the account's setting.
        :param disable_fallback: True forbids fal to serve the call from an equivalent endpoint.
        :param tags: up to 10 pairs for fal's billing tools.
        :param headers: more headers; they win over those the other arguments make.
        :param key: the key for this call alone.
        :param retry: what is sent again for this call alone.
        :param inline_below: files in the input that are smaller than so many bytes go along by value, as
            ``data:`` URIs, instead of being uploaded.
        :param durable: go through fal's queue, which keeps the result: a broken connection loses nothing.
            Output and errors are the same; errors after the submit carry the ``handle`` to collect with.
        :param on_submitted: of a durable run: a plain or async function that gets the :class:`RequestHandle`
            before the first wait.
        :param on_update: of a durable run: gets each ``InQueue | InProgress | Completed``.
        :param cancel_on_exit: of a durable run: whether leaving early (cancelled, out of ``timeout``, session
            closed) cancels the request at fal.
        :returns: the output.
        :raises InputError: (a ValueError) for arguments that cannot be sent; nothing was.
        :raises MissingKeyError: without a key.
        :raises ConnectError: nothing was written; not billed.
        :raises ConnectionLostError: the answer was lost; may have been billed.
        :raises CallTimeoutError: (a TimeoutError) ``timeout`` passed; its ``billing`` tells.
        :raises StatusError: fal answered with a failure; its ``billing`` tells.
        :raises AnswerError: a paid answer that is not what was asked for; it is in the error.
        """
        given = input
        if has_files(input):
            given = await self._placing.placed(input, inline_below=inline_below, key=key)
        call, own = self._preparing.call(
            timeout=timeout,
            key=key,
            retry=retry,
            headers=headers,
            tags=tags,
            expire=expire,
            start_timeout=start_timeout,
            hint=hint,
            store_io=store_io,
            disable_fallback=disable_fallback,
        )
        if durable:
            waiting = Waiting(
                on_submitted=on_submitted, on_update=on_update, cancel_on_exit=cancel_on_exit
            )
            submit = self._queue.prepare(model, given, own, call, result_type)
            output, _ = await self._subscriber.subscribe(submit, call, waiting, result_type)
            return output
        request = self._direct.prepare(model, given, own, call, result_type)
        response = await self._direct.send(request, call)
        return self._direct.output(response, call, result_type)

    @overload
    async def run_detailed(
        self,
        model: str,
        input: Any,
        *,
        result_type: None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult[Any]: ...

    @overload
    async def run_detailed(
        self,
        model: str,
        input: Any,
        *,
        result_type: type[T],
        **options: Unpack[RunOptions],
    ) -> RunResult[T]: ...

    async def run_detailed(
        self,
        model: str,
        input: Any,
        *,
        result_type: type[Any] | None = None,
        durable: bool = False,
        on_submitted: Callback | None = None,
        on_update: Callback | None = None,
        cancel_on_exit: bool = True,
        **options: Any,
    ) -> RunResult[Any]:
        """Like :meth:`run`, with what came beside the output: request id, billable units, headers, times."""
        given = input
        if has_files(input):
            inline_below, key = options.get("inline_below", 0), options.get("key")
            given = await self._placing.placed(input, inline_below=inline_below, key=key)
        call, own = self._preparing.call(**options)
        if durable:
            waiting = Waiting(
                on_submitted=on_submitted, on_update=on_update, cancel_on_exit=cancel_on_exit
            )
            submit = self._queue.prepare(model, given, own, call, result_type)
            output, response = await self._subscriber.subscribe(submit, call, waiting, result_type)
        else:
            request = self._direct.prepare(model, given, own, call, result_type)
            response = await self._direct.send(request, call)
            output = self._direct.output(response, call, result_type)
        return self._direct.result(output, response, call)
