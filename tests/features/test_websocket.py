"""Many calls over one WebSocket: what comes back, in which order, and what a failure costs."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import aiohttp
import attrs
import pytest

from fal_async import (
    AccountLockedError,
    AsyncFal,
    AuthenticationError,
    Billing,
    BodyBrokenError,
    BodyTooLargeError,
    CallTimeoutError,
    ConnectError,
    ConnectionLostError,
    FalError,
    GatewayError,
    InputError,
    ModelError,
    NotFoundError,
    RedirectError,
    RetryPolicy,
    ServerError,
    SessionError,
    StructureError,
    TooManyRequestsError,
)
from fal_async.emulator import Emulator
from tests.support.secrets import KEY, PROMPT, assert_discreet
from tests.support.virtual_time import in_virtual_time, seconds, turns

ECHO = "emulator/echo"


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


@pytest.fixture
async def fal(emu: Emulator) -> AsyncIterator[AsyncFal]:
    async with AsyncFal(hosts=emu.hosts, retry=RetryPolicy(backoff=0)) as client:
        yield client


@attrs.frozen
class Numbered:
    number: int


def held(emu: Emulator, id: str = "me/held", **settings: Any) -> asyncio.Event:
    """A model that answers once it is let go."""
    go = asyncio.Event()

    @emu.model(id, **settings)
    async def wait(input: Any) -> Any:
        await go.wait()
        return input

    return go


async def all_into(seen: list[Any], items: AsyncIterator[Any]) -> None:
    async for item in items:
        seen.append(item)  # noqa: PERF401 - what came before a failure counts


# --- outputs --------------------------------------------------------------------------------------------


async def test_an_output_is_what_a_direct_call_gives(emu: Emulator, fal: AsyncFal) -> None:
    async with fal.websocket("fal-ai/fast-sdxl") as ws:
        over_socket = await ws.run({"prompt": "a cat", "seed": 2**63 + 1})
    direct = await fal.run("fal-ai/fast-sdxl", {"prompt": "a cat", "seed": 2**63 + 1})
    assert over_socket["seed"] == direct["seed"] == 2**63 + 1
    assert over_socket.keys() == direct.keys()
    assert emu.ledger.billed("fal-ai/fast-sdxl") == 2


async def test_an_output_may_be_structured(fal: AsyncFal) -> None:
    async with fal.websocket(ECHO, result_type=Numbered) as ws:
        assert await ws.run(Numbered(3)) == Numbered(3)
        with pytest.raises(StructureError) as caught:
            await ws.run({"number": "three"})
        assert caught.value.billing is Billing.BILLED
        assert caught.value.value == {"number": "three"}
        assert await ws.run({"number": 4}) == Numbered(4)


async def test_a_body_of_bytes_comes_whole_from_its_frames(fal: AsyncFal) -> None:
    image = bytes(range(256)) * 1000
    async with fal.websocket("emulator/raw") as ws:
        sent = {"base64": base64.b64encode(image).decode(), "content_type": "image/png"}
        assert await ws.run(sent) == image


async def test_a_body_that_looks_like_a_meta_message_is_a_body(fal: AsyncFal) -> None:
    async with fal.websocket(ECHO) as ws:
        for body in (
            {"type": "end", "request_id": "another"},
            {"type": "start", "request_id": "x"},
        ):
            assert await ws.run(body) == body


async def test_many_tasks_share_one_connection_and_each_gets_its_own_answer(
    emu: Emulator, fal: AsyncFal
) -> None:
    async with fal.websocket(ECHO) as ws:
        outputs = await asyncio.gather(*(ws.run({"i": i}) for i in range(50)))
    assert outputs == [{"i": i} for i in range(50)]
    assert emu.requests["connect"] == 1


async def test_a_thousand_payloads_go_over_one_socket_in_order(
    emu: Emulator, fal: AsyncFal
) -> None:
    async with fal.websocket(ECHO) as ws:
        outputs = [output async for output in ws.map({"i": i} for i in range(1000))]
    assert outputs == [{"i": i} for i in range(1000)]
    assert (emu.requests["connect"], emu.ledger.billed(), emu.peak_in_flight) == (1, 1000, 1)


# --- map ------------------------------------------------------------------------------------------------


async def test_inputs_are_taken_no_further_ahead_than_told(emu: Emulator, fal: AsyncFal) -> None:
    go = held(emu)
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield {"i": taken}

    async with fal.websocket("me/held", ahead=3) as ws:
        outputs = ws.map(endless())
        first = asyncio.create_task(anext(outputs))
        await emu.until(lambda: emu.in_flight == 1)
        await turns()
        assert taken == 3
        go.set()
        assert await first == {"i": 1}
        assert taken == 3
        assert await anext(outputs) == {"i": 2}
        assert taken == 4


async def test_an_output_does_not_wait_for_the_next_input(fal: AsyncFal) -> None:
    more = asyncio.Event()

    async def typed_slowly() -> AsyncIterator[dict[str, int]]:
        yield {"i": 1}
        await more.wait()
        yield {"i": 2}

    async with fal.websocket(ECHO) as ws:
        outputs = ws.map(typed_slowly())
        assert await anext(outputs) == {"i": 1}
        more.set()
        assert [output async for output in outputs] == [{"i": 2}]


async def test_a_failure_is_raised_in_its_place_and_the_rest_goes_on(fal: AsyncFal) -> None:
    inputs = [{"text": "1"}, {"status": 422, "text": "{}"}, {"bad": object()}, {"text": "4"}]
    said: list[Any] = []
    async with fal.websocket("emulator/raw", result_type=bytes) as ws:
        outputs = ws.map(inputs)
        while True:
            try:
                said.append(await anext(outputs))
            except FalError as error:
                said.append(type(error))
            except StopAsyncIteration:
                break
    assert said == [b"1", ModelError, InputError, b"4"]


async def test_failures_may_be_handed_out(fal: AsyncFal) -> None:
    inputs = [{"text": "1"}, {"status": 500, "text": "x"}, {"text": "3"}]
    async with fal.websocket("emulator/raw", result_type=bytes) as ws:
        outputs = [o async for o in ws.map(inputs, return_errors=True)]
    assert (outputs[0], outputs[2]) == (b"1", b"3")
    assert isinstance(outputs[1], ServerError)


async def test_what_was_paid_for_survives_whoever_is_cancelled_while_he_waits(
    emu: Emulator, fal: AsyncFal
) -> None:
    go = held(emu)
    async with fal.websocket("me/held") as ws:
        outputs = ws.map([{"i": 1}, {"i": 2}])
        first = asyncio.create_task(anext(outputs))
        await emu.until(lambda: emu.in_flight == 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await first
        assert caught.value.verdict.billing is Billing.UNKNOWN  # type: ignore[attr-defined]
        go.set()
        assert [output async for output in outputs] == [{"i": 1}, {"i": 2}]
    assert emu.ledger.billed() == 2


async def test_an_input_that_fails_to_come_is_the_callers_error(fal: AsyncFal) -> None:
    async def failing() -> AsyncIterator[Any]:
        yield {"i": 1}
        raise ZeroDivisionError

    async with fal.websocket(ECHO) as ws:
        outputs = ws.map(failing())
        with pytest.raises(ZeroDivisionError):
            await all_into([], outputs)


@pytest.mark.parametrize("inputs", ["text", b"bytes", 3, None])
async def test_inputs_are_an_iterable_of_inputs(fal: AsyncFal, inputs: Any) -> None:
    async with fal.websocket(ECHO) as ws:
        with pytest.raises(InputError):
            ws.map(inputs)


async def test_leaving_in_the_middle_leaves_nothing_behind(emu: Emulator, fal: AsyncFal) -> None:
    async def forever() -> AsyncIterator[dict[str, int]]:
        yield {"i": 1}
        await asyncio.Event().wait()

    async with fal.websocket(ECHO) as ws:
        outputs = ws.map(forever())
        async for _ in outputs:
            break
        waiting = asyncio.create_task(anext(outputs))
        await turns()
    with pytest.raises(SessionError):
        await waiting
    with pytest.raises(SessionError):
        await anext(outputs)
    with pytest.raises(SessionError):
        await ws.run({})
    await emu.until(lambda: emu.in_flight == 0)


# --- stream ---------------------------------------------------------------------------------------------

EVENTS = 'data: {"number": 1}\n\nevent: more\ndata: {"number": 2}\n\ndata: that is all\n\n'


async def test_events_come_one_by_one(fal: AsyncFal) -> None:
    async with fal.websocket("emulator/raw") as ws:
        stream = ws.stream({"text": EVENTS, "content_type": "text/event-stream"})
        assert [event async for event in stream] == [{"number": 1}, {"number": 2}, b"that is all"]


async def test_events_may_be_structured_and_one_that_does_not_fit_is_told(fal: AsyncFal) -> None:
    async with fal.websocket("emulator/raw", result_type=Numbered) as ws:
        stream = ws.stream({"text": EVENTS, "content_type": "text/event-stream"})
        seen: list[Any] = []
        with pytest.raises(StructureError) as caught:
            await all_into(seen, stream)
        assert seen == [Numbered(1), Numbered(2)]
        assert caught.value.billing is Billing.BILLED


async def test_a_model_that_streams_does_so_here_too(emu: Emulator, fal: AsyncFal) -> None:
    go = asyncio.Event()

    @emu.model("me/counts")
    async def count(input: Any) -> AsyncIterator[dict[str, int]]:
        yield {"number": 1}
        await go.wait()
        yield {"number": 2}

    async with fal.websocket("me/counts/stream", result_type=Numbered) as ws:
        stream = ws.stream({})
        assert await anext(stream) == Numbered(1)
        go.set()
        assert [event async for event in stream] == [Numbered(2)]


async def test_other_bodies_stream_in_pieces_of_bytes(fal: AsyncFal) -> None:
    async with fal.websocket("emulator/raw") as ws:
        stream = ws.stream({"text": "x" * 200_000})
        pieces = [piece async for piece in stream]
    assert len(pieces) == 4
    assert b"".join(pieces) == b"x" * 200_000


async def test_a_stream_that_is_refused_raises_before_its_first_event(fal: AsyncFal) -> None:
    async with fal.websocket("emulator/refuse") as ws:
        with pytest.raises(ModelError) as caught:
            await anext(ws.stream({"type": "content_policy_violation"}))
    assert caught.value.error_type == "content_policy_violation"


async def test_whoever_leaves_a_stream_does_not_hold_up_the_others(fal: AsyncFal) -> None:
    async with fal.websocket("emulator/raw", result_type=bytes) as ws:
        async with aclosing(ws.stream({"text": "x" * 5_000_000})) as stream:
            async for _ in stream:
                break
        assert await ws.run({"text": "next"}) == b"next"


async def test_a_slow_consumer_makes_the_other_end_wait(emu: Emulator, fal: AsyncFal) -> None:
    size = 40_000_000
    async with fal.websocket("emulator/raw", result_type=bytes) as ws:
        stream = ws.stream({"text": "x" * size})
        first = await anext(stream)
        await turns(2000)
        exchange = ws._line._connection.waiting[0]  # type: ignore[union-attr]
        assert exchange._pieces.qsize() * len(first) <= 16 * 65_536
        assert not exchange.done.done()
        assert len(first) + sum([len(piece) async for piece in stream]) == size


# --- failures -------------------------------------------------------------------------------------------

FAILURES: dict[str, tuple[str, dict[str, Any]]] = {
    "refused": ("emulator/refuse", {"type": "content_policy_violation"}),
    "refused for nothing": ("emulator/refuse", {"billed": False, "units": 0}),
    "invalid": ("fal-ai/fast-sdxl", {"prompt": 3}),
    "crashed": ("emulator/crash", {"error_type": "runner_disconnected"}),
    "never started": ("emulator/crash", {"error_type": "startup_timeout"}),
    "unhandled": ("emulator/crash", {"how": "exception"}),
    "declared": ("emulator/crash", {"how": "declared", "status": 418}),
    "empty": ("emulator/raw", {"text": "", "content_type": "application/json"}),
    "no JSON": ("emulator/raw", {"text": "{", "content_type": "application/json"}),
    "no such path": ("fal-ai/fast-sdxl/nowhere", {}),
    "redirected": ("emulator/raw", {"status": 307, "headers": {"Location": "http://x.invalid"}}),
}


@pytest.mark.parametrize(("model", "input"), FAILURES.values(), ids=FAILURES)
async def test_a_failure_is_that_of_a_direct_call(
    emu: Emulator, model: str, input: dict[str, Any]
) -> None:
    async with AsyncFal(hosts=emu.hosts, retry=RetryPolicy.never(), key=KEY) as fal:
        with pytest.raises(FalError) as direct:
            await fal.run(model, input)
        async with fal.websocket(model) as ws:
            with pytest.raises(FalError) as caught:
                await ws.run(input)
            assert await fal.run(ECHO, {}) == {}
    for fact in ("what", "billing", "retryable", "status", "error_type", "details", "attempts"):
        assert getattr(caught.value, fact) == getattr(direct.value, fact), fact
    assert type(caught.value) is type(direct.value)
    assert caught.value.request_id
    assert_discreet(caught.value)


async def test_what_was_on_its_way_is_lost_once_and_the_rest_goes_over_a_new_connection(
    emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add("socket_drop", operation="websocket", nth=2, events=0)
    async with fal.websocket(ECHO, ahead=3) as ws:
        outcomes = await asyncio.gather(
            *(ws.run({"i": i}) for i in range(8)), return_exceptions=True
        )
    lost = [o for o in outcomes if isinstance(o, BaseException)]
    assert outcomes[0] == {"i": 0}
    assert 1 <= len(lost) <= 3
    for error in lost:
        assert isinstance(error, ConnectionLostError)
        assert error.billing is Billing.UNKNOWN
        assert error.attempts == 1
    assert outcomes[-4:] == [{"i": i} for i in range(4, 8)]
    assert emu.requests["connect"] == 2
    assert len(emu.ledger) == 8 - len(lost) + 1  # the one that met the fault has run


async def test_an_answer_that_breaks_off_was_billed(emu: Emulator, fal: AsyncFal) -> None:
    emu.faults.add("socket_drop", operation="websocket", events=2)
    async with fal.websocket("emulator/raw") as ws:
        with pytest.raises(BodyBrokenError) as caught:
            await ws.run({"text": "x" * 100_000})
    assert caught.value.billing is Billing.BILLED
    assert caught.value.body == b"x" * 65_536
    assert caught.value.request_id


async def test_a_stream_that_breaks_off_gives_what_came_first(emu: Emulator, fal: AsyncFal) -> None:
    emu.faults.add("socket_drop", operation="websocket", events=3)
    seen: list[Any] = []
    async with fal.websocket("emulator/raw") as ws:
        stream = ws.stream({"text": EVENTS, "content_type": "text/event-stream"})
        with pytest.raises(BodyBrokenError) as caught:
            await all_into(seen, stream)
    assert seen == [{"number": 1}, {"number": 2}]
    assert caught.value.billing is Billing.BILLED


async def test_a_failure_that_breaks_off_is_known_by_its_status(
    emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add("socket_drop", operation="websocket", events=1)
    async with fal.websocket("emulator/crash") as ws:
        with pytest.raises(ServerError) as caught:
            await ws.run({"how": "exception"})
    assert caught.value.billing is Billing.NOT_BILLED


async def test_a_close_code_is_explained_and_words_of_the_server_are_kept_discreet(
    emu: Emulator,
) -> None:
    reason = f"too busy for {PROMPT}".encode()
    emu.faults.add("socket_close", operation="websocket", status=1013, body=reason, events=0)
    async with (
        AsyncFal(hosts=emu.hosts, key=KEY) as fal,
        fal.websocket(ECHO) as ws,
    ):
        with pytest.raises(ConnectionLostError, match=r"1013 .*try again later") as caught:
            await ws.run({"prompt": PROMPT})
    assert_discreet(caught.value)


@pytest.mark.parametrize("kind", ["socket_garbage", "socket_unknown"])
async def test_a_frame_that_nobody_understands_breaks_nothing(
    emu: Emulator, fal: AsyncFal, kind: str
) -> None:
    emu.faults.add(kind, operation="websocket", events=0)
    async with fal.websocket(ECHO) as ws:
        assert await ws.run({"i": 1}) == {"i": 1}


async def test_a_failure_after_a_success_has_begun_may_have_been_billed(
    emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add("socket_error", operation="websocket", events=1, times=1)
    async with fal.websocket(ECHO) as ws:
        with pytest.raises(ServerError) as caught:
            await ws.run({"i": 1})
        assert caught.value.billing is not Billing.NOT_BILLED
        assert await ws.run({"i": 2}) == {"i": 2}


@in_virtual_time
async def test_a_failure_that_never_began_is_no_one_elses_answer() -> None:
    async with Emulator() as emu, AsyncFal(hosts=emu.hosts) as fal, fal.websocket(ECHO) as ws:
        emu.faults.add("socket_error", operation="websocket", events=0, times=1)
        outputs = [output async for output in ws.map([{"i": 1}, {"i": 2}], return_errors=True)]
    assert isinstance(outputs[0], ServerError)
    assert outputs[0].billing is Billing.UNKNOWN
    assert outputs[1] == {"i": 2}


async def test_an_answer_beyond_the_limit_was_billed(emu: Emulator) -> None:
    async with (
        AsyncFal(hosts=emu.hosts, max_answer_bytes=100_000) as fal,
        fal.websocket("emulator/raw") as ws,
    ):
        with pytest.raises(BodyTooLargeError) as caught:
            await ws.run({"text": "x" * 200_000})
        assert caught.value.billing is Billing.BILLED
        assert await ws.run({"text": "y"}) == b"y"


async def test_what_cannot_be_sent_is_refused_before_anything_is(
    emu: Emulator, fal: AsyncFal
) -> None:
    async with fal.websocket(ECHO) as ws:
        with pytest.raises(InputError):
            await ws.run({"a": float("nan")})
    for wrong in ({"ahead": 0}, {"ahead": True}, {"key": ""}, {"timeout": -1}):
        with pytest.raises(InputError):
            fal.websocket(ECHO, **wrong)  # type: ignore[call-overload]
    with pytest.raises(InputError):
        fal.websocket("no model")
    assert len(emu.ledger) == 0


# --- the handshake --------------------------------------------------------------------------------------


async def entered(fal: AsyncFal, model: str = ECHO) -> None:
    async with fal.websocket(model):
        pass


async def test_an_unknown_key_is_refused_with_fals_own_words() -> None:
    async with Emulator(keys={"other:key"}) as emu, AsyncFal(hosts=emu.hosts, key=KEY) as fal:
        with pytest.raises(AuthenticationError, match="No user found") as caught:
            await entered(fal)
        assert caught.value.billing is Billing.NOT_BILLED
        assert_discreet(caught.value)


async def test_a_locked_account_says_why() -> None:
    async with (
        Emulator(locked={KEY: "Exhausted balance"}) as emu,
        AsyncFal(hosts=emu.hosts, key=KEY) as fal,
    ):
        with pytest.raises(AccountLockedError) as caught:
            await entered(fal)
        assert caught.value.reason == "Exhausted balance"


async def test_an_unknown_application_is_not_found(fal: AsyncFal) -> None:
    with pytest.raises(NotFoundError):
        await entered(fal, "no/such")


async def test_the_load_balancers_page_is_one_and_nothing_was_billed(
    emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add("ingress_502", operation="connect")
    with pytest.raises(GatewayError) as caught:
        await entered(fal)
    assert caught.value.billing is Billing.NOT_BILLED


async def test_a_redirect_is_not_followed(emu: Emulator, fal: AsyncFal) -> None:
    emu.faults.add("redirect", operation="connect", location=f"{emu.url}/elsewhere")
    with pytest.raises(RedirectError) as caught:
        await entered(fal)
    assert caught.value.location == f"{emu.url}/elsewhere"
    assert emu.requests["connect"] == 1


@pytest.mark.parametrize("kind", ["reset", "close", "bad_status_line", "half_head"])
async def test_a_handshake_that_breaks_costs_nothing(
    emu: Emulator, fal: AsyncFal, kind: str
) -> None:
    emu.faults.add(kind, operation="connect")
    with pytest.raises(ConnectError) as caught:
        await entered(fal)
    assert caught.value.billing is Billing.NOT_BILLED


@pytest.mark.parametrize("kind", ["not_json", "half_body", "client_cancelled"])
async def test_whatever_answers_a_handshake_it_costs_nothing(
    emu: Emulator, fal: AsyncFal, kind: str
) -> None:
    emu.faults.add(kind, operation="connect", status=200)
    with pytest.raises(FalError) as caught:
        await entered(fal)
    assert caught.value.billing is Billing.NOT_BILLED
    assert not isinstance(caught.value, RedirectError)


async def test_no_connection_is_tried_again_and_then_told() -> None:
    emu = await Emulator().start()
    await emu.stop()
    async with AsyncFal(hosts=emu.hosts, retry=RetryPolicy(backoff=0, sends=3)) as fal:
        with pytest.raises(ConnectError) as caught:
            await entered(fal)
    assert caught.value.attempts == 3


# --- the account's limit --------------------------------------------------------------------------------


async def test_a_refused_payload_waits_for_a_slot_and_is_sent_again(
    emu: Emulator, fal: AsyncFal
) -> None:
    emu.faults.add("too_many_requests", operation="websocket", nth=(1, 2), limit=1)
    async with fal.websocket(ECHO) as ws:
        outputs = [o async for o in ws.map([{"i": 1}, {"i": 2}, {"i": 3}])]
    assert outputs == [{"i": 1}, {"i": 2}, {"i": 3}]
    assert emu.ledger.billed() == 3
    limits = fal.limits
    assert limits is not None
    assert limits.in_flight == 0


@pytest.mark.parametrize("instant", range(12))
async def test_whoever_is_cancelled_again_while_he_leaves_holds_no_slot(
    emu: Emulator, fal: AsyncFal, instant: int
) -> None:
    """... not even the one that was kept for a payload which was refused and is to be sent again."""
    emu.faults.add("too_many_requests", operation="websocket", nth=1, limit=1)
    go = held(emu)
    async with asyncio.TaskGroup() as group:

        async def use() -> None:
            async with fal.websocket("me/held", ahead=2) as ws:
                await asyncio.gather(ws.run({"i": 1}), ws.run({"i": 2}))

        using = group.create_task(use())
        await emu.until(lambda: emu.in_flight == 1)  # the second one ...
        await turns()  # ... and the first has heard that it was refused
        using.cancel()
        await turns(instant)
        using.cancel()
        await asyncio.wait([using])
    assert fal.limits is not None
    assert fal.limits.in_flight == 0
    go.set()
    await emu.until(lambda: emu.in_flight == 0)


@pytest.mark.parametrize("instant", range(6))
async def test_whoever_is_cancelled_again_while_he_leaves_is_told_what_it_may_have_cost(
    emu: Emulator, fal: AsyncFal, instant: int
) -> None:
    go = held(emu)

    async def use() -> None:
        async with fal.websocket("me/held") as ws:
            await ws.run({"i": 1})

    using = asyncio.create_task(use())
    await emu.until(lambda: emu.in_flight == 1)
    using.cancel()
    await turns(instant)
    using.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await using
    assert caught.value.verdict.billing is Billing.UNKNOWN
    go.set()


@in_virtual_time
async def test_a_refused_payload_holds_no_slot_while_nobody_asks_for_its_output() -> None:
    async with (
        Emulator() as emu,
        AsyncFal(hosts=emu.hosts, limit=1, retry=RetryPolicy(backoff=0)) as fal,
        fal.websocket(ECHO) as ws,
    ):
        emu.faults.add("too_many_requests", operation="websocket", nth=2, limit=1)
        outputs = []
        async with asyncio.timeout(60):
            async for output in ws.map([{"i": 1}, {"i": 2}, {"i": 3}]):
                await turns()  # the second one was refused, and is not asked for yet
                outputs.append((output, await fal.run(ECHO, output)))
        assert outputs == [({"i": i}, {"i": i}) for i in (1, 2, 3)]
        assert emu.ledger.billed() == 6


async def test_whoever_wants_no_waiting_is_told_of_a_refusal(emu: Emulator, fal: AsyncFal) -> None:
    emu.faults.add("too_many_requests", operation="websocket", nth=1, limit=7)
    async with fal.websocket(ECHO, retry=RetryPolicy.never()) as ws:
        with pytest.raises(TooManyRequestsError) as caught:
            await ws.run({"i": 1})
        assert (caught.value.limit, caught.value.billing) == (7, Billing.NOT_BILLED)
        assert await ws.run({"i": 2}) == {"i": 2}
    assert fal.limits is not None
    assert fal.limits.in_flight == 0


async def test_a_connection_holds_one_slot_while_anything_is_on_its_way(emu: Emulator) -> None:
    go = held(emu)
    async with AsyncFal(hosts=emu.hosts, limit=1) as fal, fal.websocket("me/held") as ws:
        calls = [asyncio.create_task(ws.run({"i": i})) for i in range(3)]
        await emu.until(lambda: emu.in_flight == 1)
        other = asyncio.create_task(fal.run(ECHO, {}))
        await turns()
        assert emu.requests["run"] == 0
        go.set()
        await asyncio.gather(*calls)
        assert await other == {}


@in_virtual_time
async def test_without_a_brake_a_refusal_is_waited_out() -> None:
    async with Emulator() as emu, AsyncFal(hosts=emu.hosts, limit=None) as fal:
        emu.faults.add("too_many_requests", operation="websocket", nth=(1, 2))
        emu.faults.add("too_many_requests", operation="connect", nth=1, retry_after=3)
        begun = asyncio.get_running_loop().time()
        async with fal.websocket(ECHO) as ws:
            assert asyncio.get_running_loop().time() >= begun + 3
            assert await ws.run({}) == {}
        assert 4.5 <= asyncio.get_running_loop().time() - begun <= 7


# --- leaving --------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_payload_that_is_not_answered_in_time_may_have_been_billed() -> None:
    async with (
        Emulator() as emu,
        AsyncFal(hosts=emu.hosts) as fal,
        fal.websocket("emulator/sleep", timeout=10) as ws,
    ):
        with pytest.raises(CallTimeoutError) as caught:
            await ws.run({"seconds": 20})
        assert caught.value.billing is Billing.UNKNOWN
        # The runs behind it wait for it: their time begins with their slot, and passes, too.
        with pytest.raises(CallTimeoutError):
            await ws.run({"seconds": 1})
        await seconds(30)
        assert await ws.run({"seconds": 1}) == {"slept": 1}
        assert emu.ledger.billed() == 3


@pytest.mark.parametrize("kind", ["ingress_502", "ingress_504"])
async def test_what_a_load_balancer_says_of_a_payload_leaves_its_cost_unknown(
    emu: Emulator, fal: AsyncFal, kind: str
) -> None:
    emu.faults.add(kind, operation="websocket", ran=True)
    async with fal.websocket(ECHO) as ws:
        with pytest.raises(GatewayError) as caught:
            await ws.run({"i": 1})
    (execution,) = emu.ledger
    assert (caught.value.billing, execution.billed) == (Billing.UNKNOWN, True)
    assert caught.value.request_id == execution.request_id


@pytest.mark.parametrize("cancelled", [False, True])
@in_virtual_time
async def test_who_waits_for_room_behind_what_was_given_up_runs_out_of_time(
    cancelled: bool,
) -> None:
    async with Emulator() as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("socket_stall", operation="websocket", events=0, times=1)
        async with fal.websocket(ECHO, ahead=1, timeout=10) as ws:
            if cancelled:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(5):
                        await ws.run({"i": 1})
            else:
                first = asyncio.create_task(ws.run({"i": 1}))
                await turns()
                waiting = asyncio.create_task(ws.run({"i": 2}))  # since before it was given up
                with pytest.raises(CallTimeoutError):
                    await first
                with pytest.raises(CallTimeoutError) as caught:
                    await waiting
                assert caught.value.billing is Billing.NOT_BILLED
            with pytest.raises(CallTimeoutError) as caught:
                await ws.run({"i": 3})
            assert caught.value.billing is Billing.NOT_BILLED


async def test_an_answer_that_nobody_waits_for_any_more_is_no_one_elses(
    emu: Emulator, fal: AsyncFal
) -> None:
    go = held(emu)
    async with fal.websocket("me/held") as ws:
        first = asyncio.create_task(ws.run({"i": 1}))
        second = asyncio.create_task(ws.run({"i": 2}))
        await emu.until(lambda: emu.in_flight == 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await first
        assert caught.value.verdict.billing is Billing.UNKNOWN  # type: ignore[attr-defined]
        go.set()
        assert await second == {"i": 2}


async def test_whoever_is_cancelled_before_it_was_sent_pays_nothing(
    emu: Emulator, fal: AsyncFal
) -> None:
    go = held(emu)
    async with fal.websocket("me/held", ahead=1) as ws:
        first = asyncio.create_task(ws.run({"i": 1}))
        await emu.until(lambda: emu.in_flight == 1)
        second = asyncio.create_task(ws.run({"i": 2}))
        await turns()
        second.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await second
        assert caught.value.verdict.billing is Billing.NOT_BILLED  # type: ignore[attr-defined]
        go.set()
        assert await first == {"i": 1}
        assert await ws.run({"i": 3}) == {"i": 3}
    assert emu.ledger.billed() == 2


@pytest.mark.parametrize("use", ["run", "map", "stream"])
async def test_closing_the_session_ends_what_waits(emu: Emulator, use: str) -> None:
    held(emu)
    fal = AsyncFal(hosts=emu.hosts)
    async with fal.websocket("me/held") as ws:
        calls: dict[str, Callable[[], Any]] = {
            "run": lambda: ws.run({}),
            "map": lambda: anext(ws.map([{}])),
            "stream": lambda: anext(ws.stream({})),
        }
        waiting = asyncio.ensure_future(calls[use]())
        await emu.until(lambda: emu.in_flight == 1)
        await fal.close()
        with pytest.raises(SessionError) as caught:
            await waiting
        assert caught.value.billing is Billing.UNKNOWN
        with pytest.raises(SessionError):
            await ws.run({})


async def test_after_the_sessions_end_what_was_sent_ahead_is_not_said_to_be_free(
    emu: Emulator,
) -> None:
    go = held(emu)
    async with AsyncFal(hosts=emu.hosts) as fal, fal.websocket("me/held", ahead=3) as ws:
        outputs = ws.map([{"i": 1}, {"i": 2}, {"i": 3}], return_errors=True)
        first = asyncio.create_task(anext(outputs))
        await emu.until(lambda: emu.in_flight == 1)
        await fal.close()
        told = [await first, await anext(outputs), await anext(outputs)]
        go.set()
    assert [error.billing for error in told] == [Billing.UNKNOWN] * 3


async def test_a_stream_whose_session_ends_is_not_said_to_be_free(emu: Emulator) -> None:
    async with AsyncFal(hosts=emu.hosts) as fal, fal.websocket("fal-ai/any-llm/stream") as ws:
        events = ws.stream({"prompt": PROMPT})
        await anext(events)
        await fal.close()
        with pytest.raises(SessionError) as caught:
            await anext(events)
    assert caught.value.billing is Billing.BILLED
    assert caught.value.attempts == 1


async def test_an_output_that_is_here_is_handed_out_after_the_sessions_end(emu: Emulator) -> None:
    async with AsyncFal(hosts=emu.hosts) as fal, fal.websocket(ECHO, ahead=3) as ws:
        outputs = ws.map([{"i": 1}, {"i": 2}, {"i": 3}])
        assert await anext(outputs) == {"i": 1}
        await emu.until(lambda: emu.ledger.billed() == 3)
        await turns()
        await fal.close()
        assert [output async for output in outputs] == [{"i": 2}, {"i": 3}]


async def test_an_input_whose_sending_is_interrupted_is_not_left_out(emu: Emulator) -> None:
    async with AsyncFal(hosts=emu.hosts, limit=1) as fal, fal.websocket(ECHO) as ws:
        go = held(emu)
        other = asyncio.create_task(fal.run("me/held", {}))
        await emu.until(lambda: emu.in_flight == 1)
        outputs = ws.map([{"i": 1}, {"i": 2}])
        waiting = asyncio.create_task(anext(outputs))
        await turns()
        waiting.cancel()  # it waits for a slot
        with pytest.raises(asyncio.CancelledError) as caught:
            await waiting
        assert caught.value.verdict.billing is Billing.NOT_BILLED
        go.set()
        await other
        assert [output async for output in outputs] == [{"i": 1}, {"i": 2}]
        assert emu.ledger.billed(ECHO) == 2


async def test_a_session_that_is_closed_opens_nothing(emu: Emulator) -> None:
    fal = AsyncFal(hosts=emu.hosts)
    await fal.close()
    with pytest.raises(SessionError):
        await entered(fal)


async def test_an_exception_in_the_block_leaves_nothing_behind(
    emu: Emulator, fal: AsyncFal
) -> None:
    held(emu)
    running: list[asyncio.Task[Any]] = []

    async def fail() -> None:
        async with fal.websocket("me/held") as ws:
            running.append(asyncio.create_task(ws.run({})))
            await emu.until(lambda: emu.in_flight == 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    with pytest.raises(ConnectionLostError) as caught:
        await running[0]
    assert caught.value.billing is Billing.UNKNOWN
    assert fal.limits is not None
    assert fal.limits.in_flight == 0


async def test_a_connection_that_the_server_ends_between_payloads_is_made_again(
    fal: AsyncFal, emu: Emulator
) -> None:
    async with fal.websocket(ECHO) as ws:
        assert await ws.run({"i": 1}) == {"i": 1}
        for connection in emu._listener.http.connections:  # type: ignore[union-attr]
            connection.transport.close()  # type: ignore[union-attr]
        await turns(50)
        assert await ws.run({"i": 2}) == {"i": 2}
    assert emu.requests["connect"] == 2
    assert emu.ledger.billed() == 2


async def test_options_of_the_call_travel_with_the_handshake(emu: Emulator, fal: AsyncFal) -> None:
    async with fal.websocket(
        "emulator/request", hint="here", tags={"a": "b"}, headers={"x-own": "1"}, key=KEY
    ) as ws:
        seen = await ws.run({"i": 1})
    assert seen["headers"]["x-fal-runner-hint"] == "here"
    assert seen["headers"]["x-own"] == "1"
    assert seen["key_id"] == KEY.partition(":")[0]


async def test_a_borrowed_session_lends_its_connector_and_stays_open(emu: Emulator) -> None:
    async with aiohttp.ClientSession() as own, AsyncFal(hosts=emu.hosts, http_session=own) as fal:
        async with fal.websocket(ECHO) as ws:
            assert await ws.run({}) == {}
            await fal.close()
            assert not own.closed
        async with own.get(emu.url) as response:
            assert response.status == 200
