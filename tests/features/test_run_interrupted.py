"""A call that is cut short, by its own timeout or by others, knows what it may have cost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from fal_async import (
    AsyncFal,
    Billing,
    CallTimeoutError,
    ConnectionLostError,
    ConnectTimeoutError,
    Hosts,
    InputError,
    MissingKeyError,
    RetryPolicy,
    ServerError,
    StartTimeoutError,
    Verdict,
)
from tests.support.scripted_server import (
    MODEL,
    REQUEST_ID,
    Script,
    answer,
    in_pieces,
    message,
    say_and,
    silence,
)
from tests.support.secrets import KEY, PROMPT, assert_discreet
from tests.support.virtual_time import in_virtual_time, turns

NOT, MAYBE, YES = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED
INPUT = {"prompt": PROMPT}
HALF = message()[:-3]
HALF_A_FAILURE = message(500, {"detail": "it broke"})[:-3]
TRY_AGAIN = answer(503, {"detail": "busy"}, headers={"X-Fal-Needs-Retry": "1"})


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def nowhere() -> Iterator[socket.socket]:
    """A server to which connecting takes for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        held = [socket.socket() for _ in range(4)]
        for sock in held:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener
        for sock in held:
            sock.close()


def at(listener: socket.socket) -> Hosts:
    return Hosts.local(f"http://127.0.0.1:{listener.getsockname()[1]}")


# --- cancelled ------------------------------------------------------------------------------------------


async def cancelled(fal: AsyncFal, ready: asyncio.Event | None = None) -> Verdict:
    """Cancel a call once ``ready`` is set, and give the verdict that its CancelledError carries."""
    task = asyncio.create_task(fal.run(MODEL, INPUT))
    await turns()
    if ready is not None:
        await ready.wait()
    await turns()
    assert task.cancel("enough")
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    assert type(raised.value) is asyncio.CancelledError
    assert raised.value.args == ("enough",)
    verdict = raised.value.verdict
    assert isinstance(verdict, Verdict)
    return verdict


async def test_cancelled_while_connecting_it_was_not_billed(nowhere: socket.socket) -> None:
    async with AsyncFal(hosts=at(nowhere)) as fal:
        assert await cancelled(fal) == Verdict(billing=NOT, attempts=1)


IN_FLIGHT = {
    "before any answer": (silence(), Verdict(billing=MAYBE, attempts=1)),
    "in half a head": (say_and(HALF[:20], "hold"), Verdict(billing=MAYBE, attempts=1)),
    "in the body of a success": (
        say_and(HALF, "hold"),
        Verdict(billing=YES, attempts=1, request_id=REQUEST_ID),
    ),
    "in the body of a failure": (
        say_and(HALF_A_FAILURE, "hold"),
        Verdict(billing=NOT, attempts=1, request_id=REQUEST_ID),
    ),
}


@pytest.mark.parametrize("when", IN_FLIGHT)
async def test_cancelled_in_flight_it_knows_how_far_it_came(when: str) -> None:
    act, expected = IN_FLIGHT[when]
    async with Script(act) as server, AsyncFal(hosts=server.hosts) as fal:
        assert await cancelled(fal) == expected
        assert len(server.requests) == 1


@in_virtual_time
async def test_cancelled_between_two_sends_it_adds_up_what_they_cost() -> None:
    patient = RetryPolicy(backoff=1000, backoff_max=1000, budget=1000, resend=["lost"])
    async with (
        Script(say_and(b"", "reset")) as server,
        AsyncFal(hosts=server.hosts, retry=patient) as fal,
    ):
        assert await cancelled(fal) == Verdict(billing=MAYBE, attempts=1)


async def test_cancelled_while_it_waits_for_its_key_nothing_was_sent() -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async with Script(answer()) as server, AsyncFal(never, hosts=server.hosts) as fal:
        assert await cancelled(fal) == Verdict(billing=NOT, attempts=0)
        assert server.begun == 0


