"""What fal-client makes of failures: what it raises, and what it tries again by itself."""

from __future__ import annotations

from typing import Any

import pytest

from fal_async.emulator import Account, ThreadedEmulator
from tests.conformance.either import done, drained

fal_client = pytest.importorskip("fal_client", reason="fal-client is not installed")
httpx = fal_client.client.httpx

ECHO = "emulator/echo"


async def failure(call: Any, *args: Any, **named: Any) -> Any:
    with pytest.raises(fal_client.FalClientHTTPError) as raised:
        await done(call, *args, **named)
    return raised.value


async def test_an_unknown_key(client: Any, emulator: ThreadedEmulator) -> None:
    await emulator.reset(keys=["another:key"])
    for call in (client.run, client.submit):
        error = await failure(call, ECHO, {})
        assert (error.status_code, error.error_type) == (401, None)
        assert str(error) == "No user found for Key ID and Secret"
        assert error.response_headers["x-fal-request-id"]


async def test_a_locked_account(client: Any, emulator: ThreadedEmulator) -> None:
    await emulator.reset(keys=Account(locked={"an-id:a-secret": "Exhausted balance."}))
    error = await failure(client.run, ECHO, {})
    assert error.status_code == 403
    assert str(error).startswith("User is locked. Reason: Exhausted balance")


async def test_an_unknown_model(client: Any) -> None:
    error = await failure(client.run, "fal-ai/nothing", {})
    assert (error.status_code, str(error)) == (404, 'Application "fal-ai/nothing" not found')


async def test_an_input_that_does_not_fit(client: Any, emulator: ThreadedEmulator) -> None:
    error = await failure(client.run, "fal-ai/flux/dev", {"num_images": "many"})
    assert error.status_code == 422
    assert {"prompt", "num_images"} >= {entry["loc"][-1] for entry in error.message}
    assert error.response_headers["x-fal-billable-units"] == "0"
    assert emulator.ledger.billed() == 0


async def test_an_input_that_the_model_refuses(client: Any) -> None:
    error = await failure(client.run, "emulator/refuse", {"type": "image_too_small"})
    [entry] = error.message
    assert (error.status_code, entry["type"]) == (422, "image_too_small")
    assert entry["ctx"] == {"min_height": 1, "min_width": 1}
    assert entry["url"].endswith("errors#image_too_small")


@pytest.mark.parametrize(
    ("error_type", "status"),
    [
        ("internal_error", 500),
        ("runner_disconnected", 503),
        ("runner_scheduling_failure", 503),
        ("startup_timeout", 504),
        ("bad_request", 400),
    ],
)
async def test_a_failure_of_the_platform_is_told_by_its_name_and_not_tried_again(
    client: Any, emulator: ThreadedEmulator, error_type: str, status: int
) -> None:
    emulator.faults.add(error_type)
    error = await failure(client.run, ECHO, {})
    assert (error.status_code, error.error_type) == (status, error_type)
    assert error.response_headers["x-fal-error-type"] == error_type
    assert emulator.requests["run"] == 1


async def test_a_start_timeout_that_passed_is_not_tried_again(
    client: Any, emulator: ThreadedEmulator
) -> None:
    emulator.faults.add("start_timeout")
    error = await failure(client.run, ECHO, {}, start_timeout=30)
    assert (error.status_code, error.error_type) == (504, "request_timeout")
    assert error.response_headers["x-fal-request-timeout-type"] == "user"
    assert emulator.requests["run"] == 1


async def test_the_same_failures_are_those_of_queued_calls(
    client: Any, emulator: ThreadedEmulator
) -> None:
    handle = await done(client.submit, "emulator/refuse", {"type": "no_media_generated"})
    error = await failure(handle.get, interval=0.01)
    assert (error.status_code, error.message[0]["type"]) == (422, "no_media_generated")
    ended = await done(handle.status)
    assert ended.error == "Invalid status code: 422"


async def test_a_refusal_for_the_limit_is_tried_again(
    client: Any, emulator: ThreadedEmulator
) -> None:
    emulator.faults.add("too_many_requests", limit=2, times=2)
    assert await done(client.run, ECHO, {"i": 1}) == {"i": 1}
    assert (emulator.requests["run"], emulator.ledger.billed()) == (3, 1)


@pytest.mark.parametrize("kind", ["ingress_502", "ingress_503", "ingress_504"])
async def test_an_error_of_the_load_balancer_is_tried_again(
    client: Any, emulator: ThreadedEmulator, kind: str
) -> None:
    emulator.faults.add(kind, times=1)
    assert await done(client.run, ECHO, {"i": 1}) == {"i": 1}
    assert emulator.requests["run"] == 2


@pytest.mark.parametrize("kind", ["reset", "close", "half_body"])
async def test_an_answer_that_is_lost_is_asked_for_again_and_billed_twice(
    client: Any, emulator: ThreadedEmulator, kind: str
) -> None:
    emulator.faults.add(kind, times=1)
    assert await done(client.run, ECHO, {"i": 1}) == {"i": 1}
    assert (emulator.requests["run"], emulator.ledger.billed()) == (2, 2)


async def test_ones_own_timeout_is_final_where_a_start_timeout_is_said(
    client: Any, emulator: ThreadedEmulator
) -> None:
    emulator.faults.add("stall")
    with pytest.raises(httpx.ReadTimeout):
        await done(client.run, ECHO, {}, timeout=0.1, start_timeout=30)
    assert emulator.requests["run"] == 1


async def test_a_status_that_is_lost_is_asked_for_again(
    client: Any, emulator: ThreadedEmulator
) -> None:
    handle = await done(client.submit, ECHO, {"i": 1})
    emulator.faults.add("reset", operation="status", times=1)
    emulator.faults.add("ingress_502", operation="result", times=1)
    assert await done(handle.get, interval=0.01) == {"i": 1}
    assert emulator.ledger.billed() == 1


async def test_a_stream_that_is_refused_is_an_error_of_httpx_sse(
    client: Any, emulator: ThreadedEmulator
) -> None:
    with pytest.raises(httpx.TransportError, match="text/event-stream"):
        await drained(client.stream, "fal-ai/nothing", {})


@pytest.mark.parametrize("seconds", [0, 0.5, 1])
async def test_start_timeouts_of_a_second_and_less_are_refused_before_anything_is_sent(
    client: Any, emulator: ThreadedEmulator, seconds: float
) -> None:
    with pytest.raises(ValueError, match="greater than 1"):
        await done(client.run, ECHO, {}, start_timeout=seconds)
    assert emulator.received == 0
