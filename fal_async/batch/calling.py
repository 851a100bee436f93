"""The two ways to make one call of a map: directly, or through the queue. Both look the same to it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar, cast

import attrs

from fal_async.errors import InputError
from fal_async.features.handle import RequestHandle
from fal_async.features.keywords import Callback, RunOptions, SubmitKeywords, Waiting
from fal_async.features.preparing import Preparing
from fal_async.features.queue import Queue, Submit
from fal_async.features.run import Direct
from fal_async.features.subscribe import Subscriber
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.transport.base import Call, Slot, Slots

__all__ = [
    "Answered",
    "Calling",
    "DirectCalling",
    "Features",
    "OnSubmitted",
    "Prepared",
    "QueueCalling",
]

Answered = tuple[Any, HttpResponse]
"""The output of a call that succeeded, and the answer it was read from."""
OnSubmitted = Callable[[RequestHandle], Awaitable[None]]

_OF_THE_QUEUE: Final = {"durable", "on_submitted", "on_update", "cancel_on_exit"}

M = TypeVar("M")


@attrs.define
class Prepared(Generic[M]):
    """One call, checked and ready to be made.

    :ivar headers: its options and the caller's own headers, without the key.
    :ivar body: its input as JSON.
    :ivar message: what is to be sent.
    :ivar options: the keyword arguments it was made from.
    """

    call: Call
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    message: M = attrs.field(repr=False)
    options: Mapping[str, Any] = attrs.field(repr=False)


class Calling(Protocol[M]):
    """Makes the calls of one map.

    :ivar queued: whether fal keeps them, and can be asked for their results by id.
    """

    queued: bool

    def inside(self, work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        """Do ``work``, which ends with a ``SessionError`` if the session is closed."""
        ...

    async def reserve(self) -> Slot | None:
        """Wait until one more may be in flight; None where nothing has to be waited for."""
        ...

    def prepare(self, input: Any, options: Mapping[str, Any]) -> Prepared[M]:
        """Check all that makes a call.

        :raises InputError: for what cannot be sent.
        """
        ...

    async def send(self, prepared: Prepared[M], on_submitted: OnSubmitted | None, /) -> Answered:
        """Make the call.

        :param on_submitted: of a request that fal keeps: told its handle before the wait.
        :raises FalError: with the verdict on what it cost.
        """
        ...

    async def collect(self, handle: Mapping[str, str]) -> Answered:
        """The end of a request that was submitted earlier; raises like :meth:`send`."""
        ...

    def read(self, response: HttpResponse, call: Call) -> Any:
        """The output of an answer.

        :raises AnswerError: if it is not what was asked for.
        """
        ...


@attrs.frozen(kw_only=True)
class Features:
    """What a session has to call models with."""

    direct: Direct
    queue: Queue
    subscriber: Subscriber
    preparing: Preparing
    slots: Slots


class _Same:
    """What does not depend on the way of the call.

    :param options: of all calls; those of a single one win.
    :cvar takes: the names that options may have.
    """

    takes: frozenset[str]

    def __init__(
        self, features: Features, model: str, result_type: Any, options: Mapping[str, Any]
    ) -> None:
        self._features: Final = features
        self._model: Final = model
        self._result_type: Final = result_type
        self._options: Final = options

        if unknown := sorted(options.keys() - self.takes):
            raise TypeError(f"map takes no {', '.join(unknown)}")

    def _with(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        if not options:
            return self._options
        if unknown := sorted(options.keys() - self.takes):
            raise InputError(f"a call of this map takes no {', '.join(unknown)}")
        return {**self._options, **options}

    async def collect(self, handle: Mapping[str, str]) -> Answered:
        queue = self._features.queue
        found = queue.find(handle, None, self._options.get("key"))
        return await queue.result(found, result_type=self._result_type)

    def read(self, response: HttpResponse, call: Call) -> Any:
        return self._features.direct.output(response, call, self._result_type)


class DirectCalling(_Same):
    """Direct calls, each in a slot of the account's limit."""

    queued = False
    takes = frozenset(RunOptions.__annotations__) - _OF_THE_QUEUE

    def __init__(
        self, features: Features, model: str, result_type: Any, options: Mapping[str, Any]
    ) -> None:
        super().__init__(features, model, result_type, options)
        # What all calls share is checked before the first of them.
        self._sample = self.prepare({}, {})

    def inside(self, work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        return self._features.slots.inside(self._sample.call, work)

    async def reserve(self) -> Slot | None:
        return await self._features.slots.reserve(self._sample.message, self._sample.call)

    def prepare(self, input: Any, options: Mapping[str, Any]) -> Prepared[HttpRequest]:
        features = self._features
        whole = self._with(options)
        call, headers = features.preparing.call(**whole)
        request = features.direct.prepare(self._model, input, headers, call, self._result_type)
        return Prepared(call, headers, request.body, request, whole)

    async def send(self, prepared: Prepared[HttpRequest], _: OnSubmitted | None) -> Answered:
        response = await self._features.direct.send(prepared.message, prepared.call)
        return self.read(response, prepared.call), response


class QueueCalling(_Same):
    """Requests of fal's queue: they wait there, and there is no limit to mind."""

    queued = True
    takes = frozenset(SubmitKeywords.__annotations__)

    def __init__(
        self, features: Features, model: str, result_type: Any, options: Mapping[str, Any]
    ) -> None:
        super().__init__(features, model, result_type, options)
        self._sample = self.prepare({}, {})

    def inside(self, work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        return self._features.slots.inside(self._sample.call, work)

    async def reserve(self) -> Slot | None:
        return None

    def prepare(self, input: Any, options: Mapping[str, Any]) -> Prepared[tuple[Submit, Waiting]]:
        features = self._features
        whole = self._with(options)
        submit, call, waiting = features.preparing.submission(
            features.queue, self._model, input, self._result_type, cast(SubmitKeywords, whole)
        )
        return Prepared(call, submit.headers, submit.body, (submit, waiting), whole)

    async def send(
        self, prepared: Prepared[tuple[Submit, Waiting]], on_submitted: OnSubmitted | None
    ) -> Answered:
        submit, waiting = prepared.message
        if on_submitted is not None:
            waiting = attrs.evolve(waiting, on_submitted=_both(on_submitted, waiting.on_submitted))
        return await self._features.subscriber.subscribe(
            submit, prepared.call, waiting, self._result_type
        )


def _both(first: OnSubmitted, second: Callback | None) -> OnSubmitted:
    async def told(handle: RequestHandle) -> None:
        await first(handle)
        if second is not None:
            done = second(handle)
            if inspect.isawaitable(done):
                await done

    return told
