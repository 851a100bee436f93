from __future__ import annotations

import json
import signal
import sys

import pytest

from fal_async.emulator import Emulator
from tests.cli.conftest import Gate, Shell, on_a_terminal


def test_a_request_in_line_says_how_many_are_ahead(shell: Shell, emulator: Emulator) -> None:
    emulator.limit = 0  # so that they wait
    shell.submit("emulator/echo")
    request_id = shell.submit("emulator/echo")
    result = shell.run("status", "emulator/echo", request_id)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "status": "IN_QUEUE",
        "request_id": request_id,
        "queue_position": 1,
    }


def test_a_running_one_brings_its_log_when_asked(shell: Shell, gate: Gate) -> None:
    request_id = shell.submit(gate.model)
    assert gate.running.wait(20)
    document = json.loads(shell.run("status", gate.model, request_id, "--logs").stdout)
    assert document["status"] == "IN_PROGRESS"
    assert [line["message"] for line in document["logs"]] == ["it has begun"]
    assert "logs" not in json.loads(shell.run("status", gate.model, request_id).stdout)


def test_one_that_failed_says_with_what(shell: Shell, emulator: Emulator) -> None:
    model = "emulator/crash"
    request_id = shell.submit(model, "error_type=internal_error", "--no-retry")
    shell.run("result", model, request_id)  # which waits for it
    result = shell.run("status", model, request_id)
    document = json.loads(result.stdout)
    assert (document["status"], document["error_type"]) == ("COMPLETED", "internal_error")
    assert result.exit_code == 0  # the asking worked


def test_followed_each_change_is_a_line_with_what_is_new_in_the_log(
    shell: Shell, gate: Gate
) -> None:
    request_id = shell.submit(gate.model)
    assert gate.running.wait(20)
    with shell.start("status", gate.model, request_id, "--follow", "--logs") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        gate.opened.set()
        rest, _ = process.communicate(timeout=20)
    (last,) = map(json.loads, rest.splitlines())
    assert process.returncode == 0
    assert (first["status"], first["logs"][0]["message"]) == ("IN_PROGRESS", "it has begun")
    assert (last["status"], last["logs"]) == ("COMPLETED", [])


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_person_reads_words(shell: Shell, emulator: Emulator) -> None:
    request_id = shell.submit("emulator/work", "seconds=0", "steps=1")
    shown = on_a_terminal(shell, "status", "emulator/work", request_id, "--follow", "--logs")
    lines = shown.splitlines()
    assert "  INFO  step 1 of 1" in lines
    assert lines[-1].startswith("completed after 0.")


def test_a_request_that_fal_does_not_know_is_told_from_a_failure(
    shell: Shell, emulator: Emulator
) -> None:
    result = shell.run("status", "emulator/echo", "no-such-one")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "fal knows no such request" in result.stderr


def test_an_id_that_is_none_is_not_asked_for(shell: Shell, emulator: Emulator) -> None:
    result = shell.run("status", "emulator/echo", "../x")
    assert result.exit_code == 2
    assert emulator.requests["status"] == 0


def test_without_an_answer_in_time_one_may_ask_again(shell: Shell, emulator: Emulator) -> None:
    request_id = shell.submit("emulator/echo")
    emulator.faults.add("stall", operation="status")
    result = shell.run("status", "emulator/echo", request_id, "--timeout", "0.05")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == (
        "error: nothing more was heard within 0.05 s. Not billed. Asking again costs nothing.\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")
def test_ctrl_c_ends_the_following_and_leaves_the_request(
    shell: Shell, emulator: Emulator, gate: Gate
) -> None:
    request_id = shell.submit(gate.model)
    with shell.start("status", gate.model, request_id, "--follow") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "interrupted: the request is left as it is\n")
    assert emulator.requests["cancel"] == 0
