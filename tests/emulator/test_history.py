"""The history of requests: what it shows, to whom, and what it forgets (PROTOCOL 14)."""

from __future__ import annotations

import asyncio
import time  # noqa: TID251 - the emulator's time is compared with it
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import attrs
import pytest

from fal_async.emulator import Answer, Emulator, HistorySettings, RunnerSettings
from fal_async.emulator.history import RequestHistory
from fal_async.emulator.history_query import build_page, parse_query
from fal_async.errors import InputError
from fal_async.protocol import codec
from fal_async.protocol.messages import Headers, HttpResponse
from fal_async.protocol.platform import parse_time
from tests.emulator.queue_caller import Answer as Heard
from tests.emulator.queue_caller import Caller, calling

PATH = "v1/models/requests/by-endpoint"
ECHO = "emulator/echo"


@pytest.fixture
async def caller(frozen: Emulator) -> AsyncIterator[Caller]:
    async with calling(frozen) as it:
        yield it


async def heard(caller: Caller, model: str = ECHO, **more: Any) -> Heard:
    url = f"{caller.emu.hosts.api}/{PATH}?endpoint_id={model}"
    return await caller.ask("GET", url + "".join(f"&{k}={v}" for k, v in more.items()))


async def items(caller: Caller, model: str = ECHO, **more: Any) -> list[dict[str, Any]]:
    answer = await heard(caller, model, **more)
    assert answer.status == 200, answer
    found: list[dict[str, Any]] = answer.json["items"]
    return found


async def run(caller: Caller, model: str = ECHO, content: Any = None, **more: Any) -> Heard:
    content = {"prompt": "a cat"} if content is None else content
    return await caller.ask("POST", f"{caller.emu.hosts.run}/{model}", json=content, **more)


# --- what it shows


async def test_a_direct_call_is_told_with_its_times_and_payloads(caller: Caller) -> None:
    emu = caller.emu
    await emu.advance(2)
    running = asyncio.create_task(run(caller, "emulator/sleep", {"seconds": 1.5}))
    await emu.advance(10)
    request_id = (await running).headers["x-fal-request-id"]
    assert await items(caller, "emulator/sleep", expand="payloads") == [
        {
            "request_id": request_id,
            "endpoint_id": "emulator/sleep",
            "sent_at": "2026-01-01T00:00:02.000Z",
            "started_at": "2026-01-01T00:00:02.000Z",
            "ended_at": "2026-01-01T00:00:03.500Z",
            "status_code": 200,
            "duration": 1.5,
            "json_input": {"seconds": 1.5},
            "json_output": (await running).json,
        }
    ]


async def test_payloads_are_told_only_if_asked_for(caller: Caller) -> None:
    await run(caller)
    (item,) = await items(caller)
    assert not {"json_input", "json_output"} & set(item)


async def test_a_queued_request_is_told_under_the_id_that_its_submit_named(caller: Caller) -> None:
    submission = await caller.submit(ECHO, {"seed": 15860307465884635512})
    await caller.emu.advance(0)
    (item,) = await items(caller, expand="payloads")
    assert item["request_id"] == submission["request_id"]
    assert item["json_input"] == item["json_output"] == {"seed": 15860307465884635512}


@pytest.mark.parametrize(
    ("listed", "shown"),
    [("accepted", [2, 2, 2]), ("started", [1, 2, 2]), ("ended", [0, 1, 2])],
)
async def test_a_request_is_listed_from_the_moment_that_the_settings_say(
    listed: Any, shown: list[int]
) -> None:
    settings = HistorySettings(listed=listed)
    runners = RunnerSettings(count=1)
    async with (
        Emulator(clock="virtual", runners=runners, history=settings) as emu,
        calling(emu) as caller,
    ):
        for _ in range(2):
            await caller.work(10)
        seen = []
        for seconds in (5, 10, 10):
            await emu.advance(seconds)
            seen.append(len(await items(caller, "emulator/work")))
    assert seen == shown


async def test_what_has_not_ended_has_no_end_status_or_duration(caller: Caller) -> None:
    await caller.work(10)
    await caller.emu.advance(1)
    (item,) = await items(caller, "emulator/work")
    assert (item["ended_at"], item["status_code"], item["duration"]) == (None, None, None)
    assert item["started_at"] == item["sent_at"]


