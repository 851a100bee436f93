"""A journal that cannot be used is refused with a sentence that tells what to do, and left as it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fal_async.batch.journal.journal import Journal
from fal_async.batch.journal.records import State
from fal_async.batch.journal.schema import FORMAT
from fal_async.batch.journal.store import Store
from fal_async.errors import Billing, JournalError
from tests.architecture.sources import CHECKOUT
from tests.batch.journaling import MODEL, NOW, answer, key, opened

#: A program that is given the path of a journal, and whose lines are read.
PREAMBLE = """
import asyncio, os, resource, sys
from pathlib import Path
from fal_async.batch.journal.journal import Journal
from fal_async.errors import JournalError
from tests.batch.journaling import answer, key, opened
path = Path(sys.argv[1])
"""


def program(text: str, path: Path) -> list[str]:
    return [sys.executable, "-W", "error", "-c", PREAMBLE + textwrap.dedent(text), str(path)]


def run(text: str, path: Path) -> str:
    done = subprocess.run(
        program(text, path), cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.sqlite"


@pytest.fixture
def filled(path: Path) -> Path:
    asyncio.run(fill(path, 200))
    return path


async def fill(path: Path, count: int) -> None:
    async with opened(path) as journal:
        claims = await asyncio.gather(*(journal.claim(key(n), n) for n in range(count)))
        await asyncio.gather(*(journal.ended(t, answer(b"x" * 500)) for t, _ in claims))


def refusal(path: Path, *, model: str = MODEL) -> str:
    """The text of the error; nothing in the folder has changed."""

    async def use() -> None:
        async with opened(path, model=model):
            pass

    folder = path.parent
    before = {f.name: f.read_bytes() for f in folder.iterdir()} if folder.exists() else {}
    with pytest.raises(JournalError) as raised:
        asyncio.run(use())
    after = {f.name: f.read_bytes() for f in folder.iterdir()} if folder.exists() else {}
    assert after == before
    assert raised.value.remedy
    assert raised.value.billing is Billing.NOT_BILLED
    return str(raised.value)


def test_another_models_journal_names_both(filled: Path) -> None:
    assert f"it is the journal of {MODEL}, not of fal-ai/other" in refusal(
        filled, model="fal-ai/other"
    )


def test_a_newer_format_is_left_to_who_knows_it(filled: Path) -> None:
    with sqlite3.connect(filled, isolation_level=None) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert f"its format is {FORMAT + 1}" in refusal(filled)


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_another_programs_database_is_no_journal(path: Path, mode: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE item (id)")
    connection.close()
    assert "the file is no journal" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"{}", b"SQLite format 3\0", b"prompt\n" * 100, b"\0" * 4096], ids=len
)
def test_a_file_that_is_no_database_is_no_journal(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "the file is no journal" in refusal(path)


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch()
    asyncio.run(fill(path, 1))
    assert path.stat().st_size > 0


def test_a_journal_whose_making_was_cut_short_is_made_anew(path: Path) -> None:
    """As the making leaves it when it is killed before its commit: a page, and how to undo it."""
    text = """
    from fal_async.batch.journal import schema
    import sqlite3
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.executescript(schema.TABLES)
    connection.execute("CREATE TABLE large AS SELECT randomblob(1000000)")
    print(*sorted(os.listdir(path.parent)), path.stat().st_size > 0, flush=True)
    os._exit(0)
    """
    assert run(text, path).split() == ["run.sqlite", "run.sqlite-journal", "True"]
    asyncio.run(fill(path, 1))
    assert [file.name for file in path.parent.iterdir()] == ["run.sqlite"]


def test_a_folder_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    assert "its folder does not exist" in refusal(tmp_path / "runs" / "run.sqlite")


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(JournalError, match="Is a directory"):
        asyncio.run(fill(tmp_path / "run", 1))


def test_a_journal_in_use_is_refused_within_the_same_process(filled: Path) -> None:
    async def twice() -> None:
        async with opened(filled) as journal:
            with pytest.raises(JournalError, match="this process has it open already"):
                await Journal.open(filled, model=MODEL, now=lambda: NOW)
            link = filled.parent / "link"
            link.symlink_to(filled)
            with pytest.raises(JournalError, match="this process has it open already"):
                await Journal.open(link, model=MODEL, now=lambda: NOW)
            _, record = await journal.claim(key(0), 0)
            assert record is not None

    asyncio.run(twice())


@pytest.fixture
def in_use(filled: Path) -> Iterator[subprocess.Popen[str]]:
    text = """
    async def use():
        async with opened(path):
            print("open", flush=True)
            sys.stdin.read()
    asyncio.run(use())
    """
    with subprocess.Popen(
        program(text, filled), cwd=CHECKOUT, stdin=-1, stdout=-1, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        yield child


def test_a_journal_in_use_by_another_process_is_refused(
    filled: Path, in_use: subprocess.Popen[str]
) -> None:
    for _ in range(2):  # being refused does not end the other one's lock
        assert "it is in use (SQLITE_BUSY)" in refusal(filled)
    in_use.communicate()
    assert in_use.returncode == 0
    asyncio.run(fill(filled, 1))


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="there is no other user")
@pytest.mark.parametrize(
    ("modes", "what"),
    [
        ((0o755, 0o444), "it may not be written"),
        ((0o755, 0o000), "it may not be written"),
        ((0o555, 0o666), "it may not be written (SQLITE_READONLY"),
        ((0o555, None), "Permission denied"),
    ],
)
def test_what_may_not_be_written_is_refused(
    filled: Path, modes: tuple[int, int | None], what: str
) -> None:
    text = """
    async def use():
        try:
            async with opened(path):
                print("opened")
        except JournalError as error:
            print(error)
    if not os.geteuid():
        os.setuid(65534)
    asyncio.run(use())
    """
    of_the_folder, of_the_file = modes
    folder = Path(tempfile.mkdtemp())
    try:
        copy = folder / "run.sqlite"
        if of_the_file is not None:
            shutil.copy(filled, copy)
            copy.chmod(of_the_file)
        folder.chmod(of_the_folder)
        assert what in run(text, copy)
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_of_which_half_is_gone_is_damaged(filled: Path) -> None:
    content = filled.read_bytes()
    filled.write_bytes(content[: len(content) // 8192 * 4096])
    assert "damaged" in refusal(filled)


def test_a_page_of_items_that_is_gone_is_damage_found_on_opening(filled: Path) -> None:
    content = filled.read_bytes()
    filled.write_bytes(content[:4096] + b"\xff" * 8192 + content[3 * 4096 :])
    assert "damaged" in refusal(filled)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_bytes_are_damaged_is_either_unnoticed_or_a_journal_error(
    tmp_path: Path, data: st.DataObject
) -> None:
    source, path = tmp_path / "whole.sqlite", tmp_path / "damaged.sqlite"
    if not source.exists():
        asyncio.run(fill(source, 60))
    content = bytearray(source.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    hole = data.draw(st.binary(min_size=1, max_size=200))
    content[at : at + len(hole)] = hole
    path.write_bytes(content)
    Path(f"{path}-wal").unlink(missing_ok=True)

    async def use() -> None:
        async with opened(path) as journal:
            for n in range(60):
                await journal.claim(key(n), n)
            await journal.in_doubt()

    with contextlib.suppress(JournalError):
        asyncio.run(use())


async def test_damage_that_is_found_later_stops_the_intents(filled: Path) -> None:
    connection = sqlite3.connect(filled)
    (page,) = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'answer'"
    ).fetchone()
    connection.close()
    content = filled.read_bytes()  # noqa: ASYNC240 - a small file
    start = (page - 1) * 4096
    filled.write_bytes(content[:start] + b"\xff" * 4096 + content[start + 4096 :])  # noqa: ASYNC240
    async with opened(filled) as journal:
        for name in (0, 1, "new"):
            with pytest.raises(JournalError, match="damaged"):
                await journal.claim(key(name), 0)


async def test_a_full_disk_ends_the_intents_and_answers_are_tried_again(path: Path) -> None:
    def pages(count: int) -> object:
        return lambda store: store._run(f"PRAGMA max_page_count = {count}").fetchall()

    async def fill_up(journal: Journal) -> JournalError:
        n = 0
        while True:
            try:
                await journal.claim(key(n), n)
            except JournalError as error:
                return error
            n += 1

    async with opened(path) as journal:
        ticket, _ = await journal.claim(key("a"), 0)
        other, _ = await journal.claim(key("b"), 0)
        await journal._ask(pages(1))  # type: ignore[arg-type]  # no more than there are
        error = await fill_up(journal)
        assert "the disk that holds it is full (SQLITE_FULL)" in str(error)
        assert "Make room" in str(error)
        with pytest.raises(JournalError, match="is full") as raised:
            await journal.ended(ticket, answer(b"x" * 10_000))
        assert raised.value.billing is Billing.BILLED
        await journal._ask(pages(1000))  # type: ignore[arg-type]  # room has been made
        await asyncio.gather(
            journal.ended(ticket, answer(b"1")),
            journal.queued(other, {"request_id": "r"}),
            journal.saved(ticket, []),
        )
        for refused in (
            journal.claim(key("c"), 0),
            journal.begin(key("c"), 0),
            journal.claim_many([key("c")]),
            journal.intend(ticket, 0),
        ):
            with pytest.raises(JournalError, match="is full"):
                await refused
    async with opened(path) as journal:
        assert journal.counts[State.SUCCEEDED] == 1
        assert journal.counts[State.QUEUED] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on the size of files")
def test_what_was_told_before_a_file_could_grow_no_more_is_there(path: Path) -> None:
    text = """
    async def use():
        async with opened(path) as journal:
            n = 0
            try:
                while True:
                    ticket, _ = await journal.claim(key(n), n)
                    print("intended", n)
                    await journal.ended(ticket, answer(b"x" * 500))
                    print("ended", n)
                    n += 1
            except JournalError as error:
                print("failed", error.what)
            try:
                await journal.claim(key("later"), n)
            except JournalError as error:
                print("refused", error.what)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    asyncio.run(use())
    """
    lines = run(text, path).splitlines()
    assert "does not let it be read or written (SQLITE_IOERR" in lines[-2]
    assert lines[-1].startswith("refused")
    asyncio.run(everything_told_is_there(path, lines))


async def everything_told_is_there(path: Path, lines: list[str]) -> None:
    ended = [int(line.split()[1]) for line in lines if line.startswith("ended")]
    assert len(ended) > 10
    async with opened(path) as journal:
        records = await journal.claim_many([key(n) for n in ended])
        assert {record and record.state for record in records} == {State.SUCCEEDED}


def test_a_store_that_is_closed_may_be_closed_again(path: Path) -> None:
    store = Store(path, MODEL, NOW)
    store.close()
    store.close()
    store.give_up()
