"""A request is followed by its status stream as long as there is one, and by polls where there is none."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from fal_async import (
    AccessDeniedError,
    AsyncFal,
    AuthenticationError,
    Completed,
    InProgress,
    InQueue,
    QueueStatus,
    RequestHandle,
    ResultGoneError,
)
from fal_async.emulator import Emulator, Model, RunnerSettings
from tests.support.queue_script import (
    DONE,
    QUEUED,
    REFUSED,
    RUNNING,
    STREAM,
    event,
    in_pieces_streamed,
    polled,
    streamed,
)
from tests.support.scripted_server import (
    MODEL,
    REQUEST_ID,
    Act,
    Script,
    answer,
    head,
    say_and,
    silence,
)
from tests.support.virtual_time import in_virtual_time, turns

OUTPUT = {"ok": True}


def job(**settings: Any) -> Model:
    return Model(id=MODEL, function=lambda _: OUTPUT, **{"run_time": 10.0, **settings})


def now() -> float:
    return asyncio.get_running_loop().time()


def asked(server: Script) -> list[str]:
    """What the requests were for, in order."""
    names = []
    for request in server.requests:
        path = request.line.split()[1].partition("?")[0]
        names.append(path.rpartition("/")[2] if "/status" in path else "result")
    return names


async def followed(*acts: Act) -> tuple[list[QueueStatus], list[str], float]:
    """The updates of a request, what was asked for them, and how long it took."""
    async with Script(*acts) as server, AsyncFal(hosts=server.hosts) as fal:
        begun = now()
        updates = [update async for update in fal.handle(MODEL, REQUEST_ID).updates()]
        return updates, asked(server), now() - begun


def words(updates: list[QueueStatus]) -> list[str]:
    return [type(update).__name__ for update in updates]


# --- a stream that works --------------------------------------------------------------------------------


async def test_a_stream_is_all_it_takes() -> None:
    updates, questions, _ = await followed(
        streamed({**QUEUED, "queue_position": 1}, QUEUED, RUNNING, DONE)
    )
    assert updates == [
        InQueue(request_id=REQUEST_ID, queue_position=1),
        InQueue(request_id=REQUEST_ID, queue_position=0),
        InProgress(request_id=REQUEST_ID),
        Completed(request_id=REQUEST_ID, inference_time=1.0),
    ]
    assert questions == ["stream"]


async def test_a_stream_is_asked_for_plainly() -> None:
    async with Script(streamed(DONE)) as server, AsyncFal("a:key", hosts=server.hosts) as fal:
        handle = fal.handle(MODEL, REQUEST_ID)
        assert [type(u) async for u in handle.updates(logs=True)] == [Completed]
        (request,) = server.requests
    path = f"/queue.fal.run/{MODEL}/requests/{REQUEST_ID}/status/stream?logs=1"
    assert request.line == f"GET {path} HTTP/1.1"
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["authorization"] == "Key a:key"
    assert request.headers["user-agent"].startswith("fal-async/")


async def test_what_is_said_twice_is_told_once() -> None:
    updates, _, _ = await followed(streamed(QUEUED, QUEUED, RUNNING, RUNNING, DONE, DONE))
    assert words(updates) == ["InQueue", "InProgress", "Completed"]


async def test_back_into_the_queue_and_words_that_are_none_of_the_three_are_told() -> None:
    warming = {"status": "WARMING_UP", "queue_position": 4}
    updates, questions, _ = await followed(streamed(RUNNING, {"status": "IN_QUEUE"}, warming, DONE))
    assert words(updates) == ["InProgress", "InQueue", "InProgress", "Completed"]
    assert questions == ["stream"]


async def test_what_is_no_status_is_passed_over() -> None:
    strange = b": ping\n\ndata: no json\n\ndata: [1]\n\ndata: {}\n\nevent: x\nid: 1\nretry: 5\n\n"
    updates, questions, _ = await followed(in_pieces_streamed(strange, event(DONE)))
    assert (words(updates), questions) == (["Completed"], ["stream"])


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
async def test_a_stream_may_be_cut_anywhere(newline: bytes) -> None:
    whole = (b"\xef\xbb\xbf: hello\n\n" + event(QUEUED) + event(RUNNING) + event(DONE)).replace(
        b"\n", newline
    )
    for size in (1, 7, 50):
        pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
        updates, questions, _ = await followed(in_pieces_streamed(*pieces))
        assert words(updates) == ["InQueue", "InProgress", "Completed"]
        assert questions == ["stream"]


async def test_what_comes_after_the_end_is_not_waited_for() -> None:
    updates, _, _ = await followed(streamed(DONE, then="hold"))
    assert words(updates) == ["Completed"]


@in_virtual_time
async def test_an_hour_of_keepalives_is_no_silence_and_costs_little() -> None:
    async with Emulator(models=[job(run_time=3600)]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        assert await fal.subscribe(MODEL, {}) == OUTPUT
        # A stream that tells nothing for two minutes is not believed: a poll, and another one.
        assert emu.requests["status"] <= 3600 / 120
        assert emu.requests["status_stream"] <= 3600 / 120 + 1
        assert emu.time < 3600.1


# --- a stream that ends too early -----------------------------------------------------------------------

RESET = say_and(b"", "reset")

BROKEN: dict[str, Act] = {
    "closed": streamed(RUNNING),
    "closed with nothing said": streamed(),
    "reset": streamed(RUNNING, then="reset"),
    "cut within an event": in_pieces_streamed(event(RUNNING) + event(DONE)[:-9]),
    "cut before its blank line": in_pieces_streamed(event(DONE)[:-1]),
    "silent": streamed(RUNNING, then="hold"),
    "never answered": silence(),
    "a server's failure": answer(503),
    "too many": answer(429),
    "an event without an end": in_pieces_streamed(b"data: " + b"x" * 1000, then="hold"),
}


@pytest.mark.parametrize("how", BROKEN)
@in_virtual_time
async def test_a_stream_that_breaks_is_followed_by_one_poll_and_another_stream(how: str) -> None:
    updates, questions, took = await followed(BROKEN[how], polled(RUNNING), streamed(DONE))
    assert words(updates) == ["InProgress", "Completed"]
    assert questions == ["stream", "status", "stream"]
    assert took < 21


@in_virtual_time
async def test_a_stream_that_is_lost_before_its_head_is_followed_by_one_poll_too() -> None:
    # Below us a GET without an answer is sent again at once.
    updates, questions, _ = await followed(RESET, RESET, polled(RUNNING), streamed(DONE))
    assert words(updates) == ["InProgress", "Completed"]
    assert questions == ["stream", "stream", "status", "stream"]


@in_virtual_time
async def test_what_happened_while_the_stream_was_broken_is_found_by_the_poll() -> None:
    updates, questions, took = await followed(streamed(QUEUED), polled(DONE))
    assert (words(updates), questions) == (["InQueue", "Completed"], ["stream", "status"])
    assert took < 0.1


@in_virtual_time
async def test_streams_that_break_at_once_again_and_again_are_left_alone_for_a_while() -> None:
    """Else each costs two requests and lasts no time at all, a hundred times a second."""
    async with Emulator(models=[job(run_time=300)]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("stream_ends")
        assert await fal.subscribe(MODEL, {}) == OUTPUT
        assert 5 <= emu.requests["status_stream"] <= 10
        assert emu.requests["status"] < 60
        assert emu.time < 311


@in_virtual_time
async def test_streams_that_last_are_opened_again_however_often() -> None:
    async with Emulator(models=[job(run_time=300)]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("stream_stalls")
        assert await fal.subscribe(MODEL, {}) == OUTPUT
        assert emu.requests["status_stream"] == emu.requests["status"] == 300 / 20


@in_virtual_time
async def test_a_stream_that_lives_and_tells_nothing_is_not_believed_for_ever() -> None:
    """Something in between keeps the connection alive, and has lost the thread."""

    async def pinging(wire: Any) -> None:
        await wire.request()
        await wire.say(STREAM + event(RUNNING))
        while True:
            asyncio.get_running_loop().call_later(15, (later := asyncio.Event()).set)
            await later.wait()
            await wire.say(b": ping\n\n")

    updates, questions, took = await followed(pinging, polled(DONE))
    assert (words(updates), questions) == (["InProgress", "Completed"], ["stream", "status"])
    assert 120 < took <= 150


# --- no streams -----------------------------------------------------------------------------------------

REFUSALS: dict[str, Act] = {
    "405": REFUSED,
    "404": answer(404, {"detail": "Not Found"}),
    "501": answer(501),
    "a redirect": answer(302, headers={"Location": "/elsewhere"}),
    "a status instead": answer(200, RUNNING),
    "another format": say_and(
        head(200, {"Content-Type": "application/x-ndjson", "Content-Length": "0"}), "go_on"
    ),
    "compressed": say_and(
        head(200, {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}) + b"\x1f\x8b",
        "hold",
    ),
}


@pytest.mark.parametrize("how", REFUSALS)
@in_virtual_time
async def test_where_streams_are_refused_they_are_not_asked_for_again_for_a_while(how: str) -> None:
    acts = [
        REFUSALS[how],
        polled(QUEUED),
        polled(RUNNING),
        polled(DONE),
        polled(DONE),
        streamed(DONE),
    ]
    async with Script(*acts) as server, AsyncFal(hosts=server.hosts) as fal:
        handle = fal.handle(MODEL, REQUEST_ID)
        assert words([u async for u in handle.updates()]) == ["InQueue", "InProgress", "Completed"]
        other = fal.handle("owner/app/other/path", REQUEST_ID)
        assert words([u async for u in other.updates()]) == ["Completed"]
        assert asked(server) == ["stream", *["status"] * 4]
        asyncio.get_running_loop().call_later(300, (later := asyncio.Event()).set)
        await later.wait()
        assert words([u async for u in handle.updates()]) == ["Completed"]
        assert asked(server)[5:] == ["stream"]


@in_virtual_time
async def test_what_one_application_refuses_others_may_give() -> None:
    acts = [REFUSED, polled(DONE), streamed(DONE)]
    async with Script(*acts) as server, AsyncFal(hosts=server.hosts) as fal:
        for model in (MODEL, "owner/another"):
            assert words([u async for u in fal.handle(model, REQUEST_ID).updates()]) == [
                "Completed"
            ]
        assert asked(server) == ["stream", "status", "stream"]


@pytest.mark.parametrize("status", [401, 403, 404])
@in_virtual_time
async def test_a_request_that_may_not_be_seen_says_nothing_of_streams(status: int) -> None:
    no = answer(status, {"status": "NOT_FOUND"})
    async with Script(no, no, streamed(DONE)) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises((AuthenticationError, AccessDeniedError, ResultGoneError)):
            await anext(fal.handle(MODEL, "unknown").updates())
        assert words([u async for u in fal.handle(MODEL, REQUEST_ID).updates()]) == ["Completed"]
        assert asked(server) == ["stream", "status", "stream"]


@in_virtual_time
async def test_one_request_finds_out_for_all_whether_there_are_streams() -> None:
    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("stream_refused")
        await asyncio.gather(*(fal.subscribe(MODEL, {}) for _ in range(30)))
        assert emu.requests["status_stream"] == 1


@in_virtual_time
async def test_who_finds_out_and_is_lost_leaves_it_to_the_next() -> None:
    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("reset", operation="status_stream", nth=1)
        await asyncio.gather(*(fal.subscribe(MODEL, {}) for _ in range(30)))
        assert emu.requests["status_stream"] == 31


@in_virtual_time
async def test_who_finds_out_and_hears_nothing_holds_up_nobody_for_long() -> None:
    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        emu.faults.add("stall", operation="status_stream", nth=1)
        ended: list[float] = []

        async def one() -> None:
            await fal.subscribe(MODEL, {})
            ended.append(emu.time)

        await asyncio.gather(*(one() for _ in range(5)))
        assert ended[3] < 10.1
        assert ended[4] < 20.1


# --- left early -----------------------------------------------------------------------------------------


class Streams:
    """How many status streams are open at the server."""

    def __init__(self) -> None:
        self.open = 0
        self.news = asyncio.Event()

    async def __call__(self, wire: Any) -> None:
        await wire.request()
        self.open += 1
        try:
            await wire.say(STREAM + event(QUEUED) + event(RUNNING))
            await wire.hold()
        finally:
            self.open -= 1
            self.news.set()

    async def none(self) -> None:
        while self.open:
            self.news.clear()
            await self.news.wait()


async def test_leaving_an_async_with_closes_the_stream_at_once() -> None:
    streams = Streams()
    async with Script(streams) as server, AsyncFal(hosts=server.hosts) as fal:
        async with fal.handle(MODEL, REQUEST_ID).updates() as updates:
            async for update in updates:
                assert isinstance(update, InQueue)
                break
            assert streams.open == 1
        assert fal._pool.session().connector._acquired == set()
        await streams.none()
        with pytest.raises(StopAsyncIteration):
            await anext(updates)
        await updates.aclose()


async def test_an_iteration_that_is_dropped_is_closed_in_the_next_turns() -> None:
    gc.disable()
    try:
        streams = Streams()
        async with Script(streams) as server, AsyncFal(hosts=server.hosts) as fal:
            async for _ in fal.handle(MODEL, REQUEST_ID).updates():
                break
            await turns()
            assert fal._pool.session().connector._acquired == set()
            await streams.none()
    finally:
        gc.enable()


async def test_an_iteration_that_fails_leaves_no_stream() -> None:
    streams = Streams()
    async with Script(streams) as server, AsyncFal(hosts=server.hosts) as fal:

        async def follow() -> None:
            async with fal.handle(MODEL, REQUEST_ID).updates() as updates:
                async for _ in updates:
                    raise LookupError

        with pytest.raises(LookupError):
            await follow()
        await streams.none()


async def test_updates_that_are_never_asked_for_ask_for_nothing() -> None:
    async with Script(streamed(DONE)) as server, AsyncFal(hosts=server.hosts) as fal:
        updates = fal.handle(MODEL, REQUEST_ID).updates()
        async with updates:
            pass
        fal.handle(MODEL, REQUEST_ID).updates()
        assert server.begun == 0


async def test_a_cancelled_iteration_carries_the_handle_and_closes_the_stream() -> None:
    streams = Streams()
    handle = RequestHandle(model=MODEL, request_id=REQUEST_ID)

    async with Script(streams) as server, AsyncFal(hosts=server.hosts) as fal:

        async def follow() -> None:
            async for _ in fal.handle(handle).updates():
                pass

        task = asyncio.create_task(follow())
        await server.arrival()
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        assert raised.value.verdict.handle == handle
        await streams.none()


# --- as many streams as there is room for ---------------------------------------------------------------


@in_virtual_time
async def test_streams_leave_half_of_a_borrowed_session_s_connections_to_others() -> None:
    """Else a hundred requests that wait would have all of them, and nobody could send anything."""
    async with (
        Emulator(models=[job()]) as emu,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=10)) as session,
        AsyncFal(hosts=emu.hosts, http_session=session) as fal,
    ):
        waits = [asyncio.create_task(fal.subscribe(MODEL, {})) for _ in range(30)]
        await emu.until(lambda: emu.requests["status"] > 25)
        assert emu.requests["status_stream"] == 5
        begun = now()
        await fal.run(MODEL, {})
        assert now() - begun < 10.1
        assert await asyncio.gather(*waits) == [OUTPUT] * 30


@in_virtual_time
async def test_a_request_that_found_no_room_has_a_stream_as_soon_as_there_is_some() -> None:
    async with (
        Emulator(models=[job(run_time=lambda content: content["seconds"])]) as emu,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as session,
        AsyncFal(hosts=emu.hosts, http_session=session) as fal,
    ):
        waits = [asyncio.create_task(fal.subscribe(MODEL, {"seconds": s})) for s in (20, 100)]
        await asyncio.gather(*waits)
        assert emu.requests["status_stream"] == 2
        assert emu.requests["status"] < 12
        assert emu.time < 100.1


@in_virtual_time
async def test_where_there_is_one_connection_only_it_is_no_stream_s() -> None:
    async with (
        Emulator(models=[job()]) as emu,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
        AsyncFal(hosts=emu.hosts, http_session=session) as fal,
    ):
        assert await fal.subscribe(MODEL, {}) == OUTPUT
        assert emu.requests["status_stream"] == 0


# --- many -----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_request_may_be_followed_by_several_at_once() -> None:
    async with Emulator(models=[job()]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        handle = await fal.submit(MODEL, {})
        results = [handle.result() for _ in range(10)]
        assert await asyncio.gather(*results) == [OUTPUT] * 10
        assert len(emu.ledger) == 1


@pytest.fixture
def many_files() -> Iterator[None]:
    """A thousand connections have two ends in this process each, and are half of what is used of the rest."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 5000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"no more than {hard} files may be open")
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@in_virtual_time
async def test_a_thousand_requests_are_followed_by_one_session() -> None:
    model = job(runners=RunnerSettings(count=500))
    async with Emulator(models=[model]) as emu, AsyncFal(hosts=emu.hosts) as fal:
        waits = [asyncio.create_task(fal.subscribe(MODEL, {})) for _ in range(1000)]
        assert await asyncio.gather(*waits) == [OUTPUT] * 1000
        assert emu.ledger.billed() == len(emu.ledger) == 1000
        assert emu.requests == {"submit": 1000, "status_stream": 1000, "result": 1000}
        assert emu.time < 21
