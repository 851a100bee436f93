"""A batch that was interrupted, killed or damaged goes on, and pays for nothing twice."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import attrs
import pytest

from fal_async.emulator import Emulator
from tests.batch.test_map_reconcile import killed_with
from tests.cli.conftest import Shell

signals = pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def indices(path: Path) -> list[int]:
    return sorted(line["index"] for line in lines(path))


@attrs.define
class Crew:
    """A model of which so many calls run through, and the others wait until they are let."""

    through: int
    waiting: int = 0
    some_wait: threading.Event = attrs.field(factory=threading.Event)
    opened: threading.Event = attrs.field(factory=threading.Event)

    async def work(self, content: Any) -> Any:
        if self.through > 0:
            self.through -= 1
            return content
        self.waiting += 1
        if self.waiting == 2:
            self.some_wait.set()
        while not self.opened.is_set():
            await asyncio.to_thread(self.opened.wait, 1)
        return content


@pytest.fixture
def crew(emulator: Emulator, tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(through=5)
    emulator.limit = 2
    emulator.model("test/crew")(crew.work)
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(20)))
    yield crew
    crew.opened.set()


WORDS = ("map", "test/crew", "rows.jsonl", "--limit", "2", "--out", "out")


def line_of(process: Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


@signals
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_lets_what_is_in_flight_land_and_says_how_to_go_on(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    with shell.start(*WORDS) as process:
        assert crew.some_wait.wait(20)
        process.send_signal(sent)
        said = line_of(process)
        crew.opened.set()
        answers, rest = process.communicate(timeout=20)
    assert process.returncode == status
    assert said == (
        "interrupted: no more is sent; 2 calls in flight will land; again to leave at once\n"
    )
    assert "stopped early: interrupted\n" in rest
    assert rest.endswith(
        "To go on: the same command with --resume. What was answered is not called again.\n"
    )
    assert emulator.ledger.billed() == len(answers.splitlines()) == 7
    assert len(lines(tmp_path / "out/results.jsonl")) == 7
    assert lines(tmp_path / "out/errors.jsonl") == []
    resumed = shell.run(*WORDS, "--resume")
    assert resumed.exit_code == 0
    assert indices(tmp_path / "out/results.jsonl") == list(range(20))
    assert emulator.ledger.billed() == len(emulator.ledger) == 20


@signals
@pytest.mark.parametrize(("limit", "sent"), [("auto", 3), ("6", 4), ("none", 6)])
def test_after_ctrl_c_no_call_that_was_refused_is_sent_again(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path, limit: str, sent: int
) -> None:
    crew.through = 0
    words = ("map", "test/crew", "rows.jsonl", "--limit", limit, "--out", "out")
    rows = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_text("".join(rows[:6]))
    with shell.start(*words) as process:
        assert crew.some_wait.wait(20)
        while emulator.received < sent:  # two of them run, the others were refused
            crew.opened.wait(0.005)
        process.send_signal(signal.SIGINT)
        said = line_of(process)
        before = emulator.received
        crew.opened.set()
        answers, rest = process.communicate(timeout=20)
    assert process.returncode == 130
    told = re.match(
        r"interrupted: no more is sent; (\d) calls in flight will land(; \d calls? left unsent)?; ",
        said,
    )
    assert told, said
    assert re.search(r"^not sent  \d calls?, at no cost$", rest, re.MULTILINE)
    # Beside the two that run, one may have been on its way that the emulator had not read yet.
    assert emulator.received - before <= int(told[1]) - 2
    assert emulator.ledger.billed() == len(answers.splitlines()) == 2
    assert lines(tmp_path / "out/errors.jsonl") == []
    resumed = shell.run(*words, "--resume")
    assert resumed.exit_code == 0
    assert indices(tmp_path / "out/results.jsonl") == list(range(6))
    assert emulator.ledger.billed() == len(emulator.ledger) == 6


@signals
def test_a_second_ctrl_c_leaves_at_once_and_says_what_may_be_billed(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path
) -> None:
    with shell.start(*WORDS) as process:
        assert crew.some_wait.wait(20)
        process.send_signal(signal.SIGINT)
        assert line_of(process).startswith("interrupted: ")
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert "2 InterruptedCallError" in rest
    assert "2 failed calls may have been billed too" in rest
    assert len(lines(tmp_path / "out/results.jsonl")) == 5
    assert [line["billing"] for line in lines(tmp_path / "out/errors.jsonl")] == ["unknown"] * 2
    crew.opened.set()
    in_doubt = shell.run(*WORDS, "--resume")  # nobody knows, and nobody pays twice
    assert in_doubt.exit_code == 6
    assert "2 calls in doubt" in in_doubt.stderr
    assert "--in-doubt reconcile" in in_doubt.stderr
    assert len(lines(tmp_path / "out/results.jsonl")) == 18
    assert len(emulator.ledger) == 20
    told = shell.run(*WORDS, "--resume", "--in-doubt", "retry")
    assert told.exit_code == 0
    assert indices(tmp_path / "out/results.jsonl") == list(range(20))
    assert len(emulator.ledger) == 22


@signals
def test_ctrl_c_ends_the_waiting_for_a_pipe(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    with shell.start("map", "emulator/echo", "-", "--out", "out", stdin=-1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write('{"n": 0}\n')
        process.stdin.flush()
        assert process.stdout.readline()  # and now it waits for more
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert line_of(process) == "interrupted: no more is sent; again to leave at once\n"
    assert indices(tmp_path / "out/results.jsonl") == [0]


@signals
def test_ctrl_c_in_the_middle_of_a_map(shell: Shell, emulator: Emulator, tmp_path: Path) -> None:
    async def interrupt(content: Any) -> Any:
        if content["n"] == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return content

    emulator.model("test/interrupter")(interrupt)
    words = ("map", "test/interrupter", "-", "--limit", "1", "--out", "out")
    rows = "".join(f'{{"n": {n}}}\n' for n in range(50))
    result = shell.run(*words, stdin=rows)
    assert result.exit_code == 130
    assert "interrupted: no more is sent" in result.stderr
    done = len(lines(tmp_path / "out/results.jsonl"))
    assert 4 <= done == emulator.ledger.billed() < 50
    assert lines(tmp_path / "out/errors.jsonl") == []


@signals
def test_queued_requests_that_are_left_behind_are_collected(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path
) -> None:
    with shell.start(*WORDS, "--durable") as process:
        assert crew.some_wait.wait(20)
        process.send_signal(signal.SIGINT)
        assert line_of(process).startswith("interrupted: ")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert emulator.requests["cancel"] == 0
    crew.opened.set()
    resumed = shell.run(*WORDS, "--durable", "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert indices(tmp_path / "out/results.jsonl") == list(range(20))
    assert emulator.ledger.billed() == len(emulator.ledger) == 20


@signals
def test_a_batch_that_is_killed_goes_on(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path
) -> None:
    with shell.start(*WORDS) as process:
        assert crew.some_wait.wait(20)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)
    assert len(lines(tmp_path / "out/results.jsonl")) <= 5
    crew.opened.set()
    resumed = shell.run(*WORDS, "--resume", "--in-doubt", "retry", "--ordered")
    assert resumed.exit_code == 0
    results = lines(tmp_path / "out/results.jsonl")
    assert [line["input"]["n"] for line in results] == list(range(20))
    assert [line["line"] for line in results] == list(range(1, 21))
    assert "of them from the journal" in resumed.stderr


@signals
def test_calls_in_doubt_are_looked_up(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path
) -> None:
    with shell.start(*WORDS) as process:
        assert crew.some_wait.wait(20)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)
    crew.opened.set()
    resumed = shell.run(*WORDS, "--resume", "--in-doubt", "reconcile")
    assert resumed.exit_code == 0, resumed.stderr
    assert indices(tmp_path / "out/results.jsonl") == list(range(20))
    assert emulator.ledger.billed() == len(emulator.ledger) == 20


def test_what_failed_and_was_not_billed_is_called_again(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path
) -> None:
    crew.through = 100
    for nth in (3, 7):
        emulator.faults.add("runner_server_error", nth=nth)
    first = shell.run(*WORDS)
    failures = lines(tmp_path / "out/errors.jsonl")
    assert first.exit_code == 5
    assert [line["billing"] for line in failures] == ["not_billed"] * len(failures) != []
    assert "--resume calls again what failed and was not billed" in first.stderr
    again = shell.run(*WORDS, "--resume")
    assert again.exit_code == 0
    assert lines(tmp_path / "out/errors.jsonl") == []
    assert indices(tmp_path / "out/results.jsonl") == list(range(20))
    assert emulator.ledger.billed() == 20


def test_a_resumed_batch_names_its_bad_rows_again(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path
) -> None:
    crew.through = 100
    (tmp_path / "rows.jsonl").write_text('{"n": 0}\nbroken\n{"n": 1}\n')
    for more in ((), ("--resume",)):
        assert shell.run(*WORDS, *more).exit_code == 2
        assert [line["line"] for line in lines(tmp_path / "out/errors.jsonl")] == [2]
        assert indices(tmp_path / "out/results.jsonl") == [0, 1]
    assert len(emulator.ledger) == 2


def test_saved_files_are_not_fetched_again(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    words = ("map", "fal-ai/fast-sdxl", "p.txt", "--out", "out")
    (tmp_path / "p.txt").write_text("a cat\n")
    assert shell.run(*words).exit_code == 0
    before = lines(tmp_path / "out/results.jsonl")[0]["files"]
    assert shell.run(*words, "--resume").exit_code == 0
    assert lines(tmp_path / "out/results.jsonl")[0]["files"] == before
    assert len(list((tmp_path / "out/files").iterdir())) == 1
    (tmp_path / "out" / before[0]["path"]).unlink()
    assert shell.run(*words, "--resume").exit_code == 0
    assert (tmp_path / "out" / before[0]["path"]).exists()
    assert len(emulator.ledger) == 1


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(b"x" * 200), "no journal"),
        (lambda path: None, "is the journal of test/crew, not of emulator/echo"),
    ],
    ids=["damaged", "of another model"],
)
def test_a_journal_that_cannot_be_used_is_told_and_nothing_is_touched(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path, spoil: Any, says: str
) -> None:
    crew.through = 100
    assert shell.run(*WORDS).exit_code == 0
    spoil(tmp_path / "out/journal.sqlite")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    model = "emulator/echo" if "not of" in says else "test/crew"
    result = shell.run("map", model, "rows.jsonl", "--out", "out", "--resume")
    assert result.exit_code != 0
    assert says in result.stderr
    assert "done" not in result.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert len(emulator.ledger) == 20


# --- calls in doubt -------------------------------------------------------------------------------------


def killed_when_about_to_send(tmp_path: Path, *values: int) -> None:
    """A batch as a process leaves it that was killed before it could send these."""
    (tmp_path / "out").mkdir()
    inputs = [{"n": value} for value in values]
    asyncio.run(killed_with(tmp_path / "out/journal.sqlite", *inputs, model="test/crew"))


def test_calls_in_doubt_that_no_row_is_are_listed(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path
) -> None:
    crew.through = 100
    killed_when_about_to_send(tmp_path, 19, *range(100, 112))
    result = shell.run(*WORDS, "--resume", "--in-doubt", "retry")
    assert result.exit_code == 0
    assert (
        "12 calls in doubt, of earlier runs, and no row of this batch is the same: "
        "not sent again, and perhaps billed.\n"
    ) in result.stderr
    told = re.findall(
        r"^in doubt: input (\d+), about to be sent at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$",
        result.stderr,
        re.MULTILINE,
    )
    assert told == [str(index) for index in range(1, 11)]
    assert "and 2 calls more\n" in result.stderr
    assert len(emulator.ledger) == 20


def test_calls_in_doubt_that_no_row_come_to_is_are_told_as_such(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path
) -> None:
    crew.through = 100
    killed_when_about_to_send(tmp_path, 19)
    result = shell.run(*WORDS, "--resume", "--max-calls", "3")
    assert (
        "1 call in doubt, of earlier runs, and no row that was come to is the same" in result.stderr
    )
    assert "more\n" not in result.stderr
    whole = shell.run(*WORDS, "--resume", "--in-doubt", "retry")
    assert "in doubt" not in whole.stderr


def test_how_calls_in_doubt_are_looked_up_may_be_told(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path
) -> None:
    crew.through = 100
    killed_when_about_to_send(tmp_path, 3)
    reconcile = (*WORDS, "--resume", "--in-doubt", "reconcile")
    unsure = shell.run(*reconcile)
    assert unsure.exit_code == 6
    assert "1 call in doubt" in unsure.stderr
    assert "--reconcile-wait SECONDS goes on looking" in unsure.stderr
    for terms in (
        ("--reconcile-listed-within", "0"),  # nothing says when it may still start
        ("--reconcile-settled-after", "900"),  # it may still come
    ):
        assert shell.run(*reconcile, *terms).exit_code == 6
    assert len(emulator.ledger) == 19
    sure = shell.run(*reconcile, "--reconcile-settled-after", "0", "--reconcile-wait", "30")
    assert sure.exit_code == 0, sure.stderr
    assert len(emulator.ledger) == 20


def test_a_history_that_shows_nothing_of_the_batch_is_believed_only_if_told(
    shell: Shell, emulator: Emulator, crew: Crew, tmp_path: Path
) -> None:
    crew.through = 100
    (tmp_path / "rows.jsonl").write_text('{"n": 3}\n')
    killed_when_about_to_send(tmp_path, 3)
    words = (*WORDS, "--resume", "--in-doubt", "reconcile", "--reconcile-settled-after", "0")
    assert shell.run(*words).exit_code == 6
    assert shell.run(*words, "--reconcile-without-witness").exit_code == 0


def test_how_to_look_is_refused_where_nothing_is_looked_up(
    shell: Shell, emulator: Emulator, crew: Crew
) -> None:
    result = shell.run(*WORDS, "--reconcile-wait", "5")
    assert result.exit_code == 2
    assert "--reconcile-... is for --in-doubt reconcile" in result.stderr
    assert shell.run(*WORDS, "--in-doubt", "reconcile", "--reconcile-wait", "-1").exit_code == 2
