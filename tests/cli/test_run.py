from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fal_async.emulator import Emulator, MadeFile
from tests.cli.conftest import Shell, on_a_terminal

MODEL = "fal-ai/fast-sdxl"
JPEG = b"\xff\xd8\xff"


def test_the_answer_is_json_on_one_line_when_piped(shell: Shell, emulator: Emulator) -> None:
    result = shell.run("run", MODEL, "prompt=a cat", "num_images=2", "seed=7")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    output = json.loads(result.stdout)
    assert (len(output["images"]), output["seed"], output["prompt"]) == (2, 7, "a cat")
    assert emulator.ledger.billed(MODEL) == 1


def test_options_reach_the_wire(shell: Shell, emulator: Emulator) -> None:
    options = "--expire 2h --start-timeout 30 --hint h1 --tag team=art --no-store-io"
    result = shell.run("run", "emulator/request", *options.split(), "--disable-fallback", "a=1")
    seen = json.loads(result.stdout)
    assert seen["input"] == {"a": 1}
    wanted = {
        "x-fal-object-lifecycle-preference": '{"expiration_duration_seconds":7200}',
        "x-fal-request-timeout": "30",
        "x-fal-runner-hint": "h1",
        "x-fal-tags": "team=art",
        "x-fal-store-io": "0",
        "x-app-fal-disable-fallback": "true",
    }
    assert {name: seen["headers"].get(name) for name in wanted} == wanted


def test_the_input_may_come_from_a_document(shell: Shell, emulator: Emulator) -> None:
    result = shell.run("run", "emulator/echo", "--input", "-", "b=2", stdin='{"a": 1, "b": 1}')
    assert json.loads(result.stdout) == {"a": 1, "b": 2}