def cut_of(timeout: TimeoutError) -> Any:
    """The cancellation that ``asyncio.timeout`` made its error from: its cause from Python 3.11.3 on."""
    cut = timeout.__cause__ or timeout.__context__
    assert isinstance(cut, asyncio.CancelledError)
    return cut


@in_virtual_time
async def test_a_timeout_around_the_call_carries_the_verdict_as_its_cause() -> None:
    async with Script(silence()) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(5):
                await fal.run(MODEL, INPUT)
    assert type(raised.value) is TimeoutError
    assert cut_of(raised.value).verdict == Verdict(billing=MAYBE, attempts=1)


@in_virtual_time
async def test_a_timeout_around_the_call_ends_its_wait_for_a_slot_and_costs_nothing() -> None:
    go = asyncio.Event()
    async with Script(answer(go=go)) as server, AsyncFal(hosts=server.hosts, limit=1) as fal:
        first = asyncio.create_task(fal.run(MODEL, INPUT))
        await server.arrival()
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(5):
                await fal.run(MODEL, INPUT, timeout=1)
        go.set()
        assert await first == {"ok": True}
        assert server.begun == 1
    assert type(raised.value) is TimeoutError
    assert cut_of(raised.value).verdict == Verdict(billing=NOT, attempts=0)


@in_virtual_time
async def test_a_task_that_was_cancelled_twice_ends_once() -> None:
    async with Script(silence()) as server, AsyncFal(hosts=server.hosts) as fal:
        task = asyncio.create_task(fal.run(MODEL, INPUT, timeout=100))
        await server.arrival()
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# --- the call's own timeout -----------------------------------------------------------------------------


@in_virtual_time
async def test_the_timeout_begins_with_the_first_slot() -> None:
    first_go, second_go = asyncio.Event(), asyncio.Event()
    async with (
        Script(answer(go=first_go), answer(go=second_go)) as server,
        AsyncFal(hosts=server.hosts, limit=1) as fal,
    ):
        first = asyncio.create_task(fal.run(MODEL, INPUT))
        await server.arrival()
        second = asyncio.create_task(fal.run(MODEL, INPUT, timeout=10))
        await turns()
        loop = asyncio.get_running_loop()
        loop.call_later(3600, first_go.set)
        loop.call_later(3609, second_go.set)
        await first
        assert await second == {"ok": True}


@in_virtual_time
async def test_the_timeout_covers_the_wait_after_a_refusal() -> None:
    async with Script(answer(429, headers={"Retry-After": "60"})) as server:
        for limit in ("auto", None):
            async with AsyncFal(hosts=server.hosts, limit=limit) as fal:
                begun = now()
                with pytest.raises(CallTimeoutError) as raised:
                    await fal.run(MODEL, INPUT, timeout=90)
                assert now() - begun == pytest.approx(90)
            assert raised.value.billing is NOT
            assert raised.value.attempts == 0
        assert server.begun == 4


@in_virtual_time
async def test_the_timeout_covers_resends_and_keeps_the_first_failure() -> None:
    slow = RetryPolicy(sends=1000, budget=1e6, backoff=1, backoff_max=1)
    async with Script(TRY_AGAIN) as server, AsyncFal(KEY, hosts=server.hosts, retry=slow) as fal:
        begun = now()
        with pytest.raises(CallTimeoutError) as raised:
            await fal.run(MODEL, INPUT, timeout=20)
        assert now() - begun == pytest.approx(20)
        assert raised.value.attempts == server.begun > 10
    assert raised.value.billing is NOT
    assert isinstance(raised.value.first, ServerError)
    assert raised.value.first.attempts == 1
    assert_discreet(raised.value)


@in_virtual_time
async def test_the_timeout_covers_the_body_and_then_the_call_was_billed() -> None:
    async with Script(say_and(HALF, "hold")) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(
            CallTimeoutError, match=r"within the call's timeout of 7\.5 s"
        ) as raised:
            await fal.run(MODEL, INPUT, timeout=7.5)
    error = raised.value
    assert isinstance(error, TimeoutError)
    assert (error.billing, error.request_id, error.attempts) == (YES, REQUEST_ID, 1)
    assert error.first is None
    assert "It was billed." in str(error)


