"""What the features depend on: something that sends a request, and the running account of one call.

No HTTP library here. The classes beside this module are such transports, each around the next:
a gate around retrying around authorizing around limiting around http.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from fal_async.errors import Billing, FalError, Verdict
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.messages import HttpRequest, HttpResponse

__all__ = [
    "Call",
    "Clock",
    "HeldSlot",
    "OpenedResponse",
    "Slot",
    "Slots",
    "StreamedResponse",
    "Streaming",
    "Transport",
]

T = TypeVar("T")


class Slot(Protocol):
    """A place among the calls in flight, held before it is known whose call it will be."""

    @property
    def held(self) -> bool:
        """Whether it is still there to be taken."""
        ...

    def release(self) -> None:
        """Give it back, unless a call has taken it."""
        ...

    def finish(self) -> None:
        """Give it back: what it was held for was let in, and is over."""
        ...

    async def refused(self, response: HttpResponse) -> None:
        """What it was held for was refused (429): wait until it may be tried again, with the same slot."""
        ...

    def refuse(self, response: HttpResponse) -> None:
        """Give it back: what it was held for was refused (429), and nobody waits to try it again."""
        ...


class HeldSlot(Protocol):
    """The place of a call whose answer has begun and goes on."""

    def end(self, *, early: bool) -> None:
        """The call is over, or was left before its end. Idempotent."""
        ...


class Call:
    """The account of one call as it goes through the transports: what was sent, what it may have cost.

    Mutable, and owned by the task that makes the call. ``current`` is the verdict on the send under way,
    ``settled`` the gravest of those before it.
    """

    __slots__ = (
        "account",
        "attempts",
        "begun",
        "connected_in",
        "current",
        "first",
        "free",
        "held",
        "key",
        "lasting",
        "loop",
        "on_connect",
        "opened",
        "policy",
        "request_id",
        "settled",
        "slot",
        "started",
        "stopped",
        "timeout",
        "timer",
        "under_way",
    )

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        key: str | None = None,
        timeout: float | None = None,
        free: bool = False,
    ) -> None:
        self.policy = policy
        self.free = free
        """Whether repeating the request costs nothing."""
        self.key = key
        """The caller's key for this call alone; None for the session's."""
        self.account = ""
        """The key of the send under way: whose limit it counts against."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """The one it runs in, as soon as that has been found out."""
        self.slot: Slot | None = None
        """What it was given to begin with; None: it waits for one."""
        self.lasting = False
        """Whether its answer is read while it arrives: a success then comes without its body, which is
        ``opened``, and keeps its slot, ``held``."""
        self.opened: OpenedResponse | None = None
        self.held: HeldSlot | None = None
        """None where there is no brake."""
        self.timeout = timeout
        self.timer: asyncio.Timeout | None = None
        self.attempts = 0
        self.current = Billing.NOT_BILLED
        self.settled = Billing.NOT_BILLED
        self.first: FalError | None = None
        """The first failure, whatever came after it."""
        self.request_id: str | None = None
        self.started: float | None = None
        """When it had its first slot, in the loop's time ..."""
        self.begun: float | None = None
        """... and when the send under way had its own; None for a call that needs none."""
        self.connected_in: float | None = None
        """Seconds the send under way took to get a new connection; None if it used an old one."""
        self.on_connect: Callable[[float], None] | None = None
        """Is told that number as soon as it is known, which may be minutes before the answer."""
        self.stopped = False
        """Whether nothing more is to be written for it: what is under way lands, and is not sent again."""
        self.under_way = False
        """Whether the send under way was written, or begun to be: its answer may be here already."""

    def start_clock(self, now: float) -> None:
        """The call has a slot; with the first its ``timeout`` begins to run."""
        self.begun = now
        if self.started is None:
            self.started = now
            if self.timer is not None and self.timeout is not None:
                self.timer.reschedule(now + self.timeout)

    def begin_send(self) -> None:
        self.attempts += 1
        self.current = Billing.NOT_BILLED
        self.under_way = False
        self.request_id = None
        self.connected_in = None

    def begin_write(self) -> None:
        """The first bytes go to the network now: from here on it may be billed."""
        self.current = Billing.UNKNOWN
        self.under_way = True

    def connected(self, seconds: float) -> None:
        """A new connection stands, after that long."""
        self.connected_in = seconds
        if self.on_connect is not None:
            self.on_connect(seconds)

    def unsend(self) -> None:
        """What was sent was refused with 429: it uses up no attempt."""
        self.attempts -= 1
        self.current = Billing.NOT_BILLED
        self.under_way = False

    def settle(self) -> None:
        """The send under way is over; its verdict goes into the account."""
        self.settled = self.settled.worse(self.current)
        self.current = Billing.NOT_BILLED
        self.under_way = False

    @property
    def billing(self) -> Billing:
        """What the call may have cost so far, over all its sends."""
        return self.settled.worse(self.current)

    def verdict(self) -> Verdict:
        return Verdict(billing=self.billing, attempts=self.attempts, request_id=self.request_id)


class Clock(Protocol):
    """Time, waiting and chance."""

    def now(self) -> float:
        """Seconds on the running loop's clock."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait, cancellably."""
        ...

    async def wait(self, event: asyncio.Event, until: float) -> bool:
        """Wait for the event, but no longer than to ``until``; whether it came."""
        ...

    def chance(self) -> float:
        """A number drawn evenly from [0, 1)."""
        ...


class Transport(Protocol):
    """Sends one request and brings one complete answer."""

    def send(self, request: HttpRequest, call: Call) -> Coroutine[Any, Any, HttpResponse]:
        """The answer, whatever its status; a layer may promise more.

        :raises TransportError: where no complete answer came; its ``billing`` is that of this send.
        """
        ...


class Slots(Protocol):
    """Gives out places among the calls in flight."""

    async def reserve(self, request: HttpRequest, call: Call) -> Slot | None:
        """A slot that calls like this one may be given, as soon as there is one; None without a brake.

        Asked for only inside of :meth:`inside`.
        """
        ...

    def inside(self, call: Call, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """Do ``work``, which ends with a ``SessionError`` if the session is closed."""
        ...


class StreamedResponse(Protocol):
    """An answer whose body comes in pieces."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it arrives; to be closed by whoever leaves before its end.

        :raises ConnectionLostError: if it breaks off, or stays silent for too long.
        """
        ...


class OpenedResponse(Protocol):
    """The rest of an answer that has begun: to be read piece by piece, and to be closed."""

    async def read(self, idle: float | None) -> bytes:
        """The next piece; empty at the end. Cancelling it loses nothing.

        :param idle: seconds of silence after which it counts as lost; None for no limit.
        :raises ConnectionLostError: if it breaks off, or stays silent for too long.
        """
        ...

    def close(self) -> None:
        """Close the connection, unless the end was reached. Idempotent."""
        ...


class Streaming(Protocol):
    """Sends one request and gives its answer while it still arrives."""

    def has_room(self) -> bool:
        """Whether another one should be opened: each takes a connection for as long as it lasts."""
        ...

    def open(
        self, request: HttpRequest, call: Call, *, idle: float | None
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """The answer, whatever its status; leaving the context closes its connection.

        :param idle: seconds of silence after which the stream counts as lost; None for no limit.
        """
        ...
