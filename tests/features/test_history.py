"""The history read over a transport: pages, pauses, refusals, and calls in doubt that become clear."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from fal_async.emulator import Emulator, HistorySettings, RunnerSettings
from fal_async.errors import (
    AccessDeniedError,
    AnswerError,
    AuthenticationError,
    BodyTooLargeError,
    ConnectionLostError,
    FalError,
    ModelError,
    ServerError,
    TooManyRequestsError,
)
from fal_async.features.history import History
from fal_async.protocol.history import Ended, HistoryItem, OutputGone
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.platform import build_platform_error, build_time
from fal_async.protocol.reconciling import Doubt, Doubtful, Found, NotFound, Terms, Unknown
from fal_async.transport.base import Call
from fal_async.transport.retrying import Retrying
from tests.support.fakes import FakeTransport, VirtualClock, respond

NOW = 1_767_225_600.0
MODEL = "emulator/work"


def item(request_id: str, **facts: Any) -> dict[str, Any]:
    usual = {"request_id": request_id, "sent_at": build_time(NOW), "status_code": 200}
    return usual | {"json_input": {"n": request_id}} | facts


def page(*items: dict[str, Any], following: str | None = None, **headers: str) -> HttpResponse:
    content = {"items": items, "next_cursor": following, "has_more": following is not None}
    return respond(200, headers, json.dumps(content).encode())


class Reader:
    """A history over a scripted transport, in a time that passes only by sleeping."""

    def __init__(self, *outcomes: Any) -> None:
        self.transport, self.clock = FakeTransport(outcomes), VirtualClock()
        retrying = Retrying(self.transport, self.clock)
        self.history = History(retrying, "https://api.fal.ai", self.clock, self.unix)

    def unix(self) -> float:
        return NOW + self.clock.now()

    @property
    def queries(self) -> list[dict[str, str]]:
        return [dict(parse_qsl(urlsplit(url).query)) for url in self.transport.urls]


async def ids(items: AsyncIterator[HistoryItem]) -> list[str]:
    return [found.request_id async for found in items]


# --- pages


async def test_page_after_page_is_read_to_the_end() -> None:
    pages = (page(item("1"), item("2"), following="c=1"), page(item("3"), following="c2"), page())
    reader = Reader(*pages)
    assert await ids(reader.history.since(MODEL, NOW, key="me:secret")) == ["1", "2", "3"]
    assert [query.get("cursor") for query in reader.queries] == [None, "c=1", "c2"]
    assert {query["start"] for query in reader.queries} == {"2026-01-01T00:00:00.000Z"}
    assert reader.transport.sent[0].method == "GET"
    reading = await Reader(*pages).history.read(MODEL, NOW - 5)
    assert [found.request_id for found in reading.items] == ["1", "2", "3"]
    assert (reading.since, reading.begun, reading.complete) == (NOW - 5, NOW, True)


async def test_the_callers_key_goes_along() -> None:
    calls: list[Call] = []

    def note(_: HttpRequest, call: Call) -> HttpResponse:
        calls.append(call)
        return page()

    await Reader(note).history.read(MODEL, NOW, key="me:secret")
    assert [(call.key, call.free) for call in calls] == [("me:secret", True)]


@pytest.mark.parametrize(
    ("outcomes", "pages", "asked"),
    [
        ([page(item("1"), following="c"), page(item("2"))], 1, 1),  # more than may be read
        ([page(item("1"), following="c")], 9, 2),  # a cursor that leads in a circle
        ([respond(body=b'{"items": [], "has_more": true}')], 9, 1),
        ([page(item("1"), {}, following="c"), page(item("2"))], 9, 2),  # an item without a name
    ],
)
async def test_what_was_not_read_to_the_end_is_incomplete(
    outcomes: list[Any], pages: int, asked: int
) -> None:
    reader = Reader(*outcomes)
    assert not (await reader.history.read(MODEL, NOW, pages=pages)).complete
    assert len(reader.transport.sent) == asked


async def test_pages_that_are_too_large_are_asked_for_smaller() -> None:
    def by_size(request: HttpRequest, _: Call) -> HttpResponse:
        if int(dict(parse_qsl(urlsplit(request.url).query))["limit"]) > 12:
            raise BodyTooLargeError("too large")
        return page(item("1"))

    reader = Reader(by_size)
    assert (await reader.history.read(MODEL, NOW)).complete
    assert [query["limit"] for query in reader.queries] == ["100", "50", "25", "12"]
    with pytest.raises(BodyTooLargeError):
        await Reader(BodyTooLargeError("too large")).history.read(MODEL, NOW)


async def test_a_clock_that_differs_is_noticed() -> None:
    reader = Reader(page(Date="Thu, 01 Jan 2026 00:01:00 GMT"))
    assert (await reader.history.read(MODEL, NOW)).drift == 60.0


# --- trouble


async def test_what_is_lost_is_asked_for_again() -> None:
    lost = ConnectionLostError("lost")
    odd = (respond(body=b"<html>"), respond(503, {"x-fal-request-id": "x"}), respond(body=b"{}"))
    reader = Reader(lost, *odd, page(item("1")))
    assert await ids(reader.history.since(MODEL, NOW)) == ["1"]
    assert len(reader.transport.sent) == 5


@pytest.mark.parametrize(
    ("headers", "at_least"),
    [({"x-ratelimit-reset": "42"}, 42.0), ({"Retry-After": "50", "x-ratelimit-reset": "42"}, 50.0)],
)
async def test_a_pause_that_fal_asks_for_is_kept(headers: dict[str, str], at_least: float) -> None:
    refused = build_platform_error("rate_limited", "slow down")
    refused = HttpResponse(429, Headers({**refused.headers, **headers}), refused.body)
    reader = Reader(refused, page(item("1")))
    assert (await reader.history.read(MODEL, NOW)).complete
    assert reader.clock.slept == [at_least]


REFUSALS: dict[str, tuple[Any, type[FalError], str]] = {
    "the permission": (
        build_platform_error("authorization_error", "no"),
        AccessDeniedError,
        r"this key may not read the account's history of requests: it needs the permission .*: no\.",
    ),
    "the key": (
        build_platform_error("authorization_error", "who are you?", status=401),
        AuthenticationError,
        r"the history of requests cannot be read: fal answered 401.*: who are you\?",
    ),
    "the question": (
        build_platform_error("validation_error", "start is wrong"),
        ModelError,
        r"cannot be read: fal answered 400: start is wrong\.",
    ),
    "silence": (respond(403, body=b""), AccessDeniedError, "it needs the permission"),
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_a_refusal_says_what_is_wrong_and_is_not_repeated(what: str) -> None:
    answer, kind, said = REFUSALS[what]
    reader = Reader(answer)
    with pytest.raises(kind, match=said) as raised:
        await reader.history.read(MODEL, NOW)
    assert len(reader.transport.sent) == 1
    assert raised.value.billing == "not_billed"


async def test_trouble_that_does_not_end_is_told_and_cost_nothing() -> None:
    for outcome, kind in (
        (ConnectionLostError("lost"), ConnectionLostError),
        (respond(body=b"[]"), AnswerError),
        (respond(500, {"x-fal-request-id": "x"}), ServerError),
        (respond(429, {"x-ratelimit-reset": "1e5"}), TooManyRequestsError),
    ):
        with pytest.raises(kind) as raised:
            await Reader(outcome).history.read(MODEL, NOW)
        assert raised.value.billing == "not_billed"


# --- one request


async def test_one_request_is_asked_for_by_its_id() -> None:
    reader = Reader(page(item("1"), item("2")))
    found = await reader.history.item(MODEL, "2")
    assert found is not None
    assert found.request_id == "2"
    assert reader.queries[0]["request_id"] == "2"
    assert "start" not in reader.queries[0]  # 90 days by itself
    assert await reader.history.item(MODEL, "3") is None


async def test_the_end_of_a_request_is_waited_for() -> None:
    running, done = item("1", status_code=None), item("1", json_output={"ok": True})
    reader = Reader(page(running), page(running), page(done))
    end = await reader.history.end(MODEL, "1")
    assert isinstance(end, Ended)
    assert end.response.body == b'{"ok": true}'
    assert reader.clock.slept == [5.0, 10.0]
    assert await Reader(page(item("1"))).history.end(MODEL, "1") == OutputGone(200)
    assert await Reader(page()).history.end(MODEL, "1") is None


# --- calls in doubt, against a script


def doubtful(n: str = "1", **facts: Any) -> Doubtful:
    usual: dict[str, Any] = {"intended_at": NOW, "left_by": NOW, "start_timeout": 30.0}
    return Doubtful(key=n, input=json.dumps({"n": n}).encode(), **(usual | facts))


#: Certain 40 seconds after.
TERMS = Terms(skew=1, delivery=5, listed_within=5, witness=False)


async def settled(reader: Reader, *some: Doubtful, **more: Any) -> list[str]:
    decisions = await reader.history.settle(MODEL, some, **{"known": (), "terms": TERMS} | more)
    return [
        d.item.request_id if isinstance(d, Found) else d.doubt if isinstance(d, Unknown) else "none"
        for d in decisions
    ]


async def test_without_a_wait_it_is_looked_for_once() -> None:
    reader = Reader(page(item("1")))
    assert await settled(reader, doubtful("1"), doubtful("2")) == ["1", Doubt.TOO_EARLY]
    assert len(reader.transport.sent) == 1
    assert reader.queries[0]["start"] == build_time(NOW - 1)


async def test_it_is_looked_for_until_it_is_listed() -> None:
    reader = Reader(page(), page(), page(item("1")))
    assert await settled(reader, doubtful("1"), wait=100.0) == ["1"]
    assert reader.clock.slept == [5.0, 10.0]


async def test_it_is_looked_for_until_it_is_certain_and_no_longer() -> None:
    reader = Reader(page())
    assert await settled(reader, doubtful("1"), wait=100.0, pause=8.0) == ["none"]
    assert reader.clock.slept == [8.0, 16.0, 16.0]
    assert reader.clock.now() == 40.0


async def test_when_the_wait_is_over_a_last_look_is_taken() -> None:
    reader = Reader(page(), page(), page(item("1")))
    some = doubtful("1", start_timeout=None), doubtful("2", start_timeout=None)
    assert await settled(reader, *some, wait=12.0) == ["1", Doubt.NO_LIMIT]
    assert reader.clock.slept == [5.0, 7.0]


async def test_what_no_time_makes_clear_is_not_waited_for() -> None:
    reader = Reader(page(item("x", json_input=None)))
    terms = Terms(skew=1, settled_after=0.0, witness=False)
    assert await settled(reader, doubtful("1"), terms=terms, wait=100.0) == [Doubt.LOOKALIKE]
    assert reader.clock.slept == []


async def test_requests_that_become_known_meanwhile_are_witnesses() -> None:
    known: set[str] = set()
    reader = Reader(page(item("9")))
    sleep: Callable[[float], Any] = reader.clock.sleep

    async def sleep_and_learn(seconds: float) -> None:
        known.add("9")
        await sleep(seconds)

    reader.clock.sleep = sleep_and_learn  # type: ignore[method-assign]  # the clock is the test's
    terms = Terms(skew=1, settled_after=0.0)
    assert await settled(reader, doubtful("1"), terms=terms, wait=9.0, known=known) == ["none"]


async def test_a_clock_that_differs_is_allowed_for_by_looking_further_back() -> None:
    ahead = "Thu, 01 Jan 2026 00:01:00 GMT"
    reader = Reader(page(Date=ahead), page(item("1", sent_at=build_time(NOW - 50)), Date=ahead))
    assert await settled(reader, doubtful("1")) == ["1"]
    assert [query["start"] for query in reader.queries] == [
        build_time(NOW - 1),
        build_time(NOW - 61),
    ]


async def test_an_item_that_moved_between_two_looks_is_not_lost() -> None:
    reader = Reader(page(item("1", json_input={"n": "2"})), page())
    assert await settled(reader, doubtful("1"), doubtful("2"), wait=5.0) == [Doubt.TOO_EARLY, "1"]


async def test_nothing_in_doubt_asks_nothing() -> None:
    reader = Reader(page())
    assert await settled(reader) == []
    assert reader.transport.sent == []


# --- calls in doubt, against the emulator


class Direct:
    """aiohttp as a transport: enough for a loopback."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, request: HttpRequest, call: Call) -> HttpResponse:
        call.begin_send()
        async with self._session.get(request.url, headers=request.headers) as response:
            return HttpResponse(response.status, response.headers, await response.read())


