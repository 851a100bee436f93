"""``AsyncFal``: opens, joins and closes the parts, and offers one short method per thing a user does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack, overload

import aiohttp
import cattrs

from fal_async.errors import InputError
from fal_async.features.handle import RequestHandle
from fal_async.features.queue import Queue, Submit
from fal_async.features.run import Callback, Direct, RunOptions, RunResult, request_headers
from fal_async.features.subscribe import SubmitKeywords, Subscriber, Waiting, split_keywords
from fal_async.policy.concurrency import Limits
from fal_async.policy.pacing import check_rate
from fal_async.policy.retry import RetryPolicy
from fal_async.policy.timeouts import check_timeout
from fal_async.protocol.auth import key_from_environment
from fal_async.protocol.hosts import Hosts, hosts_from_environment
from fal_async.protocol.lifecycle import Expire
from fal_async.protocol.routes import check_request_id
from fal_async.transport.authorizing import KeySource
from fal_async.transport.base import Call
from fal_async.transport.clock import LoopClock
from fal_async.transport.limiting import Limit
from fal_async.transport.proxies import Proxies
from fal_async.transport.stack import Stack
from fal_async.unset import UNSET, Unset

__all__ = ["AsyncFal"]

T = TypeVar("T")

#: 256 MiB: a few dozen images by value (``sync_mode``); beyond it, something is wrong.
_ANSWER_MAX: Final = 256 * 1024 * 1024


class AsyncFal:
    """A client of fal. One object serves a whole program: it owns the connections and the brake.

    Use it as ``async with AsyncFal() as fal``, or lazily with ``await fal.close()`` at the end.

    :param key: the API key, or a callable (plain or async) asked for one per request. None: the
        environment's ``FAL_KEY``, or ``FAL_KEY_ID`` and ``FAL_KEY_SECRET``. Against a local emulator none is
        needed.
    :param hosts: where the services live; None: as the environment says (``FAL_EMULATOR_URL``,
        ``FAL_RUN_HOST``, ``FAL_QUEUE_RUN_HOST``), else fal's own.
    :param timeout: seconds a call may take from the moment it has its first slot, for all calls that give
        none of their own. None, the default: no limit, since a model may think for minutes.
    :param retry: what is sent again, how often and when; the default never pays twice.
    :param limit: how many direct calls are in flight at once: ``"auto"`` finds the account's limit, an int is
        a ceiling below which it still learns, None is no brake.
    :param converter: a cattrs converter for inputs and outputs; None: one with strict scalars
        (``fal_async.default_converter()`` makes another like it to add hooks to).
    :param http_session: an aiohttp session to send with; it stays yours and is never closed here. Its own
        connection limit (100 unless you said otherwise) then bounds the calls in flight.
    :param proxies: ``"env"``: the environment's; a URL; a mapping from scheme to URL; None: no proxy.
    :param max_answer_bytes: largest answer read, in bytes.
    :param poll_rate: status polls a second, of all queued requests that are waited for together, where their
        status cannot be streamed.
    :param allow_plain_http: permit ``http://`` and ``ws://`` hosts beyond this machine, where the key would
        travel readable.
    :raises InputError: for settings that cannot work. Nothing is opened or sent before the first call.
    """

    def __init__(
        self,
        key: KeySource = None,
        *,
        hosts: Hosts | None = None,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        limit: Limit = "auto",
        converter: cattrs.BaseConverter | None = None,
        http_session: aiohttp.ClientSession | None = None,
        proxies: Proxies = "env",
        max_answer_bytes: int = _ANSWER_MAX,
        poll_rate: float = 300.0,
        allow_plain_http: bool = False,
    ) -> None:
        self._hosts = hosts_from_environment(os.environ) if hosts is None else hosts
        _check_kind("hosts", self._hosts, Hosts)
        if not allow_plain_http and self._hosts.insecure():
            raise InputError(
                f"the key would travel readable to {', '.join(self._hosts.insecure())}: "
                "use https, or say allow_plain_http=True"
            )
        if key is None:
            key = key_from_environment(os.environ)
        self._timeout = check_timeout(timeout)
        _check_kind("retry", retry, RetryPolicy)
        self._retry = RetryPolicy() if retry is None else retry
        clock = LoopClock()
        self._stack = Stack(
            clock,
            self._hosts,
            key=key,
            limit=limit,
            http_session=http_session,
            proxies=proxies,
            max_answer_bytes=max_answer_bytes,
        )
        self._pool, self._brake = self._stack.pool, self._stack.brake
        self._direct = Direct(
            self._stack.direct, self._hosts.run, converter, clock, max_answer_bytes
        )
        self._queue = Queue(
            self._stack.free,
            self._stack.streams,
            self._hosts.queue,
            converter,
            clock,
            max_answer_bytes=max_answer_bytes,
            poll_rate=check_rate(poll_rate),
        )
        self._subscriber = Subscriber(self._queue)

    # --- life -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._pool.session()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; a second close does nothing.

        Calls that wait or are in flight end at once, each with a :class:`SessionError` that tells its
        ``billing``.

        :raises SessionError: in another event loop than the one it was used in, if that is still open.
        """
        self._pool.check_loop()
        await self._subscriber.close()
        await self._stack.close()

    def __repr__(self) -> str:
        state = "closed" if self._pool.closed else "open"
        return f"<AsyncFal {self._hosts.run} {state}>"

    @property
    def hosts(self) -> Hosts:
        """Where the services live."""
        return self._hosts

    @property
    def limits(self) -> Limits | None:
        """What the brake has learned of the limit of the key used last; None before the first call."""
        return self._brake.snapshot()

    # --- the direct call --------------------------------------------------------------------------------

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
            is left out.
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
        call, own = self._prepare(
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
            submit = self._queue.prepare(model, input, own, call, result_type)
            output, _ = await self._subscriber.subscribe(submit, call, waiting, result_type)
            return output
        response = await self._direct.send(model, input, own, call, result_type)
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
        call, own = self._prepare(**options)
        if durable:
            waiting = Waiting(
                on_submitted=on_submitted, on_update=on_update, cancel_on_exit=cancel_on_exit
            )
            submit = self._queue.prepare(model, input, own, call, result_type)
            output, response = await self._subscriber.subscribe(submit, call, waiting, result_type)
        else:
            response = await self._direct.send(model, input, own, call, result_type)
            output = self._direct.output(response, call, result_type)
        return self._direct.result(output, response, call)

    # --- the queue --------------------------------------------------------------------------------------

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
        submit, call, _ = self._submission(model, input, None, options)
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
        submit, call, waiting = self._submission(model, input, result_type, options)
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
        if isinstance(model, RequestHandle):
            found = model
        elif isinstance(model, str):
            found = RequestHandle(model=model, request_id=check_request_id(request_id))
        else:
            found = RequestHandle.from_dict(model)
        return self._queue.bind(found, key)

    def _submission(
        self, model: str, input: Any, result_type: Any, options: SubmitKeywords
    ) -> tuple[Submit, Call, Waiting]:
        queue, waiting, rest = split_keywords(options)
        call, own = self._prepare(**rest)
        return self._queue.prepare(model, input, own, call, result_type, queue), call, waiting

    def _prepare(
        self,
        *,
        timeout: float | Unset | None = UNSET,
        key: str | None = None,
        retry: RetryPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> tuple[Call, dict[str, str]]:
        if retry is not None:
            _check_kind("retry", retry, RetryPolicy)
        call = Call(
            self._retry if retry is None else retry,
            key=key,
            timeout=self._timeout if isinstance(timeout, Unset) else check_timeout(timeout),
        )
        return call, request_headers(headers, **options)


def _check_kind(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise InputError(f"{name} is a {kind.__name__}, not {type(value).__name__}")
