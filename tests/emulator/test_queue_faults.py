"""Faults of the queue: on every operation, on attempts, in what is said, within streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from fal_async.emulator import Emulator, Fault, RequeueSettings
from fal_async.emulator.chance import Chance
from fal_async.emulator.faults import KINDS, FaultBook
from fal_async.emulator.misreporting import misreport
from fal_async.protocol import wire
from tests.emulator.queue_caller import Answer, Caller, calling

pytestmark = pytest.mark.usefixtures("silent", "unheard")

OPERATIONS = ("submit", "status", "status_stream", "result", "cancel")
ON_THE_WIRE = [kind for kind, about in KINDS.items() if not about.where]
ANSWERED = {
    **wire.REQUEST_ERROR_STATUS,
    "answer": 200,
    "redirect": 307,
    "too_many_requests": 429,
    "ingress_502": 502,
    "ingress_503": 503,
    "ingress_504": 504,
    "start_timeout": 504,
}


@pytest.fixture
async def caller(frozen: Emulator) -> AsyncIterator[Caller]:
    async with calling(frozen, timeout=aiohttp.ClientTimeout(0.2)) as it:
        yield it


async def ask(caller: Caller, operation: str, submission: dict[str, Any]) -> Answer | str:
    """What comes back, or what went wrong."""
    url = submission["response_url"]
    method, url = {
        "submit": ("POST", "emulator/work"),
        "status": ("GET", f"{url}/status"),
        "status_stream": ("GET", f"{url}/status/stream"),
        "result": ("GET", url),
        "cancel": ("PUT", f"{url}/cancel"),
    }[operation]
    try:
        return await caller.ask(method, url, data=b"{}", allow_redirects=False)
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", ON_THE_WIRE)
async def test_every_fault_of_a_direct_call_befalls_every_operation(
    caller: Caller, kind: str, operation: Any
) -> None:
    submission = await caller.submit("emulator/echo", {"a": 1})
    await caller.emu.advance(0)
    settings = {"slow": {"seconds": 0}, "huge_body": {"size": 4096}}.get(kind, {})
    fault = caller.emu.faults.add(Fault(kind, operation=operation, **settings))
    answer = await ask(caller, operation, submission)
    assert caller.emu.faults.fired(fault) == 1
    if kind in ANSWERED:
        assert isinstance(answer, Answer)
        assert answer.status == ANSWERED[kind]
    elif isinstance(answer, Answer):
        assert answer.status in {200, 400}
    else:
        assert answer.endswith("Error")
    accepted = operation == "submit" and fault.ran
    assert len(caller.emu.queue) == 1 + accepted


@pytest.mark.parametrize("ran", [True, False])
async def test_a_submit_is_accepted_before_the_fault_or_not_at_all(
    caller: Caller, ran: bool
) -> None:
    caller.emu.faults.add("reset", operation="submit", ran=ran)
    with pytest.raises(aiohttp.ClientError):
        await caller.submit("emulator/echo")
    await caller.emu.advance(0)
    assert len(caller.emu.queue) == caller.emu.ledger.billed() == int(ran)


@pytest.mark.parametrize(("ran", "state"), [(True, "COMPLETED"), (False, "IN_PROGRESS")])
async def test_a_cancel_has_its_effect_before_the_fault_or_none(
    caller: Caller, ran: bool, state: str
) -> None:
    submission = await caller.work(10, cancellable=True)
    caller.emu.faults.add("close", operation="cancel", ran=ran)
    with pytest.raises(aiohttp.ClientError):
        await caller.cancel(submission)
    await caller.emu.advance(0)
    assert caller.emu.queue.request(submission["request_id"]).state == state


async def test_a_submit_that_is_turned_away_leaves_no_fault_to_come_after(caller: Caller) -> None:
    fault = caller.emu.faults.add("stall", operation="submit", times=1)
    answer = await caller.ask("POST", "no/body", json={})
    assert answer.status == 404
    assert caller.emu.faults.fired(fault) == 0


async def test_a_rule_names_an_operation_or_all_but_attempts(caller: Caller) -> None:
    caller.emu.faults.add("ingress_503", operation="any", model="emulator/echo", nth=(2, 4))
    url = f"{caller.emu.hosts.run}/emulator/echo"
    submission = await caller.submit("emulator/echo")
    statuses = [
        (await caller.ask("POST", url, json={})).status,
        (await caller.status(submission)).status,
        (await caller.cancel(submission)).status,
    ]
    assert statuses == [503, 200, 503]
    assert caller.emu.faults.fired() == 2


async def test_a_rule_for_a_model_covers_what_is_asked_of_its_requests(caller: Caller) -> None:
    caller.emu.faults.add("ingress_502", operation="status", model="fal-ai/flux/dev")
    dev, schnell = [
        await caller.submit(f"fal-ai/flux/{name}", {"prompt": "a cat"})
        for name in ("dev", "schnell")
    ]
    await caller.emu.advance(0)
    assert (await caller.status(dev)).status == 502
    assert (await caller.status(schnell)).status == 200


# --- attempts


@pytest.mark.parametrize(
    ("kind", "ran"), [("runner_disconnected", True), ("runner_connection_refused", False)]
)
async def test_an_attempt_fails_and_the_next_one_succeeds(
    caller: Caller, kind: str, ran: bool
) -> None:
    caller.emu.faults.add(kind, operation="attempt", nth=1, model="emulator/work")
    submission = await caller.work(10)
    await caller.emu.advance(10 if ran else 0)
    assert (await caller.status(submission)).json["status"] == "IN_QUEUE"
    await caller.emu.advance(11)
    assert (await caller.result(submission)).status == 200
    assert caller.emu.queue.request(submission["request_id"]).attempts == 2
    assert [(e.fault, e.billed) for e in caller.emu.ledger] == [(kind, False)] * ran + [
        (None, True)
    ]


async def test_a_request_that_fails_each_time_ends_with_the_failure(caller: Caller) -> None:
    caller.emu.faults.add("request_timeout", operation="attempt", billed=True)
    submission = await caller.submit("emulator/echo")
    await caller.emu.advance(60)
    assert caller.emu.queue.request(submission["request_id"]).attempts == 10
    assert len(caller.emu.ledger) == 10
    assert caller.emu.ledger.billed() == 0  # 5xx are never charged
    assert (await caller.result(submission)).json["error_type"] == "request_timeout"


@pytest.mark.parametrize(("status", "billed"), [(422, 1), (500, 0)])
async def test_an_application_may_answer_something_else(
    caller: Caller, status: int, billed: int
) -> None:
    caller.emu.faults.add(
        "answer", operation="attempt", status=status, body=b'{"detail":"no"}', ran=True
    )
    submission = await caller.submit("emulator/echo")
    await caller.emu.advance(0)
    result = await caller.result(submission)
    assert (result.status, result.json) == (status, {"detail": "no"})
    assert caller.emu.ledger.billed() == billed


async def test_a_path_that_no_model_has_fails_by_the_same_rules() -> None:
    requeue = RequeueSettings(pause=0)
    async with Emulator(clock="virtual", requeue=requeue) as emu, calling(emu) as caller:
        emu.faults.add("internal_error", operation="attempt", nth=1)
        submission = await caller.submit("emulator/work/nowhere")
        await emu.advance(0)
        assert (await caller.result(submission)).status == 404
        assert emu.queue.request(submission["request_id"]).attempts == 2
        assert len(emu.ledger) == 0


# --- what is said


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("no_logs", "logs"), ("no_metrics", "metrics"), ("no_queue_position", "queue_position")],
)
async def test_a_key_may_be_missing(kind: str, missing: str) -> None:
    async with Emulator(clock="virtual", limit=0) as emu, calling(emu) as caller:
        emu.faults.add(kind)
        submission = await caller.submit("emulator/echo")
        status = (await caller.status(submission)).json
        async with caller.stream(submission) as stream:
            pass
        for content in (submission, status, stream.statuses[0]):
            assert missing not in content
            assert content["status"] == "IN_QUEUE"


async def test_there_may_be_fields_that_nobody_knows(caller: Caller) -> None:
    caller.emu.faults.add("extra_fields")
    submission = await caller.submit("emulator/echo")
    assert next(iter(submission)) == "eta"
    await caller.emu.advance(0)
    assert (await caller.status(submission)).json["shards"] == [1, "b"]


async def test_there_may_be_a_status_that_nobody_knows_until_it_is_completed(
    caller: Caller,
) -> None:
    caller.emu.faults.add("unknown_status")
    submission = await caller.work(1, steps=1)
    assert submission["status"] == "WARMING_UP"
    async with caller.stream(submission) as stream:
        assert (await caller.status(submission)).json["status"] == "WARMING_UP"
        await caller.emu.advance(1)
    assert stream.words == ["WARMING_UP", "COMPLETED"]
    assert (await caller.status(submission)).json["status"] == "COMPLETED"


def test_what_is_no_status_has_no_other_words() -> None:
    assert misreport("unknown_status", b'{"status":"NOT_FOUND"}') == b'{"status":"NOT_FOUND"}'


# --- streams


@pytest.mark.parametrize(("status", "said"), [(None, 405), (404, 404)])
async def test_a_stream_may_be_refused(caller: Caller, status: int | None, said: int) -> None:
    caller.emu.faults.add("stream_refused", status=status)
    submission = await caller.work(1)
    answer = await caller.ask("GET", submission["status_url"] + "/stream")
    assert answer.status == said
    assert (await caller.status(submission)).status == 202


@pytest.mark.parametrize("events", [0, 1, 2])
@pytest.mark.parametrize(
    ("kind", "end"),
    [("stream_stalls", None), ("stream_ends", "closed"), ("stream_cut", "ClientPayloadError")],
)
async def test_a_stream_may_break_after_some_events(
    kind: str, end: str | None, events: int
) -> None:
    async with Emulator(clock="virtual") as emu, calling(emu) as caller:
        emu.faults.add(kind, events=events)
        submission = await caller.work(28, steps=4)
        async with caller.stream(submission) as stream:
            await emu.advance(60)
            assert len(stream.statuses) == events
            assert stream.end == end
            assert stream.pings == 0
            if kind == "stream_cut":
                assert b"data: {" in stream.text.rpartition(b"\n\n")[2]


async def test_a_stream_that_is_over_before_the_fault_is_whole(caller: Caller) -> None:
    caller.emu.faults.add("stream_stalls", events=3)
    submission = await caller.submit("emulator/echo")
    await caller.emu.advance(0)
    async with caller.stream(submission) as stream:
        assert (stream.words, stream.end) == (["COMPLETED"], "closed")


# --- rules


def test_kinds_know_where_they_belong() -> None:
    assert Fault("no_logs").operation == Fault("stream_cut").operation == "any"
    assert Fault("reset").operation == "run"
    for kind, operation in (
        ("no_logs", "result"),
        ("no_logs", "run"),
        ("stream_cut", "status"),
        ("reset", "attempt"),
        ("bad_request", "attempt"),
    ):
        with pytest.raises(ValueError, match=operation):
            Fault(kind, operation=operation)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no operation"):
        Fault("reset", operation="everything")  # type: ignore[arg-type]


def test_any_covers_what_a_kind_knows_and_no_attempts() -> None:
    book = FaultBook(Chance())
    book.add("reset", operation="any", nth=1)
    assert book.draw("a/b", "attempt") is None
    assert book.draw("a/b", "status") is not None
    book.clear()
    book.add("no_logs", nth=1)
    assert book.draw("a/b", "run") is None
    assert book.draw("a/b", "status") is not None
