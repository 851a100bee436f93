"""What fal's JavaScript client makes of refusals and failures, and what it sends again."""

from __future__ import annotations

from typing import Any

import pytest

from fal_async.emulator import Fault, ThreadedEmulator
from tests.conformance.js.node import Node

RUN = "return await fal.run(given.model, {input: given.input ?? {}})"
HASTILY = "return await hastily(() => fal.run('emulator/echo', {input: {a: 1}}))"
#: Milliseconds between its attempts at a direct call, give or take a quarter.
WAITS = (500, 1000, 2000)


def nearly(waits: tuple[int, ...]) -> list[Any]:
    return [pytest.approx(wait, rel=0.25) for wait in waits]


def test_a_key_that_nobody_has_is_an_api_error(js: Node, emulator: ThreadedEmulator) -> None:
    error = js.thrown("""
        const stranger = createFalClient({ credentials: "someone:else" });
        await stranger.run("emulator/echo", { input: {} });
    """)
    assert (error["class"], error["status"]) == ("ApiError", 401)
    assert error["body"] == {"detail": "No user found for Key ID and Secret"}
    assert error["requestId"]
    assert emulator.received == 1
    assert len(emulator.ledger) == 0


def test_a_model_that_is_not_there_is_an_api_error(js: Node, emulator: ThreadedEmulator) -> None:
    error = js.thrown(RUN, model="fal-ai/no-such-model")
    assert (error["class"], error["status"]) == ("ApiError", 404)
    assert error["body"] == {"detail": 'Application "fal-ai/no-such-model" not found'}
    assert (emulator.received, len(emulator.ledger)) == (1, 0)


def test_an_account_that_is_locked_is_an_api_error(js: Node, emulator: ThreadedEmulator) -> None:
    emulator.wait(emulator.reset(locked={"conformance:secret": "Exhausted balance."}))
    error = js.thrown(RUN, model="emulator/echo")
    assert (error["class"], error["status"]) == ("ApiError", 403)
    assert error["body"]["detail"].startswith("User is locked. Reason: Exhausted balance.")


def test_an_input_that_does_not_fit_is_a_validation_error(
    js: Node, emulator: ThreadedEmulator
) -> None:
    error = js.thrown(RUN, model="fal-ai/fast-sdxl", input={"num_images": 99})
    assert (error["class"], error["name"]) == ("ValidationError", "ValidationError")
    assert error["status"] == 422
    prompt, number = error["fieldErrors"]
    assert (prompt["loc"], prompt["type"]) == (["body", "prompt"], "missing")
    assert (number["loc"], number["type"]) == (["body", "num_images"], "less_than_equal")
    assert emulator.received == 1
    assert emulator.ledger.billed() == 0


def test_its_validation_error_finds_what_is_said_of_a_field(js: Node) -> None:
    found = js("""
        const call = fal.run("fal-ai/fast-sdxl", { input: { num_images: 99 } });
        const error = await call.catch((error) => error);
        return error.getFieldErrors("num_images").map((entry) => entry.msg);
    """)
    assert found == ["Input should be less than or equal to 8"]


def test_a_refusal_of_the_model_is_a_validation_error(js: Node, emulator: ThreadedEmulator) -> None:
    error = js.thrown(RUN, model="emulator/refuse", input={"type": "content_policy_violation"})
    assert error["class"] == "ValidationError"
    [entry] = error["fieldErrors"]
    assert entry["type"] == "content_policy_violation"
    assert emulator.received == 1
    assert emulator.ledger.billed() == 1


def test_an_error_of_the_application_has_its_words(js: Node) -> None:
    error = js.thrown(
        RUN, model="emulator/crash", input={"how": "declared", "status": 409, "message": "Not now"}
    )
    assert (error["status"], error["body"]) == (409, {"detail": "Not now"})
    assert error["message"] == "Conflict"


def test_a_500_is_not_sent_again(js: Node, emulator: ThreadedEmulator) -> None:
    error = js.thrown(RUN, model="emulator/crash", input={"how": "exception"})
    assert (error["class"], error["status"]) == ("ApiError", 500)
    assert error["body"] == {"detail": "Internal Server Error"}
    assert emulator.received == 1


