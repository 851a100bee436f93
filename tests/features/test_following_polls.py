"""Where status streams are refused: few polls, the end noticed soon, and one rate for all together."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from fal_async import AsyncFal, Completed, InProgress, InQueue, QueueStatus, RequestHandle
from fal_async.emulator import Emulator, Model, RunnerSettings
from fal_async.errors import ConnectionLostError
from fal_async.features.asking import Asker
from fal_async.features.following import Follower
from fal_async.protocol.messages import HttpRequest, HttpResponse
from fal_async.transport.base import Call, StreamedResponse
from fal_async.transport.clock import LoopClock
from tests.support.fakes import respond
from tests.support.queue_script import DONE, FAILED, QUEUED, REFUSED, RUNNING, polled
from tests.support.scripted_server import MODEL, REQUEST_ID, Script, answer
from tests.support.virtual_time import VirtualTimeLoop, in_virtual_time

OUTPUT = {"ok": True}


def job(**settings: Any) -> Model:
    return Model(id=MODEL, function=lambda _: OUTPUT, **{"run_time": 10.0, **settings})


def now() -> float:
    return asyncio.get_running_loop().time()


async def at(time: float) -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_at(time, event.set)
    await event.wait()


# --- over the wire --------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_request_of_ten_seconds_takes_about_ten_questions() -> None:
    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("stream_refused")
        assert await fal.subscribe(MODEL, {}) == OUTPUT
        assert emu.requests.total() <= 11
        assert emu.time < 15
        # The second one is asked after when it is due.
        before = emu.time
        assert await fal.subscribe(MODEL, {}) == OUTPUT
        assert emu.requests["status"] <= 10
        assert emu.time - before < 10.1


@in_virtual_time
async def test_many_requests_learn_of_each_other_how_long_they_take() -> None:
    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("stream_refused")
        noticed: list[float] = []

        async def one() -> None:
            await fal.subscribe(MODEL, {})
            noticed.append(emu.time - 10)

        await asyncio.gather(*(one() for _ in range(60)))
        assert emu.requests.total() <= 10 * 60
        assert median(noticed) < 0.5
        assert max(noticed) < 1


@in_virtual_time
async def test_a_request_that_was_submitted_elsewhere_is_asked_after_at_once() -> None:
    """It may be done for long, whatever the usual time is."""
    async with Emulator(models=[job(run_time=500.0)]) as emu:
        emu.faults.add("stream_refused")
        async with AsyncFal(hosts=emu.hosts) as fal:
            handle = await fal.submit(MODEL, {})
            assert await handle.result() == OUTPUT
            # Nor is the one that asks again late.
            begun = now()
            assert await handle.result() == OUTPUT
            assert now() - begun < 0.1
            begun = now()
            assert await fal.handle(handle.to_dict()).result() == OUTPUT
            assert now() - begun < 0.1


@in_virtual_time
async def test_a_handle_that_is_asked_late_is_asked_after_at_once() -> None:
    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("stream_refused")
        handle = await fal.submit(MODEL, {})
        await at(now() + 100)
        begun = now()
        assert await handle.result() == OUTPUT
        assert now() - begun < 0.1


@in_virtual_time
async def test_positions_requeues_and_the_end_are_seen_by_polls_too() -> None:
    told: list[Any] = []
    one = RunnerSettings(count=1)
    async with Emulator(models=[job(runners=one)]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("stream_refused")
        emu.faults.add("runner_disconnected", operation="attempt", nth=3)
        for _ in range(2):
            await fal.submit(MODEL, {})
        assert await fal.subscribe(MODEL, {}, on_update=told.append) == OUTPUT
    positions = [u.queue_position for u in told if isinstance(u, InQueue)]
    assert positions[:2] == [1, 0]
    assert isinstance(told[-1], Completed)
    assert InProgress in {type(update) for update in told}


@in_virtual_time
async def test_polls_that_fail_are_spaced_and_the_request_is_not_lost() -> None:
    acts = [REFUSED, *[answer(503)] * 30, polled(DONE)]
    async with Script(*acts) as server, AsyncFal(hosts=server.hosts) as fal:
        begun = now()
        updates = [u async for u in fal.handle(MODEL, REQUEST_ID).updates()]
        assert [type(u) for u in updates] == [Completed]
        assert 100 < now() - begun < 250


@in_virtual_time
async def test_each_run_of_failures_has_a_patience_of_its_own() -> None:
    acts = [REFUSED, *[*[answer(503)] * 60, polled(RUNNING)] * 3, polled(DONE)]
    async with Script(*acts) as server, AsyncFal(hosts=server.hosts) as fal:
        begun = now()
        async for _ in fal.handle(MODEL, REQUEST_ID).updates():
            pass
        assert now() - begun > 900


# --- what is learned ------------------------------------------------------------------------------------


async def usual(*contents: Any, streams: bool = False, every: float = 3.0) -> float | None:
    """What a session takes for the usual time after requests that were told of so."""
    transport = FakeQueue(*contents)
    follower = transport.follower(rate=100.0)
    async for _ in follower.updates(RequestHandle(model=MODEL, request_id="r-1"), logs=False):
        pass
    return follower.known_of(MODEL).durations.usual


class FakeQueue:
    """A queue that refuses streams and answers polls in turn; the last answer is repeated."""

    def __init__(self, *contents: Any, took: float = 0.0, lost: int = 0) -> None:
        self._contents = list(contents)
        self._took = took
        self._lost = lost
        self.polls: list[float] = []
        self.streams = 0

    async def send(self, request: HttpRequest, call: Call) -> HttpResponse:
        self.polls.append(now())
        call.begin_send()
        if self._took:
            await at(now() + self._took)
        if self._lost:
            self._lost -= 1
            raise ConnectionLostError("lost")
        content = self._contents.pop(0) if len(self._contents) > 1 else self._contents[0]
        return respond(200, body=json.dumps(content).encode())

    @asynccontextmanager
    async def open(
        self, request: HttpRequest, call: Call, *, idle: float | None
    ) -> AsyncGenerator[StreamedResponse]:
        self.streams += 1
        yield Refusal()

    def has_room(self) -> bool:
        return True

    def follower(self, rate: float) -> Follower:
        clock = LoopClock()
        return Follower(self, Asker(self, clock), "https://queue.fal.run", clock, poll_rate=rate)


class Refusal:
    def __init__(self) -> None:
        self.status = 405
        self.headers: dict[str, str] = {}

    async def chunks(self) -> AsyncGenerator[bytes]:
        yield b""


@in_virtual_time
async def test_the_usual_time_is_what_the_runner_took_by_its_own_account() -> None:
    assert await usual({**DONE, "metrics": {"inference_time": 7.5}}) == 7.5


@in_virtual_time
async def test_without_metrics_it_is_the_time_between_two_statuses() -> None:
    bare = {"status": "COMPLETED"}
    took = await usual(QUEUED, RUNNING, bare)
    assert took is not None
    assert 0.3 < took < 2


@pytest.mark.parametrize(
    "contents",
    [
        [{"status": "COMPLETED"}],
        [RUNNING, {"status": "COMPLETED"}],
        [QUEUED, {"status": "COMPLETED"}],
        [FAILED],
        [{**DONE, "error_type": "client_cancelled"}],
    ],
    ids=["ended before", "met on its runner", "not seen running", "failed", "cancelled"],
)
@in_virtual_time
async def test_what_is_not_known_teaches_nothing(contents: list[Any]) -> None:
    assert await usual(*contents) is None


# --- one rate -------------------------------------------------------------------------------------------


def assert_rate_kept(times: list[float], rate: float) -> None:
    assert all(b - a >= 1 / rate - 1e-6 for a, b in pairwise(times))


def in_bare_virtual_time(work: Any) -> None:
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(grace=0)) as runner:
        runner.run(work)


async def follow(follower: Follower, number: int, seconds: float = 60.0) -> list[QueueStatus]:
    handle = RequestHandle(model=f"owner/app{number % 7}", request_id=f"r-{number}")
    seen: list[QueueStatus] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            seen += [status async for status in follower.updates(handle, logs=False)]
    return seen


@pytest.mark.parametrize("rate", [10.0, 200.0])
@pytest.mark.parametrize("lost", [0, 10**9], ids=["answered", "lost"])
def test_a_thousand_requests_together_never_exceed_the_rate(rate: float, lost: int) -> None:
    """Whether their polls are answered or lost, and sent again."""

    async def main() -> None:
        queue = FakeQueue(RUNNING, took=0.02, lost=lost)
        follower = queue.follower(rate)
        await asyncio.gather(*(follow(follower, n) for n in range(1000)))
        assert_rate_kept(queue.polls, rate)
        if not lost:
            # Nor is the rate wasted: as many wait for their turn as can.
            assert len(queue.polls) > 0.9 * min(60 * rate, 1000 * 6)

    in_bare_virtual_time(main())


def test_streams_that_are_opened_again_keep_to_the_rate_too() -> None:
    class Flaky(FakeQueue):
        @asynccontextmanager
        async def open(
            self, request: HttpRequest, call: Call, *, idle: float | None
        ) -> AsyncGenerator[StreamedResponse]:
            self.streams += 1
            if self.streams > 100:
                self.polls.append(now())
            await at(now() + 10)
            raise ConnectionLostError("lost")
            yield

    async def main() -> None:
        queue = Flaky(RUNNING)
        follower = queue.follower(20.0)
        follower.known_of("owner/app").streams = True
        await asyncio.gather(*(follow(follower, 7 * n) for n in range(100)))
        assert queue.streams > 150
        assert_rate_kept(sorted(queue.polls), 20.0)

    in_bare_virtual_time(main())


def test_those_who_leave_while_they_wait_for_their_turn_use_up_none() -> None:
    async def main() -> None:
        queue = FakeQueue(DONE)
        follower = queue.follower(1.0)
        leaving = [asyncio.create_task(follow(follower, n)) for n in range(500)]
        await at(now() + 3)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        begun = now()
        assert await follow(follower, 1000)
        assert now() - begun < 2

    in_bare_virtual_time(main())


@in_virtual_time
async def test_the_session_s_rate_is_settable() -> None:
    async with (
        Emulator(models=[job(run_time=0.0)]) as emu,
        AsyncFal(hosts=emu.hosts, poll_rate=2) as fal,
    ):
        emu.faults.add("stream_refused")
        await asyncio.gather(*(fal.subscribe(MODEL, {}) for _ in range(20)))
        assert emu.requests["status"] == 20
        assert emu.time >= 19 / 2
