"""The queue over the wire: submit, status, result, cancel (PROTOCOL 6)."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fal_async.emulator import (
    Call,
    CallCancelledError,
    Emulator,
    HistorySettings,
    Model,
    RequeueSettings,
)
from fal_async.emulator import RunnerSettings as Runners
from tests.emulator.queue_caller import Caller, calling

pytestmark = pytest.mark.usefixtures("silent", "unheard")


@pytest.fixture
async def caller(frozen: Emulator) -> AsyncIterator[Caller]:
    async with calling(frozen) as it:
        yield it


@pytest.fixture
async def one_runner() -> AsyncIterator[Caller]:
    async with Emulator(clock="virtual", runners=Runners(count=1)) as emu, calling(emu) as it:
        yield it


# --- submit


async def test_a_submit_tells_where_the_request_is_found_without_the_subpath(
    caller: Caller,
) -> None:
    answer = await caller.ask("POST", "fal-ai/flux/dev", json={"prompt": "a cat"})
    assert answer.status == 200
    name = answer.json["request_id"]
    assert uuid.UUID(name).version == 4
    assert answer.headers["x-fal-request-id"] == name
    base = f"{caller.base}/fal-ai/flux/requests/{name}"
    assert answer.json == {
        "status": "IN_QUEUE",
        "request_id": name,
        "response_url": base,
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
        "queue_position": 0,
    }


async def test_by_its_own_name_the_queue_tells_urls_of_its_own_name(caller: Caller) -> None:
    url = f"{caller.emu.url}/emulator/echo"
    answer = await caller.ask("POST", url, json={}, headers={"Host": "queue.fal.run"})
    start = "https://queue.fal.run/emulator/echo/requests/"
    assert answer.json["status_url"] == f"{start}{answer.json['request_id']}/status"


async def test_every_shape_of_url_that_is_known_is_understood(caller: Caller) -> None:
    submission = await caller.submit("fal-ai/flux/dev", {"prompt": "a cat"})
    await caller.emu.advance(0)
    for model in ("fal-ai/flux", "fal-ai/flux/dev", "fal-ai/flux/any/thing"):
        base = f"{model}/requests/{submission['request_id']}"
        for slash in ("", "/"):
            shapes = (base, f"{base}/response", f"{base}/status", f"{base}/status/stream")
            for shape in shapes:
                assert (await caller.ask("GET", shape + slash)).status == 200, shape
            assert (await caller.ask("PUT", f"{base}/cancel{slash}")).status == 400


async def test_the_line_is_told_by_position(one_runner: Caller) -> None:
    submissions = [await one_runner.work() for _ in range(4)]
    assert [s["queue_position"] for s in submissions] == [0, 0, 1, 2]
    status = await one_runner.status(submissions[3])
    assert (status.status, status.json["status"], status.json["queue_position"]) == (
        202,
        "IN_QUEUE",
        2,
    )
    assert one_runner.emu.queue.line("emulator/work") == [s["request_id"] for s in submissions[1:]]
    assert one_runner.emu.queue.position(submissions[3]["request_id"]) == 2


async def test_low_priority_lets_all_others_go_first(one_runner: Caller) -> None:
    names = []
    for priority in ("normal", "low", "normal", "urgent"):
        headers = {"X-Fal-Queue-Priority": priority}
        submission = await one_runner.submit("emulator/work", headers=headers)
        names.append(submission["request_id"])
    assert one_runner.emu.queue.line("emulator/work") == [names[2], names[3], names[1]]
    assert one_runner.emu.queue.request(names[1]).low


async def test_a_webhook_is_remembered(caller: Caller) -> None:
    url = "https://example.com/hook?cid=a b&x=1"
    params = {"fal_webhook": url, "fal_max_queue_length": "5"}
    submission = await caller.submit("emulator/echo", params=params)
    job = caller.emu.queue.request(submission["request_id"])
    assert job.webhook == url
    assert "example" not in repr(job)


async def test_a_line_that_is_longer_than_allowed_refuses(one_runner: Caller) -> None:
    await one_runner.work()
    for _ in range(2):
        await one_runner.work()
    path = "emulator/work?fal_max_queue_length="
    assert (await one_runner.ask("POST", path + "2", json={})).status == 200
    refused = await one_runner.ask("POST", path + "2", json={})
    assert (refused.status, refused.json["detail"]) == (429, "Queue is full")
    assert len(one_runner.emu.queue) == 4
    assert (await one_runner.ask("POST", path + "-1", json={})).status == 400


async def test_what_cannot_be_submitted_is_refused_and_named(caller: Caller) -> None:
    headers = {"X-Fal-Request-Timeout": "soon"}
    answers = [
        await caller.ask("POST", "no/body", json={}),
        await caller.ask("POST", "oops", json={}),
        await caller.ask("GET", "emulator/echo"),
        await caller.ask("POST", "emulator/echo", json={}, headers=headers),
    ]
    assert [answer.status for answer in answers] == [404, 404, 405, 400]
    assert len({uuid.UUID(answer.headers["x-fal-request-id"]) for answer in answers}) == 4
    assert len(caller.emu.queue) == 0
    assert repr(caller.emu.queue) == "<Queue: empty>"
    assert caller.emu.queue


async def test_only_those_who_may_are_told_anything() -> None:
    keys, locked = {"an-id:secret"}, {"poor:secret": "Exhausted balance"}
    async with (
        Emulator(keys=keys, locked=locked, clock="virtual") as emu,
        calling(emu) as caller,
    ):
        good = {"Authorization": "Key an-id:secret"}
        submission = await caller.submit("emulator/echo", headers=good)
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Key who:ever"}, 401),
            ({"Authorization": "Key poor:secret"}, 403),
        ):
            for method, url in (
                ("POST", "emulator/echo"),
                ("GET", submission["status_url"]),
                ("GET", submission["status_url"] + "/stream"),
                ("GET", submission["response_url"]),
                ("PUT", submission["cancel_url"]),
            ):
                answer = await caller.ask(method, url, headers=headers)
                assert answer.status == status
                assert "x-fal-request-id" in answer.headers
        assert len(emu.queue) == 1


async def test_what_needs_no_key_is_followed_without_one() -> None:
    async with Emulator(keys=["an-id:secret"], clock="virtual") as emu, calling(emu) as caller:
        emu.register(Model(id="test/app/open", function=lambda _: {}, public=True))
        submission = await caller.submit("test/app/open")
        await emu.advance(0)
        assert (await caller.status(submission)).status == 200
        assert (await caller.result(submission)).json == {}
        assert (await caller.ask("GET", "test/app/requests/nobody")).status == 401


# --- status and result


async def test_a_request_is_followed_from_the_line_to_its_result(one_runner: Caller) -> None:
    emu = one_runner.emu
    first, second = await one_runner.work(10), await one_runner.work(5)
    assert (await one_runner.status(second)).json["status"] == "IN_QUEUE"
    early = await one_runner.result(second)
    assert (early.status, early.json) == (400, {"detail": "Request is still in progress"})
    await emu.advance(10)
    running = await one_runner.status(second)
    assert (running.status, running.json["status"]) == (202, "IN_PROGRESS")
    assert (running.json["logs"], running.json["metrics"]) == (None, {})
    assert "queue_position" not in running.json
    assert (await one_runner.result(second)).status == 400
    await emu.advance(5)
    done = await one_runner.status(second)
    assert (done.status, done.json["status"]) == (200, "COMPLETED")
    assert done.json["metrics"] == {"inference_time": 5}
    assert "error" not in done.json
    assert done.headers["x-fal-request-id"] == second["request_id"]
    result = await one_runner.result(second)
    assert (result.status, result.json) == (200, {"worked": 5, "attempt": 1})
    assert result.headers["x-fal-request-id"] == second["request_id"]
    assert result.headers["x-fal-billable-units"] == "1"
    assert (await one_runner.result(first)).json["worked"] == 10
    assert [str(e.status) for e in emu.ledger] == ["200", "200"]
    assert emu.ledger.billed("emulator/work") == 2
    assert repr(emu.queue) == "<Queue: 2 COMPLETED>"


async def test_a_model_that_fails_fails_in_the_result_and_the_status_says_so(
    caller: Caller,
) -> None:
    refused = await caller.submit("emulator/refuse", {"type": "image_too_large"})
    invalid = await caller.submit("fal-ai/fast-sdxl", {})
    nowhere = await caller.submit("emulator/work/nowhere", {})
    lost = await caller.submit("emulator/crash", {"needs_retry": False})
    await caller.emu.advance(0)
    for submission, status in ((refused, 422), (invalid, 422), (nowhere, 404), (lost, 503)):
        told = await caller.status(submission)
        assert (told.status, told.json["status"]) == (200, "COMPLETED")
        assert told.json["error"]
        result = await caller.result(submission)
        assert result.status == status
    assert (await caller.status(refused)).json["error"] == "Invalid status code: 422"
    assert "error_type" not in (await caller.status(refused)).json
    assert (await caller.status(lost)).json["error_type"] == "runner_disconnected"
    direct = await caller.ask(
        "POST", f"{caller.emu.hosts.run}/emulator/refuse", json={"type": "image_too_large"}
    )
    result = await caller.result(refused)
    assert (result.status, result.body) == (direct.status, direct.body)
    assert result.headers["x-fal-retryable"] == direct.headers["x-fal-retryable"]
    assert result.headers["x-fal-billable-units"] == direct.headers["x-fal-billable-units"]


async def test_nobody_is_found_under_another_name(caller: Caller) -> None:
    submission = await caller.submit("emulator/echo")
    name = submission["request_id"]
    for base in (f"emulator/work/requests/{name}", f"emulator/echo/requests/{uuid.UUID(int=7)}"):
        for method, tail in (
            ("GET", ""),
            ("GET", "/status"),
            ("GET", "/status/stream"),
            ("PUT", "/cancel"),
        ):
            answer = await caller.ask(method, base + tail)
            assert (answer.status, answer.json) == (404, {"status": "NOT_FOUND"})
            assert answer.headers["x-fal-request-id"] == base.rpartition("/")[2]
    with pytest.raises(KeyError):
        caller.emu.queue.request("nobody")


@pytest.mark.parametrize("operation", ["", "/status", "/status/stream", "/cancel"])
async def test_every_operation_has_one_method(caller: Caller, operation: str) -> None:
    submission = await caller.submit("emulator/echo")
    answer = await caller.ask("DELETE", submission["response_url"] + operation)
    assert answer.status == 405


@pytest.mark.parametrize(
    ("query", "asked"), [("", False), ("?logs=0", False), ("?logs=1", True), ("?logs=true", True)]
)
async def test_logs_are_null_unless_asked_for_and_all_of_them_each_time(
    caller: Caller, query: str, asked: bool
) -> None:
    submission = await caller.work(4, steps=4)
    seen = []
    for _ in range(4):
        await caller.emu.advance(1)
        seen.append((await caller.status(submission, query)).json["logs"])
    if not asked:
        assert seen == [None] * 4
        return
    assert [len(logs) for logs in seen] == [1, 2, 3, 4]
    assert seen[3][1] == {
        "message": "step 2 of 4",
        "timestamp": "2026-01-01T00:00:02Z",
        "level": "INFO",
        "source": "USER",
    }


async def test_a_function_in_a_thread_logs_too(caller: Caller) -> None:
    heard: list[str] = []

    def function(content: Any, call: Call) -> dict[str, Any]:
        call.log("from afar", "WARN")
        heard.append(threading.current_thread().name)
        return {"cancelled": call.cancelled}

    caller.emu.register(Model(id="test/thread", function=function, thread=True))
    submission = await caller.submit("test/thread")
    await caller.emu.advance(0)
    done = await caller.status(submission, "?logs=1")
    assert [line["message"] for line in done.json["logs"]] == ["from afar"]
    assert (await caller.result(submission)).json == {"cancelled": False}
    assert "fal-emulator" in heard[0]


@pytest.mark.parametrize(("size", "stored", "hours"), [(0, "0", 1), (20_000, "0", 0.1)])
async def test_a_result_is_gone_when_its_time_has_come(
    caller: Caller, size: int, stored: str, hours: float
) -> None:
    content = {"text": "x" * size}
    headers = {"X-Fal-Store-IO": stored}
    submission = await caller.submit("emulator/raw", content, headers=headers)
    await caller.emu.advance(hours * 3600 - 1)
    assert (await caller.result(submission)).body == b"x" * size
    await caller.emu.advance(1)
    for answer in (
        await caller.result(submission),
        await caller.status(submission),
        await caller.cancel(submission),
    ):
        assert (answer.status, answer.json) == (404, {"status": "NOT_FOUND"})
    assert caller.emu.queue.request(submission["request_id"]).expired


async def test_an_account_that_stores_nothing_keeps_a_result_for_an_hour_unless_asked(
    caller: Caller,
) -> None:
    """PROTOCOL 4, 6.4: where a request does not say, the account's setting holds."""
    caller.emu.history.settings = HistorySettings(payloads=False)
    plain = await caller.submit("emulator/echo", {"a": 1})
    asked = await caller.submit("emulator/echo", {"a": 2}, headers={"X-Fal-Store-IO": "1"})
    await caller.emu.advance(3599)
    assert (await caller.result(plain)).json == {"a": 1}
    await caller.emu.advance(1)
    assert (await caller.result(plain)).status == 404
    assert (await caller.result(asked)).json == {"a": 2}