@in_virtual_time
async def test_a_timeout_names_no_request_of_an_earlier_send() -> None:
    async with (
        Script(TRY_AGAIN, silence()) as server,
        AsyncFal(hosts=server.hosts, retry=RetryPolicy(backoff=0)) as fal,
    ):
        with pytest.raises(CallTimeoutError) as raised:
            await fal.run(MODEL, INPUT, timeout=5)
    assert (raised.value.request_id, raised.value.attempts) == (None, 2)
    assert raised.value.billing is MAYBE


@in_virtual_time
async def test_the_session_has_a_timeout_for_the_calls_that_give_none() -> None:
    go = asyncio.Event()
    async with (
        Script(silence(), silence(), answer(go=go)) as server,
        AsyncFal(hosts=server.hosts, timeout=5) as fal,
    ):
        for given, taken in (({}, 5), ({"timeout": 2}, 2)):
            begun = now()
            with pytest.raises(CallTimeoutError):
                await fal.run(MODEL, INPUT, **given)
            assert now() - begun == pytest.approx(taken)
        asyncio.get_running_loop().call_later(50, go.set)
        assert await fal.run(MODEL, INPUT, timeout=None) == {"ok": True}


@in_virtual_time
async def test_minutes_of_silence_are_not_the_end() -> None:
    go = asyncio.Event()
    slow = in_pieces(message()[:30], message()[30:-3], message()[-3:], then="finish")
    async with (
        Script(answer(go=go), slow) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        asyncio.get_running_loop().call_later(7200, go.set)
        assert await fal.run(MODEL, INPUT) == {"ok": True}
        assert await fal.run(MODEL, INPUT) == {"ok": True}


async def test_a_start_timeout_within_a_longer_timeout_keeps_its_name() -> None:
    user = answer(504, {"detail": "x"}, headers={"X-Fal-Request-Timeout-Type": "user"})
    async with Script(user) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(StartTimeoutError) as raised:
            await fal.run(MODEL, INPUT, timeout=30, start_timeout=1)
    assert raised.value.attempts == 1


@in_virtual_time
async def test_a_connect_timeout_within_a_longer_timeout_keeps_its_name(
    nowhere: socket.socket,
) -> None:
    async with AsyncFal(hosts=at(nowhere)) as fal:
        with pytest.raises(ConnectTimeoutError):
            await fal.run(MODEL, INPUT, timeout=300, retry=RetryPolicy.never())


async def test_a_timeout_of_the_caller_s_own_code_is_not_the_call_s() -> None:
    def key() -> str:
        raise TimeoutError("of the vault")

    async with Script(answer()) as server, AsyncFal(key, hosts=server.hosts) as fal:
        with pytest.raises(MissingKeyError, match="failed with TimeoutError"):
            await fal.run(MODEL, INPUT, timeout=30)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", True])
async def test_a_timeout_that_is_no_number_of_seconds_above_zero_is_refused(
    timeout: object,
) -> None:
    with pytest.raises(InputError, match="timeout is"):
        AsyncFal(timeout=timeout)
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(InputError, match="timeout is"):
            await fal.run(MODEL, INPUT, timeout=timeout)
        assert server.begun == 0


# --- racing ---------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_loss_and_a_timeout_at_the_same_time_give_one_error() -> None:
    """Whichever wins, nothing else comes out, and the task is not left half cancelled."""
    lose = asyncio.Event()
    async with (
        Script(say_and(b"", "reset", until=lose)) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        task = asyncio.create_task(fal.run(MODEL, INPUT, timeout=5))
        await server.arrival()
        asyncio.get_running_loop().call_later(5, lose.set)
        with pytest.raises((CallTimeoutError, ConnectionLostError)) as raised:
            await task
    assert raised.value.billing is MAYBE
    assert task.cancelling() == 0