async def test_one_that_no_runner_took_in_time_is_told_as_failed() -> None:
    headers = {"X-Fal-Request-Timeout": "2"}
    nobody = RunnerSettings(count=0)
    async with Emulator(clock="virtual", runners=nobody) as emu, calling(emu) as caller:
        await caller.submit(ECHO, headers=headers)
        direct = asyncio.create_task(run(caller, headers=headers))
        await emu.advance(1)
        assert await items(caller) == []
        await emu.advance(1)
        told = await items(caller)
        await direct
    assert [(item["status_code"], item["duration"]) for item in told] == [(504, None)] * 2
    assert [item["started_at"] for item in told] == ["2026-01-01T00:00:02.000Z"] * 2


async def test_a_call_that_was_turned_away_is_not_told() -> None:
    async with Emulator(limit=0, keys=["me:secret"]) as emu, calling(emu) as caller:
        assert (await run(caller)).status == 401
        headers = {"Authorization": "Key me:secret"}
        assert (await run(caller, headers=headers)).status == 429
        assert len(emu.history) == 0


async def test_a_call_whose_caller_has_left_is_told_to_its_end(caller: Caller) -> None:
    left = asyncio.create_task(run(caller, "emulator/sleep", {"seconds": 5}))
    await caller.emu.advance(1)
    left.cancel()
    await caller.emu.advance(5)
    (item,) = await items(caller, "emulator/sleep")
    assert item["status_code"] == 200


async def test_the_platforms_own_failure_is_told_and_a_broken_line_is_not(caller: Caller) -> None:
    for fault in ("runner_disconnected", "bad_json"):
        caller.emu.faults.add(fault, times=1)
        await run(caller)
    assert [item["status_code"] for item in await items(caller)] == [200, 503]


async def test_a_queued_request_is_one_item_whatever_its_attempts(caller: Caller) -> None:
    await caller.work(1, fail_first=2)
    await caller.emu.advance(60)
    (item,) = await items(caller, "emulator/work")
    assert (item["status_code"], item["duration"]) == (200, 1.0)


async def test_payloads_that_are_not_stored_are_not_told(caller: Caller) -> None:
    await run(caller, headers={"x-fal-store-io": "0"})
    caller.emu.history.settings = HistorySettings(payloads=False)
    await run(caller)
    await run(caller, headers={"x-fal-store-io": "1"})
    told = await items(caller, expand="payloads")
    assert ["json_input" in item for item in told] == [True, False, False]
    assert ["json_output" in item for item in told] == [True, False, False]


async def test_an_output_of_more_than_a_megabyte_is_not_told(caller: Caller) -> None:
    await run(caller, content={"text": "x" * 1_000_000})
    (item,) = await items(caller, expand="payloads")
    assert "json_output" not in item
    assert "json_input" in item


@pytest.mark.parametrize("queued", [False, True])
async def test_an_output_that_holds_its_files_is_not_told(caller: Caller, queued: bool) -> None:
    """PROTOCOL 11: what ``sync_mode`` returns by value is not stored in the history."""
    model, size = "fal-ai/fast-sdxl", {"width": 8, "height": 8}
    content = {"prompt": "a cat", "sync_mode": True, "image_size": size}
    if queued:
        await caller.submit(model, content)
        await caller.emu.advance(60)
    else:
        assert (await run(caller, model, content)).json["images"][0]["url"].startswith("data:")
    (item,) = await items(caller, model, expand="payloads")
    assert (item["status_code"], item["json_input"]) == (200, content)
    assert "json_output" not in item


async def test_payloads_are_told_for_thirty_days(caller: Caller) -> None:
    """PROTOCOL 14: the requests themselves are found for longer, by their ids."""
    answer = await run(caller)
    named = {"request_id": answer.headers["x-fal-request-id"], "expand": "payloads"}
    await caller.emu.advance(30 * 86_400 - 1)
    (item,) = await items(caller, **named)
    assert (item["json_input"], item["json_output"]) == (answer.json, answer.json)
    await caller.emu.advance(1)
    (item,) = await items(caller, **named)
    assert item["status_code"] == 200
    assert not {"json_input", "json_output"} & set(item)


async def test_bytes_that_are_no_json_do_not_break_the_page(caller: Caller) -> None:
    caller.emu.model("me/raw")(lambda content: Answer(body=b"\xff{NaN}"))
    url = f"{caller.emu.hosts.run}/me/raw"
    for body in (
        b"{}",
        b'{"x": NaN}',
        b"\xef\xbb\xbf{}",
        b"[" * 10**5,
        b'{"n": 1%s}' % (b"0" * 5000),
    ):
        await caller.ask("POST", url, data=body)
    told = codec.decode_json((await heard(caller, "me/raw", expand="payloads")).body)["items"]
    assert [item.get("json_input") for item in told] == [{"n": 10**5000}, None, None, None, {}]
    succeeded = [item for item in told if item["status_code"] == 200]
    assert succeeded
    assert not any("json_output" in item for item in succeeded)