class EmulatorsTime(VirtualClock):
    """Sleeping moves the emulator's time."""

    def __init__(self, emu: Emulator) -> None:
        super().__init__()
        self._emu = emu

    def now(self) -> float:
        return self._emu.time

    async def sleep(self, seconds: float) -> None:
        await self._emu.advance(seconds)


@asynccontextmanager
async def looking(emu: Emulator) -> AsyncIterator[tuple[History, aiohttp.ClientSession]]:
    async with aiohttp.ClientSession() as session:
        clock = EmulatorsTime(emu)
        transport = Retrying(Direct(session), clock)
        yield History(transport, emu.hosts.api, clock, lambda: NOW + emu.time), session


async def test_after_a_kill_each_submit_is_found_or_certainly_never_ran() -> None:
    """Two of four submits arrived, and their answers were lost: one starts late, one never."""
    headers = {"X-Fal-Request-Timeout": "30"}
    inputs = [json.dumps({"seconds": 20, "n": n}).encode() for n in range(4)]
    emu = Emulator(clock="virtual", runners=RunnerSettings(count=1))
    async with emu, looking(emu) as (history, session):
        for n in (0, 1, 2):
            url = f"{emu.hosts.queue}/{MODEL}"
            async with session.post(url, data=inputs[n], headers=headers) as response:
                assert response.status == 200
        some = [
            Doubtful(key=n, input=text, intended_at=NOW, left_by=NOW, start_timeout=30.0)
            for n, text in enumerate(inputs)
        ]
        terms = Terms(skew=1, delivery=1, listed_within=1)
        decisions = await history.settle(MODEL, some, known=(), terms=terms, wait=60.0, pause=1.0)
        ran = {execution.request_id for execution in emu.ledger}
    first, second, third, fourth = decisions
    assert isinstance(first, Found)
    assert isinstance(second, Found)
    assert {first.item.request_id, second.item.request_id} == ran
    # It was given up in line, and cost nothing: a failure that may be called again.
    assert isinstance(third, Found)
    assert third.item.status_code == 504
    assert isinstance(fourth, NotFound)


