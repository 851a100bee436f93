"""The line to the gateway at instants that no real connection shows: its socket does as it is told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fal_async.errors import (
    Billing,
    ConnectError,
    ConnectionLostError,
    FalError,
    SessionError,
    TooManyRequestsError,
)
from fal_async.features.answering import Exchange
from fal_async.features.gateway import Line
from fal_async.policy.retry import RetryPolicy
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.websocket import End, Start, build_end, build_start
from fal_async.transport.base import Call, Slot
from fal_async.transport.sockets import Closed
from tests.support.fakes import VirtualClock
from tests.support.virtual_time import turns

LOST = Closed(None)


class FakeSocket:
    """Gives the frames it is told; ``full`` blocks a send after it has written."""

    def __init__(self) -> None:
        self.closed: Closed | None = None
        self.sent: list[str | bytes] = []
        self.gone = False
        self.full: asyncio.Future[None] | None = None
        self._frames: asyncio.Queue[str | bytes | Closed] = asyncio.Queue()

    def say(self, *frames: str | bytes | Closed) -> None:
        for frame in frames:
            self._frames.put_nowait(frame)

    def answer(self, request_id: str, body: str = "{}", status: int = 200) -> None:
        self.say(build_start(Start(request_id, status, Headers({"Content-Type": "a/json"}))))
        self.say(body, build_end(End(request_id, status)))

    async def send(self, frame: str | bytes) -> bool:
        if self.gone:
            return False
        self.sent.append(frame)
        if self.full is not None:
            await self.full
        return True

    async def receive(self) -> str | bytes | Closed:
        if self.closed is None:
            frame = await self._frames.get()
            if not isinstance(frame, Closed):
                return frame
            self.closed = frame
        return self.closed

    async def close(self, code: int = 1000) -> None:
        self.closed = Closed(code)

    def abort(self) -> None:
        self.closed = LOST


class FakeSockets:
    def __init__(self, *outcomes: FakeSocket | FalError) -> None:
        self._outcomes = deque(outcomes)

    async def open(self, request: HttpRequest, call: Call, *, max_frame: int) -> FakeSocket:
        call.begin_send()
        outcome = self._outcomes.popleft()
        if isinstance(outcome, FalError):
            raise outcome
        return outcome


class FakeSlot:
    def __init__(self, said: list[str]) -> None:
        self._said = said
        self.held = True

    def release(self) -> None:
        self._said.append("released")

    def finish(self) -> None:
        self._said.append("finished")

    async def refused(self, response: HttpResponse) -> None:
        self._said.append("refused")

    def refuse(self, response: HttpResponse) -> None:
        self._said.append("refused and given back")


class FakeSlots:
    def __init__(self) -> None:
        self.said: list[str] = []

    async def reserve(self, request: HttpRequest, call: Call) -> Slot | None:
        self.said.append("reserved")
        return FakeSlot(self.said)

    def inside(self, call: Call, work: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        return work


class Setting:
    def __init__(self, *outcomes: FakeSocket | FalError, policy: RetryPolicy | None = None) -> None:
        self.slots = FakeSlots()
        self.policy = policy or RetryPolicy()
        self.clock = VirtualClock()
        request = HttpRequest(method="GET", url="wss://ws.fal.run/a/b")
        opening: Callable[[], Call] = lambda: Call(self.policy)  # noqa: E731
        self.line = Line(
            FakeSockets(*outcomes),
            self.slots,
            self.clock,  # type: ignore[arg-type]  # it never waits for an event
            request,
            opening,
            ahead=3,
            max_frame=1000,
        )

    async def __aenter__(self) -> Setting:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.line.close()


def payload(number: int = 1, *, streamed: bool = False) -> Exchange:
    request = HttpRequest(method="POST", url="wss://ws.fal.run/a/b", body=b'{"i":%d}' % number)
    return Exchange(request, Call(RetryPolicy()), limit=1000, streamed=streamed)


async def test_what_was_not_written_goes_over_the_next_connection_and_was_sent_once() -> None:
    dead, alive = FakeSocket(), FakeSocket()
    dead.gone = True
    async with Setting(dead, alive) as now:
        exchange = payload()
        await now.line.send(exchange)
        assert (dead.sent, alive.sent) == ([], ['{"i":1}'])
        alive.answer("r")
        assert (await exchange.done).body == b"{}"
        assert exchange.call.attempts == 1
        dead.say(LOST)
        await turns()
        assert now.slots.said == ["reserved", "finished"]


async def test_without_another_connection_it_was_not_sent_and_costs_nothing() -> None:
    dead = FakeSocket()
    dead.gone = True
    async with Setting(dead, ConnectError("no"), policy=RetryPolicy.never()) as now:
        exchange = payload()
        with pytest.raises(ConnectError):
            await now.line.send(exchange)
        assert (exchange.on_wire, exchange.call.billing) == (False, Billing.NOT_BILLED)
        assert now.slots.said == ["reserved", "released"]


async def test_whoever_is_cancelled_while_it_is_written_has_sent_it() -> None:
    socket = FakeSocket()
    async with Setting(socket) as now:
        socket.full = asyncio.get_running_loop().create_future()
        first, second = payload(1), payload(2)
        sending = asyncio.create_task(now.line.send(first))
        await turns()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert first.call.billing is Billing.UNKNOWN
        socket.full = None
        await now.line.send(second)
        socket.answer("r1", '"first"')
        socket.answer("r2", '"second"')
        assert (await second.done).body == b'"second"'
        assert (await first.done).body == b'"first"'
        await turns()
        assert now.slots.said == ["reserved", "finished"]


async def test_whoever_left_while_a_connection_was_made_has_none_and_sends_nothing() -> None:
    socket = FakeSocket()
    now = Setting(socket)
    opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    opened = now.line._sockets.open

    async def slowly(*arguments: Any, **more: Any) -> Any:
        await opening
        return await opened(*arguments, **more)

    now.line._sockets = type("Slow", (), {"open": staticmethod(slowly)})()
    sending = asyncio.create_task(now.line.send(payload(1)))
    await turns()
    await now.line.close()
    opening.set_result(None)
    with pytest.raises(SessionError) as caught:
        await sending
    assert caught.value.billing is Billing.NOT_BILLED
    assert (socket.sent, socket.closed) == ([], LOST)
    assert now.slots.said == ["reserved", "released"]


async def test_an_answer_to_nothing_is_nobodys() -> None:
    socket = FakeSocket()
    async with Setting(socket) as now:
        await now.line.connect()
        socket.answer("r0", '"of another life"')
        await turns()
        exchange = payload()
        await now.line.send(exchange)
        socket.answer("r1", '"mine"')
        assert (await exchange.done).body == b'"mine"'


async def test_a_connection_that_breaks_loses_all_that_is_on_it_with_what_it_had_said() -> None:
    socket = FakeSocket()
    async with Setting(socket) as now:
        both = payload(1), payload(2)
        for exchange in both:
            await now.line.send(exchange)
        socket.say('{"status":"error","error":"Too hot"}', Closed(1013, "later"))
        for exchange in both:
            with pytest.raises(ConnectionLostError, match=r"1013.*later.*Too hot") as caught:
                await exchange.done
            assert caught.value.billing is Billing.UNKNOWN
        await turns()
        assert now.slots.said == ["reserved", "released"]


async def test_what_was_sent_behind_a_refused_payload_ends_before_more_is_sent() -> None:
    socket = FakeSocket()
    async with Setting(socket) as now:
        first, second, third = payload(1), payload(2), payload(3)
        await now.line.send(first)
        await now.line.send(second)
        socket.answer("r1", "{}", 429)
        await first.done
        assert first.refusal is not None
        sending = asyncio.create_task(now.line.send(third))
        await turns()
        assert len(socket.sent) == 2
        socket.answer("r2")
        await sending
        assert len(socket.sent) == 3
        assert now.slots.said == ["reserved", "refused"]
        socket.answer("r3")
        await third.done
        await turns()
        assert now.slots.said == ["reserved", "refused", "finished"]


async def test_a_slot_that_waits_for_a_second_try_is_given_back_on_leaving() -> None:
    socket = FakeSocket()
    async with Setting(socket) as now:
        exchange = payload()
        await now.line.send(exchange)
        socket.answer("r1", "{}", 429)
        await exchange.done
    assert now.slots.said == ["reserved", "released"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_nobody_keeps_the_slot_of_a_refused_payload_that_was_given_up(when: str) -> None:
    socket = FakeSocket()
    async with Setting(socket) as now:
        exchange = payload()
        await now.line.send(exchange)
        if when == "before":
            exchange.abandon()
        socket.answer("r1", "{}", 429)
        await turns()
        exchange.abandon()
        assert now.slots.said == ["reserved", "refused and given back"]
        other = payload(2)
        await now.line.send(other)
        assert now.slots.said[2:] == ["reserved"]
        socket.answer("r2")
        await other.done


async def test_of_two_refused_payloads_one_keeps_the_slot_when_the_other_is_given_up() -> None:
    socket = FakeSocket()
    async with Setting(socket) as now:
        first, second = payload(1), payload(2)
        for exchange in (first, second):
            await now.line.send(exchange)
            socket.answer("r", "{}", 429)
        await turns()
        first.abandon()
        assert now.slots.said == ["reserved"]
        second.leave()
        assert now.slots.said == ["reserved", "refused and given back"]


async def test_a_refused_handshake_waits_as_it_is_told() -> None:
    refusal = TooManyRequestsError("no", headers=Headers({"Retry-After": "7"}))
    async with Setting(refusal, TooManyRequestsError("no"), FakeSocket()) as now:
        await now.line.connect()
        assert now.clock.slept == [7.0, 1.5]


async def test_no_connection_is_tried_again_with_growing_waits() -> None:
    no = [ConnectError("no") for _ in range(3)]
    async with Setting(*no, FakeSocket()) as now:
        await now.line.connect()
        assert now.clock.slept == [0.25, 0.5, 1.0]


async def test_leaving_gives_up_what_is_on_its_way() -> None:
    socket = FakeSocket()
    now = Setting(socket)
    exchange = payload()
    await now.line.send(exchange)
    await now.line.close()
    await now.line.close()
    with pytest.raises(ConnectionLostError, match="was left"):
        await exchange.done
    with pytest.raises(SessionError):
        await now.line.send(payload())
    assert now.slots.said[:2] == ["reserved", "released"]


async def test_whoever_is_cancelled_while_he_leaves_says_no_goodbye() -> None:
    socket = FakeSocket()
    now = Setting(socket)
    await now.line.send(payload())
    leaving = asyncio.create_task(now.line.close())
    await turns(1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert socket.closed is LOST
    assert now.slots.said == ["reserved", "released"]


async def test_a_slow_consumer_is_waited_for_and_one_that_leaves_is_not() -> None:
    socket = FakeSocket()
    async with Setting(socket) as now:
        streamed, next_one = payload(1, streamed=True), payload(2)
        await now.line.send(streamed)
        await now.line.send(next_one)
        socket.say(build_start(Start("r1", 200)), *(b"%03d" % i for i in range(100)))
        socket.say(build_end(End("r1", 200)))
        socket.answer("r2", '"next"')
        await turns(200)
        assert socket._frames.qsize() > 80
        assert [await streamed.piece() for _ in range(3)] == [b"000", b"001", b"002"]
        streamed.abandon()
        assert (await next_one.done).body == b'"next"'


async def test_a_stream_is_given_to_its_end_however_slowly() -> None:
    socket = FakeSocket()
    async with Setting(socket) as now:
        streamed = payload(streamed=True)
        await now.line.send(streamed)
        socket.say(build_start(Start("r1", 200)), b"a", b"", b"b", build_end(End("r1", 200)))
        await turns()
        pieces = []
        while piece := await streamed.piece():
            pieces.append(piece)
        assert pieces == [b"a", b"b"]
        assert await streamed.piece() == b""