async def test_a_history_may_be_late(caller: Caller) -> None:
    emu = caller.emu
    emu.history.settings = HistorySettings(delay=5)
    running = asyncio.create_task(run(caller, "emulator/sleep", {"seconds": 2}))
    seen = []
    for seconds in (4, 1, 2):
        await emu.advance(seconds)
        told = await items(caller, "emulator/sleep")
        seen.append([item["status_code"] for item in told])
    await running
    assert seen == [[], [None], [200]]


async def test_its_times_can_be_compared_with_the_callers_own() -> None:
    async with Emulator() as emu, calling(emu) as caller:
        before = time.time()
        await run(caller)
        (item,) = await items(caller)
        after = time.time()
    sent = parse_time(item["sent_at"])
    assert sent is not None
    assert before - 0.1 <= sent <= after + 0.1


async def test_its_answers_are_dated_by_its_own_clock(caller: Caller) -> None:
    await caller.emu.advance(61)
    date = (await heard(caller)).headers["Date"]
    assert parsedate_to_datetime(date).isoformat() == "2026-01-01T00:01:01+00:00"


# --- to whom


async def test_it_is_read_with_a_key_of_the_account() -> None:
    locked = {"you:secret": "TOP_UP"}
    async with Emulator(keys=["me:secret"], locked=locked) as emu, calling(emu) as caller:
        url = f"{emu.hosts.api}/{PATH}?endpoint_id={ECHO}"
        told = []
        for key in (None, "Key me:wrong", "Key you:secret", "Key me:secret"):
            headers = {} if key is None else {"Authorization": key}
            answer = await caller.ask("GET", url, headers=headers)
            told.append((answer.status, answer.json.get("error", {}).get("type")))
    refused = "authorization_error"
    assert told == [(401, refused), (401, refused), (403, refused), (200, None)]


async def test_a_key_may_be_without_the_permission(caller: Caller) -> None:
    caller.emu.history.settings = HistorySettings(readable=False)
    answer = await heard(caller)
    assert answer.status == 403
    assert answer.json["error"]["type"] == "authorization_error"


async def test_other_paths_and_methods_are_refused(caller: Caller) -> None:
    api = caller.emu.hosts.api
    answer = await caller.ask("GET", f"{api}/v1/models")
    assert (answer.status, answer.json["error"]["type"]) == (404, "not_found")
    assert (await caller.ask("POST", f"{api}/{PATH}")).status == 405


@pytest.mark.parametrize(
    "query",
    [
        "",
        "endpoint_id=",
        "limit=0",
        "limit=101",
        "limit=x",
        "start=noon",
        "end=",
        "status=fine",
        "sort_by=size",
        "expand=all",
        "cursor=",
        "cursor=zz",
        "cursor=W10=",
        "cursor=MQ==",
    ],
)
async def test_a_question_that_fal_would_refuse_is_refused(caller: Caller, query: str) -> None:
    named = f"endpoint_id={ECHO}&" if "=" in query and "endpoint" not in query else ""
    answer = await caller.ask("GET", f"{caller.emu.hosts.api}/{PATH}?{named}{query}")
    assert (answer.status, answer.json["error"]["type"]) == (400, "validation_error")


def test_more_than_fifty_names_are_refused() -> None:
    with pytest.raises(InputError, match="50"):
        parse_query([("endpoint_id", ",".join(map(str, range(51))))], 0)


# --- pages and filters, without a server


def history(count: int, settings: HistorySettings | None = None) -> RequestHistory:
    """Requests r1, r2 …: the nth is sent at n, starts at once and ends at 2n; every third fails."""
    it = RequestHistory(settings)
    for n in range(1, count + 1):
        it.accept(f"r{n}", "a/b" if n % 2 else "a/c", n, {}, b'{"n":%d}' % n)
        it.start(f"r{n}", n)
    for n in range(1, count + 1):
        status = (200, 500, 422)[n % 3]
        it.end(f"r{n}", 2 * n, HttpResponse(status, Headers(), b"{}"))
    return it


def ask(it: RequestHistory, now: float = 1000.0, /, **query: str) -> dict[str, Any]:
    pairs: Mapping[str, str] = {"endpoint_id": "a/b,a/c", "start": "1970-01-01", **query}
    return build_page(parse_query(pairs.items(), now), it, now)


def ids(page: dict[str, Any]) -> list[str]:
    return [item["request_id"] for item in page["items"]]


