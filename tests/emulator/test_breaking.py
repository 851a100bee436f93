"""Each fault, as a plain socket sees it, and what it cost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fal_async.emulator import Emulator, Fault
from fal_async.emulator.breaking import Silence, act_out
from fal_async.emulator.clock import VirtualClock, one_turn
from fal_async.emulator.distorting import Hang, Send
from fal_async.emulator.faults import KINDS
from tests.emulator.raw import MODEL, Heard, ask, connected, listen, post

DIRECT = [kind for kind in KINDS if Fault(kind).operation == "run"]

pytestmark = pytest.mark.usefixtures("silent", "unheard")


async def hear(emu: Emulator, kind: str, **settings: object) -> Heard:
    emu.faults.add(Fault(kind, **settings))  # type: ignore[arg-type]
    return await ask(emu)


@pytest.mark.parametrize("kind", ["reset_on_arrival", "reset"])
async def test_a_reset_is_one(emu: Emulator, kind: str) -> None:
    assert await hear(emu, kind) == Heard(b"", "reset")
    assert emu.ledger.billed() == (kind == "reset")


@pytest.mark.parametrize("ran", [True, False])
@pytest.mark.parametrize("kind", ["close", "half_head", "bad_status_line", "ingress_504", "reset"])
async def test_whether_the_model_has_run_is_as_the_rule_says(
    emu: Emulator, kind: str, ran: bool
) -> None:
    await hear(emu, kind, ran=ran)
    assert len(emu.ledger) == emu.ledger.billed(MODEL) == int(ran)


async def test_a_close_ends_without_a_byte(emu: Emulator) -> None:
    assert await hear(emu, "close") == Heard(b"", "closed")


async def test_a_call_can_be_dropped_before_its_body_was_read(emu: Emulator) -> None:
    emu.faults.add("close_on_arrival")
    head, _, _ = post(headers={"Content-Length": "1000000"}).partition(b"\r\n\r\n")
    assert await ask(emu, head + b"\r\n\r\n{") in {Heard(b"", "closed"), Heard(b"", "reset")}
    assert len(emu.ledger) == 0


@pytest.mark.parametrize(
    ("kind", "end"), [("half_body", "closed"), ("reset_in_body", "reset"), ("cut_short", "closed")]
)
async def test_half_an_answer_is_half_of_it(emu: Emulator, kind: str, end: str) -> None:
    heard = await hear(emu, kind)
    assert heard.end == end
    assert heard.status == 200
    with pytest.raises(ValueError, match=r"."):
        json.loads(heard.body)
    if kind != "cut_short":
        assert int(heard.header("content-length") or 0) > len(heard.body) > 0
    assert emu.ledger.billed() == 1


async def test_broken_chunking_breaks_the_body(emu: Emulator) -> None:
    heard = await hear(emu, "bad_chunk", nth=1)
    assert b"\r\nzz\r\n" in heard.body
    emu.faults.clear()
    heard = await hear(emu, "half_chunk")
    assert int(heard.body.split(b"\r\n")[0], 16) > len(heard.body)


@pytest.mark.parametrize(
    ("kind", "comes"),
    [("stall", False), ("stall_after_head", True), ("stall_in_body", True)],
)
async def test_a_stall_lasts_until_the_caller_leaves(emu: Emulator, kind: str, comes: bool) -> None:
    emu.faults.add(kind)
    async with connected(emu) as (reader, writer):
        writer.write(post())
        await emu.until(lambda: emu.ledger.billed() == 1)
        if comes:
            assert b"\r\n\r\n" in await reader.readuntil(b"\r\n\r\n")
        for _ in range(20):
            await one_turn()
        assert not reader.at_eof()
    assert (await ask(emu, post("/", method="GET"))).status == 200


async def test_a_stall_ends_when_the_emulator_stops() -> None:
    emu = await Emulator(faults=[Fault("stall_after_head")]).start()
    async with connected(emu) as (reader, writer):
        writer.write(post())
        assert await reader.readuntil(b"\r\n\r\n")
        await emu.stop()
        assert (await listen(reader)).data == b""


async def test_drips_come_as_time_passes(frozen: Emulator) -> None:
    frozen.faults.add("slow", seconds=10.0)
    async with connected(frozen) as (reader, writer):
        writer.write(post())
        await frozen.advance(5.0)
        first = await reader.readuntil(b"\r\n\r\n") + await reader.read(2**16)
        end = asyncio.create_task(listen(reader))
        await frozen.advance(4.5)
        assert not end.done()
        await frozen.advance(0.5)
        whole = Heard(first + (await end).data, "closed")
    assert whole.json["prompt"] == "a cat"


async def test_a_caller_may_leave_within_the_drips(frozen: Emulator) -> None:
    frozen.faults.add("slow", seconds=10.0)
    async with connected(frozen) as (_, writer):
        writer.write(post())
        await frozen.advance(2.0)
    await frozen.advance(20.0)
    assert frozen.ledger.billed() == 1


async def test_a_storm_of_429_ends_after_so_many(emu: Emulator) -> None:
    emu.faults.add("too_many_requests", times=2, retry_after=3, limit=7)
    answers = [await ask(emu) for _ in range(3)]
    assert [answer.status for answer in answers] == [429, 429, 200]
    assert answers[0].header("retry-after") == "3"
    assert answers[0].header("x-fal-needs-retry") == "1"
    assert answers[0].json["data"] == {"limit": 7}
    assert (emu.refused, emu.ledger.billed()) == (0, 1)


async def test_the_load_balancers_page_holds_nothing_of_fal(emu: Emulator) -> None:
    heard = await hear(emu, "ingress_502")
    assert heard.status == 502
    assert b"<center>nginx</center>" in heard.body
    assert b"x-fal" not in heard.head
    assert heard.header("content-type") == "text/html"


@pytest.mark.parametrize(
    ("kind", "status"),
    [("runner_disconnected", 503), ("request_timeout", 504), ("internal_error", 500)],
)
async def test_the_platforms_own_failures_are_free(emu: Emulator, kind: str, status: int) -> None:
    heard = await hear(emu, kind, ran=True)
    assert heard.status == status
    assert heard.header("x-fal-error-type") == kind == heard.json["error_type"]
    assert (len(emu.ledger), emu.ledger.billed()) == (1, 0)
    assert next(iter(emu.ledger)).fault == kind


async def test_a_fault_after_the_run_does_not_happen_to_a_call_that_is_turned_away() -> None:
    async with Emulator(keys={"id:secret"}, faults=[Fault("reset", times=1)]) as emu:
        assert (await ask(emu)).status == 401
        assert emu.faults.fired() == 0
        with_key = post(headers={"Authorization": "Key id:secret"})
        assert await ask(emu, with_key) == Heard(b"", "reset")
        assert (await ask(emu, with_key)).status == 200


async def test_a_fault_after_the_run_breaks_a_refusal_too(emu: Emulator) -> None:
    emu.faults.add("half_body")
    heard = await ask(emu, post("/fal.run/emulator/refuse", b"{}"))
    assert heard.status == 422
    assert emu.ledger.billed() == 1


@pytest.mark.parametrize("kind", DIRECT)
async def test_after_any_fault_the_emulator_goes_on(emu: Emulator, kind: str) -> None:
    small: dict[str, Any] = {"size": 100_000, "seconds": 0.01}
    emu.faults.add(kind, times=1, **small)
    async with connected(emu) as (reader, writer):
        writer.write(post())
        await emu.until(lambda: emu.faults.fired() == 1)
        if not kind.startswith("stall"):
            await listen(reader)
    assert (await ask(emu)).status == 200
    assert emu.in_flight == 0


async def test_nothing_is_sent_to_a_caller_who_has_left() -> None:
    class Left:
        transport = None

    response = await act_out([Send(b"late"), Hang()], Left(), VirtualClock())  # type: ignore[arg-type]
    assert isinstance(response, Silence)
