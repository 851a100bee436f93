"""Direct calls over the wire: who gets in, what is answered, what it costs (PROTOCOL 2 to 5)."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from fal_async.emulator import Account, Call, Emulator, Model, RunnerSettings
from fal_async.emulator.clock import one_turn
from tests.emulator.raw import MODEL, Heard, ask, connected, listen, post

pytestmark = pytest.mark.usefixtures("silent", "unheard")


async def call(
    emu: Emulator,
    model: str,
    content: object = None,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> Heard:
    body = json.dumps({} if content is None else content).encode()
    return await ask(emu, post(f"/fal.run/{model}", body, method=method, headers=headers))


def sleeping(emu: Emulator, seconds: float, **headers: str) -> asyncio.Task[Heard]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.create_task(call(emu, "emulator/sleep", {"seconds": seconds}, headers=named))


# --- answers


async def test_an_answer_is_that_of_the_users_own_pages(emu: Emulator) -> None:
    heard = await call(emu, MODEL, {"prompt": "a cat", "seed": 15860307465884635512})
    assert heard.status == 200
    output = heard.json
    assert set(output) == {"images", "timings", "seed", "has_nsfw_concepts", "prompt"}
    [image] = output["images"]
    assert (image["width"], image["height"]) == (1024, 1024)
    assert output["seed"] == 15860307465884635512
    assert output["has_nsfw_concepts"] == [False]
    assert output["prompt"] == "a cat"
    assert isinstance(output["timings"]["inference"], float)
    assert heard.header("x-fal-billable-units") == "1"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_a_body_is_json_whatever_it_says_it_is(emu: Emulator, content_type: str) -> None:
    heard = await call(emu, "emulator/echo", [1], headers={"Content-Type": content_type})
    assert heard.json == [1]


async def test_every_answer_has_an_id_of_its_own(emu: Emulator) -> None:
    answers = [
        await call(emu, model)
        for model in ("emulator/echo", "emulator/echo", MODEL, "no/body", "", "emulator/raw/x")
    ]
    ids = {uuid.UUID(answer.header("x-fal-request-id")) for answer in answers}
    assert len(ids) == len(answers)
    assert [answer.status for answer in answers] == [200, 200, 422, 404, 404, 404]
    assert emu.received == len(answers)


async def test_a_caller_that_asks_before_it_sends_is_told_to_go_on(emu: Emulator) -> None:
    async with connected(emu) as (reader, writer):
        head, _, body = post(headers={"Expect": "100-continue"}).partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await listen(reader)).status == 200


async def test_a_body_may_be_of_any_size(emu: Emulator) -> None:
    heard = await call(emu, "emulator/echo", "x" * 5_000_000)
    assert len(heard.json) == 5_000_000


# --- who gets in


@pytest.mark.parametrize(
    ("header", "status", "says"),
    [
        ("Key id:secret", 200, ""),
        ("Key id:wrong", 401, "No user found for Key ID and Secret"),
        ("Key wrong", 401, "Invalid Key Authorization header format"),
        (None, 401, "Cannot access application"),
        ("Key broke:secret", 403, "User is locked. Reason: Exhausted balance."),
    ],
)
async def test_keys_are_checked_before_anything_runs(
    header: str | None, status: int, says: str
) -> None:
    locked = {"broke:secret": "Exhausted balance"}
    async with Emulator(keys={"id:secret"}, locked=locked) as emu:
        heard = await call(
            emu, "emulator/echo", headers={} if header is None else {"Authorization": header}
        )
        assert heard.status == status
        assert says in heard.json.get("detail", "")
        assert emu.ledger.billed() == (status == 200)
        assert [e.key_id for e in emu.ledger] == (["id"] if status == 200 else [])


async def test_an_account_says_all_of_it_at_once() -> None:
    async with Emulator(keys=Account(keys={"id:secret"}, limit=0, name_limit=False)) as emu:
        assert (await call(emu, "emulator/echo")).status == 401
        heard = await call(emu, "emulator/echo", headers={"Authorization": "Key id:secret"})
        assert heard.json == {
            "detail": "Reached concurrent requests limit",
            "type": "concurrent_requests_limit",
        }


async def test_it_says_once_which_model_it_does_not_serve_and_how_it_would(
    emu: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    for model in ("fal-ai/nothing", "fal-ai/nothing/else", "fal-ai/flux/dev"):
        await call(emu, model)
    [record] = caplog.records
    assert record.getMessage().startswith(
        "this emulator does not serve fal-ai/nothing. Its OpenAPI"
    )


async def test_a_public_model_is_called_without_a_key() -> None:
    async with Emulator(keys={"id:secret"}) as emu:
        emu.model("open/to-all", public=True)(dict)
        assert (await call(emu, "open/to-all")).status == 200


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("fal-ai/nothing", 'Application "fal-ai/nothing" not found'),
        ("12345-legacy-name", 'Application "12345/legacy-name" not found'),
        ("workflows/me/flow/x", 'Application "workflows/me/flow" not found'),
        ("fal-ai/flux/unheard", "Path /unheard not found"),
        ("fal-ai/flux", "Path / not found"),
    ],
)
async def test_what_is_not_there_is_not_found(emu: Emulator, model: str, says: str) -> None:
    heard = await call(emu, model)
    assert (heard.status, heard.json["detail"]) == (404, says)
    in_app = says.startswith("Path")
    assert heard.header("x-fal-billable-units") == ("0" if in_app else None)


async def test_ids_may_have_namespaces_and_a_slash_at_the_end(emu: Emulator) -> None:
    emu.model("workflows/me/flow")(dict)
    emu.model("12345/legacy-name")(dict)
    for model in ("workflows/me/flow", "workflows/me/flow/", "12345-legacy-name"):
        assert (await call(emu, model)).status == 200


async def test_a_model_may_answer_below_its_id_and_to_other_methods(emu: Emulator) -> None:
    seen = (await ask(emu, post("/fal.run/emulator/request/a/b?c=d", b"", method="GET"))).json
    assert (seen["method"], seen["path"], seen["input"]) == ("GET", "/a/b", {})
    heard = await call(emu, "emulator/sleep", method="PUT")
    assert (heard.status, heard.header("x-fal-billable-units")) == (405, "0")


async def test_a_model_sees_the_headers_but_not_the_key(emu: Emulator) -> None:
    secret = {"Authorization": "Key id:secret", "X-Fal-Tags": "a=b"}
    heard = await call(emu, "emulator/request", headers=secret)
    assert heard.json["headers"]["x-fal-tags"] == "a=b"
    assert heard.json["key_id"] == "id"
    assert b"secret" not in heard.body


async def test_a_model_is_told_which_request_it_serves_whatever_the_caller_says(
    emu: Emulator,
) -> None:
    forged = {"X-Fal-Request-Id": "mine", "x-fal-endpoint": "another/model"}
    heard = await call(emu, "emulator/request", headers=forged)
    assert heard.json["headers"]["x-fal-request-id"] == heard.header("x-fal-request-id")
    assert heard.json["headers"]["x-fal-endpoint"] == "emulator/request"


# --- the limit


async def test_over_the_limit_a_call_is_refused_at_once_and_a_slot_is_free_at_once() -> None:
    async with Emulator(clock="virtual", limit=2) as emu:
        running = [sleeping(emu, 5), sleeping(emu, 5)]
        await emu.until(lambda: emu.in_flight == 2)
        refused = await call(emu, "emulator/echo")
        assert refused.status == 429
        assert refused.json == {
            "detail": "Reached concurrent requests limit of 2",
            "type": "concurrent_requests_limit",
            "data": {"limit": 2},
        }
        assert refused.header("x-fal-needs-retry") == "1"
        assert refused.header("retry-after") is None
        await emu.advance(5)
        assert {heard.status for heard in await asyncio.gather(*running)} == {200}
        assert (await call(emu, "emulator/echo")).status == 200
        assert (emu.in_flight, emu.peak_in_flight, emu.refused) == (0, 2, 1)


async def test_who_has_the_answer_finds_the_slot_free() -> None:
    async with Emulator(limit=1) as emu:
        for _ in range(20):
            assert (await call(emu, "emulator/echo")).status == 200


async def test_the_limit_falls_and_rises_while_calls_are_in_flight() -> None:
    async with Emulator(clock="virtual", limit=3) as emu:
        running = [sleeping(emu, 5) for _ in range(3)]
        await emu.until(lambda: emu.in_flight == 3)
        emu.limit = 1
        assert (await call(emu, "emulator/echo")).json["data"] == {"limit": 1}
        emu.limit = 4
        assert emu.limit == 4
        assert (await call(emu, "emulator/echo")).status == 200
        emu.limit = None
        await emu.advance(5)
        await asyncio.gather(*running)


async def test_a_hot_application_has_a_cap_of_its_own() -> None:
    async with Emulator(clock="virtual", limit=10) as emu:
        emu.model_limit("emulator/sleep", 1)
        running = sleeping(emu, 5)
        await emu.until(lambda: emu.in_flight == 1)
        assert (await call(emu, "emulator/sleep")).json["data"] == {"limit": 1}
        assert (await call(emu, "emulator/echo")).status == 200
        emu.model_limit("emulator/sleep", None)
        emu.model_limit("emulator/sleep", None)
        other = sleeping(emu, 5)
        await emu.until(lambda: emu.in_flight == 2)
        await emu.advance(5)
        assert [(await t).status for t in (running, other)] == [200, 200]


# --- time


async def test_an_answer_takes_its_round_trip_and_its_run_time() -> None:
    async with Emulator(clock="virtual", latency=0.5, run_time=2.0) as emu:
        answered = asyncio.create_task(call(emu, "emulator/echo"))
        await emu.advance(0.25)
        assert emu.in_flight == 1
        await emu.advance(2.0)
        assert emu.in_flight == 0
        assert not answered.done()
        await emu.advance(0.25)
        assert (await answered).status == 200
        [run] = emu.ledger
        assert (run.started, run.ended) == (0.25, 2.25)


@pytest.mark.parametrize("name", ["X-Fal-Request-Timeout", "X-Fal-Request-Start-Timeout"])
@pytest.mark.parametrize("value", ["soon", "0.1", "-1", "nan", "inf"])
async def test_a_start_timeout_that_is_none_is_a_bad_request(
    emu: Emulator, name: str, value: str
) -> None:
    heard = await call(emu, "emulator/echo", headers={name: value})
    assert (heard.status, heard.json["error_type"]) == (400, "bad_request")
    assert heard.header("x-fal-error-type") == "bad_request"
    assert emu.in_flight == 0


async def test_a_call_that_does_not_start_in_time_is_given_back_free_of_charge() -> None:
    async with Emulator(clock="virtual", runners=RunnerSettings(cold_start=60)) as emu:
        late = sleeping(emu, 1, X_Fal_Request_Timeout="30")
        await emu.advance(29.9)
        assert not late.done()
        assert emu.in_flight == 1
        await emu.advance(0.1)
        heard = await late
        assert (heard.status, heard.json["error_type"]) == (504, "request_timeout")
        assert heard.header("x-fal-request-timeout-type") == "user"
        assert heard.header("x-fal-error-type") == "request_timeout"
        assert heard.header("x-fal-billable-units") is None
        assert (len(emu.ledger), emu.in_flight) == (0, 0)


async def test_a_start_timeout_does_not_limit_the_run() -> None:
    async with Emulator(clock="virtual") as emu:
        running = sleeping(emu, 100, X_Fal_Request_Start_Timeout="0.5")
        await emu.advance(100)
        assert (await running).status == 200


async def test_the_platform_waits_for_a_runner_only_so_long() -> None:
    settings = RunnerSettings(count=1, patience=10)
    async with Emulator(clock="virtual", runners=settings) as emu:
        first, second = sleeping(emu, 15), sleeping(emu, 1)
        await emu.advance(10)
        assert (await second).json["error_type"] == "runner_scheduling_failure"
        await emu.advance(5)
        assert (await first).status == 200
        assert emu.ledger.billed() == 1


async def test_a_cold_start_is_waited_for_once() -> None:
    async with Emulator(clock="virtual", runners=RunnerSettings(cold_start=3)) as emu:
        for waits in (4, 1):
            running = sleeping(emu, 1)
            await emu.advance(waits)
            assert (await running).status == 200
        assert [e.runner for e in emu.ledger] == [1, 1]


async def test_a_crash_takes_its_runner_along() -> None:
    async with Emulator(clock="virtual", runners=RunnerSettings(count=1, cold_start=3)) as emu:
        crashed = asyncio.create_task(call(emu, "emulator/crash"))
        await emu.advance(3)
        heard = await crashed
        assert (heard.status, heard.json["error_type"]) == (503, "runner_disconnected")
        again = asyncio.create_task(call(emu, "emulator/crash", {"how": "exception"}))
        await emu.advance(3)
        assert (await again).json == {"detail": "Internal Server Error"}
        assert [e.runner for e in emu.ledger] == [1, 2]
        assert emu.ledger.billed() == 0


async def test_the_same_hint_gets_the_same_runner() -> None:
    async with Emulator() as emu:
        emu.model("me/hinted")(dict)
        for hint in "abba":
            await call(emu, "me/hinted", headers={"X-Fal-Runner-Hint": hint})
        assert [e.hint for e in emu.ledger] == list("abba")


async def test_a_run_is_cut_off_at_the_applications_own_limit() -> None:
    async with Emulator(clock="virtual") as emu:
        emu.register(Model(id="me/slow", function=dict, run_time=99, request_timeout=9))
        late = asyncio.create_task(call(emu, "me/slow"))
        await emu.advance(9)
        heard = await late
        assert (heard.status, heard.json["error_type"]) == (504, "request_timeout")
        assert heard.header("x-fal-request-timeout-type") is None
        assert emu.ledger.billed() == 0


# --- the caller leaves


async def test_a_call_whose_caller_has_left_runs_to_its_end_and_is_charged() -> None:
    async with Emulator(clock="virtual", limit=1) as emu:
        async with connected(emu) as (_, writer):
            writer.write(post("/fal.run/emulator/sleep", b'{"seconds": 5}'))
            await emu.until(lambda: emu.ledger.running() == 1)
        await emu.advance(4)
        assert (await call(emu, "emulator/echo")).status == 429  # it still holds its slot
        assert emu.ledger.billed() == 0
        await emu.advance(1)
        assert emu.ledger.billed("emulator/sleep") == 1
        assert (await call(emu, "emulator/echo")).status == 200


async def test_a_call_whose_caller_left_in_line_is_run_and_charged_too() -> None:
    async with Emulator(clock="virtual", runners=RunnerSettings(cold_start=2)) as emu:
        async with connected(emu) as (_, writer):
            writer.write(post("/fal.run/emulator/echo"))
            await emu.until(lambda: emu.in_flight == 1)
        await emu.advance(2)
        assert emu.ledger.billed() == 1


# --- models of one's own


async def test_a_plain_an_async_and_a_blocking_function_are_models(emu: Emulator) -> None:
    blocked: list[str] = []

    @emu.model("me/plain", unit="image", units=2)
    def plain(content: dict[str, Any]) -> dict[str, Any]:
        return {"plain": content}

    @emu.model("me/async")
    async def not_so_plain(content: dict[str, Any], call: Call) -> dict[str, Any]:
        await one_turn()
        return {"model": call.model, "path": call.path, "method": call.method}

    @emu.model("me/blocking", thread=True)
    def blocking(content: dict[str, Any]) -> list[str]:
        blocked.append(threading.current_thread().name)
        return blocked

    assert (await call(emu, "me/plain", {"a": 1})).json == {"plain": {"a": 1}}
    assert (await call(emu, "me/async")).json == {
        "model": "me/async",
        "path": "",
        "method": "POST",
    }
    assert (await call(emu, "me/blocking")).json[0].startswith("fal-emulator")
    assert emu.ledger.units("me/plain") == 2


async def test_a_run_lasts_as_long_as_its_model_says_for_the_input() -> None:
    async with Emulator(clock="virtual", run_time=lambda content: content["n"]) as emu:
        emu.model("me/own-time", run_time=1.0)(dict)
        first = asyncio.create_task(call(emu, "emulator/echo", {"n": 3}))
        second = asyncio.create_task(call(emu, "me/own-time", {"n": 3}))
        await emu.advance(1)
        assert (first.done(), second.done()) == (False, True)
        await emu.advance(2)
        assert (await first).status == (await second).status == 200


async def test_a_refusal_takes_the_run_time_and_a_failed_validation_does_not() -> None:
    async with Emulator(clock="virtual", run_time=5.0) as emu:
        invalid = asyncio.create_task(call(emu, MODEL, {}))
        refused = asyncio.create_task(call(emu, "emulator/refuse", {}))
        await emu.advance(4.9)
        assert (invalid.done(), refused.done()) == (True, False)
        assert (await invalid).header("x-fal-billable-units") == "0"
        await emu.advance(0.1)
        heard = await refused
        assert (heard.status, heard.header("x-fal-billable-units")) == (422, "1")
        assert heard.header("x-fal-retryable") == "false"
        assert (len(emu.ledger), emu.ledger.billed()) == (2, 1)


async def test_an_input_that_is_no_json_is_refused_in_the_frameworks_form(emu: Emulator) -> None:
    heard = await ask(emu, post(body=b"{"))
    assert (heard.status, heard.header("x-fal-billable-units")) == (422, "0")
    assert heard.json["detail"][0]["type"] == "json_invalid"
