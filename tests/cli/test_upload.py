"""``fal-async upload``: files and pipes go up, several at once, and what is printed of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fal_async.emulator import Emulator
from tests.cli.conftest import Shell, on_a_terminal

PNG = b"\x89PNG\r\n\x1a\n and so on"
needs_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="signals are something else there"
)
needs_a_terminal = pytest.mark.skipif(
    sys.platform == "win32", reason="there are no pseudo-terminals"
)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "a b.txt").write_text("a text")
    (tmp_path / "empty").touch()
    return tmp_path


def test_each_file_is_a_line_of_json_when_piped_in_the_order_given(
    shell: Shell, emulator: Emulator
) -> None:
    result = shell.run("upload", "cat.png", "a b.txt", "empty")
    assert (result.exit_code, result.stderr) == (0, "")
    told = lines(result.stdout)
    urls = [line.pop("url") for line in told]
    assert told == [
        {"file": "cat.png", "content_type": "image/png", "file_name": "cat.png", "file_size": 18},
        {"file": "a b.txt", "content_type": "text/plain", "file_name": "a b.txt", "file_size": 6},
        {
            "file": "empty",
            "content_type": "application/octet-stream",
            "file_name": "empty",
            "file_size": 0,
        },
    ]
    assert [emulator.storage[url].data for url in urls] == [PNG, b"a text", b""]


def test_many_files_go_up_and_none_changes_its_place(
    shell: Shell, emulator: Emulator, folder: Path
) -> None:
    names = [f"{number}.bin" for number in range(50)]
    for name in names:
        (folder / name).write_text(name)
    told = lines(shell.run("upload", *names).stdout)
    assert [emulator.storage[line["url"]].data.decode() for line in told] == names


def test_lifetime_and_type_are_those_that_are_given(shell: Shell, emulator: Emulator) -> None:
    result = shell.run("upload", "cat.png", "--expire", "2h", "--content-type", "image/x-cat")
    (told,) = lines(result.stdout)
    stored = emulator.storage[told["url"]]
    assert (told["content_type"], stored.content_type) == ("image/x-cat", "image/x-cat")
    assert stored.expires == pytest.approx(stored.created + 7200)


@needs_a_terminal
def test_a_person_gets_the_urls_below_what_shows_how_it_gets_on(
    shell: Shell, emulator: Emulator
) -> None:
    shown = on_a_terminal(shell, "upload", "cat.png", "a b.txt", stderr=True)
    urls = shown.split("\r\n")[-3:-1]
    assert urls[0].endswith("cat.png")
    assert [emulator.storage[url.rpartition("\x1b[2K")[2]].data for url in urls] == [PNG, b"a text"]
    assert "2 of 2 files uploaded" in shown


@needs_a_terminal
def test_a_person_gets_lines_of_json_when_asked_for(shell: Shell, emulator: Emulator) -> None:
    (told,) = lines(on_a_terminal(shell, "upload", "cat.png", "--json"))
    assert emulator.storage[told["url"]].data == PNG


# --- stdin and pipes ------------------------------------------------------------------------------------


def test_stdin_is_uploaded_as_what_it_begins_like(shell: Shell, emulator: Emulator) -> None:
    (told,) = lines(shell.run("upload", "-", stdin=PNG).stdout)
    assert (told["file"], told["content_type"], told["file_size"]) == ("-", "image/png", 18)
    assert emulator.storage[told["url"]].data == PNG


@pytest.mark.parametrize("how", ["a pipe", "a file"])
def test_stdin_may_be_a_pipe_or_a_file(
    shell: Shell, emulator: Emulator, folder: Path, how: str
) -> None:
    content = bytes(range(256)) * 4000
    (folder / "big").write_bytes(content)
    command = [sys.executable, "-W", "error", "-m", "fal_async", "upload", "-"]
    with (folder / "big").open("rb") as file:
        given: dict[str, Any] = {"stdin": file} if how == "a file" else {"input": content}
        done = subprocess.run(command, capture_output=True, check=False, timeout=60, **given)
    assert (done.returncode, done.stderr) == (0, b"")
    assert emulator.storage[json.loads(done.stdout)["url"]].data == content


@needs_signals
def test_a_named_pipe_is_read_to_its_end(shell: Shell, emulator: Emulator, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with shell.start("upload", "pipe") as process:
        (folder / "pipe").write_bytes(PNG)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (0, "")
    assert emulator.storage[json.loads(stdout)["url"]].data == PNG


@needs_signals
def test_a_stdin_that_is_closed_is_told(shell: Shell, emulator: Emulator) -> None:
    command = f'"{sys.executable}" -m fal_async upload - <&-'
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("error: stdin: it is closed. Not billed.")


@needs_signals
def test_a_stdin_that_cannot_be_read_is_told(shell: Shell, emulator: Emulator) -> None:
    with (
        Path(os.devnull).open("wb") as deaf,
        shell.start("upload", "-", stdin=deaf) as process,
    ):
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (5, "")
    assert stderr.startswith("error: stdin: it could not be read: Bad file descriptor. Not billed.")


# --- what goes wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Missing argument 'FILE...'"),
        (("cat.png", "gone.png"), "'gone.png' does not exist"),
        (("cat.png", "."), "'.' is a directory"),
        (("-", "-"), "- is given twice"),
        (("cat.png", "--expire", "soon"), "neither seconds, nor a duration"),
        (("cat.png", "--expire", "0"), "fal reads 0 as for ever"),
        (("cat.png", "a b.txt", "--content-type", "a\ncat"), "content_type is a media type"),
    ],
)
def test_what_cannot_be_sent_is_told_once_before_anything_is(
    shell: Shell, emulator: Emulator, words: tuple[str, ...], says: str
) -> None:
    result = shell.run("upload", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count(says) == 1
    assert not emulator.requests


def test_one_failure_stops_no_other_file(shell: Shell, emulator: Emulator) -> None:
    emulator.faults.add("answer", status=400, operation="upload", model="cat.png")
    result = shell.run("upload", "cat.png", "a b.txt")
    assert result.exit_code == 5
    assert [line["file"] for line in lines(result.stdout)] == ["a b.txt"]
    assert result.stderr.startswith("error: cat.png: ")
    assert "Not billed. Uploading it again costs nothing." in result.stderr


def test_a_key_that_is_missing_is_told_once(shell: Shell) -> None:
    result = shell.run("upload", "cat.png", "a b.txt", "empty")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.count("error:") == 1


def test_a_key_that_fal_does_not_know_is_told_once(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shell.start("emulator", "--port", "0", "--key", "right:key", "--quiet") as process:
        try:
            assert process.stdout is not None
            monkeypatch.setenv("FAL_EMULATOR_URL", process.stdout.readline().strip())
            monkeypatch.setenv("FAL_KEY", "wrong:key")
            result = shell.run("upload", "cat.png", "a b.txt", "empty")
        finally:
            process.terminate()
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.count("error:") == 1
    assert "wrong:key" not in result.stderr


@needs_signals
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_at_once_and_tells_what_is_up(
    shell: Shell, emulator: Emulator, sent: signal.Signals
) -> None:
    emulator.faults.add("stall_midway", operation="upload", model="a b.txt")
    with shell.start("upload", "cat.png", "a b.txt", "-", stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(sent)
        rest, stderr = process.stdout.read(), process.stderr.read()  # type: ignore[union-attr]
        assert process.wait(20) == 128 + sent
    assert (json.loads(first)["file"], rest) == ("cat.png", "")
    assert stderr == "interrupted: 1 of 3 files uploaded\n"
    assert len(emulator.storage) == 1
