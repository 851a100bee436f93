"""The connection under a realtime session, at instants that no real one shows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fal_async.errors import (
    AccessDeniedError,
    AuthenticationError,
    Billing,
    ConnectError,
    ConnectionLostError,
    FalError,
    InputError,
    SessionError,
    TooManyRequestsError,
)
from fal_async.features.linking import Link
from fal_async.features.token_source import TokenSource
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.messages import Headers, HttpRequest
from fal_async.transport.base import Call
from fal_async.transport.sockets import Closed
from tests.features.test_gateway import FakeSlots, FakeSocket, FakeSockets
from tests.support.fakes import VirtualClock
from tests.support.virtual_time import turns


class Linked:
    """A link over fakes; ``tokens`` are given one after the other."""

    def __init__(
        self,
        *outcomes: FakeSocket | FalError,
        tries: int = 0,
        tokens: list[str] | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.slots = FakeSlots()
        self.clock = VirtualClock()
        self.call = Call(policy or RetryPolicy())
        self.asked: list[str | None] = []
        sockets = FakeSockets(*outcomes)
        source = None
        if tokens is not None:
            source = TokenSource(lambda: tokens.pop(0), self.clock, 100.0)  # type: ignore[arg-type]
        self.link = Link(
            signed=sockets,
            plain=sockets,
            slots=self.slots,
            clock=self.clock,  # type: ignore[arg-type]
            call=self.call,
            request_with=self._request,
            tokens=source,
            tries=tries,
            max_frame=1000,
        )

    def _request(self, token: str | None) -> HttpRequest:
        if token is not None:
            self.asked.append(token)
        return HttpRequest(method="GET", url="wss://fal.run/a/b/realtime")


def lose(now: Linked) -> None:
    assert now.link._socket is not None
    now.link._socket.abort()


async def test_a_frame_that_was_not_written_goes_over_the_next_connection() -> None:
    dead, alive = FakeSocket(), FakeSocket()
    dead.gone = True
    now = Linked(dead, alive, tries=3)
    await now.link.enter()
    await now.link.send("hello")
    assert (dead.sent, alive.sent, now.link.connections) == ([], ["hello"], 2)
    await now.link.leave()
    assert now.slots.said == ["reserved", "finished"]


async def test_without_reconnecting_it_costs_nothing() -> None:
    dead = FakeSocket()
    dead.gone = True
    now = Linked(dead)
    await now.link.enter()
    with pytest.raises(ConnectionLostError) as caught:
        await now.link.send("hello")
    assert caught.value.billing is Billing.NOT_BILLED
    assert now.link.billing is Billing.NOT_BILLED
    await now.link.leave()


async def test_tries_end_and_the_slot_is_given_back() -> None:
    now = Linked(FakeSocket(), *(ConnectError("no") for _ in range(3)), tries=3)
    await now.link.enter()
    lose(now)
    with pytest.raises(ConnectError):
        await now.link.reconnect()
    assert now.clock.slept == [0.375, 0.75]
    assert not await now.link.reconnect()  # all of them were used up
    with pytest.raises(ConnectionLostError, match="could not be made again"):
        await now.link.send("hello")
    # While it waits to try again, others may have the slot.
    assert now.slots.said == ["reserved", "released"] * 3
    await now.link.leave()


async def test_what_no_try_mends_is_told_at_once() -> None:
    now = Linked(FakeSocket(), AccessDeniedError("no"), tries=9)
    await now.link.enter()
    lose(now)
    with pytest.raises(AccessDeniedError):
        await now.link.reconnect()
    assert now.clock.slept == []
    await now.link.leave()


async def test_a_token_that_is_refused_is_replaced() -> None:
    now = Linked(
        FakeSocket(), AuthenticationError("no"), FakeSocket(), tries=3, tokens=["a", "b", "c"]
    )
    await now.link.inside(now.link._first())
    lose(now)
    assert await now.link.reconnect()
    assert now.asked == ["a", "a", "b"]
    await now.link.leave()


async def test_a_key_that_is_refused_is_not_tried_again() -> None:
    now = Linked(FakeSocket(), AuthenticationError("no"), tries=3)
    await now.link.enter()
    lose(now)
    with pytest.raises(AuthenticationError):
        await now.link.reconnect()
    await now.link.leave()


async def test_a_refused_handshake_keeps_its_place() -> None:
    refusal = TooManyRequestsError("no", headers=Headers({"Retry-After": "2"}))
    now = Linked(refusal, FakeSocket())
    await now.link.enter()
    assert now.slots.said == ["reserved", "refused"]
    await now.link.leave()
    assert now.slots.said[-1] == "finished"


async def test_a_first_connection_that_fails_gives_its_slot_back() -> None:
    now = Linked(ConnectError("no"))
    with pytest.raises(ConnectError):
        await now.link.enter()
    assert now.slots.said == ["reserved", "released"]


async def test_whoever_left_meanwhile_has_no_connection() -> None:
    socket = FakeSocket()
    now = Linked(FakeSocket(), socket, tries=3)
    await now.link.enter()
    opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    opened = now.link._plain.open

    async def slowly(*arguments: Any, **more: Any) -> Any:
        await opening
        return await opened(*arguments, **more)

    now.link._signed = type("Slow", (), {"open": staticmethod(slowly)})()
    lose(now)
    again = asyncio.create_task(now.link.reconnect())
    await turns()
    await now.link.leave()
    opening.set_result(None)
    with pytest.raises(SessionError):
        await again
    assert socket.closed == Closed(None)
    assert not await now.link.reconnect()
    assert await now.link.receive() == Closed(None)


async def test_two_who_miss_the_connection_make_one() -> None:
    first, second = FakeSocket(), FakeSocket()
    now = Linked(first, second, tries=3)
    await now.link.enter()
    first.closed = Closed(1006)
    await asyncio.gather(now.link.send("a"), now.link.send("b"), now.link.reconnect())
    assert (second.sent, now.link.connections) == (["a", "b"], 2)
    await now.link.leave()


# --- tokens ---------------------------------------------------------------------------------------------


async def test_a_token_is_kept_while_it_is_fresh() -> None:
    clock = VirtualClock()
    given = iter("abc")
    source = TokenSource(lambda: next(given), clock, 100.0)  # type: ignore[arg-type]
    assert [await source.token(), await source.token()] == ["a", "a"]
    clock.time = 80
    assert await source.token() == "b"
    source.drop()
    assert await source.token() == "c"
    source.drop()
    with pytest.raises(InputError):
        await source.token()


async def test_a_renewal_that_fails_is_tried_again() -> None:
    class Stopping(VirtualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if self.time > 500:
                raise asyncio.CancelledError

    asked = []

    async def ask() -> str:
        asked.append(clock.time)
        if len(asked) == 2:
            raise ConnectError("no")
        return "t"

    clock = Stopping()
    source = TokenSource(ask, clock, 100.0)  # type: ignore[arg-type]
    await source.token()
    with pytest.raises(asyncio.CancelledError):
        await source.keep_fresh()
    assert asked == [0, 80, 105, 185, 265, 345, 425]
