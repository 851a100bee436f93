"""A submit is sent again only where it was certainly not accepted, and its id is had however little came."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from fal_async import (
    AnswerError,
    AsyncFal,
    Billing,
    CallTimeoutError,
    Completed,
    ConnectionLostError,
    FalError,
    InputError,
    LifecyclePreference,
    ModelError,
    RequestHandle,
    RetryPolicy,
    ServerError,
    TooManyRequestsError,
    Verdict,
)
from fal_async.emulator import Emulator, Model, RunnerSettings
from fal_async.emulator.faults import KINDS
from tests.support.scripted_server import (
    MODEL,
    REQUEST_ID,
    Act,
    Script,
    answer,
    head,
    message,
    say_and,
    silence,
    unread_and,
)
from tests.support.secrets import KEY, PROMPT, assert_discreet
from tests.support.virtual_time import in_virtual_time, turns

INPUT = {"prompt": PROMPT}
NOT, MAYBE = Billing.NOT_BILLED, Billing.UNKNOWN
OUTPUT = {"ok": True}
HOOK = "https://hooks.example/fal?id=1&x=ä+b%20c"


def job(**settings: Any) -> Model:
    return Model(id=MODEL, function=lambda _: OUTPUT, **settings)


# --- what is sent ---------------------------------------------------------------------------------------


async def test_a_submit_says_all_that_was_asked_for_and_comes_back_at_once() -> None:
    async with Script(answer(content={"request_id": REQUEST_ID})) as server:
        async with AsyncFal(KEY, hosts=server.hosts) as fal:
            handle = await fal.submit(
                "owner/app/fast",
                INPUT,
                expire=LifecyclePreference(3600),
                start_timeout=30,
                hint="near",
                priority="low",
                webhook_url=HOOK,
                max_queue_length=7,
                store_io=False,
                no_retry=True,
                retry_config={"timeout": 2},
                tags={"team": "a"},
                headers={"X-Mine": "yes"},
            )
        (sent,) = server.requests
    method, target, _ = sent.line.split(" ")
    parts = urlsplit(target)
    assert (method, parts.path) == ("POST", "/queue.fal.run/owner/app/fast")
    assert parse_qsl(parts.query) == [("fal_webhook", HOOK), ("fal_max_queue_length", "7")]
    assert sent.body == b'{"prompt":"%s"}' % PROMPT.encode()
    expected = {
        "authorization": f"Key {KEY}",
        "content-type": "application/json",
        "x-fal-queue-priority": "low",
        "x-fal-no-retry": "1",
        "x-fal-retry-config": '{"timeout":{"retries":2}}',
        "x-fal-request-timeout": "30",
        "x-fal-runner-hint": "near",
        "x-fal-store-io": "0",
        "x-fal-tags": "team=a",
        "x-fal-object-lifecycle-preference": '{"expiration_duration_seconds":3600}',
        "x-mine": "yes",
    }
    assert {name: sent.headers.get(name) for name in expected} == expected
    assert (handle.request_id, handle.application) == (REQUEST_ID, "owner/app")
    assert handle.model == "owner/app/fast"


@pytest.mark.parametrize(
    "options",
    [
        {"priority": "high"},
        {"webhook_url": "hooks.example"},
        {"max_queue_length": -1},
        {"retry_config": {"oom": 1}},
        {"no_retry": "yes"},
        {"timeout": 0},
        {"headers": {"X": "a\nb"}},
        {"key": "no\nkey"},
    ],
)
async def test_what_cannot_be_submitted_is_refused_before_anything_is_sent(
    options: dict[str, Any],
) -> None:
    async with Script(answer()) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(InputError):
            await fal.submit(MODEL, INPUT, **options)
        assert server.begun == 0


# --- what is sent again ---------------------------------------------------------------------------------

ACCEPTED = answer(content={"status": "IN_QUEUE", "request_id": REQUEST_ID})


async def submitted(*acts: Act, **options: Any) -> tuple[RequestHandle | FalError, int]:
    """What came of a submit, and how often it was sent."""
    async with Script(*acts) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        try:
            return await fal.submit(MODEL, INPUT, **options), server.begun
        except FalError as error:
            assert_discreet(error)
            return error, server.begun


async def test_a_refusal_is_waited_out() -> None:
    handle, sent = await submitted(answer(429, headers={"Retry-After": "0"}), ACCEPTED)
    assert isinstance(handle, RequestHandle)
    assert sent == 2


async def test_a_full_queue_is_told_at_once_to_him_who_asked_for_that() -> None:
    async with Emulator(models=[job(runners=RunnerSettings(count=0))]) as emu:
        async with AsyncFal(hosts=emu.hosts) as fal:
            for _ in range(2):
                await fal.submit(MODEL, INPUT, max_queue_length=1)
            with pytest.raises(TooManyRequestsError) as raised:
                await fal.submit(MODEL, INPUT, max_queue_length=1)
        assert emu.requests == {"submit": 3}
        assert len(emu.queue) == 2
    assert (raised.value.billing, raised.value.attempts) == (NOT, 1)


LOST = {
    "reset": say_and(b"", "reset"),
    "closed": say_and(b"", "finish"),
    "no HTTP": say_and(b"HTTP/1.1 two hundred\r\n\r\n", "finish"),
    "reset on arrival": unread_and("reset"),
}


@pytest.mark.parametrize("how", LOST)
async def test_a_lost_submit_is_not_sent_again_and_may_be_billed(how: str) -> None:
    error, sent = await submitted(LOST[how], ACCEPTED)
    assert isinstance(error, ConnectionLostError)
    assert (error.billing, error.attempts, sent) == (MAYBE, 1, 1)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("headers", [{}, {"X-Fal-Needs-Retry": "1"}], ids=["", "invited"])
@pytest.mark.parametrize("request_id", [REQUEST_ID, None], ids=["platform", "ingress"])
async def test_a_server_s_failure_does_not_say_whether_the_request_was_queued(
    status: int, headers: dict[str, str], request_id: str | None
) -> None:
    failure = answer(status, {"detail": "x"}, headers=headers, request_id=request_id)
    error, sent = await submitted(failure, ACCEPTED)
    assert isinstance(error, FalError)
    assert (error.billing, error.status, sent) == (MAYBE, status, 1)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 409, 413, 415, 422])
async def test_a_submit_that_was_refused_was_not_queued(status: int) -> None:
    error, sent = await submitted(answer(status, {"detail": "no"}), ACCEPTED)
    assert isinstance(error, FalError)
    assert (error.billing, error.status, sent) == (NOT, status, 1)


@pytest.mark.parametrize("status", [307, 408, 499])
async def test_an_exchange_that_was_cut_short_tells_nothing(status: int) -> None:
    cut = message(headers={"Location": "/x"}).replace(b"200 OK", b"%d X" % status)
    error, sent = await submitted(say_and(cut, "go_on"), ACCEPTED)
    assert isinstance(error, FalError)
    assert (error.billing, error.status, sent) == (MAYBE, status, 1)


async def test_who_takes_the_risk_has_lost_submits_sent_again_and_all_costs_told() -> None:
    risky = RetryPolicy(backoff=0, resend=["lost", "invited"])
    handle, sent = await submitted(LOST["reset"], ACCEPTED, retry=risky)
    assert isinstance(handle, RequestHandle)
    assert sent == 2
    invited = answer(503, headers={"X-Fal-Needs-Retry": "1"})
    error, sent = await submitted(LOST["reset"], invited, answer(422), retry=risky)
    assert isinstance(error, ModelError)
    assert (error.billing, error.attempts, sent) == (MAYBE, 3, 3)
    assert isinstance(error.first, ConnectionLostError)


async def test_what_was_never_written_is_sent_again() -> None:
    async with Script(ACCEPTED) as server:
        port = server.port
    async with AsyncFal(hosts=server.hosts, retry=RetryPolicy(backoff=60, budget=60)) as fal:
        waiting = asyncio.ensure_future(fal.submit(MODEL, INPUT, timeout=30))
        await turns()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await waiting
    assert raised.value.verdict == Verdict(billing=NOT, attempts=1)
    assert port == server.port


@in_virtual_time
async def test_whatever_befalls_a_submit_it_is_queued_once_and_the_verdict_is_right() -> None:
    """Before and after acceptance: nothing is queued twice, and nothing queued is called not billed."""
    cases = {
        (kind, ran): f"owner/{kind}-{int(ran)}"
        for kind, facts in KINDS.items()
        if not facts.where or "submit" in facts.where
        for ran in ({facts.ran} if not facts.choice else {True, False})
        if kind not in {"answer", "huge_body"}
    }
    models = [Model(id=model, function=lambda _: OUTPUT) for model in cases.values()]
    async with Emulator(models=models) as emu, AsyncFal(KEY, hosts=emu.hosts) as fal:
        for (kind, ran), model in cases.items():
            emu.faults.add(kind, model=model, operation="submit", ran=ran)
        outcomes = await asyncio.gather(
            *(fal.submit(model, INPUT) for model in cases.values()), return_exceptions=True
        )
        wrong = {}
        for case, outcome in zip(cases, outcomes, strict=True):
            queued = emu.queue.requests(cases[case])
            if isinstance(outcome, RequestHandle):
                good = [outcome.request_id] == [job.request_id for job in queued]
            else:
                assert_discreet(outcome)
                good = len(queued) <= (outcome.billing is not NOT)
            if not good:
                wrong[case] = (outcome, len(queued))
        assert wrong == {}
        named = {
            kind
            for (kind, _), o in zip(cases, outcomes, strict=True)
            if isinstance(o, RequestHandle)
        }
        # In these the head arrived, and named the request.
        assert named >= {"stall_in_body", "half_body", "bad_json", "empty_body", "stall_after_head"}


# --- what is made of the answer -------------------------------------------------------------------------

HEAD = head(200, {"Content-Length": "100", "x-fal-request-id": REQUEST_ID})

DAMAGED = {
    "half a body": say_and(HEAD + b'{"request_id": "', "finish"),
    "reset in the body": say_and(HEAD + b'{"request_id": "', "reset"),
    "no JSON": answer(body=b"<html>"),
    "no object": answer(content=[1]),
    "no id": answer(content={"status": "IN_QUEUE"}),
    "an id that is none": answer(content={"request_id": "../../x"}),
    "an id of another kind": answer(content={"request_id": 17}),
    "a huge body": answer(body=b" " * 2000),
}


@pytest.mark.parametrize("how", DAMAGED)
async def test_the_header_names_the_request_where_the_body_does_not(how: str) -> None:
    async with (
        Script(DAMAGED[how]) as server,
        AsyncFal(hosts=server.hosts, max_answer_bytes=1000) as fal,
    ):
        handle = await fal.submit(MODEL, INPUT)
        assert server.begun == 1
    assert handle == RequestHandle(model=MODEL, request_id=REQUEST_ID)


@in_virtual_time
async def test_an_answer_that_stalls_is_not_waited_for_for_ever() -> None:
    async with (
        Script(say_and(HEAD, "hold"), silence()) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        handle = await fal.submit(MODEL, INPUT)
        assert handle.request_id == REQUEST_ID
        with pytest.raises(ConnectionLostError, match="fell silent") as raised:
            await fal.submit(MODEL, INPUT)
    assert (raised.value.billing, raised.value.attempts) == (MAYBE, 1)


@pytest.mark.parametrize("content", [{"status": "IN_QUEUE"}, {"request_id": "a/b"}, "what?"])
async def test_an_answer_that_names_no_request_may_have_cost_something(content: Any) -> None:
    error, sent = await submitted(answer(content=content, request_id=None), ACCEPTED)
    assert isinstance(error, AnswerError)
    assert (error.billing, error.status, sent) == (MAYBE, 200, 1)
    assert "names no request" in str(error)
    assert error.body


@pytest.mark.parametrize("url", ["nonsense", "", "ftp://x/y", "http://", "http://[x", None, 7, {}])
async def test_a_url_at_which_nothing_can_be_asked_is_built_instead(url: Any) -> None:
    named = {"request_id": REQUEST_ID, "status_url": url, "response_url": url, "cancel_url": url}
    done = answer(content={"status": "COMPLETED"})
    async with Script(answer(content=named), done) as server, AsyncFal(hosts=server.hosts) as fal:
        handle = await fal.submit(MODEL, INPUT)
        assert isinstance(await handle.status(), Completed)
        path = f"/queue.fal.run/{MODEL}/requests/{REQUEST_ID}/status?logs=0"
        assert server.requests[1].line == f"GET {path} HTTP/1.1"


# --- cut short ------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_submit_keeps_to_its_timeout() -> None:
    async with Script(silence()) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(CallTimeoutError, match=r"no answer within .* 5 s") as raised:
            await fal.submit(MODEL, INPUT, timeout=5)
        assert loop.time() - begun == pytest.approx(5)
    assert (raised.value.billing, raised.value.attempts) == (MAYBE, 1)
    assert raised.value.handle is None


@in_virtual_time
async def test_a_submit_out_of_time_brings_the_handle_if_its_answer_had_begun() -> None:
    async with Script(say_and(HEAD, "hold")) as server, AsyncFal(KEY, hosts=server.hosts) as fal:
        with pytest.raises(CallTimeoutError) as raised:
            await fal.submit(MODEL, INPUT, timeout=5)
        handle = raised.value.handle
        assert (handle.request_id, raised.value.billing) == (REQUEST_ID, MAYBE)
        # Of use at once: it belongs to the session.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await handle.status()
        assert server.requests[1].line.startswith("GET /queue.fal.run/owner/app/requests/")


CUT = {
    "before any answer": (silence(), Verdict(billing=MAYBE, attempts=1)),
    "in the answer": (
        say_and(HEAD, "hold"),
        Verdict(
            billing=MAYBE,
            attempts=1,
            request_id=REQUEST_ID,
            handle=RequestHandle(model=MODEL, request_id=REQUEST_ID),
        ),
    ),
}


@pytest.mark.parametrize("when", CUT)
async def test_a_cancelled_submit_says_how_far_it_came(when: str) -> None:
    act, verdict = CUT[when]
    async with Script(act) as server, AsyncFal(hosts=server.hosts) as fal:
        task = asyncio.create_task(fal.submit(MODEL, INPUT))
        await server.arrival()
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
    assert raised.value.verdict == verdict


async def test_a_submit_for_which_fal_has_no_model_is_told_so() -> None:
    async with Emulator(models=[]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        with pytest.raises(FalError, match="not found") as raised:
            await fal.submit("owner/nothing", INPUT)
    assert raised.value.billing is NOT


async def test_a_server_s_failure_is_what_it_is() -> None:
    error, _ = await submitted(answer(500, {"detail": "it broke"}))
    assert type(error) is ServerError
    assert "It may have been billed." in str(error)