async def test_a_stored_result_is_there_after_a_month(caller: Caller) -> None:
    submission = await caller.submit("emulator/echo", {"a": 1})
    await caller.emu.advance(30 * 86_400 - 1)
    assert (await caller.result(submission)).json == {"a": 1}
    await caller.emu.advance(1)
    assert (await caller.result(submission)).status == 404


# --- cancel


async def test_what_waits_is_removed_and_never_runs(one_runner: Caller) -> None:
    await one_runner.work(10)
    submission = await one_runner.work(10)
    answer = await one_runner.cancel(submission)
    assert (answer.status, answer.json) == (200, {"status": "OK"})
    status = (await one_runner.status(submission)).json
    assert (status["status"], status["error_type"]) == ("COMPLETED", "client_cancelled")
    assert status["metrics"] == {"inference_time": None}
    result = await one_runner.result(submission)
    assert result.status == 499
    assert result.json == {"detail": "Request was cancelled", "error_type": "client_cancelled"}
    assert result.headers["x-fal-error-type"] == "client_cancelled"
    await one_runner.emu.advance(30)
    assert len(one_runner.emu.ledger) == 1
    again = await one_runner.cancel(submission)
    assert (again.status, again.json) == (400, {"status": "ALREADY_COMPLETED"})


async def test_a_model_that_listens_stops_at_once_and_is_not_charged_for(caller: Caller) -> None:
    submission = await caller.work(60, cancellable=True)
    await caller.emu.advance(5)
    answer = await caller.cancel(submission)
    assert (answer.status, answer.json) == (202, {"status": "CANCELLATION_REQUESTED"})
    await caller.emu.advance(0)
    status = (await caller.status(submission)).json
    assert (status["status"], status["error"]) == ("COMPLETED", "Invalid status code: 499")
    assert status["metrics"] == {"inference_time": 5}
    result = await caller.result(submission)
    assert (result.status, result.json) == (499, {"detail": "Request was cancelled"})
    assert [(e.status, e.billed, e.ended) for e in caller.emu.ledger] == [(499, False, 5)]


