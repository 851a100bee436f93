"""A journal gives again what earlier runs left in it, each call once."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import stat
import threading
from pathlib import Path

import attrs
import pytest

from fal_async.batch.journal.journal import Journal
from fal_async.batch.journal.records import InDoubt, State
from fal_async.batch.outcome import SavedFile
from fal_async.errors import JournalError
from fal_async.protocol.messages import Headers
from tests.batch.journaling import MODEL, NOW, answer, key, opened
from tests.support.virtual_time import turns


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.sqlite"


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if "journal" in t.name]


async def test_a_call_is_new_once_and_known_in_every_later_run(path: Path) -> None:
    async with opened(path) as journal:
        assert journal.remaining == 0
        ticket, record = await journal.claim(key("a"), 7)
        assert record is None
        await journal.ended(ticket, answer(b'{"seed":1}'))
    for _ in range(2):
        async with opened(path) as journal:
            assert journal.remaining == 1
            again, record = await journal.claim(key("a"), 0)
            assert journal.remaining == 0
            assert record is not None
            assert again == record.ticket == ticket
            assert (record.state, record.index) == (State.SUCCEEDED, 7)
            assert record.answer == answer(b'{"seed":1}')
            assert isinstance(record.answer.headers, Headers)
            assert (record.handle, record.intended_at, record.in_doubt_times) == (None, NOW, 0)


async def test_equal_calls_have_a_row_each_and_come_back_in_their_order(path: Path) -> None:
    async with opened(path) as journal:
        for index, name in enumerate("aabaca"):
            ticket, _ = await journal.claim(key(name), index)
            await journal.ended(ticket, answer(str(index).encode()))
    async with opened(path) as journal:
        claims = [journal.claim(key(name), 0) for name in "acaaaab"]
        records = [record for _, record in await asyncio.gather(*claims)]
        bodies = [record and record.answer and record.answer.body for record in records]
        assert bodies == [b"0", b"4", b"1", b"3", b"5", None, b"2"]
        assert journal.remaining == 0


async def test_a_chunk_is_looked_up_in_one_go_and_nothing_is_written_for_what_is_new(
    path: Path,
) -> None:
    async with opened(path) as journal:
        assert await journal.claim_many([key("a")] * 3) == [None] * 3
        for index in range(2):
            await journal.begin(key("a"), index)
    async with opened(path) as journal:
        records = await journal.claim_many([key("a"), key("b"), key("a"), key("a")])
        assert [record and record.index for record in records] == [0, None, 1, None]
        ticket = await journal.begin(key("b"), 1)
        await journal.ended(ticket, answer())
    async with opened(path) as journal:
        assert journal.counts == {
            State.INTENDED: 2,
            State.QUEUED: 0,
            State.SUCCEEDED: 1,
            State.FAILED: 0,
        }


async def test_a_queued_call_comes_back_with_its_handle(path: Path) -> None:
    async with opened(path) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
        await journal.queued(ticket, {"request_id": "r-1", "status_url": "https://\udcff"})
    async with opened(path) as journal:
        _, record = await journal.claim(key("a"), 0)
        assert record is not None
        assert record.state is State.QUEUED
        assert record.handle == {"request_id": "r-1", "status_url": "https://\udcff"}
        await journal.ended(record.ticket, answer())
    async with opened(path) as journal:
        _, record = await journal.claim(key("a"), 0)
        assert record is not None
        assert (record.state, record.handle) == (State.SUCCEEDED, None)


async def test_what_was_saved_of_an_answer_comes_back_with_it(path: Path) -> None:
    files = (
        SavedFile(url="https://v3.fal.media/a.png", path=Path("out/a.png"), size=3),
        SavedFile(
            url="data:image/png;base64,AAAA", path=Path("out/b.png"), content_type="image/png"
        ),
        SavedFile(url="https://v3.fal.media/c.png", error=JournalError("not saved")),
    )
    async with opened(path) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
        await journal.ended(ticket, answer())
        await journal.saved(ticket, files[:1])
        await journal.saved(ticket, files)
    async with opened(path) as journal:
        _, record = await journal.claim(key("a"), 0)
        assert record is not None
        assert record.answer is not None
        assert record.answer.files == (
            files[0],
            SavedFile(url="data:", path=Path("out/b.png"), content_type="image/png"),
            SavedFile(url="https://v3.fal.media/c.png"),
        )
    assert b"AAAA" not in path.read_bytes()  # noqa: ASYNC240 - a small file


async def test_what_was_intended_and_did_not_end_is_in_doubt_until_it_is_claimed(
    path: Path,
) -> None:
    async with opened(path, now=1.0) as journal:
        for index, name in enumerate("abc"):
            await journal.claim(key(name), index)
        assert await journal.in_doubt() == []
    async with opened(path, now=2.0) as journal:
        _, record = await journal.claim(key("a"), 5)
        assert record is not None
        assert (record.state, record.in_doubt_times) == (State.INTENDED, 1)
        assert await journal.in_doubt() == [
            InDoubt(key=key("b"), index=1, intended_at=1.0, times=1),
            InDoubt(key=key("c"), index=2, intended_at=1.0, times=1),
        ]
        await journal.intend(record.ticket, 5)
    async with opened(path, now=3.0) as journal:
        doubts = await journal.in_doubt()
        assert doubts[-1] == InDoubt(key=key("a"), index=5, intended_at=2.0, times=2)
        _, record = await journal.claim(key("a"), 0)
        assert record is not None
        assert record.in_doubt_times == 2


async def test_the_first_time_that_a_call_was_found_in_doubt_is_kept(path: Path) -> None:
    async with opened(path, now=1.0) as journal:
        await journal.claim(key("a"), 0)
    for now in (2.0, 3.0):
        async with opened(path, now=now) as journal:
            _, record = await journal.claim(key("a"), 0)
            assert record is not None
            assert (record.intended_at, record.left_by) == (1.0, 2.0)
    async with opened(path, now=4.0) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
        await journal.intend(ticket, 0)
    async with opened(path, now=5.0) as journal:
        _, record = await journal.claim(key("a"), 0)
        assert record is not None
        assert (record.intended_at, record.left_by) == (4.0, 5.0)


async def test_the_ids_of_all_requests_are_known(path: Path) -> None:
    for n in range(4):
        async with opened(path, now=float(n)) as journal:
            ticket, _ = await journal.claim(key(n), n)
            if n % 2:
                await journal.queued(ticket, {"request_id": f"r{n}"})
            else:
                error = {"what": float("nan") if n else "no"}  # one that only we can read
                ended = attrs.evolve(answer(), request_id=f"r{n}", succeeded=False, error=error)
                await journal.ended(ticket, ended)
    async with opened(path) as journal:
        await journal.claim(key("unsent"), 4)
        assert await journal.request_ids() == {"r0", "r1", "r2", "r3"}


async def test_the_ids_of_requests_whose_calls_are_made_again_stay_known(path: Path) -> None:
    async with opened(path) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
        await journal.ended(ticket, attrs.evolve(answer(succeeded=False), request_id="failed"))
        await journal.intend(ticket, 0)
        await journal.queued(ticket, {"request_id": "cancelled"})
        journal.withdraw(ticket)
        await journal.intend(ticket, 0)
        await journal.queued(ticket, {"request_id": "last"})
        await journal.ended(ticket, attrs.evolve(answer(), request_id="last"))
    async with opened(path) as journal:
        assert await journal.request_ids() == {"failed", "cancelled", "last"}


async def test_a_queued_call_that_was_cancelled_for_free_is_withdrawn_like_any_intent(
    path: Path,
) -> None:
    async with opened(path) as journal:
        new, _ = await journal.claim(key("new"), 0)
        failed, _ = await journal.claim(key("failed"), 1)
        await journal.ended(failed, answer(succeeded=False))
        await journal.intend(failed, 1)
        for ticket in (new, failed):
            await journal.queued(ticket, {"request_id": "r"})
            journal.withdraw(ticket)
    async with opened(path) as journal:
        assert await journal.claim_many([key("new")]) == [None]
        assert journal.counts[State.FAILED] == journal.remaining == 1


async def test_a_failure_that_is_called_again_is_in_doubt_until_it_ends_again(path: Path) -> None:
    async with opened(path) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
        await journal.ended(ticket, answer(succeeded=False))
    async with opened(path) as journal:
        _, record = await journal.claim(key("a"), 0)
        assert record is not None
        assert record.answer == answer(succeeded=False)
        await journal.intend(ticket, 0)
    async with opened(path) as journal:
        _, record = await journal.claim(key("a"), 0)
        assert record is not None
        assert (record.state, record.answer) == (State.INTENDED, None)
        await journal.ended(ticket, answer(b"2"))
    async with opened(path) as journal:
        _, record = await journal.claim(key("a"), 0)
        assert record is not None
        assert record.answer == answer(b"2")


async def test_an_intent_that_led_to_nothing_is_as_if_it_had_never_been(path: Path) -> None:
    async with opened(path) as journal:
        new, _ = await journal.claim(key("new"), 0)
        failed, _ = await journal.claim(key("failed"), 1)
        doubted, _ = await journal.claim(key("doubted"), 2)
        await journal.ended(failed, answer(succeeded=False))
        journal.withdraw(new)
    async with opened(path) as journal:
        assert journal.remaining == 2
        await journal.claim_many([key("failed"), key("doubted")])
        for ticket in (failed, doubted):
            await journal.intend(ticket, 9)
            journal.withdraw(ticket)
    async with opened(path) as journal:
        found = await journal.claim_many([key("new"), key("failed"), key("doubted")])
        assert found[0] is None
        assert found[1] is not None
        assert (found[1].state, found[1].answer) == (State.FAILED, answer(succeeded=False))
        assert found[2] is not None
        assert (found[2].state, found[2].in_doubt_times) == (State.INTENDED, 1)


async def test_withdrawing_a_call_that_has_ended_changes_nothing(path: Path) -> None:
    async with opened(path) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
        await journal.ended(ticket, answer())
        journal.withdraw(ticket)
    async with opened(path) as journal:
        assert journal.counts[State.SUCCEEDED] == 1


async def test_an_intent_that_was_told_is_on_disk_whatever_was_withdrawn_at_the_same_time(
    path: Path,
) -> None:
    async with opened(path) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
        await journal.ended(ticket, answer(succeeded=False))
        await journal.intend(ticket, 0)
        journal.withdraw(ticket)
        await journal.intend(ticket, 0)
    async with opened(path) as journal:
        assert journal.counts[State.INTENDED] == 1


async def test_an_answer_that_was_told_is_on_disk_whatever_was_withdrawn_at_the_same_time(
    path: Path,
) -> None:
    async with opened(path) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
        journal.withdraw(ticket)
        await journal.ended(ticket, answer())
    async with opened(path) as journal:
        assert journal.counts[State.SUCCEEDED] == 1


async def test_what_was_only_claimed_cannot_be_withdrawn(path: Path) -> None:
    async with opened(path) as journal:
        await journal.claim(key("a"), 0)
    async with opened(path) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
        journal.withdraw(ticket)
    async with opened(path) as journal:
        assert journal.counts[State.INTENDED] == 1


@pytest.mark.parametrize("count", range(6))
async def test_a_claim_that_is_cancelled_leaves_no_doubt_and_the_others_alone(
    path: Path, count: int
) -> None:
    async with opened(path) as journal:
        await journal.claim(key("old"), 0)
    async with opened(path) as journal:
        _, record = await journal.claim(key("old"), 0)
        assert record is not None
        leaving = [
            asyncio.create_task(journal.claim(key("a"), 1)),
            asyncio.create_task(journal.begin(key("b"), 2)),
            asyncio.create_task(journal.intend(record.ticket, 3)),
        ]
        staying = asyncio.create_task(journal.claim(key("c"), 4))
        await turns(count)
        for task in leaving:
            task.cancel()
        done = await asyncio.gather(*leaving, return_exceptions=True)
        _, new = await staying
        assert new is None
    finished = 3 - sum(isinstance(result, asyncio.CancelledError) for result in done)
    async with opened(path) as journal:
        assert journal.counts[State.INTENDED] == 2 + min(finished, 2)
        doubts = await journal.in_doubt()
        assert {doubt.times for doubt in doubts if doubt.index == 0} <= {1}


async def test_a_claim_cancelled_once_it_is_on_disk_but_before_it_went_on_leaves_no_doubt(
    path: Path,
) -> None:
    async with opened(path, now=1.0) as journal:
        await journal.claim(key("old"), 0)
    async with opened(path, now=2.0) as journal:
        _, record = await journal.claim(key("old"), 0)
        assert record is not None
        tasks: list[asyncio.Task[object]] = []

        async def leave_and_cancel_the_others() -> None:
            leaving, _ = await journal.claim(key("first"), 1)  # told first of its group
            for task in tasks:
                task.cancel()
            journal.withdraw(leaving)

        first = asyncio.create_task(leave_and_cancel_the_others())
        tasks += [
            asyncio.create_task(journal.claim(key("a"), 1)),
            asyncio.create_task(journal.begin(key("b"), 2)),
            asyncio.create_task(journal.intend(record.ticket, 0)),
        ]
        await first
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in done] == [asyncio.CancelledError] * 3
    async with opened(path) as journal:
        assert journal.counts[State.INTENDED] == 1
        assert await journal.in_doubt() == [
            InDoubt(key=key("old"), index=0, intended_at=1.0, times=1)
        ]


async def test_a_cancelled_answer_is_written_all_the_same(path: Path) -> None:
    async with opened(path) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
        task = asyncio.create_task(journal.ended(ticket, answer()))
        await turns(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with opened(path) as journal:
        assert journal.counts[State.SUCCEEDED] == 1


async def test_answers_of_any_size_go_side_by_side(path: Path) -> None:
    bodies = [b"", b"\x00\xff" * 10, b"x" * 300_000, b"{}", b"y" * 65_536]
    async with opened(path) as journal:
        claims = await asyncio.gather(*(journal.claim(key(n), n) for n in range(5)))
        tickets = [ticket for ticket, _ in claims]
        await asyncio.gather(
            *(journal.ended(t, answer(b)) for t, b in zip(tickets, bodies, strict=True))
        )
    async with opened(path) as journal:
        records = await journal.claim_many([key(n) for n in range(5)])
        assert [r and r.answer and r.answer.body for r in records] == bodies


async def test_what_waits_at_the_same_time_shares_one_write(path: Path) -> None:
    async with opened(path) as journal:
        commits: list[int] = []
        store = journal._store
        commit = store.commit
        store.commit = lambda: (commits.append(1), commit())[1]  # type: ignore[func-returns-value,method-assign]
        claims = await asyncio.gather(*(journal.claim(key(n), n) for n in range(500)))
        await asyncio.gather(*(journal.ended(ticket, answer()) for ticket, _ in claims))
        assert len(commits) == 2


async def test_the_file_belongs_to_its_owner_and_holds_everything_when_it_is_closed(
    path: Path,
) -> None:
    async with opened(path) as journal:
        await journal.claim(key("a"), 0)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["run.sqlite"]


async def test_every_commit_reaches_the_disk_before_anyone_is_told(path: Path) -> None:
    async with opened(path) as journal:

        def settings(store: object) -> list[object]:
            run = store._run  # type: ignore[attr-defined]
            names = ("synchronous", "journal_mode", "locking_mode")
            return [run(f"PRAGMA {name}").fetchone()[0] for name in names]

        assert await journal._ask(settings) == [2, "wal", "exclusive"]


async def test_no_input_and_no_key_is_in_the_file(path: Path) -> None:
    async with opened(path) as journal:
        await journal.claim(key("a prompt"), 0)
    connection = sqlite3.connect(path)
    columns = {
        table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    }
    connection.close()
    assert columns["item"] == [
        "id", "key", "place", "state", "run", "intended_at", "doubts", "was", "was_at", "left_by",
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [b"", b"short", b"x" * 17])
async def test_a_key_of_another_length_is_refused_before_it_spoils_a_group(
    path: Path, wrong: bytes
) -> None:
    async with opened(path) as journal:
        for call in (journal.claim(wrong, 0), journal.begin(wrong, 0), journal.claim_many([wrong])):
            with pytest.raises(ValueError, match="16 bytes"):
                await call


async def test_an_answer_that_cannot_be_written_down_is_its_own_trouble_only(path: Path) -> None:
    async with opened(path) as journal:
        (one, _), (other, _) = await asyncio.gather(
            journal.claim(key("a"), 0), journal.claim(key("b"), 1)
        )
        bad = answer()
        object.__setattr__(bad, "request_id", object())
        done = await asyncio.gather(
            journal.ended(one, bad), journal.ended(other, answer()), return_exceptions=True
        )
        assert isinstance(done[0], TypeError)
        assert done[1] is None


async def test_closing_twice_and_from_two_sides_ends_the_thread_once(path: Path) -> None:
    journal = await Journal.open(path, model=MODEL, now=lambda: NOW)
    assert threads()
    await asyncio.gather(journal.close(), journal.close())
    await journal.close()
    assert not threads()


async def test_a_closed_journal_says_so(path: Path) -> None:
    async with opened(path) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
    for call in (
        journal.claim(key("a"), 0),
        journal.claim_many([key("a")]),
        journal.begin(key("a"), 0),
        journal.intend(ticket, 0),
        journal.queued(ticket, {}),
        journal.ended(ticket, answer()),
        journal.saved(ticket, []),
        journal.in_doubt(),
        journal.request_ids(),
    ):
        with pytest.raises(JournalError, match="the journal is closed"):
            await call


async def test_what_was_asked_for_before_the_close_is_written(path: Path) -> None:
    journal = await Journal.open(path, model=MODEL, now=lambda: NOW)
    waiting = [asyncio.create_task(journal.claim(key(n), n)) for n in range(10)]
    await turns(1)
    await journal.close()
    assert [record for _, record in await asyncio.gather(*waiting)] == [None] * 10
    async with opened(path) as journal:
        assert journal.remaining == 10


async def test_cancelling_the_close_is_heard_once_the_thread_has_ended(path: Path) -> None:
    journal = await Journal.open(path, model=MODEL, now=lambda: NOW)
    closing = asyncio.create_task(journal.close())
    await turns(1)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not threads()
    async with opened(path):
        pass


@pytest.mark.parametrize("count", range(4))
async def test_cancelling_the_opening_leaves_no_thread_and_no_lock(path: Path, count: int) -> None:
    opening = asyncio.create_task(Journal.open(path, model=MODEL, now=lambda: NOW))
    await turns(count)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not threads()
    async with opened(path):
        pass


def test_a_journal_whose_loop_died_is_closed_on_another_one(path: Path) -> None:
    async def leave_open() -> Journal:
        journal = await Journal.open(path, model=MODEL, now=lambda: NOW)
        await journal.claim(key("a"), 0)
        return journal

    journal = asyncio.run(leave_open())
    asyncio.run(journal.close())
    assert not threads()


def test_a_journal_that_nobody_closed_takes_its_thread_along(path: Path) -> None:
    async def forget() -> None:
        journal = await Journal.open(path, model=MODEL, now=lambda: NOW)
        await journal.claim(key("a"), 0)

    asyncio.run(forget())
    gc.collect()
    for thread in threading.enumerate():
        if "journal" in thread.name:
            thread.join(10)
    assert not threads()
