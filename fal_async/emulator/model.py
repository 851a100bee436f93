"""What a model is to the emulator: an id, a function, and what running it takes.

Pure: values only. What the functions of the shipped models do stands in ``models/``.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from fal_async.emulator.contact import Contact
from fal_async.emulator.realtime import Realtime
from fal_async.emulator.runners import RunnerSettings
from fal_async.protocol import wire
from fal_async.protocol.model import ModelId, parse_model_id

__all__ = ["Call", "Model", "ModelFunction", "StreamFunction"]

ModelFunction = Callable[..., Any] | Callable[..., Awaitable[Any]]
StreamFunction = Callable[..., AsyncGenerator[Any]]


@attrs.frozen(kw_only=True)
class Call:
    """One call as its model sees it; the second argument of a model's function that takes two."""

    request_id: str
    model: str
    path: str = ""
    """What stands behind the model's own id: empty, or a path beginning with a slash."""
    method: str = "POST"
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Lower-case names; ``authorization`` is taken out."""
    key_id: str = ""
    chance: int = 0
    """A number of 64 bits, another one for each call: a seed where the input names none."""
    attempt: int = 1
    """Which attempt of the request it is; only the queue makes a second one."""
    seconds: float = 0.0
    """How long the run is to last at least: a model that streams may spread its events over it."""
    contact: Contact = attrs.field(factory=Contact, repr=False)
    """The platform's end of the methods below."""

    def log(self, message: str, level: str = "INFO") -> None:
        """Write a line that the status of a queued request shows, as if to stdout. Any thread may."""
        self.contact.log(message, level)

    @property
    def cancelled(self) -> bool:
        """Whether the caller wants it to stop. To do so, raise :class:`CallCancelledError`."""
        return self.contact.cancelled

    async def until_cancelled(self) -> None:
        """Return once the caller wants it to stop."""
        await self.contact.until_cancelled()

    async def sleep(self, seconds: float, *, cancellable: bool = False) -> None:
        """Let time pass on the emulator's clock.

        :raises CallCancelledError: if it is ``cancellable`` and the caller wants it to stop.
        """
        sleep = self.contact.sleep(seconds)
        await (self.contact.unless_cancelled(sleep) if cancellable else sleep)


def _check_id(_: object, __: object, value: str) -> None:
    parse_model_id(value)


Units = Decimal | Callable[[Any, Any], Decimal]


def _units(value: Units | float) -> Units:
    return value if callable(value) else Decimal(str(value))


def _takes_two(function: ModelFunction | None) -> bool:
    if function is None:
        return False
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a builtin, of which nothing is known
        return False
    needed = [
        p
        for p in parameters
        if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD} and p.default is p.empty
    ]
    return len(needed) >= 2


def _if_it_streams(function: ModelFunction) -> StreamFunction | None:
    return function if inspect.isasyncgenfunction(function) else None


@attrs.frozen(kw_only=True)
class Model:
    """A model that the emulator serves.

    :param id: ``owner/app[/path]``.
    :param function: gets the input, and the :class:`Call` if it takes a second argument; gives the
        output: anything JSON can say, with :class:`~fal_async.emulator.MadeFile` where files stand, or
        an :class:`~fal_async.emulator.Answer`. May be async. A plain function runs on the event loop,
        and should be quick, unless ``thread``. An async generator streams what it yields under
        ``/stream``; its last event is the output of a call that does not stream.
    :param stream: what is served under ``/stream`` instead (PROTOCOL 8): an async generator function with the
        same arguments, which yields events: payloads, or :class:`~fal_async.emulator.StreamEvent`.
    :param stream_type: the content type of the stream; of any but the usual one, ``stream`` yields bytes.
    :param thread: run the function in a thread of the emulator's; stopping waits for it to return.
    :param run_time: seconds a run lasts at least, or a function of the input that tells; None is the
        emulator's own.
    :param unit: what is charged by, as on the pricing page.
    :param units: how many of them a run costs, or a function of input and output that tells.
    :param runners: count, cold start, patience; None is the emulator's own. Models of one application
        share its runners: those of the first one registered.
    :param request_timeout: seconds after which the platform cuts a run off (PROTOCOL 3).
    :param public: whether it may be called without a key (PROTOCOL 2).
    :param own: whether it is the caller's own, and so exempt from the account's limit (PROTOCOL 3.3).
    :param cancellable: whether a run is ended by a cancel of its request; others run on, and complete
        (PROTOCOL 6.5). A function may also look for it itself: ``Call.cancelled``.
    :param methods: HTTP methods it answers to.
    :param takes_any: whether the input may be something else than a JSON object.
    :param subpaths: whether it answers under any path behind its id, too (``Call.path``).
    :param realtime: what it does on realtime connections; None: it takes none.
    """

    id: str = attrs.field(validator=_check_id)
    function: ModelFunction = attrs.field(repr=False)
    stream: StreamFunction | None = attrs.field(
        repr=False,
        default=attrs.Factory(lambda m: _if_it_streams(m.function), takes_self=True),
    )
    stream_type: str = wire.EVENT_STREAM
    thread: bool = False
    run_time: float | Callable[[Any], float] | None = None
    unit: str = "request"
    units: Units = attrs.field(default=Decimal(1), converter=_units)
    runners: RunnerSettings | None = None
    request_timeout: float = 3600.0
    public: bool = False
    own: bool = False
    cancellable: bool = False
    methods: frozenset[str] = frozenset({"POST"})
    takes_any: bool = False
    subpaths: bool = False
    realtime: Realtime | None = None
    takes_call: bool = attrs.field(
        init=False, default=attrs.Factory(lambda m: _takes_two(m.function), takes_self=True)
    )
    stream_takes_call: bool = attrs.field(
        init=False, default=attrs.Factory(lambda m: _takes_two(m.stream), takes_self=True)
    )

    @property
    def model_id(self) -> ModelId:
        """The id, taken apart."""
        return parse_model_id(self.id)

    @property
    def application(self) -> str:
        """``[namespace/]owner/app``: what runners and caps are counted by."""
        return self.model_id.application