async def test_a_model_that_does_not_listen_runs_to_its_end_and_succeeds(caller: Caller) -> None:
    submission = await caller.work(60)
    assert (await caller.cancel(submission)).status == 202
    await caller.emu.advance(59)
    assert (await caller.status(submission)).json["status"] == "IN_PROGRESS"
    assert (await caller.cancel(submission)).status == 202
    await caller.emu.advance(1)
    assert (await caller.result(submission)).status == 200
    assert caller.emu.ledger.billed() == 1
    assert (await caller.cancel(submission)).status == 400


async def test_a_model_may_hear_of_a_cancel_in_its_own_way(caller: Caller) -> None:
    async def waits(content: Any, call: Call) -> None:
        await call.until_cancelled()
        await call.until_cancelled()  # returns at once from now on
        raise CallCancelledError("as you wish", billed=True)

    async def stopped(content: Any, call: Call) -> None:
        await call.sleep(1000)

    async def looks(content: Any, call: Call) -> dict[str, bool]:
        await call.sleep(10)
        return {"cancelled": call.cancelled}

    caller.emu.register(
        Model(id="test/waits", function=waits),
        Model(id="test/stopped", function=stopped, cancellable=True),
        Model(id="test/looks", function=looks, cancellable=False),
        Model(id="test/quick", function=lambda _: {}, cancellable=True),
    )
    names = ("waits", "stopped", "looks", "quick")
    submissions = [await caller.submit(f"test/{name}") for name in names]
    for submission in submissions:
        await caller.cancel(submission)
    await caller.emu.advance(10)
    results = [await caller.result(submission) for submission in submissions]
    assert [result.status for result in results] == [499, 499, 200, 200]
    assert results[0].json == {"detail": "as you wish"}
    assert results[2].json == {"cancelled": True}
    assert [e.billed for e in caller.emu.ledger] == [True, False, True, True]


