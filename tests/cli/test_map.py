"""``map``: a file of rows in, a folder of results out."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fal_async.emulator import Emulator
from tests.cli.conftest import Shell, on_a_terminal

MODEL = "fal-ai/fast-sdxl"
ECHO = "emulator/echo"


def lines(text: str | Path) -> list[dict[str, Any]]:
    content = text.read_text(encoding="utf-8") if isinstance(text, Path) else text
    return [json.loads(line) for line in content.splitlines()]


def rows(path: Path, count: int, **more: Any) -> Path:
    path.write_text("".join(json.dumps({"n": n, **more}) + "\n" for n in range(count)))
    return path


@pytest.fixture
def ten(tmp_path: Path) -> str:
    return str(rows(tmp_path / "ten.jsonl", 10))


# --- what goes in and what comes out --------------------------------------------------------------------


def test_every_prompt_is_called_and_its_images_are_saved(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n\na dog\n")
    result = shell.run("map", MODEL, "prompts.txt", "--param", "num_images=2", "--out", "out")
    out = tmp_path / "out"
    assert result.exit_code == 0
    assert emulator.ledger.billed() == 2
    answers = sorted(lines(out / "results.jsonl"), key=lambda line: line["index"])
    assert lines(result.stdout) == lines(out / "results.jsonl")
    assert [(line["line"], line["input"]) for line in answers] == [
        (1, {"num_images": 2, "prompt": "a cat"}),
        (3, {"num_images": 2, "prompt": "a dog"}),
    ]
    assert all(
        (line["ok"], line["billing"], line["attempts"]) == (True, "billed", 1) for line in answers
    )
    names = [file["path"] for line in answers for file in line["files"]]
    assert [name.rpartition(".")[0] for name in names] == [
        *("files/00000-0", "files/00000-1", "files/00001-0", "files/00001-1")
    ]
    for line in answers:
        for file in line["files"]:
            assert (out / file["path"]).stat().st_size == file["bytes"] > 0
    assert (out / "errors.jsonl").read_bytes() == b""
    assert "files/00000-0" in (out / "gallery.html").read_text(encoding="utf-8")
    assert (out / "journal.sqlite").exists()
    assert "done      2 of 2\nbilled    4 units for 2 calls\n" in result.stderr
    assert "4 files in out/files" in result.stderr


def test_rows_are_combined_with_the_grid(shell: Shell, emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("prompt,hd\na cat,true\na dog,\n")
    words = ("--grid", "seed=1..2", "--grid", "guidance=2,4", "--param", "hd=false", "--ordered")
    result = shell.run("map", ECHO, "p.csv", *words, "--out", "out")
    assert result.exit_code == 0
    outputs = [line["output"] for line in lines(result.stdout)]
    assert [(o["prompt"], o["hd"], o["seed"], o["guidance"]) for o in outputs] == [
        (prompt, hd, seed, guidance)
        for prompt, hd in (("a cat", True), ("a dog", False))
        for seed in (1, 2)
        for guidance in (2, 4)
    ]


def test_a_file_that_all_inputs_have_goes_up_once(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(b"a photo")
    (tmp_path / "few.txt").write_text("a cat\na dog\n")
    words = "map", ECHO, "few.txt", "--param", "image_url=@photo.png", "--out", "out"
    told = lines(shell.run(*words).stdout)
    assert [line["input"]["image_url"] for line in told] == ["@photo.png"] * 2
    (url,) = {line["output"]["image_url"] for line in told}
    assert [stored.data for stored in emulator.storage] == [b"a photo"]
    assert emulator.storage[url].data == b"a photo"
    again = lines(shell.run(*words, "--resume").stdout)
    assert [line["replayed"] for line in again] == [True, True]


def test_the_grid_may_vary_files_and_small_ones_go_along_by_value(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"a")
    (tmp_path / "b.txt").write_bytes(b"b")
    (tmp_path / "few.txt").write_text("a cat\n")
    grid = "--grid", "image_url=@a.txt,@b.txt", "--inline-below", "100"
    told = lines(shell.run("map", ECHO, "few.txt", *grid, "--out", "out").stdout)
    assert {line["input"]["image_url"]: line["output"]["image_url"] for line in told} == {
        "@a.txt": "data:text/plain;base64,YQ==",
        "@b.txt": "data:text/plain;base64,Yg==",
    }


def test_rows_may_come_from_stdin(shell: Shell, emulator: Emulator, tmp_path: Path) -> None:
    result = shell.run("map", ECHO, "-", "--out", "out", stdin='{"a": 1}\n{"a": 2}\n')
    assert result.exit_code == 0
    assert sorted(line["output"]["a"] for line in lines(result.stdout)) == [1, 2]
    table = shell.run("map", ECHO, "-", "--format", "csv", "--out", "o2", stdin=b"a\n1\n\xff\n")
    assert table.exit_code == 2
    assert [line["output"] for line in lines(table.stdout)] == [{"a": 1}]
    assert "bad row: stdin, line 3: not UTF-8" in table.stderr


def test_a_pipe_that_trickles_holds_up_no_call(shell: Shell, emulator: Emulator) -> None:
    called = threading.Event()

    def take(content: Any) -> Any:
        called.set()
        return content

    emulator.model("test/taker", thread=True)(take)
    with shell.start("map", "test/taker", "-", "--out", "out", stdin=-1) as process:
        assert process.stdin is not None
        process.stdin.write('{"a": 1}\n')
        process.stdin.flush()
        assert called.wait(20)  # while the rest has not come
        process.stdin.write('{"a": 2}')
        answers, said = process.communicate(timeout=20)
    assert (process.returncode, len(lines(answers))) == (0, 2), said


def test_bad_rows_are_named_and_do_not_stop_the_good_ones(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_bytes(b"prompt,seed\na,1\nb\n\xff,2\nc,3\n")
    result = shell.run("map", ECHO, "p.csv", "--out", "out")
    assert result.exit_code == 2
    assert [line["line"] for line in lines(result.stdout)] == [2, 5]
    assert lines(tmp_path / "out/errors.jsonl") == [
        {
            "line": 3,
            "ok": False,
            "error": {"type": "BadRow", "message": "column seed is missing: 1 of 2 cells"},
        },
        {
            "line": 4,
            "ok": False,
            "error": {"type": "BadRow", "message": "not UTF-8 (byte 1 of the row)"},
        },
    ]
    assert "bad row: p.csv, line 3: column seed is missing: 1 of 2 cells\n" in result.stderr
    assert "bad rows  2, of which nothing was sent" in result.stderr
    assert len(emulator.ledger) == 2


def test_of_many_bad_rows_the_first_are_named(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "p.jsonl").write_text("{}\n" + "[1]\n" * 15)
    result = shell.run("map", ECHO, "p.jsonl", "--out", "out")
    assert result.stderr.count("bad row: ") == 10
    assert "and 5 bad rows more\n" in result.stderr
    assert len(lines(tmp_path / "out/errors.jsonl")) == 15


def test_one_failure_stops_no_other_call(
    shell: Shell, emulator: Emulator, ten: str, tmp_path: Path
) -> None:
    emulator.faults.add("ingress_502", nth=3)
    result = shell.run("map", ECHO, ten, "--out", "out")
    assert result.exit_code == 6
    assert len(lines(tmp_path / "out/results.jsonl")) == 9
    (failure,) = lines(tmp_path / "out/errors.jsonl")
    assert (failure["ok"], failure["billing"]) == (False, "unknown")
    assert (failure["error"]["type"], failure["error"]["status"]) == ("GatewayError", 502)
    assert "failed    1: 1 GatewayError" in result.stderr
    assert "1 failed call may have been billed too" in result.stderr


def test_refused_inputs_are_told_with_their_place(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text("a cat\n")
    result = shell.run("map", MODEL, "p.txt", "--param", "num_images=99", "--out", "out")
    assert result.exit_code == 4
    (failure,) = lines(tmp_path / "out/errors.jsonl")
    assert failure["error"]["details"][0]["path"] == "body.num_images"


def test_files_are_called_as_told_or_left_at_fal(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text("a cat\n")
    words = ("map", MODEL, "p.txt", "--param", "seed=7")
    assert shell.run(*words, "--name", "{prompt}/{seed}.{ext}", "--out", "o{1}").exit_code == 0
    assert [p.name for p in (tmp_path / "o{1}/files/a-cat").iterdir()] == ["7.jpg"]
    left = shell.run(*words, "--no-save", "--out", "o2")
    assert (left.exit_code, (tmp_path / "o2/files").exists()) == (0, False)
    assert lines(left.stdout)[0]["files"] == []


def test_a_file_that_cannot_be_saved_is_told(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.model("test/gone")(
        lambda _: {"images": [{"url": f"{emulator.url}/v3.fal.media/files/a/x.png"}]}
    )
    result = shell.run("map", "test/gone", "-", "--out", "out", stdin="a cat\n")
    assert result.exit_code == 8
    (answer,) = lines(tmp_path / "out/results.jsonl")
    assert (answer["ok"], answer["files"][0]["path"]) == (True, None)
    assert "1 file could not be saved" in result.stderr


def test_calls_may_go_through_the_queue(shell: Shell, emulator: Emulator, ten: str) -> None:
    result = shell.run("map", ECHO, ten, "--durable", "--limit", "3", "--out", "out")
    assert (result.exit_code, len(lines(result.stdout))) == (0, 10)
    assert (emulator.requests["run"], emulator.requests["submit"]) == (0, 10)


@pytest.mark.parametrize("limit", ["auto", "2", "none"])
def test_a_limit_is_found_or_given(shell: Shell, emulator: Emulator, ten: str, limit: str) -> None:
    emulator.limit = None if limit == "2" else 2
    busy: list[int] = [0, 0]

    def work(content: Any) -> Any:
        busy[0] += 1
        busy[1] = max(busy)
        busy[0] -= 1
        return content

    emulator.model("test/work")(work)
    result = shell.run("map", "test/work", ten, "--limit", limit, "--out", "out")
    assert (result.exit_code, len(lines(result.stdout))) == (0, 10), result.stderr
    assert busy[1] <= 2


def test_options_of_the_call_are_those_of_run(shell: Shell, emulator: Emulator) -> None:
    words = ("--expire", "2h", "--hint", "h1", "--tag", "team=art", "--start-timeout", "30")
    result = shell.run("map", "emulator/request", "-", *words, "--out", "out", stdin="a cat\n")
    (answer,) = lines(result.stdout)
    seen = answer["output"]["headers"]
    assert seen["x-fal-object-lifecycle-preference"] == '{"expiration_duration_seconds":7200}'
    assert (seen["x-fal-runner-hint"], seen["x-fal-tags"]) == ("h1", "team=art")
    assert seen["x-fal-request-timeout"] == "30"


# --- what keeps it from beginning -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nope",), "nope"),
        ((ECHO, "--param", "x"), "no name=value"),
        ((ECHO, "--grid", "seed=4..1"), "counts upwards"),
        ((ECHO, "--param", "n=1", "--grid", "n=1,2"), "--param and by --grid"),
        ((ECHO, "--limit", "0"), "--limit '0'"),
        ((ECHO, "--limit", "many"), "--limit 'many'"),
        ((ECHO, "--name", "{"), "save: "),
        ((ECHO, "--name", "{index:zz}"), "save: "),
        ((ECHO, "--expire", "soon"), "--expire"),
        ((ECHO, "--start-timeout", "0.1"), "start_timeout"),
        ((ECHO, "--resume"), "nothing to resume"),
        ((ECHO, "--max-calls", "0"), "--max-calls"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_words_that_make_no_batch_leave_no_folder(
    shell: Shell,
    emulator: Emulator,
    ten: str,
    tmp_path: Path,
    words: tuple[str, ...],
    says: str,
    more: tuple[str, ...],
) -> None:
    model, *others = words
    result = shell.run("map", model, ten, *others, "--out", "out", *more)
    assert result.exit_code == 2
    assert says in result.stderr
    assert not (tmp_path / "out").exists()
    assert emulator.received == 0


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.txt", b"\n# nothing\n", "there is no row in it"),
        ("p.csv", b"a cat, a dog\n", "no name of a field"),
    ],
)
def test_a_file_without_inputs_is_refused(
    shell: Shell, emulator: Emulator, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    result = shell.run("map", ECHO, name, "--out", "out")
    assert (result.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert says in result.stderr


def test_a_pipe_without_columns_is_refused_too(shell: Shell, emulator: Emulator) -> None:
    result = shell.run("map", ECHO, "-", "--format", "csv", "--out", "out", stdin="a cat, b\n")
    assert result.exit_code == 2
    assert "stdin: the first row of a table names its columns" in result.stderr


def test_without_a_key_there_is_no_folder(
    shell: Shell, ten: str, tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAL_EMULATOR_URL")
    result = shell.run("map", ECHO, ten, "--out", "out")
    assert (result.exit_code, (tmp_path / "out").exists()) == (3, False)
    assert "no API key" in result.stderr


def test_a_folder_of_another_batch_is_left_alone(
    shell: Shell, emulator: Emulator, ten: str, tmp_path: Path
) -> None:
    words = ("map", ECHO, ten, "--out", "out")
    assert shell.run(*words).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    again = shell.run(*words)
    assert again.exit_code == 2
    assert "already holds journal.sqlite: say --resume" in again.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    (tmp_path / "out/journal.sqlite").unlink()
    assert "already holds results.jsonl" in shell.run(*words).stderr


def test_a_folder_that_cannot_be_had_is_refused(
    shell: Shell, emulator: Emulator, ten: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = shell.run("map", ECHO, ten, "--out", "file/out")
    assert result.exit_code == 2
    assert "--out file/out: Not a directory" in result.stderr


# --- without sending anything ---------------------------------------------------------------------------


def test_a_dry_run_shows_what_would_be_sent_and_needs_no_key(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"a": 1}\n[1]\n"a cat"\n')
    words = ("map", ECHO, "p.jsonl", "--grid", "seed=1..3", "--out", "out", "--dry-run")
    result = shell.run(*words)
    assert result.exit_code == 2  # for the bad row
    assert json.loads(result.stdout) == {
        "model": ECHO,
        "calls": 6,
        "inputs": 6,
        "bad_rows": 1,
        "first": [{"line": 1, "input": {"a": 1, "seed": seed}} for seed in (1, 2, 3)],
    }
    assert "line 2: neither a JSON object nor a text" in result.stderr
    assert not (tmp_path / "out").exists()
    assert json.loads(shell.run(*words, "--max-calls", "4").stdout)["calls"] == 4


def test_a_dry_run_shows_the_path_of_a_file_and_uploads_nothing(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(b"a photo")
    (tmp_path / "few.txt").write_text("a cat\n")
    words = "map", ECHO, "few.txt", "--param", "image_url=@photo.png", "--out", "out", "--dry-run"
    (first,) = json.loads(shell.run(*words).stdout)["first"]
    assert first["input"] == {"image_url": "@photo.png", "prompt": "a cat"}
    assert not emulator.requests


@pytest.mark.parametrize("option", ["--param", "--grid"])
def test_without_the_file_of_an_input_there_is_no_folder(
    shell: Shell, emulator: Emulator, tmp_path: Path, option: str
) -> None:
    (tmp_path / "few.txt").write_text("a cat\n")
    result = shell.run("map", ECHO, "few.txt", option, "image_url=@gone.png", "--out", "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "image_url=@gone.png is to upload a file, but: No such file" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_dry_run_names_the_first_of_many_bad_rows(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("[1]\n" * 12)
    result = shell.run("map", ECHO, "p.jsonl", "--out", "out", "--dry-run")
    assert (result.exit_code, json.loads(result.stdout)["calls"]) == (2, 0)
    assert "and 2 bad rows more" in result.stderr


def test_a_dry_run_of_a_pipe_reads_it(shell: Shell) -> None:
    result = shell.run("map", ECHO, "-", "--out", "out", "--dry-run", stdin="a cat\na dog\n")
    assert (result.exit_code, json.loads(result.stdout)["calls"]) == (0, 2)


# --- what ends it early ---------------------------------------------------------------------------------


def test_no_more_calls_are_made_than_allowed(
    shell: Shell, emulator: Emulator, ten: str, tmp_path: Path
) -> None:
    words = ("map", ECHO, ten, "--max-calls", "4", "--out", "out")
    first = shell.run(*words)
    assert (first.exit_code, len(emulator.ledger), len(lines(first.stdout))) == (0, 4, 4)
    assert "stopped early: --max-calls 4 is reached" in first.stderr
    assert "the same command with --resume" in first.stderr
    second = shell.run(*words, "--resume")  # what the journal knows is no call
    assert (second.exit_code, len(emulator.ledger), len(lines(second.stdout))) == (0, 8, 8)
    third = shell.run(*words, "--resume")
    assert (third.exit_code, len(emulator.ledger), len(lines(third.stdout))) == (0, 10, 10)
    assert "stopped early" not in third.stderr
    assert len(lines(tmp_path / "out/results.jsonl")) == 10


def test_it_stops_after_so_many_errors(shell: Shell, emulator: Emulator, ten: str) -> None:
    emulator.model("test/broken")(lambda _: (_ for _ in ()).throw(RuntimeError("x")))
    words = ("map", "test/broken", ten, "--stop-after-errors", "2", "--limit", "1", "--out", "out")
    result = shell.run(*words)
    assert result.exit_code != 0
    assert "stopped early: --stop-after-errors is reached" in result.stderr
    assert 2 <= len(lines(result.stdout)) < 10


def test_a_model_that_is_not_there_stops_it(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    rows(tmp_path / "many.jsonl", 200)
    result = shell.run("map", "fal-ai/nothing", "many.jsonl", "--out", "out")
    assert result.exit_code == 4
    assert "stopped early: every call would fail like this: " in result.stderr
    assert len(lines(result.stdout)) < 50


def test_a_wrong_key_stops_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows(tmp_path / "many.jsonl", 200)
    with shell.start("emulator", "--port", "0", "--key", "right:key", "--quiet") as process:
        try:
            assert process.stdout is not None
            monkeypatch.setenv("FAL_EMULATOR_URL", process.stdout.readline().strip())
            monkeypatch.setenv("FAL_KEY", "wrong:key")
            result = shell.run("map", ECHO, "many.jsonl", "--out", "out")
            monkeypatch.setenv("FAL_KEY", "right:key")
            again = shell.run("map", ECHO, "many.jsonl", "--out", "out", "--resume")
        finally:
            process.terminate()
    assert result.exit_code == 3
    assert "stopped early: every call would fail like this: " in result.stderr
    assert len(lines(result.stdout)) < 50
    assert (again.exit_code, len(lines(tmp_path / "out/results.jsonl"))) == (0, 200)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are something else there")
def test_a_reader_that_leaves_stops_it_and_loses_nothing(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    rows(tmp_path / "many.jsonl", 300)
    emulator.limit = 2
    with shell.start("map", ECHO, "many.jsonl", "--out", "out") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(20) == 0
    assert "stopped early: nobody reads stdout any more" in said
    assert "Exception" not in said
    assert len(lines(tmp_path / "out/results.jsonl")) == emulator.ledger.billed()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to be had")
def test_results_that_cannot_be_written_stop_it(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    rows(tmp_path / "many.jsonl", 200)
    words = ("map", ECHO, "many.jsonl", "--out", "out")
    assert shell.run(*words, "--max-calls", "1").exit_code == 0
    (tmp_path / "out/.results.jsonl.part").symlink_to("/dev/full")
    result = shell.run(*words, "--resume")
    assert result.exit_code == 8
    assert "stopped early: out cannot be written to: No space left on device" in result.stderr
    assert len(lines(tmp_path / "out/results.jsonl")) == 1  # what was there before
    assert shell.run(*words, "--resume").exit_code == 0
    assert len(emulator.ledger) == len(lines(tmp_path / "out/results.jsonl")) == 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to be had")
def test_a_full_disk_under_stdout_stops_it_and_loses_nothing(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    rows(tmp_path / "many.jsonl", 200)
    words = ("map", ECHO, "many.jsonl", "--out", "out")
    with Path("/dev/full").open("w") as full, shell.start(*words, stdout=full) as process:
        said = process.communicate()[1]
    assert process.returncode == 8
    assert "stopped early: stdout cannot be written to: No space left on device" in said
    assert "Traceback" not in said
    assert len(lines(tmp_path / "out/results.jsonl")) == emulator.ledger.billed()
    assert shell.run(*words, "--resume").exit_code == 0
    assert len(emulator.ledger) == len(lines(tmp_path / "out/results.jsonl")) == 200


# --- a person looks -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_shows_how_it_gets_on(shell: Shell, emulator: Emulator, tmp_path: Path) -> None:
    rows(tmp_path / "few.jsonl", 8, seconds=0.2)
    emulator.limit = 4
    shown = on_a_terminal(shell, "map", "emulator/work", "few.jsonl", "--out", "out", stderr=True)
    assert "emulator/work → out" in shown
    assert "/8" in shown
    assert "limit 4" in shown
    assert "done      8 of 8" in shown
    assert '"output"' not in shown


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_shows_a_dry_run(shell: Shell, emulator: Emulator, tmp_path: Path) -> None:
    rows(tmp_path / "few.jsonl", 5)
    words = ("map", ECHO, "few.jsonl", "--out", "out")
    assert 'line 1: {"n": 0}' in on_a_terminal(shell, *words, "--dry-run")
    shell.run(*words, "--max-calls", "1")
    shown = on_a_terminal(shell, *words, "--dry-run", "--resume").replace("\r\n", " ")
    assert "and 2 more" in shown
    assert "5 calls; what out/journal.sqlite knows is not called again. Nothing was sent." in shown
