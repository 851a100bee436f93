"""Status streams: what is told when, and how they end (PROTOCOL 6.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fal_async.emulator import Emulator, RunnerSettings
from tests.emulator.queue_caller import Caller, calling

pytestmark = pytest.mark.usefixtures("silent", "unheard")


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    runners = RunnerSettings(count=1)
    async with Emulator(clock="virtual", runners=runners) as emu, calling(emu) as it:
        yield it


async def test_a_stream_tells_every_change_and_ends_with_completion(caller: Caller) -> None:
    _, second = [await caller.work(10, steps=2) for _ in range(2)]
    async with caller.stream(second) as stream:
        assert stream.head.result().status == 200
        assert stream.head.result().headers["Content-Type"] == "text/event-stream"
        assert stream.head.result().headers["x-fal-request-id"] == second["request_id"]
        assert stream.words == ["IN_QUEUE"]
        await caller.emu.advance(10)
        assert stream.words == ["IN_QUEUE", "IN_PROGRESS"]
        await caller.emu.advance(10)
        assert stream.words == ["IN_QUEUE", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED"]
        assert stream.end == "closed"
    assert stream.statuses[0]["logs"] is None
    assert stream.messages == ["step 1 of 2", "step 2 of 2"]
    last = stream.statuses[-1]
    assert last["metrics"] == {"inference_time": 10}
    assert last["response_url"] == second["response_url"]
    assert caller.emu.requests["status_stream"] == 1


async def test_each_event_is_one_line_and_log_lines_come_once(caller: Caller) -> None:
    submission = await caller.work(3, steps=3)
    async with caller.stream(submission) as stream:
        await caller.emu.advance(3)
    events = stream.text.split(b"\n\n")
    assert events.pop() == b""
    assert all(event.startswith(b'data: {"') and b"\n" not in event for event in events)
    assert stream.messages == ["step 1 of 3", "step 2 of 3", "step 3 of 3"]


async def test_who_comes_later_gets_what_was_logged_before(caller: Caller) -> None:
    submission = await caller.work(4, steps=4)
    await caller.emu.advance(2)
    async with caller.stream(submission) as stream:
        assert [len(status["logs"]) for status in stream.statuses] == [2]
        await caller.emu.advance(1)
        assert [len(status["logs"]) for status in stream.statuses] == [2, 1]


async def test_without_logs_only_changes_of_state_are_told(caller: Caller) -> None:
    submission = await caller.work(3, steps=3)
    async with caller.stream(submission, "?logs=0") as stream:
        await caller.emu.advance(3)
    assert stream.words == ["IN_PROGRESS", "COMPLETED"]
    assert [status["logs"] for status in stream.statuses] == [None, None]


async def test_what_has_ended_is_told_in_one_event(caller: Caller) -> None:
    submission = await caller.submit("emulator/echo")
    await caller.emu.advance(0)
    async with caller.stream(submission) as stream:
        assert (stream.words, stream.end) == (["COMPLETED"], "closed")


async def test_a_comment_keeps_the_stream_alive_every_fifteen_seconds(caller: Caller) -> None:
    submission = await caller.work(100, steps=1)
    async with caller.stream(submission) as stream:
        await caller.emu.advance(14.9)
        await caller.work(1)  # somebody else's business
        assert stream.pings == 0
        await caller.emu.advance(0.1)
        assert stream.pings == 1
        await caller.emu.advance(84.9)
        assert (stream.pings, stream.words) == (6, ["IN_PROGRESS"])


async def test_a_line_that_moves_fast_is_not_told_every_time(caller: Caller) -> None:
    for _ in range(20):
        await caller.work(0.25, steps=1)
    submission = await caller.work(1)
    async with caller.stream(submission) as stream:
        await caller.emu.advance(5)
        assert stream.words[-1] == "IN_PROGRESS"
        positions = [s["queue_position"] for s in stream.statuses if "queue_position" in s]
    assert positions == sorted(set(positions), reverse=True)
    assert positions[0] == 19
    assert 4 <= len(positions) <= 8


async def test_a_cancel_in_line_ends_the_stream(caller: Caller) -> None:
    await caller.work(100)
    submission = await caller.work(100)
    async with caller.stream(submission) as stream:
        await caller.cancel(submission)
        await caller.emu.advance(0)
        assert (stream.words, stream.end) == (["IN_QUEUE", "COMPLETED"], "closed")
    assert stream.statuses[-1]["error_type"] == "client_cancelled"


async def test_a_requeue_is_told(caller: Caller) -> None:
    submission = await caller.work(2, steps=1, fail_first=1)
    async with caller.stream(submission) as stream:
        await caller.emu.advance(10)
    # twice in progress: the first attempt's own log line came between
    told = [word for i, word in enumerate(stream.words) if word != stream.words[i - 1] or not i]
    assert told == ["IN_PROGRESS", "IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    assert stream.messages == ["step 1 of 1", "the GPU has fallen off the bus", "step 1 of 1"]


async def test_many_may_follow_the_same_request(caller: Caller) -> None:
    submission = await caller.work(1, steps=1)
    async with caller.stream(submission) as one, caller.stream(submission) as other:
        await caller.emu.advance(1)
        assert one.words == other.words == ["IN_PROGRESS", "COMPLETED"]


async def test_who_leaves_leaves_nothing_behind(caller: Caller) -> None:
    for _ in range(3):
        await caller.work(0.5)
    submission = await caller.work(1)
    async with caller.stream(submission) as stream:
        await caller.emu.advance(0.6)  # moved, and to be told of the next move later
    assert stream.end is None
    await caller.emu.advance(60)
    assert (await caller.result(submission)).status == 200


async def test_stopping_cuts_streams_off() -> None:
    async with Emulator(clock="virtual") as emu, calling(emu) as caller:
        submission = await caller.work(100)
        async with caller.stream(submission) as stream:
            await emu.stop()
            await emu.start()
            await emu.advance(0)
            assert stream.end == "ClientPayloadError"
