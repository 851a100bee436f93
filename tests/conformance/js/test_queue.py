"""Requests that wait at fal: submitted, asked for, fetched, cancelled, followed by the JavaScript client."""

from __future__ import annotations

import pytest

from fal_async.emulator import Fault, ThreadedEmulator
from tests.conformance.js.node import Node

SUBSCRIBE = """
    const updates = [];
    const result = await fal.subscribe(given.model, {
        input: given.input, logs: true, onQueueUpdate: (update) => updates.push(update),
        ...given.options,
    });
    return { updates, ...result };
"""
#: A job that the emulator does in three visible steps.
WORK = {"seconds": 0.3, "steps": 3}
LINES = [f"step {step} of 3" for step in (1, 2, 3)]


def test_a_request_is_submitted_asked_for_and_fetched(js: Node, emulator: ThreadedEmulator) -> None:
    said = js("""
        const model = "emulator/echo/some/path";
        const submitted = await fal.queue.submit(model, { input: { a: 1 } });
        const requestId = submitted.request_id;
        await fal.queue.subscribeToStatus(model, { requestId, pollInterval: 5 });
        const status = await fal.queue.status(model, { requestId });
        return { submitted, status, result: await fal.queue.result(model, { requestId }) };
    """)
    request_id = said["submitted"]["request_id"]
    base = f"https://queue.fal.run/emulator/echo/requests/{request_id}"
    assert said["submitted"] == {
        "status": "IN_QUEUE",
        "request_id": request_id,
        "response_url": base,
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
        "queue_position": 0,
    }
    assert said["status"]["status"] == "COMPLETED"
    assert said["status"]["logs"] is None
    assert said["status"]["metrics"]["inference_time"] >= 0
    assert said["result"] == {"data": {"a": 1}, "requestId": request_id}
    [job] = emulator.queue
    assert (job.request_id, job.model) == (request_id, "emulator/echo/some/path")
    [execution] = emulator.ledger
    assert (execution.request_id, execution.billed) == (request_id, True)
    assert (emulator.requests["submit"], emulator.requests["result"]) == (1, 1)


def test_what_it_says_of_a_request_arrives(js: Node, emulator: ThreadedEmulator) -> None:
    js("""
        await fal.queue.submit("emulator/sleep", {
            input: { seconds: 60 }, priority: "low", hint: "this-one", startTimeout: 90,
            webhookUrl: "https://example.com/hook?id=1&x=ü",
        });
    """)
    [job] = emulator.queue
    assert (job.low, job.hint) == (True, "this-one")
    assert job.webhook == "https://example.com/hook?id=1&x=ü"
    assert job.start_by is not None
    assert round(job.start_by - job.submitted) == 90


def test_a_result_is_refused_until_it_is_there(js: Node) -> None:
    error = js.thrown("""
        const { request_id: requestId } = await fal.queue.submit("emulator/sleep", {
            input: { seconds: 60 },
        });
        await fal.queue.result("emulator/sleep", { requestId });
    """)
    assert (error["class"], error["status"]) == ("ApiError", 400)
    assert error["body"] == {"detail": "Request is still in progress"}


@pytest.mark.parametrize("call", ["status", "result", "cancel"])
def test_a_request_that_nobody_made_is_not_found(js: Node, call: str) -> None:
    error = js.thrown(
        """
        const requestId = "764cabcf-b745-4b3e-ae38-1200304cf45b";
        await fal.queue[given.call]("emulator/echo", { requestId });
        """,
        call=call,
    )
    assert (error["class"], error["status"]) == ("ApiError", 404)
    assert error["body"] == {"status": "NOT_FOUND"}


