"""Every request of an upload fails in every way; tokens expire; files change; callers leave."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import threading
import time  # noqa: TID251 - that of the processor
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import Child
from fal_async import Billing, Hosts, UploadError
from fal_async.features.sources import OnDisk
from fal_async.features.storing import as_safe_as
from fal_async.features.uploading import Uploader
from fal_async.policy.patience import Patience
from fal_async.protocol.codec import Undecodable
from fal_async.protocol.storage import Initiated
from tests.support.fakes import VirtualClock
from tests.support.scripted_server import Script
from tests.support.scripted_server import answer as says
from tests.support.storage_server import Storage
from tests.support.uploads import CONTENT, PART, uploader
from tests.support.virtual_time import in_virtual_time, turns

PASSING = [500, 503, 429, 408, "reset", "late reset"]
IN_PARTS = ["token", "create", "complete", *(f"part {n}" for n in range(1, 8))]


async def sent(storage: Storage, uploads: Uploader, content: Any = CONTENT) -> None:
    file = await uploads.upload(content)
    assert storage.files[file.url] == (content if isinstance(content, bytes) else CONTENT)


async def failure(uploads: Uploader, content: Any = CONTENT, **more: Any) -> UploadError:
    with pytest.raises(UploadError) as raised:
        await uploads.upload(content, **more)
    assert raised.value.billing is Billing.NOT_BILLED
    assert "sig=" not in str(raised.value)
    return raised.value


# --- what passes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", PASSING, ids=str)
@pytest.mark.parametrize("what", IN_PARTS)
async def test_an_upload_in_parts_gets_over_any_passing_failure_of_any_request(
    what: str, fault: Any
) -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults[what] = [fault, fault]
        await sent(storage, uploads)
        asked = storage.count()
    if what == "complete" and fault == "late reset":
        assert (asked[what], asked["look"]) == (3, 1)  # it was complete the first time
    else:
        assert asked[what] == 3
    assert {asked[other] for other in IN_PARTS if other != what} <= {1}


@pytest.mark.parametrize("fault", PASSING, ids=str)
@pytest.mark.parametrize("what", ["token", "direct"])
async def test_an_upload_in_one_piece_gets_over_any_passing_failure(what: str, fault: Any) -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults[what] = [fault, fault]
        await sent(storage, uploads, b"small")
        assert storage.count()[what] == 3


@pytest.mark.parametrize("fault", [503, "reset", "late reset"], ids=str)
@pytest.mark.parametrize("what", ["initiate", "put"])
async def test_so_does_the_way_around_the_cdn(what: str, fault: Any) -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["token"] = [503] * 4
        storage.faults[what] = [fault, fault]
        await sent(storage, uploads, b"small")
        assert storage.count()[what] == 3


@pytest.mark.parametrize("what", ["initiate-parts", "sent part 2", "sent complete"])
async def test_so_does_the_way_around_the_cdn_in_parts(what: str) -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["create"] = [503] * 4
        storage.faults[what] = [503, "reset"]
        await sent(storage, uploads)
        assert storage.count()[what] == 3


async def test_a_part_of_a_stream_is_sent_again_though_the_stream_is_gone() -> None:
    async def stream() -> AsyncIterator[bytes]:
        for at in range(0, len(CONTENT), 9999):
            yield CONTENT[at : at + 9999]

    async with Storage() as storage, uploader(storage.hosts) as uploads:
        for n in range(1, 8):
            storage.faults[f"part {n}"] = ["late reset", 503]
        await sent(storage, uploads, stream())


# --- what does not --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["token", "direct"])
@pytest.mark.parametrize("status", [400, 404, 413])
async def test_a_refusal_is_told_at_once_and_no_other_way_is_tried(what: str, status: int) -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults[what] = [status]
        error = await failure(uploads, b"small")
    assert (error.status, error.attempts) == (status, 1)
    assert "initiate" not in storage.count()


async def test_when_every_way_is_closed_both_failures_are_told() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["direct"] = [503] * 4
        storage.faults["initiate"] = [500] * 4
        error = await failure(uploads, b"small")
    assert (error.status, error.attempts) == (500, 4)
    assert error.first is not None
    assert error.first.status == 503


async def test_while_the_cdn_is_known_to_be_down_it_is_not_asked() -> None:
    clock = VirtualClock()
    async with Storage() as storage, uploader(storage.hosts, clock) as uploads:  # type: ignore[arg-type]
        storage.faults["direct"] = [503] * 4
        await sent(storage, uploads, b"one")
        await sent(storage, uploads, b"two")
        assert storage.count() == {"token": 1, "direct": 4, "initiate": 2, "put": 2}
        clock.time += 60
        await sent(storage, uploads, b"three")
        assert storage.count()["direct"] == 5


async def test_a_failed_part_ends_the_others_and_nothing_is_completed() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        for n in (1, 2, 4, 5, 6, 7):
            storage.faults[f"part {n}"] = ["silence"]
        storage.faults["part 3"] = [400]
        error = await failure(uploads)
        assert error.status == 400
    assert storage.completed == []


@pytest.mark.parametrize("answer", [b"{}", b"nonsense", b'{"access_url": "javascript:x"}'])
async def test_an_answer_that_says_nothing_is_no_answer(answer: bytes) -> None:

    async with Script(says(body=answer)) as server, uploader(server.hosts) as uploads:
        error = await failure(uploads, b"x")
    assert "is none" in error.what
    assert error.body == answer


async def test_a_token_is_given_to_no_place_that_it_is_not_for() -> None:

    token = {"token": "t", "token_type": "Bearer", "expires_at": "2099-01-01T00:00:00Z"}
    elsewhere = {"access_url": "http://elsewhere.example/f", "uploadId": "u"}
    async with (
        Script(says(content=token), says(content=elsewhere)) as server,
        uploader(server.hosts) as uploads,
    ):
        error = await failure(uploads)
        assert len(server.requests) == 2
    assert "may not be given the token" in error.what


@in_virtual_time
async def test_where_nothing_moves_for_a_minute_it_is_lost_and_sent_again() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["direct"] = ["silence"]
        began = asyncio.get_running_loop().time()
        await sent(storage, uploads, b"small")
        assert 60 <= asyncio.get_running_loop().time() - began < 61
        storage.faults["direct"] = ["silence"] * 4
        storage.faults["initiate"] = [400]
        error = await failure(uploads, b"small")
        assert error.first is not None
        assert "nothing moved for 60 s" in error.first.what


# --- tokens ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["create", "part 1", "part 4", "complete"])
async def test_a_token_that_expires_in_between_is_renewed_once_for_all(what: str) -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        go = asyncio.Event()
        storage.faults[what] = [go]
        upload = asyncio.ensure_future(uploads.upload(CONTENT))
        await storage.arrival(what)
        storage.good.clear()
        go.set()
        file = await upload
        assert storage.files[file.url] == CONTENT
        assert storage.tokens == 2


async def test_all_parts_that_meet_an_expired_token_wait_for_the_same_new_one() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        go = asyncio.Event()
        for n in range(1, 8):
            storage.faults[f"part {n}"] = [go]
        upload = asyncio.ensure_future(uploads.upload(CONTENT))
        await storage.arrival("part 7")
        storage.good.clear()
        go.set()
        file = await upload
        assert storage.files[file.url] == CONTENT
        assert storage.tokens == 2


async def test_a_cdn_that_takes_no_token_is_asked_twice() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["direct"] = [401, 401, 401]
        error = await failure(uploads, b"x")
        assert error.status == 401
        assert storage.count() == {"token": 2, "direct": 2}


async def test_a_token_is_renewed_before_it_expires_whatever_our_clock_says() -> None:
    clock = VirtualClock()
    async with Storage() as storage, uploader(storage.hosts, clock) as uploads:  # type: ignore[arg-type]
        # By the answer's own Date, that is in about 73 years: 0.999 of that is within our margin.
        await sent(storage, uploads, b"1")
        clock.time += 60 * 365 * 86_400
        await sent(storage, uploads, b"2")
        assert storage.tokens == 1
        clock.time += 60 * 365 * 86_400
        await sent(storage, uploads, b"3")
        assert storage.tokens == 2
        storage.expires_at = "2001-01-01T00:00:00Z"  # nonsense: then the CDN will tell
        clock.time += 200 * 365 * 86_400
        await sent(storage, uploads, b"4")
        await sent(storage, uploads, b"5")
        assert storage.tokens == 3


async def test_who_waits_for_a_token_that_does_not_come_hears_of_it_with_the_first() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["token"] = [400, 400]
        uploads_at_once = [uploads.upload(b"x") for _ in range(20)]
        errors = await asyncio.gather(*uploads_at_once, return_exceptions=True)
        assert {type(error) for error in errors} == {UploadError}
        assert storage.count() == {"token": 1}


async def test_a_token_that_did_not_come_keeps_nothing_alive_of_those_who_waited_for_it() -> None:
    class Picture(bytearray):
        """What can be watched."""

    async def uploaded(uploads: Uploader, picture: Picture) -> None:
        with pytest.raises(UploadError):
            await uploads.upload(picture)

    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["token"] = [400, 400]
        pictures = [Picture(b"x") for _ in range(3)]
        watched = [weakref.ref(picture) for picture in pictures]
        await asyncio.gather(*(uploaded(uploads, picture) for picture in pictures))
        del pictures
        gc.collect()
        assert [picture() for picture in watched] == [None, None, None]


async def test_who_waits_for_a_token_gets_it_though_the_first_to_ask_has_left() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["token"] = ["silence"]
        first = asyncio.ensure_future(uploads.upload(b"x"))
        await storage.arrival("token")
        second = asyncio.ensure_future(uploads.upload(b"y"))
        first.cancel()
        assert storage.files[(await second).url] == b"y"
        with pytest.raises(asyncio.CancelledError):
            await first


# --- going on -------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "large.bin"
    made.write_bytes(CONTENT)
    return made


ONE_BY_ONE = Patience(tries=1, budget=0.0)


async def test_after_a_failure_only_what_is_missing_is_sent(path: Path) -> None:
    async with Storage() as storage, uploader(storage.hosts, patience=ONE_BY_ONE) as uploads:
        go = asyncio.Event()
        storage.faults["part 5"] = [go]
        storage.faults["complete"] = [503]
        go.set()
        await failure(uploads, path)
        before = storage.count()
        told: list[tuple[int, int | None]] = []
        file = await uploads.upload(path, on_progress=lambda *at: told.append(at))
        assert storage.files[file.url] == CONTENT
        assert storage.count() - before == {"complete": 1}
        assert told[-1] == (len(CONTENT), len(CONTENT))
        await uploads.upload(path)  # from the start: it was finished
        assert storage.count()["create"] == 2


async def test_a_cancelled_upload_is_gone_on_with(path: Path) -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["part 7"] = ["silence"]
        upload = asyncio.ensure_future(uploads.upload(path))
        await storage.arrival("part 7")
        await turns(500)  # so that only that is under way
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        file = await uploads.upload(path)
        assert storage.files[file.url] == CONTENT
        assert storage.count()["create"] == 1
        assert sum(storage.count()[f"part {n}"] for n in range(1, 8)) <= 9


async def test_another_file_or_other_wishes_are_another_upload(path: Path) -> None:
    async with Storage() as storage, uploader(storage.hosts, patience=ONE_BY_ONE) as uploads:
        storage.faults["complete"] = [503] * 3
        await failure(uploads, path)
        await failure(uploads, path, expire=60)
        write(path, CONTENT + b"more")
        await failure(uploads, path)
        assert storage.count()["create"] == 3


@pytest.mark.parametrize("what", ["part 2", "complete"])
async def test_what_the_cdn_has_forgotten_begins_anew(path: Path, what: str) -> None:
    async with Storage() as storage, uploader(storage.hosts, patience=ONE_BY_ONE) as uploads:
        storage.faults[what] = [503]
        await failure(uploads, path)
        storage.parts.clear()
        file = await uploads.upload(path)
        assert storage.files[file.url] == CONTENT
        assert storage.count()["create"] == 2


async def test_no_more_than_so_many_are_remembered(tmp_path: Path) -> None:
    async with Storage() as storage, uploader(storage.hosts, patience=ONE_BY_ONE) as uploads:
        storage.faults["complete"] = [503] * 70
        for n in range(70):
            path = tmp_path / str(n)
            path.write_bytes(CONTENT[: PART + 1])
            await failure(uploads, path)
        assert uploads._uploads is not None
        assert len(uploads._uploads._unfinished) == 64


# --- leaving --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["token", "create", "part 3", "complete", "direct"])
async def test_a_cancelled_upload_leaves_nothing_running(path: Path, what: str) -> None:
    content: Any = b"small" if what == "direct" else path
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults[what] = ["silence"]
        upload = asyncio.ensure_future(uploads.upload(content))
        await storage.arrival(what)
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert open_files(path) == 0
    assert storage.files == {}


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def truncate(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)


def open_files(path: Path) -> int:
    links = Path("/proc/self/fd")
    if not links.exists():
        return 0
    return [os.path.realpath(link) for link in links.iterdir()].count(str(path))


# --- files that are not what they were ------------------------------------------------------------------


async def changed_within(
    path: Path, change: Any, *, what: str = "part 3", **more: Any
) -> tuple[Storage, UploadError]:
    async with Storage() as storage, uploader(storage.hosts, **more) as uploads:
        go = asyncio.Event()
        storage.faults[what] = [go]
        upload = asyncio.ensure_future(uploads.upload(path))
        await storage.arrival(what)
        change()
        go.set()
        with pytest.raises(UploadError) as raised:
            await upload
        assert open_files(path) == 0
        return storage, raised.value


async def test_a_file_that_grows_shrinks_or_is_written_to_within_is_no_file(path: Path) -> None:
    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    def overwrite() -> None:
        with path.open("r+b") as file:
            file.write(b"other")
        os.utime(path, (1, 1))

    for change in (grow, overwrite, lambda: truncate(path, 10)):
        write(path, CONTENT)
        storage, error = await changed_within(path, change)
        assert error.what == "'large.bin' changed while it was read"
        assert (storage.completed, storage.files) == ([], {})


async def test_a_file_that_goes_up_in_one_piece_never_arrives_if_it_changes(path: Path) -> None:
    write(path, bytes(40 * 1024 * 1024))  # more than fits between the two ends
    more = {"parts_above": 1 << 30}
    async with Storage() as storage, uploader(storage.hosts, **more) as uploads:

        def change(sent: int, total: int | None) -> None:
            if sent > 3_000_000:
                truncate(path, 3_500_000)

        with pytest.raises(UploadError, match="changed while it was read"):
            await uploads.upload(path, on_progress=change)
        assert open_files(path) == 0
        assert storage.files == {}


async def test_a_file_that_is_replaced_within_is_still_read_to_its_end(
    path: Path,
) -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        go = asyncio.Event()
        storage.faults["create"] = [go]
        upload = asyncio.ensure_future(uploads.upload(path))
        await storage.arrival("create")
        path.with_name("x").write_bytes(b"another")
        path.with_name("x").replace(path)
        go.set()
        assert storage.files[(await upload).url] == CONTENT


async def test_a_disk_that_fails_within_is_told(path: Path) -> None:
    with path.open("rb") as opened:

        class Failing(io.FileIO):
            def fileno(self) -> int:
                return opened.fileno()

        source = OnDisk(lambda: (os.dup(opened.fileno()), 0), "x")
        async with source:
            os.close(source._file)
            with pytest.raises(UploadError, match="'x' could not be read: Bad file descriptor"):
                async for _ in source.chunks(0, 10):
                    pass
            with pytest.raises(UploadError, match="could not be read"):
                await source.check()
            source._file = -1
        with pytest.raises(UploadError, match="was closed"):
            await source.check()


# --- the loop -------------------------------------------------------------------------------------------


async def test_the_loop_is_never_held_up_while_200_megabytes_go_up(tmp_path: Path) -> None:
    path = tmp_path / "large"
    truncate(path, 200_000_000)
    held = bytes(50_000_000)
    loop = asyncio.get_running_loop()
    # What this thread has worked at each turn: how busy the machine is does not count.
    turns: list[float] = []

    def watch() -> None:
        nonlocal last, timer
        now = time.thread_time()
        turns.append(now - last)
        last = now
        timer = loop.call_soon(watch)

    with Child("benchmarks.file_server") as server:
        hosts = Hosts.local(f"http://127.0.0.1:{int(server.read())}")
        async with uploader(hosts, part_size=10 << 20, parts_above=100 << 20) as uploads:
            await uploads.upload(b"warm")
            last = time.thread_time()
            timer = loop.call_soon(watch)
            await uploads.upload(path)
            await uploads.upload(held)
            timer.cancel()
    assert max(turns) < 0.05


async def test_a_file_is_never_read_by_the_loop_itself() -> None:
    go = threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert go.wait(10)  # which only the loop can end
            return super().read(size)

    async with Storage() as storage, uploader(storage.hosts) as uploads:
        asyncio.get_running_loop().call_soon(go.set)
        file = await uploads.upload(Slow(CONTENT))
        assert storage.files[file.url] == CONTENT


# --- rarely ---------------------------------------------------------------------------------------------


async def test_a_presigned_url_that_ran_out_while_it_was_tried_is_asked_for_again() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["direct"] = [503] * 4
        storage.faults["put"] = [503, 403]
        await sent(storage, uploads, b"small")
        assert (storage.count()["initiate"], storage.count()["put"]) == (2, 3)


async def test_a_presigned_url_that_is_refused_at_once_is_not_asked_for_again() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        storage.faults["direct"] = [503] * 4
        storage.faults["put"] = [403]
        error = await failure(uploads, b"small")
    assert (error.status, storage.count()["initiate"]) == (403, 1)


async def test_an_upload_gone_on_with_that_fails_again_is_gone_on_with_again(path: Path) -> None:
    async with Storage() as storage, uploader(storage.hosts, patience=ONE_BY_ONE) as uploads:
        storage.faults["complete"] = [503, 503]
        await failure(uploads, path)
        await failure(uploads, path)
        await sent(storage, uploads, path)
        assert storage.count()["create"] == 1


@pytest.mark.parametrize("what", ["complete", "sent complete"])
async def test_a_completion_that_was_lost_and_refused_failed_if_the_file_is_not_there(
    what: str,
) -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        if what == "sent complete":
            storage.faults["create"] = [503] * 4
        storage.faults[what] = ["reset", 400]
        error = await failure(uploads)
        assert (error.status, storage.count()["look"]) == (400, 1)


async def test_the_keys_of_any_number_of_accounts_may_be_used() -> None:
    async with Storage() as storage, uploader(storage.hosts) as uploads:
        for n in range(70):
            await uploads.upload(b"x", key=f"key:{n}")
        assert uploads._uploads is not None
        assert len(uploads._uploads._cdns) == 64


def test_a_file_asked_for_over_https_goes_nowhere_in_the_clear() -> None:
    clear = Initiated("http://bucket/x?sig=1", "https://fal.media/x")
    safe = Initiated("https://bucket/x?sig=1", "https://fal.media/x")
    assert as_safe_as("https://rest.fal.ai", safe) is safe
    assert as_safe_as("http://127.0.0.1", clear) is clear
    with pytest.raises(Undecodable, match="not https"):
        as_safe_as("https://rest.fal.ai", clear)
