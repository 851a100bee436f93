"""fal-client's queued calls: from submit to result, and what is seen on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fal_async.emulator import Call, RequeueSettings, ThreadedEmulator
from tests.conformance.either import done, drained

fal_client = pytest.importorskip("fal_client", reason="fal-client is not installed")

SOON = 0.01


@pytest.fixture
def gate(emulator: ThreadedEmulator) -> Iterator[threading.Event]:
    """Until it is open, ``you/gated`` works on."""
    opened = threading.Event()

    @emulator.model("you/gated", thread=True)
    def gated(input: dict[str, Any], call: Call) -> dict[str, Any]:
        call.log("it has begun")
        assert opened.wait(30)
        return input

    yield opened
    opened.set()


async def test_a_handle_leads_from_submit_to_the_result(
    client: Any, emulator: ThreadedEmulator
) -> None:
    handle = await done(client.submit, "fal-ai/flux/dev", {"prompt": "a cat"})
    base = f"https://queue.fal.run/fal-ai/flux/requests/{handle.request_id}"
    assert (handle.response_url, handle.status_url) == (base, f"{base}/status")
    assert handle.cancel_url == f"{base}/cancel"
    output = await done(handle.get, interval=SOON)
    assert output["images"][0]["url"].startswith("https://v3.fal.media/")
    assert emulator.ledger.billed("fal-ai/flux/dev") == 1


async def test_each_state_is_seen(
    client: Any, emulator: ThreadedEmulator, gate: threading.Event
) -> None:
    emulator.limit = 0
    first = await done(client.submit, "you/gated", {"i": 1})
    second = await done(client.submit, "you/gated", {"i": 2})
    assert await done(first.status) == fal_client.Queued(position=0)
    assert await done(second.status, with_logs=True) == fal_client.Queued(position=1)
    emulator.limit = 1
    await emulator.until(lambda: emulator.in_flight == 1)
    assert await done(first.status) == fal_client.InProgress(logs=None)
    running = await done(first.status, with_logs=True)
    assert [entry["message"] for entry in running.logs] == ["it has begun"]
    assert await done(second.status) == fal_client.Queued(position=0)
    gate.set()
    await emulator.until(lambda: emulator.ledger.billed() == 2)
    assert await done(first.get, interval=SOON) == {"i": 1}
    ended = await done(first.status, with_logs=True)
    assert isinstance(ended, fal_client.Completed)
    assert [entry["message"] for entry in ended.logs] == ["it has begun"]
    assert (ended.error, ended.error_type) == (None, None)
    assert ended.metrics["inference_time"] > 0
    assert (await done(first.status)).logs is None


async def test_events_are_statuses_until_it_is_done(
    client: Any, emulator: ThreadedEmulator, gate: threading.Event
) -> None:
    handle = await done(client.submit, "you/gated", {"i": 1})
    gate.set()
    events = await drained(handle.iter_events, with_logs=True, interval=SOON)
    assert isinstance(events[-1], fal_client.Completed)
    assert not any(isinstance(event, fal_client.Completed) for event in events[:-1])


async def test_an_id_is_all_that_is_needed_later(client: Any) -> None:
    handle = await done(client.submit, "emulator/echo", {"i": 1})
    await done(handle.get, interval=SOON)
    known = ("emulator/echo", handle.request_id)
    assert isinstance(await done(client.status, *known, with_logs=True), fal_client.Completed)
    assert await done(client.result, *known) == {"i": 1}


async def test_subscribing_tells_of_the_id_and_of_each_state(
    client: Any, emulator: ThreadedEmulator, gate: threading.Event
) -> None:
    ids: list[str] = []
    seen: list[str] = []

    def look(status: Any) -> None:
        kind = type(status).__name__
        if kind not in seen:
            seen.append(kind)
        if kind == "Queued":
            emulator.limit = None
        else:
            gate.set()

    emulator.limit = 0
    output = await done(
        client.subscribe,
        "you/gated",
        {"i": 1},
        with_logs=True,
        interval=SOON,
        on_enqueue=ids.append,
        on_queue_update=look,
    )
    assert output == {"i": 1}
    assert seen[0] == "Queued"
    assert seen[-1] == "Completed"
    assert ids == [request.request_id for request in emulator.queue.requests()]


async def test_subscribing_needs_nobody_who_listens(client: Any) -> None:
    assert await done(client.subscribe, "emulator/echo", {"i": 1}, interval=SOON) == {"i": 1}


async def test_a_request_in_line_is_cancelled(client: Any, emulator: ThreadedEmulator) -> None:
    emulator.limit = 0
    handle = await done(client.submit, "emulator/echo", {})
    await done(handle.cancel)
    ended = await done(handle.status)
    assert (ended.error_type, ended.metrics) == ("client_cancelled", {"inference_time": None})
    with pytest.raises(fal_client.FalClientHTTPError) as raised:
        await done(handle.get, interval=SOON)
    assert (raised.value.status_code, raised.value.error_type) == (499, "client_cancelled")
    assert emulator.ledger.billed() == 0


async def test_a_request_in_progress_is_told_to_stop(
    client: Any, emulator: ThreadedEmulator
) -> None:
    work = {"seconds": 3600, "cancellable": True}
    handle = await done(client.submit, "emulator/work", work)
    await emulator.until(lambda: emulator.in_flight == 1)
    await done(client.cancel, "emulator/work", handle.request_id)
    with pytest.raises(fal_client.FalClientHTTPError) as raised:
        await done(handle.get, interval=SOON)
    assert raised.value.status_code == 499


async def test_what_is_done_cannot_be_cancelled(client: Any) -> None:
    handle = await done(client.submit, "emulator/echo", {})
    await done(handle.get, interval=SOON)
    with pytest.raises(fal_client.FalClientHTTPError) as raised:
        await done(handle.cancel)
    assert raised.value.status_code == 400
    assert raised.value.response.json() == {"status": "ALREADY_COMPLETED"}


async def test_nobody_knows_an_id_that_never_was(client: Any) -> None:
    with pytest.raises(fal_client.FalClientHTTPError) as raised:
        await done(client.status, "emulator/echo", "00000000-0000-4000-8000-000000000000")
    assert raised.value.status_code == 404


async def test_what_is_asked_of_the_queue_arrives(client: Any, emulator: ThreadedEmulator) -> None:
    handle = await done(
        client.submit,
        "emulator/request",
        {"prompt": "a cat"},
        path="sub/path",
        hint="warm",
        priority="low",
        start_timeout=30,
        webhook_url="https://example.com/hook?id=a b",
        headers={"X-Fal-No-Retry": "1"},
    )
    job = emulator.queue.request(handle.request_id)
    assert (job.low, job.hint) == (True, "warm")
    assert job.webhook == "https://example.com/hook?id=a b"
    assert job.start_by is not None
    assert {*job.budget.values()} == {0}
    sent = await done(handle.get, interval=SOON)
    assert sent["path"] == "/sub/path"
    assert sent["headers"]["x-fal-request-timeout"] == "30.0"


async def test_a_failed_attempt_is_tried_again_by_the_queue(
    client: Any, emulator: ThreadedEmulator
) -> None:
    await emulator.reset(requeue=RequeueSettings(pause=0.0))
    work = {"seconds": 0, "fail_first": 2}
    assert (await done(client.subscribe, "emulator/work", work, interval=SOON))["attempt"] == 3


@pytest.fixture
def waited_for(monkeypatch: pytest.MonkeyPatch, client: Any) -> Iterator[None]:
    """Where its blocking form waits: a thread that goes on for a while after a wait has ended."""
    with ThreadPoolExecutor() as executor:
        monkeypatch.setattr(fal_client.client, "EXECUTOR", executor)
        yield


@pytest.mark.usefixtures("waited_for")
async def test_a_wait_that_ends_cancels_the_request(
    client: Any, emulator: ThreadedEmulator
) -> None:
    emulator.limit = 0
    with pytest.raises(fal_client.FalClientTimeoutError) as raised:
        await done(client.subscribe, "emulator/echo", {}, interval=SOON, client_timeout=1.01)
    [request] = emulator.queue.requests()
    assert raised.value.request_id == request.request_id
    assert request.state == "COMPLETED"
    assert request.start_by is not None
    assert emulator.requests["cancel"] == 1