# --- runners, slots, attempts


async def test_a_start_timeout_is_told_as_the_callers_own(one_runner: Caller) -> None:
    await one_runner.work(100)
    headers = {"X-Fal-Request-Timeout": "3"}
    submission = await one_runner.submit("emulator/work", headers=headers)
    await one_runner.emu.advance(2.9)
    assert (await one_runner.status(submission)).json["status"] == "IN_QUEUE"
    await one_runner.emu.advance(0.1)
    status = (await one_runner.status(submission)).json
    assert (status["status"], status["error_type"]) == ("COMPLETED", "request_timeout")
    result = await one_runner.result(submission)
    assert result.status == 504
    assert result.headers["x-fal-request-timeout-type"] == "user"
    assert result.json["error_type"] == "request_timeout"
    assert len(one_runner.emu.ledger) == 1


async def test_queued_and_direct_calls_share_the_accounts_slots() -> None:
    async with Emulator(limit=2, clock="virtual") as emu, calling(emu) as caller:
        submissions = [await caller.work(10) for _ in range(3)]
        assert emu.in_flight == 2
        direct = await caller.ask("POST", f"{emu.hosts.run}/emulator/echo", json={})
        assert direct.status == 429
        assert (await caller.status(submissions[2])).json["queue_position"] == 0
        await emu.advance(10)
        assert (await caller.status(submissions[2])).json["status"] == "IN_PROGRESS"
        direct = await caller.ask("POST", f"{emu.hosts.run}/emulator/echo", json={})
        assert direct.status == 200
        assert (emu.peak_in_flight, emu.refused) == (2, 1)