def test_a_request_that_waits_is_cancelled_and_never_runs(
    js: Node, emulator: ThreadedEmulator
) -> None:
    emulator.limit = 1
    said = js("""
        const model = "emulator/sleep";
        const ids = [];
        for (const seconds of [60, 60, 60]) {
            ids.push((await fal.queue.submit(model, { input: { seconds } })).request_id);
        }
        const [, requestId, behind] = ids;
        const status = async (requestId) => fal.queue.status(model, { requestId });
        const before = [await status(requestId), await status(behind)];
        await fal.queue.cancel(model, { requestId });
        const after = [await status(requestId), await status(behind)];
        const error = await fal.queue.result(model, { requestId }).catch(described);
        return { before, after, error };
    """)
    assert [status["status"] for status in said["before"]] == ["IN_QUEUE", "IN_QUEUE"]
    assert [status["queue_position"] for status in said["before"]] == [0, 1]
    cancelled, behind = said["after"]
    assert (cancelled["status"], cancelled["error_type"]) == ("COMPLETED", "client_cancelled")
    assert (behind["status"], behind["queue_position"]) == ("IN_QUEUE", 0)
    assert said["error"]["status"] == 499
    assert len(emulator.ledger) == 1
    assert emulator.requests["cancel"] == 1


def test_a_request_that_runs_is_cancelled_if_it_listens(
    js: Node, emulator: ThreadedEmulator
) -> None:
    error = js.thrown("""
        const input = { seconds: 60, cancellable: true };
        const { request_id: requestId } = await fal.queue.submit("emulator/work", { input });
        await fal.queue.cancel("emulator/work", { requestId });
        await fal.queue.subscribeToStatus("emulator/work", { requestId, pollInterval: 5 });
        await fal.queue.result("emulator/work", { requestId });
    """)
    assert error["status"] == 499
    [execution] = emulator.ledger
    assert execution.status == 499


def test_a_request_that_is_done_cannot_be_cancelled(js: Node, emulator: ThreadedEmulator) -> None:
    error = js.thrown("""
        const { requestId } = await fal.subscribe("emulator/echo", { input: { a: 1 } });
        await fal.queue.cancel("emulator/echo", { requestId });
    """)
    assert (error["status"], error["body"]) == (400, {"status": "ALREADY_COMPLETED"})
    assert emulator.ledger.billed() == 1


# --- subscribing --------------------------------------------------------------------------------------


def test_it_subscribes_by_asking_again_and_again(js: Node, emulator: ThreadedEmulator) -> None:
    told = js(SUBSCRIBE, model="emulator/work", input=WORK, options={"pollInterval": 20})
    assert told["data"] == {"worked": 0.3, "attempt": 1}
    states = [update["status"] for update in told["updates"]]
    assert set(states[:-1]) <= {"IN_QUEUE", "IN_PROGRESS"}
    assert "IN_PROGRESS" in states
    assert states[-1] == "COMPLETED"
    last = told["updates"][-1]
    assert [line["message"] for line in last["logs"]] == LINES
    assert emulator.requests["status"] == len(states)
    assert emulator.requests["status_stream"] == 0
    assert emulator.ledger.billed() == 1


def test_it_subscribes_by_a_stream_of_statuses(js: Node, emulator: ThreadedEmulator) -> None:
    told = js(SUBSCRIBE, model="emulator/work", input=WORK, options={"mode": "streaming"})
    assert told["data"] == {"worked": 0.3, "attempt": 1}
    states = [update["status"] for update in told["updates"]]
    assert "IN_PROGRESS" in states
    assert states[-1] == "COMPLETED"
    assert states.count("COMPLETED") == 1
    # Events tell what is new, and the client puts it together: no line comes twice (PROTOCOL 6.3).
    last = told["updates"][-1]
    assert [line["message"] for line in last["logs"]] == LINES
    assert emulator.requests == {"submit": 1, "status_stream": 1, "result": 1}
    assert emulator.ledger.billed() == 1


def test_it_streams_statuses_with_a_token_too(js: Node, emulator: ThreadedEmulator) -> None:
    told = js(
        SUBSCRIBE,
        model="emulator/echo",
        input={"a": 1},
        options={"mode": "streaming", "connectionMode": "client"},
    )
    assert told["data"] == {"a": 1}
    assert emulator.requests["browser_token"] == 1


