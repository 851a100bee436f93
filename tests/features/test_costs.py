"""What a failure cost: every fault of the emulator, and the ledger's word against the client's."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from fal_async import (
    AsyncFal,
    BadRequestError,
    Billing,
    BodyBrokenError,
    BodyTooLargeError,
    CallTimeoutError,
    ConnectionLostError,
    DecodeError,
    FalError,
    GatewayError,
    RedirectError,
    RequestCancelledError,
    Resend,
    RetryPolicy,
    ServerError,
    ServerTimeoutError,
    StartTimeoutError,
)
from fal_async.emulator import Emulator, Fault
from fal_async.emulator.faults import KINDS

MODEL = "fal-ai/fast-sdxl"
INPUT = {"prompt": "a secret garden in the rain"}
KEY = "an-id:a-secret"

NOT, MAYBE, YES = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED
LOST, BROKEN = ConnectionLostError, BodyBrokenError


@attrs.frozen
class Row:
    """What becomes of a call that meets the fault every time it is sent; no error is a success."""

    error: type[FalError] | None
    billing: Billing = YES
    sends: int = 1
    timeout: float | None = None


SUCCESS = Row(None)
QUICK = 0.05  # for answers that never come

TABLE: dict[str, Row] = {
    "reset_on_arrival": Row(LOST, MAYBE),
    "close_on_arrival": Row(LOST, MAYBE),
    "reset": Row(LOST, MAYBE),
    "close": Row(LOST, MAYBE),
    "half_head": Row(LOST, MAYBE),
    "stall": Row(CallTimeoutError, MAYBE, timeout=QUICK),
    "stall_after_head": Row(CallTimeoutError, YES, timeout=QUICK),
    "stall_in_body": Row(CallTimeoutError, YES, timeout=QUICK),
    "half_body": Row(BROKEN),
    "reset_in_body": Row(BROKEN),
    "half_chunk": Row(BROKEN),
    # Head and chunk arrive together, and the parser gives up before it hands out the head.
    "bad_chunk": Row(LOST, MAYBE),
    "cut_short": Row(DecodeError),
    "slow": SUCCESS,
    "bad_status_line": Row(LOST, MAYBE),
    "huge_header": SUCCESS,
    "empty_body": Row(DecodeError),
    "bad_json": Row(DecodeError),
    "bad_gzip": Row(DecodeError),
    "cut_gzip": Row(DecodeError),
    "nan": SUCCESS,
    "lone_surrogate": SUCCESS,
    "byte_order_mark": SUCCESS,
    "huge_body": Row(BodyTooLargeError),
    "not_json": SUCCESS,
    "wrong_content_type": SUCCESS,
    "answer": SUCCESS,
    "redirect": Row(RedirectError, MAYBE),
    "ingress_502": Row(GatewayError, MAYBE),
    "ingress_503": Row(GatewayError, MAYBE),
    "ingress_504": Row(GatewayError, MAYBE),
    "request_timeout": Row(ServerTimeoutError, NOT),
    "startup_timeout": Row(ServerTimeoutError, NOT, sends=4),
    "runner_scheduling_failure": Row(ServerError, NOT, sends=4),
    "runner_connection_timeout": Row(ServerError, NOT, sends=4),
    "runner_connection_refused": Row(ServerError, NOT, sends=4),
    "runner_connection_error": Row(ServerError, NOT),
    "runner_disconnected": Row(ServerError, NOT),
    "runner_incomplete_response": Row(ServerError, NOT),
    "runner_server_error": Row(ServerError, NOT),
    "internal_error": Row(ServerError, NOT),
    "client_disconnected": Row(RequestCancelledError, MAYBE),
    "client_cancelled": Row(RequestCancelledError, MAYBE),
    "bad_request": Row(BadRequestError, NOT),
    "start_timeout": Row(StartTimeoutError, NOT),
}

#: No wait between sends: what is sent again is sent at once.
AT_ONCE = RetryPolicy(backoff=0.0)


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


@pytest.fixture
async def fal(emu: Emulator) -> AsyncIterator[AsyncFal]:
    async with AsyncFal(KEY, hosts=emu.hosts, retry=AT_ONCE, max_answer_bytes=1_000_000) as client:
        yield client


def settings(kind: str) -> dict[str, Any]:
    return {
        "answer": {
            "status": 200,
            "body": b"{}",
            "headers": {"Content-Type": "application/json"},
            "ran": True,
        },
        "slow": {"seconds": 0.05},
        "huge_body": {"size": 2_000_000},
    }.get(kind, {})


async def outcome(fal: AsyncFal, row: Row, **options: Any) -> FalError | None:
    try:
        await fal.run(MODEL, INPUT, timeout=row.timeout, **options)
    except FalError as error:
        return error
    return None


def test_the_table_has_every_fault_but_the_one_that_is_waited_out() -> None:
    of_direct_calls = {kind for kind in KINDS if Fault(kind).operation == "run"}
    assert set(TABLE) == of_direct_calls - {"too_many_requests"}


@pytest.mark.parametrize("kind", TABLE)
async def test_a_failure_says_what_it_cost_and_the_ledger_agrees(
    kind: str, emu: Emulator, fal: AsyncFal
) -> None:
    row = TABLE[kind]
    emu.faults.add(kind, **settings(kind))

    error = await outcome(fal, row)

    assert emu.received == row.sends
    assert emu.ledger.billed() <= 1
    if row.error is None:
        assert error is None
        return
    assert type(error) is row.error
    assert error.billing is row.billing
    if error.billing is not MAYBE:
        assert (emu.ledger.billed() == 1) == (error.billing is YES)
    assert error.attempts == row.sends


@pytest.mark.parametrize("kind", [k for k, row in TABLE.items() if row.error is not None])
async def test_a_failures_text_is_short_and_holds_neither_key_nor_input(
    kind: str, emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add(kind, **settings(kind))

    error = await outcome(fal, TABLE[kind])

    assert error is not None
    for text in (str(error), repr(error), str(pickle.loads(pickle.dumps(error)))):
        assert len(text) < 500
        assert "a-secret" not in text
        assert "secret garden" not in text


@pytest.mark.parametrize("ran", [False, True])
@pytest.mark.parametrize("kind", [k for k, kind in KINDS.items() if kind.choice])
async def test_whether_the_model_had_run_or_not_nothing_is_billed_twice(
    kind: str, ran: bool, emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add(kind, **settings(kind) | {"ran": ran})

    error = await outcome(fal, TABLE[kind])

    assert emu.ledger.billed() <= 1
    if error is not None and error.billing is NOT:
        assert emu.ledger.billed() == 0


@pytest.mark.parametrize("kind", [k for k, row in TABLE.items() if row.sends > 1])
async def test_what_the_platform_invites_to_send_again_succeeds_the_second_time(
    kind: str, emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add(kind, times=1)

    result = await fal.run_detailed(MODEL, INPUT)

    assert result.attempts == 2
    assert emu.ledger.billed() == 1


@pytest.mark.parametrize("kind", ["runner_disconnected", "internal_error", "request_timeout"])
async def test_other_unbilled_server_errors_are_sent_again_when_asked(
    kind: str, emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add(kind, times=1)
    policy = RetryPolicy(backoff=0.0, resend=[Resend.SERVER_ERROR])

    result = await fal.run_detailed(MODEL, INPUT, retry=policy)

    assert result.attempts == 2


@pytest.mark.parametrize("kind", ["reset", "close", "ingress_502"])
async def test_a_lost_answer_is_only_paid_for_again_when_asked(
    kind: str, emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add(kind, times=1, ran=True)
    policy = RetryPolicy(backoff=0.0, resend=[Resend.LOST])

    result = await fal.run_detailed(MODEL, INPUT, retry=policy)

    assert result.attempts == 2
    assert emu.ledger.billed() == 2


async def test_a_call_that_was_lost_once_is_never_called_unbilled(
    emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add("reset", times=1)
    emu.faults.add("bad_request")
    policy = RetryPolicy(backoff=0.0, resend=[Resend.LOST])

    with pytest.raises(BadRequestError) as caught:
        await fal.run(MODEL, INPUT, retry=policy)

    assert caught.value.billing is MAYBE
    assert type(caught.value.first) is ConnectionLostError


@pytest.mark.parametrize("kind", ["runner_scheduling_failure", "startup_timeout"])
async def test_an_explicit_no_of_fals_wins(kind: str, emu: Emulator, fal: AsyncFal) -> None:
    emu.faults.add(kind, needs_retry=False)

    with pytest.raises(ServerError) as caught:
        await fal.run(MODEL, INPUT)

    assert emu.received == 1
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    "storm", [{}, {"limit": 3}, {"retry_after": 0.01}], ids=["unnamed", "named", "retry-after"]
)
async def test_refusals_are_waited_out_and_use_up_no_attempt(
    storm: dict[str, Any], emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add("too_many_requests", times=1, **storm)

    result = await fal.run_detailed(MODEL, INPUT)

    assert result.attempts == 1
    assert emu.received == 2
    assert emu.ledger.billed() == 1


async def test_refusals_are_bounded_by_the_calls_timeout(emu: Emulator, fal: AsyncFal) -> None:
    emu.faults.add("too_many_requests", retry_after=60)

    with pytest.raises(CallTimeoutError) as caught:
        await fal.run(MODEL, INPUT, timeout=QUICK)

    assert caught.value.billing is NOT
    assert emu.ledger.billed() == 0


async def test_a_broken_body_is_kept_as_far_as_it_came(emu: Emulator, fal: AsyncFal) -> None:
    emu.faults.add("half_body")

    with pytest.raises(BodyBrokenError) as caught:
        await fal.run(MODEL, INPUT)

    assert caught.value.body is not None
    assert caught.value.body.startswith(b'{"images":')
    assert caught.value.request_id == emu.ledger.executions()[0].request_id


async def test_a_call_cancelled_in_flight_carries_its_verdict(emu: Emulator, fal: AsyncFal) -> None:
    arrived = asyncio.Event()
    held = asyncio.Event()

    @emu.model("me/held")
    async def held_model(_: Any) -> dict[str, Any]:
        arrived.set()
        await held.wait()
        return {}

    call = asyncio.create_task(fal.run("me/held", INPUT))
    await arrived.wait()
    call.cancel()

    with pytest.raises(asyncio.CancelledError) as caught:
        await call

    assert caught.value.verdict.billing is MAYBE  # type: ignore[attr-defined]
    held.set()


async def test_fifty_calls_through_random_faults_are_each_billed_at_most_once(
    emu: Emulator,
) -> None:
    for kind in ("reset", "close", "half_body", "ingress_502", "runner_connection_refused"):
        emu.faults.add(Fault(kind, probability=0.15))
    emu.limit = 5

    async with AsyncFal(hosts=emu.hosts, retry=AT_ONCE) as fal:
        outcomes = await asyncio.gather(
            *(fal.run("emulator/echo", {"n": n}) for n in range(50)), return_exceptions=True
        )

    assert not [o for o in outcomes if isinstance(o, Exception) and not isinstance(o, FalError)]
    paid = sum(not isinstance(o, FalError) for o in outcomes)
    billed = sum(isinstance(o, FalError) and o.billing is YES for o in outcomes)
    unsure = sum(isinstance(o, FalError) and o.billing is MAYBE for o in outcomes)
    assert paid + billed <= emu.ledger.billed() <= paid + billed + unsure