async def test_the_end_of_a_direct_call_lets_a_queued_one_begin() -> None:
    async with (
        Emulator(limit=1, runners=Runners(count=1), clock="virtual") as emu,
        calling(emu) as caller,
    ):
        url = f"{emu.hosts.run}/emulator/sleep"
        direct = asyncio.create_task(caller.ask("POST", url, json={"seconds": 5}))
        await emu.advance(0)
        submission = await caller.submit("emulator/sleep", {"seconds": 1})
        await emu.advance(4)
        assert (await caller.status(submission)).json["status"] == "IN_QUEUE"
        await emu.advance(1)
        assert (await direct).status == 200
        assert (await caller.status(submission)).json["status"] == "IN_PROGRESS"


async def test_a_higher_limit_holds_at_once() -> None:
    async with Emulator(limit=0, clock="virtual") as emu, calling(emu) as caller:
        emu.model_limit("emulator/sleep", 0)
        submissions = [await caller.work(10), await caller.submit("emulator/sleep")]
        emu.limit = None
        words = [(await caller.status(s)).json["status"] for s in submissions]
        assert words == ["IN_PROGRESS", "IN_QUEUE"]
        emu.model_limit("emulator/sleep", None)
        assert (await caller.status(submissions[1])).json["status"] == "IN_PROGRESS"