def test_it_tells_the_request_id_before_anything_is_done(
    js: Node, emulator: ThreadedEmulator
) -> None:
    ids = js("""
        const ids = [];
        const onEnqueue = (id) => ids.push(id);
        const { requestId } = await fal.subscribe("emulator/echo", { input: {}, onEnqueue });
        return [...ids, requestId];
    """)
    [job] = emulator.queue
    assert ids == [job.request_id] * 2


@pytest.mark.parametrize("mode", ["polling", "streaming"])
def test_a_request_that_fails_throws_what_the_model_said(
    js: Node, emulator: ThreadedEmulator, mode: str
) -> None:
    error = js.thrown(
        SUBSCRIBE,
        model="emulator/refuse",
        input={"type": "no_media_generated"},
        options={"mode": mode},
    )
    assert (error["class"], error["status"]) == ("ValidationError", 422)
    [job] = emulator.queue
    assert error["requestId"] == job.request_id
    assert error["fieldErrors"][0]["type"] == "no_media_generated"


def test_a_request_that_fails_at_the_platform_throws_that(
    js: Node, emulator: ThreadedEmulator
) -> None:
    error = js.thrown("""
        await fal.subscribe("emulator/crash", {
            input: { error_type: "runner_server_error" },
            headers: { "X-Fal-No-Retry": "1" },
            pollInterval: 5,
        });
    """)
    assert (error["class"], error["status"]) == ("ApiError", 500)
    assert error["body"]["error_type"] == "runner_server_error"
    assert len(emulator.ledger) == 1


def test_after_its_own_timeout_it_cancels(js: Node, emulator: ThreadedEmulator) -> None:
    error = js.thrown("""
        const input = { seconds: 60, cancellable: true };
        await fal.subscribe("emulator/work", { input, timeout: 50, pollInterval: 5 });
    """)
    assert error["message"].startswith("Client timed out waiting for the request to complete")
    emulator.wait(emulator.until(lambda: emulator.in_flight == 0))
    assert emulator.requests["cancel"] == 1
    [job] = emulator.queue
    assert job.result is not None
    assert job.result.response.status == 499


def test_over_the_limit_requests_wait_their_turn(js: Node, emulator: ThreadedEmulator) -> None:
    emulator.limit = 1
    js("""
        const nap = () => fal.subscribe("emulator/sleep", {
            input: { seconds: 0.02 }, pollInterval: 5,
        });
        await Promise.all([nap(), nap(), nap()]);
    """)
    assert (emulator.refused, emulator.peak_in_flight) == (0, 1)
    assert emulator.ledger.billed() == 3


def test_a_status_that_cannot_be_had_is_asked_for_again(
    js: Node, emulator: ThreadedEmulator
) -> None:
    emulator.faults.add(Fault("internal_error", operation="status", times=2))
    outcome = js("""
        return await hastily(() => fal.subscribe("emulator/echo", { input: { a: 1 } }));
    """)
    assert outcome["value"]["data"] == {"a": 1}
    assert emulator.requests["status"] >= 3
    assert emulator.ledger.billed() == 1


def test_a_submission_whose_answer_is_lost_is_made_again(
    js: Node, emulator: ThreadedEmulator
) -> None:
    """There are two requests then, and both are charged for (PROTOCOL 15)."""
    emulator.faults.add(Fault("reset", operation="submit", times=1))
    outcome = js("""
        return await hastily(() => fal.subscribe("emulator/echo", { input: { a: 1 } }));
    """)
    assert outcome["value"]["data"] == {"a": 1}
    assert len(emulator.queue) == 2
    assert emulator.ledger.billed() == 2


def test_a_workflow_keeps_its_three_names(js: Node, emulator: ThreadedEmulator) -> None:
    workflow = "workflows/emulator/described-picture"
    told = js(SUBSCRIBE, model=workflow, input={"prompt": "a cat"}, options={"pollInterval": 5})
    assert told["data"]["images"]
    [job] = emulator.queue
    assert (told["requestId"], job.application) == (job.request_id, workflow)
