from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fal_async.emulator import Emulator
from tests.cli.conftest import Gate, Shell, on_a_terminal

MODEL = "fal-ai/fast-sdxl"


def test_it_waits_for_the_end_and_prints_the_answer(shell: Shell, gate: Gate) -> None:
    request_id = shell.submit(gate.model, "prompt=a cat")
    with shell.start("result", gate.model, request_id) as process:
        assert gate.running.wait(20)
        assert process.poll() is None
        gate.opened.set()
        answer, said = process.communicate(timeout=20)
    assert (process.returncode, json.loads(answer), said) == (0, {"prompt": "a cat"}, "")


def test_it_may_be_fetched_again_and_is_billed_once(
    shell: Shell, emulator: Emulator, tmp_path: Path
) -> None:
    request_id = shell.submit(MODEL, "prompt=a cat", "format=jpeg")
    first = shell.run("result", MODEL, request_id)
    second = shell.run("result", MODEL, request_id, "--save", "out")
    assert first.stdout == second.stdout
    (path,) = (tmp_path / "out").iterdir()
    assert path.read_bytes().startswith(b"\xff\xd8\xff")
    assert emulator.ledger.billed() == 1


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("emulator/refuse", "type=content_policy_violation"), 4, "content_policy_violation"),
        (("emulator/crash", "error_type=internal_error", "--no-retry"), 5, "Not billed."),
    ],
    ids=["refused", "crashed"],
)
def test_the_models_failure_is_the_one_of_a_direct_call(
    shell: Shell, emulator: Emulator, words: tuple[str, ...], status: int, says: str
) -> None:
    model, *rest = words
    result = shell.run("result", model, shell.submit(model, *rest))
    assert (result.exit_code, result.stdout) == (status, "")
    assert says in result.stderr
    direct = shell.run("run", model, *(word for word in rest if word != "--no-retry"))
    assert direct.exit_code == status


def test_one_that_is_not_known_is_refused(shell: Shell, emulator: Emulator) -> None:
    result = shell.run("result", MODEL, "no-such-one")
    assert (result.exit_code, result.stdout) == (4, "")


def test_a_connection_that_breaks_each_time_loses_nothing(shell: Shell, emulator: Emulator) -> None:
    request_id = shell.submit("emulator/echo", "a=1")
    emulator.faults.add("close", operation="result", times=1)
    result = shell.run("result", "emulator/echo", request_id)
    assert json.loads(result.stdout) == {"a": 1}


def test_where_nobody_listens_one_may_ask_again(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_EMULATOR_URL", "http://127.0.0.1:1")
    result = shell.run("result", MODEL, "some-id", "--timeout", "0.1")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "Asking again costs nothing." in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_person_reads_it_with_the_id(shell: Shell, emulator: Emulator) -> None:
    request_id = shell.submit("emulator/echo", "a=1")
    shown = on_a_terminal(shell, "result", "emulator/echo", request_id)
    assert f"request {request_id}" in shown
