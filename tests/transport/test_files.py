"""Files on disk: whole or not at all, never over another one, and nobody works on what is given up."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from pathlib import Path

import pytest

from fal_async.transport.files import PartFile, give_name, in_thread, write_new
from tests.support.virtual_time import turns


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_once_it_is_published_and_not_before(tmp_path: Path) -> None:
    part = PartFile(tmp_path)
    part.append(b"ab")
    assert names(tmp_path) != ["a"]
    part.restart()
    part.append(b"c")
    assert part.publish("a", b"d").read_bytes() == b"cd"
    part.discard()
    assert names(tmp_path) == ["a"]


def test_nothing_is_left_of_what_is_discarded(tmp_path: Path) -> None:
    part = PartFile(tmp_path)
    part.restart()
    part.append(b"ab")
    part.discard()
    part.discard()
    assert names(tmp_path) == []


def test_a_part_of_another_process_is_left_alone(tmp_path: Path) -> None:
    one, other = PartFile(tmp_path), PartFile(tmp_path)
    one.append(b"a")
    [name] = names(tmp_path)
    number = int(name.partition("-")[2].partition(".")[0])
    taken = tmp_path / f".{os.getpid()}-{number + 1}.part"
    taken.write_text("mine")
    other.append(b"b")
    assert len(names(tmp_path)) == 3
    one.discard()
    other.discard()
    assert taken.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("cat.png", "cat (2).png"),
        ("cat", "cat (2)"),
        (".png", ".png (2)"),
        ("a.an_ending_that_is_none", "a.an_ending_that_is_none (2)"),
        ("é" * 125 + ".png", "é" * 123 + " (2).png"),
    ],
)
def test_a_name_that_is_taken_is_numbered(tmp_path: Path, name: str, second: str) -> None:
    write_new(tmp_path, name, b"1")
    assert write_new(tmp_path, name, b"2").name == second
    assert (tmp_path / name).read_bytes() == b"1"


def test_a_free_number_is_found_in_few_steps_among_many(tmp_path: Path) -> None:
    made = {write_new(tmp_path, "a.x", b"").name for _ in range(300)}
    assert made == {"a.x", *(f"a ({number}).x" for number in range(2, 301))}


def test_a_gap_is_filled_and_nothing_is_overwritten(tmp_path: Path) -> None:
    for number in (2, 3, 5):
        (tmp_path / f"a ({number})").write_text("mine")
    (tmp_path / "a").write_text("mine")
    assert write_new(tmp_path, "a", b"new").read_bytes() == b"new"
    assert sum(path.read_text() == "mine" for path in tmp_path.iterdir()) == 4


def test_where_there_are_no_hard_links_a_file_is_moved_but_not_over_another(
    tmp_path: Path,
) -> None:
    def link(_: Path, __: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    part, path = tmp_path / "part", tmp_path / "path"
    part.write_text("new")
    give_name(part, path, link)
    assert (path.read_text(), names(tmp_path)) == ("new", ["path"])
    part.write_text("newer")
    with pytest.raises(FileExistsError):
        give_name(part, path, link)
    part.unlink()
    with pytest.raises(FileNotFoundError):
        give_name(part, tmp_path / "other", link)
    assert (path.read_text(), names(tmp_path)) == ("new", ["path"])


def test_a_failure_to_link_for_another_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        give_name(tmp_path / "gone", tmp_path / "a")


def test_files_have_the_rights_that_new_files_have(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("rights are something else there")
    path = write_new(tmp_path, "a.bin", b"x")
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


async def test_who_is_cancelled_stays_until_the_thread_is_done() -> None:
    begun, go, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait()
        done.set()
        raise OSError("nobody is told")

    task = asyncio.create_task(in_thread(work))
    while not begun.is_set():
        await turns(1)
    for _ in range(3):
        task.cancel()
        await turns()
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()