def test_a_start_timeout_is_known_as_the_users_own_and_not_sent_again(
    js: Node, emulator: ThreadedEmulator
) -> None:
    emulator.faults.add(Fault("start_timeout"))
    error = js.thrown("await fal.run('emulator/echo', {input: {}, startTimeout: 2})")
    assert (error["class"], error["status"]) == ("ApiError", 504)
    assert error["isUserTimeout"] is True
    assert error["body"]["error_type"] == "request_timeout"
    assert emulator.received == 1


@pytest.mark.parametrize(
    "fault", ["runner_scheduling_failure", "startup_timeout", "too_many_requests"]
)
def test_what_may_pass_is_sent_again(js: Node, emulator: ThreadedEmulator, fault: str) -> None:
    emulator.faults.add(Fault(fault, times=1))
    outcome = js(HASTILY)
    assert outcome["value"]["data"] == {"a": 1}
    assert outcome["waits"] == nearly(WAITS[:1])
    assert emulator.received == 2
    assert emulator.ledger.billed() == 1


@pytest.mark.parametrize("kind", ["runner_scheduling_failure", "runner_incomplete_response"])
def test_what_does_not_pass_is_sent_four_times(
    js: Node, emulator: ThreadedEmulator, kind: str
) -> None:
    emulator.faults.add(Fault(kind))
    outcome = js(HASTILY)
    assert outcome["error"]["class"] == "ApiError"
    assert outcome["error"]["body"]["error_type"] == kind
    assert outcome["error"]["isUserTimeout"] is False
    assert outcome["waits"] == nearly(WAITS)
    assert emulator.received == 4
    assert emulator.ledger.billed() == 0


def test_over_the_limit_it_is_told_so_in_the_end(js: Node, emulator: ThreadedEmulator) -> None:
    emulator.limit = 0
    outcome = js(HASTILY)
    assert outcome["error"]["status"] == 429
    assert outcome["error"]["body"] == {
        "detail": "Reached concurrent requests limit of 0",
        "type": "concurrent_requests_limit",
        "data": {"limit": 0},
    }
    assert (emulator.refused, len(emulator.ledger)) == (4, 0)


def test_over_the_limit_it_comes_again_until_it_is_let_in(
    js: Node, emulator: ThreadedEmulator
) -> None:
    emulator.limit = 1
    outcome = js("""
        const input = { seconds: 60, cancellable: true };
        const { request_id: requestId } = await fal.queue.submit("emulator/work", { input });
        const watched = async (...request) => {
            const response = await fetch(...request);
            if (response.status === 429) await fal.queue.cancel("emulator/work", { requestId });
            return response;
        };
        const other = createFalClient({ fetch: watched });
        return await hastily(() => other.run("emulator/echo", { input: { a: 1 } }));
    """)
    assert outcome["value"]["data"] == {"a": 1}
    assert len(outcome["waits"]) == emulator.refused >= 1
    assert emulator.peak_in_flight == 1
    assert emulator.ledger.billed("emulator/echo") == 1


def test_an_error_of_the_load_balancer_has_no_request_id(
    js: Node, emulator: ThreadedEmulator
) -> None:
    emulator.faults.add(Fault("ingress_502"))
    outcome = js(HASTILY)
    error = outcome["error"]
    assert (error["class"], error["status"]) == ("ApiError", 502)
    assert (error["requestId"], error.get("body")) == ("", None)
    assert error["message"] == "HTTP 502: Bad Gateway"
    assert emulator.received == 4


@pytest.mark.parametrize("fault", ["reset", "close", "half_head"])
def test_a_lost_answer_is_paid_for_again(js: Node, emulator: ThreadedEmulator, fault: str) -> None:
    """It takes a lost connection for a call that was not made; fal charges for both."""
    emulator.faults.add(Fault(fault, times=1))
    outcome = js(HASTILY)
    assert outcome["value"]["data"] == {"a": 1}
    assert emulator.ledger.billed() == 2