async def test_a_direct_call_whose_caller_died_is_found_with_its_output() -> None:
    emu = Emulator(clock="virtual")
    async with emu, looking(emu) as (history, session):
        emu.faults.add("reset", times=1)
        with pytest.raises(aiohttp.ClientError):
            await session.post(
                f"{emu.hosts.run}/emulator/echo", data=b'{"seed": 15860307465884635512}'
            )
        one = Doubtful(key=0, input=b'{"seed":15860307465884635512}', intended_at=NOW, left_by=NOW)
        (decision,) = await history.settle("emulator/echo", [one], known=(), terms=TERMS)
        assert isinstance(decision, Found)
        end = await history.end("emulator/echo", decision.item.request_id)
    assert isinstance(end, Ended)
    assert end.response.body == b'{"seed":15860307465884635512}'


async def test_a_history_of_many_pages_is_read_whole() -> None:
    async with Emulator(clock="virtual") as emu, looking(emu) as (history, session):
        for n in range(230):
            await session.post(f"{emu.hosts.run}/emulator/echo", json={"n": n})
        reading = await history.read("emulator/echo", NOW)
    assert len(reading.items) == 230
    assert reading.complete


async def test_a_key_without_the_permission_leaves_all_in_doubt_and_says_so() -> None:
    settings = HistorySettings(readable=False)
    async with Emulator(clock="virtual", history=settings) as emu, looking(emu) as (history, _):
        with pytest.raises(AccessDeniedError, match="may not read the account's history"):
            await history.settle(MODEL, [doubtful()], known=(), terms=TERMS)