async def test_a_runner_that_starts_cold_makes_a_queued_request_wait() -> None:
    async with (
        Emulator(clock="virtual", runners=Runners(count=1, cold_start=7)) as emu,
        calling(emu) as caller,
    ):
        submission = await caller.work(1)
        await emu.advance(6)
        assert (await caller.status(submission)).json["status"] == "IN_QUEUE"
        await emu.advance(1)
        assert (await caller.status(submission)).json["status"] == "IN_PROGRESS"
        await emu.advance(1)
        assert (await caller.status(submission)).json["metrics"] == {"inference_time": 1}


async def test_a_failing_runner_sends_a_request_back_to_the_line(caller: Caller) -> None:
    submission = await caller.work(10, steps=1, fail_first=2)
    words, attempts = [], []
    for _ in range(33):
        await caller.emu.advance(1)
        word = (await caller.status(submission)).json["status"]
        if not words or words[-1] != word:
            words.append(word)
            attempts.append(caller.emu.queue.request(submission["request_id"]).attempts)
    # the pauses: half a second, and one
    assert words == [
        "IN_PROGRESS",
        "IN_QUEUE",
        "IN_PROGRESS",
        "IN_QUEUE",
        "IN_PROGRESS",
        "COMPLETED",
    ]
    assert attempts == [1, 1, 2, 2, 3, 3]
    assert (await caller.result(submission)).json == {"worked": 10, "attempt": 3}
    ledger = caller.emu.ledger
    assert [(e.attempt, e.status, e.billed) for e in ledger] == [
        (1, 503, False),
        (2, 503, False),
        (3, 200, True),
    ]
    logs = (await caller.status(submission, "?logs=1")).json["logs"]
    assert [line["level"] for line in logs] == ["INFO", "ERROR", "INFO", "ERROR", "INFO"]


@pytest.mark.parametrize(
    ("own", "headers", "attempts"),
    [
        (False, {}, 4),
        (False, {"X-Fal-No-Retry": "yes"}, 1),
        (True, {"X-Fal-Retry-Config": '{"server_error":{"retries":2}}'}, 3),
        (False, {"X-Fal-Retry-Config": '{"server_error":{"retries":2}}'}, 4),
        (True, {"X-Fal-Retry-Config": '{"timeout":{"retries":0}}'}, 4),
        (True, {"X-Fal-Retry-Config": "{oops"}, 4),
    ],
)
async def test_how_often_it_is_tried_is_the_callers_to_limit(
    own: bool, headers: dict[str, str], attempts: int
) -> None:
    requeue = RequeueSettings(attempts=4, pause=0)
    async with Emulator(clock="virtual", requeue=requeue) as emu, calling(emu) as caller:
        failing = emu._platform.models["emulator/crash"].function
        emu.register(Model(id="test/crash", function=failing, own=own))
        submission = await caller.submit("test/crash", headers=headers)
        await emu.advance(0)
        assert emu.queue.request(submission["request_id"]).attempts == attempts
        assert len(emu.ledger) == attempts
        assert emu.ledger.billed() == 0
        assert (await caller.result(submission)).json["error_type"] == "runner_disconnected"


