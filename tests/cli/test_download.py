"""``fal-async download``: where files go, what is printed of them, and what is left of a failure."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from fal_async.cli.fetching import Fetcher
from fal_async.emulator import Emulator
from tests.cli.conftest import Shell, on_a_terminal
from tests.support.downloads import CONTENT, cut, files, rest, served
from tests.support.fakes import VirtualClock
from tests.support.scripted_server import Act, Script


@pytest.fixture
def cat(shell: Shell, emulator: Emulator, tmp_path: Path) -> str:
    """The URL of a picture."""
    return stored(shell, emulator, tmp_path, "cat.png", b"a cat")


def stored(shell: Shell, emulator: Emulator, folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    assert shell.run("upload", name).exit_code == 0
    (folder / name).unlink()
    return f"{emulator.url}/v3.fal.media{emulator.storage.files()[-1].path}"


def test_files_are_put_where_one_stands_and_never_over_one_that_is_there(
    shell: Shell, cat: str, tmp_path: Path
) -> None:
    result = shell.run("download", cat, cat, "data:text/plain,hello")
    assert (result.exit_code, result.stderr) == (0, "")
    *cats, text = result.stdout.splitlines()
    assert text == "file.txt"
    assert (tmp_path / text).read_bytes() == b"hello"
    assert [(tmp_path / path).read_bytes() for path in cats] == [b"a cat"] * 2
    assert sorted(Path(path).suffixes[-1] for path in cats) == [".png", ".png"]
    assert len(set(cats)) == 2


@pytest.mark.parametrize("out", ["new/folder/", "there"])
def test_one_file_goes_into_a_folder(shell: Shell, cat: str, tmp_path: Path, out: str) -> None:
    (tmp_path / "there").mkdir()
    result = shell.run("download", cat, "--out", out)
    path = Path(result.stdout.strip())
    assert path.parent == Path(out)
    assert path.read_bytes() == b"a cat"


def test_one_file_goes_to_a_path_or_beside_it(shell: Shell, cat: str, tmp_path: Path) -> None:
    assert shell.run("download", cat, "--out", "new/my cat.png").stdout == "new/my cat.png\n"
    again = shell.run("download", cat, "--out", "new/my cat.png")
    assert again.stdout == "new/my cat (2).png\n"
    assert files(tmp_path / "new") == ["my cat (2).png", "my cat.png"]


def test_several_files_go_into_a_folder_which_is_made(
    shell: Shell, emulator: Emulator, cat: str, tmp_path: Path
) -> None:
    dog = stored(shell, emulator, tmp_path, "dog.png", b"a dog")
    result = shell.run("download", dog, cat, "--out", "out")
    assert [Path(path).read_bytes() for path in result.stdout.splitlines()] == [b"a dog", b"a cat"]
    assert len(files(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Missing argument 'URL...'"),
        (("cat.png",), "URL 1: only http, https and data URLs"),
        (("https://example.com/a", "ftp://example.com/b"), "URL 2: only http"),
        (("https://a/1", "https://a/2", "--out", "taken"), "--out taken: File exists"),
        (("https://a/1", "--out", "taken/cat.png"), "--out taken: "),
    ],
)
def test_what_cannot_be_fetched_is_told_before_anything_is(
    shell: Shell, emulator: Emulator, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    (tmp_path / "taken").touch()
    result = shell.run("download", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert not emulator.requests


def test_without_an_emulator_nothing_of_this_machine_is_asked(shell: Shell) -> None:
    result = shell.run("download", "http://127.0.0.1:9/secret")
    assert result.exit_code == 2
    assert "points at this machine" in result.stderr


def test_one_failure_stops_no_other_file(shell: Shell, cat: str) -> None:
    gone = f"{cat.rpartition('/')[0]}/gone.png?token=secret"
    result = shell.run("download", gone, cat, "--out", "out")
    assert result.exit_code == 5
    assert [Path(path).read_bytes() for path in result.stdout.splitlines()] == [b"a cat"]
    assert "error: gone.png: 127.0.0.1 answered 404: the file is hidden" in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")
def test_ctrl_c_leaves_what_is_whole_and_nothing_else(
    shell: Shell, emulator: Emulator, cat: str, tmp_path: Path
) -> None:
    film = stored(shell, emulator, tmp_path, "film.mp4", bytes(1_000_000))
    emulator.faults.add("stall_in_body", operation="download", model="files/*film.mp4")
    with shell.start("download", cat, film, "--out", "out") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "interrupted: 1 of 2 files saved\n"
    assert files(tmp_path / "out") == [Path(first.strip()).name]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_person_gets_the_paths_below_what_shows_how_it_gets_on(shell: Shell, cat: str) -> None:
    shown = on_a_terminal(shell, "download", cat, "--out", "my cat.png", stderr=True)
    assert "1 of 1 file saved" in shown
    assert shown.endswith("my cat.png\r\n")


# --- how far it has come --------------------------------------------------------------------------------


async def told_of(*acts: Act, folder: Path) -> list[tuple[int, int | None]]:
    told: list[tuple[int, int | None]] = []
    async with (
        Script(*acts) as server,
        Fetcher(local=True, clock=VirtualClock()) as fetcher,
    ):
        downloader = fetcher.downloader(lambda here, total: told.append((here, total)))
        saved = await downloader.save(f"{server.url}/a.png", folder / "a.png")
    assert saved.path.read_bytes() == CONTENT
    return told


async def test_no_key_goes_to_whoever_has_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_KEY", "an-id:a-secret")
    async with Script(served()) as server, Fetcher(local=True) as fetcher:
        await fetcher.downloader().save(f"{server.url}/a.png", tmp_path / "a.png")
        (sent,) = server.requests
    assert "authorization" not in sent.headers


async def test_every_piece_is_told_and_in_the_end_all_of_it(tmp_path: Path) -> None:
    told = await told_of(served(), folder=tmp_path)
    assert told == sorted(told)
    assert told[-1] == (len(CONTENT), len(CONTENT))


async def test_a_file_that_is_resumed_goes_on_where_it_was(tmp_path: Path) -> None:
    told = await told_of(cut(1000), rest(1000), folder=tmp_path)
    assert told == sorted(told)
    assert told[-1] == (len(CONTENT), len(CONTENT))


async def test_a_file_that_begins_anew_is_told_from_its_beginning(tmp_path: Path) -> None:
    told = await told_of(cut(1000, ETag="W/weak"), served(), folder=tmp_path)
    assert (1000, len(CONTENT)) in told
    assert told[-1] == (len(CONTENT), len(CONTENT))