def test_pages_follow_each_other_without_a_gap_whatever_comes_meanwhile() -> None:
    it = history(10)
    page = ask(it, limit="4")
    seen = ids(page)
    for n in (11, 12):
        it.accept(f"r{n}", "a/b", 1001, {}, b"{}")
        it.start(f"r{n}", 1001)
    while page["has_more"]:
        page = ask(it, 1002, limit="4", cursor=page["next_cursor"])
        seen += ids(page)
    assert seen == [f"r{n}" for n in range(10, 0, -1)]
    assert page["next_cursor"] is None


def test_a_page_holds_fifty_unless_told() -> None:
    it = history(120)
    assert len(ids(ask(it))) == 50
    assert len(ids(ask(it, limit="100"))) == 100
    assert not ask(history(50))["has_more"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"endpoint_id": "a/b"}, [5, 3, 1]),
        ({"endpoint_id": "a/x"}, []),
        ({"request_id": "r2,r5"}, [5, 2]),
        ({"status": "success"}, [6, 3]),
        ({"status": "error"}, [4, 1]),
        ({"status": "user_error"}, [5, 2]),
        ({"status": "user_error,success"}, [6, 5, 3, 2]),
        ({"start": "1970-01-01T00:00:04Z"}, [6, 5, 4]),
        ({"end": "1970-01-01T00:00:04+00:00"}, [3, 2, 1]),
        ({"sort_by": "duration"}, [6, 5, 4, 3, 2, 1]),
        ({"unknown": "x"}, [6, 5, 4, 3, 2, 1]),
    ],
)
def test_it_is_filtered_and_sorted(query: dict[str, str], expected: list[int]) -> None:
    assert ids(ask(history(6), **query)) == [f"r{n}" for n in expected]


def test_unasked_it_looks_back_a_day_and_ninety_where_a_request_is_named() -> None:
    it = history(1)
    now = 86_402.0

    def found(**query: str) -> list[str]:
        pairs = {"endpoint_id": "a/b", **query}
        return ids(build_page(parse_query(pairs.items(), now), it, now))

    assert found() == []
    assert found(request_id="r1") == ["r1"]


# --- what it forgets


def test_it_keeps_the_newest_requests() -> None:
    it = history(7, HistorySettings(kept=3))
    assert ids(ask(it)) == ["r7", "r6", "r5"]
    assert repr(it) == "<RequestHistory: 3 of 7 requests>"
    it.start("r1", 5)
    with pytest.raises(KeyError):
        it.request("r1")


def test_it_keeps_the_newest_payloads_and_all_requests_of_that_number() -> None:
    it = history(5, HistorySettings(payload_bytes=20))
    assert [entry.input is None for entry in it] == [True, True, True, False, False]
    assert sum(entry.size for entry in it) <= 20
    it.settings = attrs.evolve(it.settings, kept=1)
    it.accept("late", "a/b", 9, {}, b"{}")
    it.end("late", 9, HttpResponse(200, Headers(), b"{}"))
    assert [entry.request_id for entry in it] == ["late"]
    assert it.request("late").size == 4


def test_it_forgets_none_that_has_not_ended() -> None:
    it = RequestHistory(HistorySettings(kept=1))
    it.accept("waits", "a/b", 1, {}, b"{}")
    for n in range(5):
        it.accept(f"r{n}", "a/b", 2, {}, b"{}")
        it.end(f"r{n}", 3, HttpResponse(200, Headers(), b"{}"))
    assert [entry.request_id for entry in it] == ["waits", "r4"]


def test_it_may_keep_nothing() -> None:
    it = history(3, HistorySettings(kept=0))
    assert (len(it), bool(it), ids(ask(it))) == (0, True, [])


def test_what_had_not_started_a_while_ago_is_not_listed_yet() -> None:
    it = history(1, HistorySettings(delay=5))
    assert ids(ask(it, 5.5)) == []
    it.accept("waits", "a/b", 10, {}, b"{}")
    it.start("waits", 12)
    assert ids(ask(it, 16)) == ["r1"]
    assert ids(ask(it, 17)) == ["waits", "r1"]
    assert ids(ask(it, 17, status="success,error,user_error")) == ["r1"]
    it.end("forgotten", 12, HttpResponse(200, Headers(), b"{}"))


def test_it_can_be_cleared() -> None:
    it = history(3)
    it.clear()
    assert (len(it), ids(ask(it))) == (0, [])
    it.accept("r9", "a/b", 1, {}, b"{}")
    assert it.request("r9").size == 2