async def test_an_input_that_utf8_cannot_say_is_refused_like_another(caller: Caller) -> None:
    submission = await caller.submit("fal-ai/fast-sdxl", {"prompt": ["\ud800"]})
    await caller.emu.advance(0)
    assert (await caller.result(submission)).status == 422


async def test_a_workflow_runs_like_any_model_and_keeps_three_segments(caller: Caller) -> None:
    model = "workflows/emulator/described-picture"
    submission = await caller.submit(model, {"prompt": "a cat", "seed": 5})
    start = f"{caller.base}/{model}/requests/{submission['request_id']}"
    assert submission["response_url"] == start
    await caller.emu.advance(0)
    output = (await caller.result(submission)).json
    assert output["prompt"].startswith("a cat. ")
    assert (await caller.ask("GET", output["images"][0]["url"])).status == 200
    logs = (await caller.status(submission, "?logs=1")).json["logs"]
    assert [line["message"] for line in logs] == ["words: completed", "picture: completed"]
    url = f"{caller.emu.hosts.run}/{model}"
    direct = await caller.ask("POST", url, json={"prompt": "a cat", "seed": 5})
    assert direct.json["prompt"] == output["prompt"]
    assert (await caller.ask("POST", url, json={})).status == 422


async def test_a_job_that_is_told_nonsense_says_so(caller: Caller) -> None:
    submission = await caller.submit("emulator/work", {"seconds": "long"})
    await caller.emu.advance(0)
    assert (await caller.result(submission)).status == 422


# --- the emulator


async def test_requests_are_counted_by_operation(caller: Caller) -> None:
    submission = await caller.submit("emulator/echo")
    await caller.status(submission)
    await caller.status(submission)
    await caller.result(submission)
    await caller.cancel(submission)
    await caller.ask("GET", submission["status_url"] + "/stream")
    await caller.ask("POST", f"{caller.emu.hosts.run}/emulator/echo", json={})
    assert caller.emu.requests == {
        "submit": 1,
        "status": 2,
        "result": 1,
        "cancel": 1,
        "status_stream": 1,
        "run": 1,
    }


async def test_requests_are_found_by_model_and_state(one_runner: Caller) -> None:
    for _ in range(2):
        await one_runner.work(5)
    await one_runner.submit("emulator/echo")
    queue = one_runner.emu.queue
    await one_runner.emu.advance(0)
    assert len(queue.requests("emulator/work")) == 2
    assert [job.state for job in queue] == ["IN_PROGRESS", "IN_QUEUE", "COMPLETED"]
    assert [job.model for job in queue.requests(state="COMPLETED")] == ["emulator/echo"]


async def test_hundreds_of_jobs_are_through_in_no_time() -> None:
    async with (
        Emulator(clock="virtual", limit=40, run_time=10.0) as emu,
        calling(emu) as caller,
    ):
        submissions = [await caller.submit("emulator/echo", {"n": n}) for n in range(200)]
        await emu.advance(50)
        assert {job.state for job in emu.queue} == {"COMPLETED"}
        assert emu.peak_in_flight == 40
        assert emu.ledger.billed() == 200
        assert (await caller.result(submissions[137])).json == {"n": 137}


async def test_stopping_ends_what_runs_and_a_new_life_knows_nothing_of_it() -> None:
    emu = Emulator()
    with pytest.raises(RuntimeError, match="not been started"):
        _ = emu.queue
    async with emu, calling(emu) as caller:
        await caller.work(1000)
        headers = {"X-Fal-Request-Timeout": "500"}
        await caller.submit("emulator/work", headers=headers)
    assert len(emu.queue) == 2
    async with emu:
        assert len(emu.queue) == 0
        assert len(emu.ledger) == 2


async def test_a_round_trip_takes_its_time() -> None:
    async with Emulator(clock="virtual", latency=2) as emu, calling(emu) as caller:
        submitting = asyncio.create_task(caller.submit("emulator/echo"))
        await emu.advance(1)
        assert len(emu.queue) == 1
        assert not submitting.done()
        await emu.advance(1)
        await submitting