def test_a_file_of_the_input_goes_up_and_its_url_is_sent(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(b"a photo")
    result = shell.run("run", "emulator/echo", "image_url=@photo.png", "note=@photo.png")
    assert (result.exit_code, result.stderr) == (0, "")
    sent = json.loads(result.stdout)
    assert emulator.storage[sent["image_url"]].data == b"a photo"
    assert sent["note"] == sent["image_url"]
    assert len(emulator.storage) == 1


def test_small_files_of_the_input_may_go_along_by_value(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "small.txt").write_bytes(b"hi")
    (tmp_path / "large.txt").write_bytes(b"hello")
    words = "a=@small.txt", "b=@large.txt", "--inline-below", "3"
    sent = json.loads(shell.run("run", "emulator/echo", *words).stdout)
    assert sent["a"] == "data:text/plain;base64,aGk="
    assert emulator.storage[sent["b"]].data == b"hello"


def test_a_file_that_is_not_stored_costs_nothing(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(b"a photo")
    emulator.faults.add("answer", status=400, operation="upload")
    result = shell.run("run", "emulator/echo", "image_url=@photo.png")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "Not billed. Uploading it again costs nothing." in result.stderr
    assert emulator.requests["run"] == 0


@pytest.mark.parametrize("command", ["run", "submit"])
def test_without_the_file_nothing_is_sent(
    shell: Shell, emulator: Emulator, tmp_path: Path, command: str
) -> None:
    (tmp_path / "there.png").touch()
    result = shell.run(command, "emulator/echo", "a=@there.png", "image_url=@gone.png")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "image_url=@gone.png is to upload a file, but: No such file" in result.stderr
    assert not emulator.requests


def test_files_are_saved_beside_what_is_there(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    call = "run", MODEL, "prompt=a cat", "seed=1", "sync_mode=true", "--save", "out/new"
    assert shell.run(*call).exit_code == 0
    result = shell.run(*call, "--detailed")
    document = json.loads(result.stdout)
    assert sorted(path.name for path in (tmp_path / "out/new").iterdir()) == [
        "images-0 (2).jpg",
        "images-0.jpg",
    ]
    assert document["billable_units"] == "1"
    assert document["attempts"] == 1
    assert document["request_id"] == document["headers"]["x-fal-request-id"]
    (saved,) = document["saved"]
    content = Path(saved["path"]).read_bytes()
    assert (saved["place"], saved["bytes"]) == ("images[0]", len(content))
    assert content.startswith(JPEG)
    assert f"saved {saved['path']}" in result.stderr


def test_a_file_that_cannot_be_had_leaves_the_answer_and_says_so(
    shell: Shell, emulator: Emulator
) -> None:
    url = f"{emulator.url}/v3.fal.media/files/lion/gone.png"
    result = shell.run("run", "emulator/echo", f"image_url={url}", "--save", "out")
    assert result.exit_code == 8
    assert json.loads(result.stdout) == {"image_url": url}
    assert "not saved: image_url: 127.0.0.1 answered 404" in result.stderr


def test_an_answer_without_files_has_nothing_to_save(shell: Shell, emulator: Emulator) -> None:
    result = shell.run("run", "emulator/echo", "a=1", "--save", "out")
    assert result.exit_code == 0
    assert "nothing to save" in result.stderr


RAW = ("run", "emulator/raw", "base64=AAEC", "content_type=audio/wav")


def test_an_answer_that_is_no_json_is_given_as_it_is(shell: Shell, emulator: Emulator) -> None:
    assert shell.run(*RAW).stdout_bytes == b"\x00\x01\x02"


def test_an_answer_that_is_no_json_is_saved_as_what_it_is(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    result = shell.run(*RAW, "--save", "out")
    (path,) = (tmp_path / "out").iterdir()
    assert (path.suffix, path.read_bytes(), result.stdout) == (".wav", b"\x00\x01\x02", "")


def test_an_answer_that_is_no_json_is_whole_in_a_document(shell: Shell, emulator: Emulator) -> None:
    output = json.loads(shell.run(*RAW, "--detailed").stdout)["output"]
    assert output == {"content_type": "audio/wav", "bytes": 3, "base64": "AAEC"}


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("nope", "prompt=x"), 2, "is not a model id"),
        ((MODEL, "prompt"), 2, "is no name=value"),
        ((MODEL, "prompt=x", "--expire", "0"), 2, "fal reads 0 as for ever"),
        ((MODEL, "prompt=x", "--start-timeout", "0.5"), 2, "at least 1 second"),
        ((MODEL, "prompt=x", "--timeout", "0"), 2, "timeout"),
        (("fal-ai/nothing", "prompt=x"), 4, "404"),
        ((MODEL, "prompt=2024"), 4, "a text that looks like JSON"),
        ((MODEL, "num_images=99"), 4, "also body.num_images: less_than_equal"),
        (("emulator/crash", "error_type=runner_server_error"), 5, "Not billed."),
    ],
)
def test_kinds_of_failure_have_a_status_each_and_stderr_says_what_they_cost(
    shell: Shell, emulator: Emulator, words: tuple[str, ...], status: int, says: str
) -> None:
    result = shell.run("run", *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert emulator.ledger.billed() == 0


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ("ingress_502", 6, "It may have been billed."),
        ("close", 6, "It may have been billed."),
        ("half_body", 7, "It was billed."),
        ("bad_json", 7, "It was billed."),
        ("empty_body", 7, "It was billed."),
    ],
)
def test_a_lost_answer_is_not_asked_for_again(
    shell: Shell, emulator: Emulator, fault: str, status: int, says: str
) -> None:
    emulator.faults.add(fault)
    result = shell.run("run", MODEL, "prompt=x")
    assert (result.exit_code, result.stdout) == (status, "")
    assert says in result.stderr
    assert len(emulator.ledger) <= 1
    assert emulator.received == 1


