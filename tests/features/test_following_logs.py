"""Which log lines are new: after a poll, within a stream, after a reconnect, after a second attempt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fal_async import AsyncFal, LogLine
from fal_async.features.log_tail import LogTail
from tests.support.queue_script import DONE, REFUSED, RUNNING, lines, polled, streamed
from tests.support.scripted_server import MODEL, REQUEST_ID, Act, Script
from tests.support.virtual_time import in_virtual_time


def made(*words: str) -> tuple[LogLine, ...]:
    return tuple(LogLine(message=word) for word in words)


def fresh(tail: LogTail, *words: str, cumulative: bool) -> list[str]:
    return [line.message for line in tail.fresh(made(*words), cumulative=cumulative)]


# --- the rule -------------------------------------------------------------------------------------------


def test_polls_bring_all_so_far_and_what_is_new_is_told() -> None:
    tail = LogTail()
    assert fresh(tail, "a", "b", cumulative=True) == ["a", "b"]
    assert fresh(tail, "a", "b", cumulative=True) == []
    assert fresh(tail, cumulative=True) == []
    assert fresh(tail, "a", "b", "b", "c", cumulative=True) == ["b", "c"]
    assert fresh(tail, "a", cumulative=True) == []


def test_events_bring_what_is_new_however_alike_it_is() -> None:
    tail = LogTail()
    tail.resume()
    assert fresh(tail, "a", cumulative=False) == ["a"]
    assert fresh(tail, "a", cumulative=False) == ["a"]
    assert fresh(tail, "a", "b", cumulative=False) == ["a", "b"]


def test_a_stream_that_begins_anew_may_bring_all_so_far() -> None:
    tail = LogTail()
    tail.resume()
    fresh(tail, "a", "b", cumulative=False)
    tail.resume()
    assert fresh(tail, cumulative=False) == []
    assert fresh(tail, "a", "b", "c", cumulative=False) == ["c"]
    assert fresh(tail, "a", cumulative=False) == ["a"]


def test_a_stream_that_begins_anew_may_bring_only_what_is_new() -> None:
    tail = LogTail()
    fresh(tail, "a", "b", cumulative=True)
    tail.resume()
    assert fresh(tail, "c", "d", cumulative=False) == ["c", "d"]


def test_a_poll_between_two_streams_does_not_tell_which_kind_the_second_is() -> None:
    tail = LogTail()
    tail.resume()
    fresh(tail, "a", cumulative=False)
    assert fresh(tail, "a", "b", cumulative=True) == ["b"]
    tail.resume()
    assert fresh(tail, "a", "b", "c", cumulative=False) == ["c"]


def test_a_log_of_which_only_the_end_is_kept_tells_what_is_new() -> None:
    tail = LogTail()
    fresh(tail, "a", "b", "c", "d", cumulative=True)
    assert fresh(tail, "c", "d", "e", cumulative=True) == ["e"]
    assert fresh(tail, "e", "f", "g", "h", cumulative=True) == ["f", "g", "h"]


def test_a_second_attempt_s_log_is_new() -> None:
    tail = LogTail()
    fresh(tail, "start", "oops", cumulative=True)
    assert fresh(tail, "loading", cumulative=True) == ["loading"]


@given(st.text("ab", max_size=20), st.lists(st.integers(0, 20), max_size=10))
def test_whoever_polls_at_whatever_times_gets_each_line_once_and_in_order(
    log: str, times: list[int]
) -> None:
    tail, got = LogTail(), []
    for length in sorted(times):
        got += fresh(tail, *log[:length], cumulative=True)
    assert "".join(got) == log[: max(times, default=0)]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=12))
def test_streams_cut_anywhere_tell_each_line_once_and_in_order(
    events: list[tuple[int, bool, bool]],
) -> None:
    """Whether a new stream brings all lines again or only those since, as long as lines differ."""
    log = [str(number) for number in range(100)]
    tail, got, told = LogTail(), [], 0
    for new, begins_anew, from_the_start in events:
        first = told
        if begins_anew:
            tail.resume()
            first = 0 if from_the_start else told
        got += fresh(tail, *log[first : told + new], cumulative=False)
        told += new
    assert got == log[:told]


# --- over the wire --------------------------------------------------------------------------------------


async def told(*acts: Act) -> list[list[str]]:
    """The new lines of each update."""
    async with Script(*acts) as server, AsyncFal(hosts=server.hosts) as fal:
        updates = fal.handle(MODEL, REQUEST_ID).updates(logs=True)
        seen = [[line.message for line in update.logs] async for update in updates]
        assert all("logs=1" in request.line for request in server.requests)
        return seen


def running(*words: str) -> dict[str, object]:
    return {**RUNNING, "logs": lines(*words)}


def done(*words: str) -> dict[str, object]:
    return {**DONE, "logs": lines(*words)}


async def test_events_are_added_up() -> None:
    stream = streamed(running("a"), running("b", "c"), RUNNING, done("d"))
    assert await told(stream) == [["a"], ["b", "c"], ["d"]]


@in_virtual_time
async def test_polls_are_taken_apart() -> None:
    polls = [polled(running("a")), polled(running("a", "b")), polled(done("a", "b", "c"))]
    assert await told(REFUSED, *polls) == [["a"], ["b"], ["c"]]


@in_virtual_time
async def test_a_poll_that_brings_nothing_new_is_no_update() -> None:
    polls = [polled(running("a"))] * 3 + [polled(done("a"))]
    assert await told(REFUSED, *polls) == [["a"], []]


@in_virtual_time
async def test_after_a_broken_stream_nothing_is_told_twice_and_nothing_lost() -> None:
    acts = [
        streamed(running("a"), running("b")),
        polled(running("a", "b", "c")),
        streamed(running("a", "b", "c", "d"), running("e")),
        polled(running("a", "b", "c", "d", "e")),
        streamed(running("f"), done("g")),
    ]
    assert await told(*acts) == [["a"], ["b"], ["c"], ["d"], ["e"], ["f"], ["g"]]


@in_virtual_time
async def test_lines_that_were_not_asked_for_are_not_told() -> None:
    talkative = streamed(running("a"), done("b"))
    async with Script(talkative) as server, AsyncFal(hosts=server.hosts) as fal:
        handle = fal.handle(MODEL, REQUEST_ID)
        assert [update.logs async for update in handle.updates()] == [(), ()]