def test_what_came_of_a_damaged_answer_is_kept(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.faults.add("half_body")
    result = shell.run("run", "emulator/echo", f"text={'abc' * 100}")
    (path,) = tmp_path.glob("fal-*.body")
    assert path.read_bytes().startswith(b'{"text":"abcabc')
    assert str(path.name) in result.stderr


def test_a_damaged_answer_goes_to_where_files_are_saved(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.faults.add("bad_json")
    shell.run("run", "emulator/echo", "a=1", "--save", "out")
    assert len(list((tmp_path / "out").glob("fal-*.body"))) == 1


FULL = Path("/dev/full")
needs_a_full_disk = pytest.mark.skipif(not FULL.exists(), reason="there is no full disk to be had")


@needs_a_full_disk
@pytest.mark.parametrize("detailed", [(), ("--detailed",)], ids=["short", "detailed"])
def test_an_answer_that_cannot_be_printed_is_kept_and_its_files_are_saved(
    shell: Shell, emulator: Emulator, tmp_path: Path, detailed: tuple[str, ...]
) -> None:
    words = "run", MODEL, "prompt=a cat", "--save", "out", *detailed
    with FULL.open("w") as full, shell.start(*words, stdout=full) as process:
        said = process.communicate()[1]
    assert process.returncode == 7
    assert "cannot be printed: No space left on device" in said
    assert "Traceback" not in said
    assert "Exception" not in said
    [answer] = (tmp_path / "out").glob("*.json")
    assert f"the answer is in {answer.relative_to(tmp_path)}" in said
    assert json.loads(answer.read_text())["prompt"] == "a cat"
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert emulator.ledger.billed() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are something else there")
def test_an_answer_whose_reader_is_not_there_is_kept(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with shell.start("run", "emulator/echo", "prompt=a cat", stdout=theirs) as process:
        os.close(theirs)
        said = process.communicate()[1]
    assert process.returncode == 7
    assert "cannot be printed: Broken pipe" in said
    [answer] = tmp_path.glob("*.json")
    assert json.loads(answer.read_text()) == {"prompt": "a cat"}


@needs_a_full_disk
def test_bytes_that_cannot_be_printed_are_kept(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    with FULL.open("w") as full, shell.start(*RAW, stdout=full) as process:
        process.communicate()
    assert process.returncode == 7
    [path] = tmp_path.iterdir()
    assert (path.suffix, path.read_bytes()) == (".wav", b"\x00\x01\x02")


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_paid_for(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = shell.run("run", MODEL, "prompt=x", "--save", "file/out")
    assert result.exit_code == 2
    assert emulator.received == 0


@pytest.mark.parametrize(
    ("setting", "value", "status"),
    [("FAL_KEY", "", 3), ("FAL_KEY", "a\nb", 2), ("FAL_RUN_HOST", "https://x", 2)],
)
def test_without_a_usable_setting_nothing_is_sent(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, status: int
) -> None:
    monkeypatch.setenv(setting, value)
    result = shell.run("run", MODEL, "prompt=x")
    assert result.exit_code == status
    assert result.stderr.startswith("error:")


def test_a_host_that_is_not_there_costs_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_EMULATOR_URL", "http://127.0.0.1:1")
    result = shell.run("run", MODEL, "prompt=x", "--timeout", "0.1")
    assert result.exit_code == 5
    assert "Not billed." in result.stderr


def test_a_servers_words_cannot_command_the_terminal(shell: Shell, emulator: Emulator) -> None:
    hostile = json.dumps({"detail": "\x1b]0;owned\x07gone"})
    result = shell.run("run", "emulator/raw", "status=404", f"text={json.dumps(hostile)}")
    assert "gone" in result.stderr
    assert not {"\x1b", "\x07"} & set(result.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_call_says_what_it_may_have_cost(
    shell: Shell, emulator: Emulator, sent: signal.Signals, status: int
) -> None:
    running = threading.Event()

    async def think(_: Any) -> None:
        running.set()
        await asyncio.Event().wait()

    emulator.model("test/thinker")(think)
    with shell.start("run", "test/thinker", "prompt=x") as process:
        assert running.wait(20)
        process.send_signal(sent)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (status, "")
    assert stderr == (
        "interrupted: the call had been sent: it may have been billed, and its answer is lost.\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")
def test_ctrl_c_within_the_saving_leaves_the_answer_and_what_is_saved(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    interrupted = threading.Event()

    def interrupt() -> bytes:
        os.kill(os.getpid(), signal.SIGINT)
        interrupted.wait(20)
        return b"late"

    def make(_: Any) -> dict[str, Any]:
        files = MadeFile(b"first", "image/png", "png"), MadeFile(interrupt, "image/png", "png")
        return {"images": list(files)}

    emulator.model("test/maker")(make)
    try:
        result = shell.run("run", "test/maker", "--save", "out", "--detailed")
    finally:
        interrupted.set()
    document = json.loads(result.stdout)
    assert result.exit_code == 130
    assert "answered and billed; 1 of its files are saved" in result.stderr
    assert [saved["bytes"] for saved in document["saved"]] == [5]
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [b"first"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")
def test_ctrl_c_is_told_from_a_failure(shell: Shell, emulator: Emulator) -> None:
    async def interrupt(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    emulator.model("test/interrupter")(interrupt)
    result = shell.run("run", "test/interrupter")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "it may have been billed" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_gets_something_readable(shell: Shell, emulator: Emulator) -> None:
    shown = on_a_terminal(shell, "run", MODEL, "prompt=a cat", "sync_mode=true")
    assert "characters)" in shown  # a data: URI, shortened
    assert "1 billable unit ·" in shown
    assert len(shown) < 2000


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_that_does_not_know_a_letter_gets_the_answer_all_the_same(
    shell: Shell, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shown = on_a_terminal(shell, "run", "emulator/echo", "prompt=a \N{CAT}")
    assert "\\U0001f408" in shown
    assert "1 billable unit" in shown


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_gets_json_when_asked_for(shell: Shell, emulator: Emulator) -> None:
    shown = on_a_terminal(shell, "run", "emulator/echo", "a=[1]", "--json")
    assert shown.split() == ["{", '"a":', "[", "1", "]", "}"]
