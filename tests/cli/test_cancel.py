from __future__ import annotations

import json
import sys

import pytest

from fal_async.cli.commands.cancel import SENTENCES
from fal_async.emulator import Emulator
from fal_async.protocol.queue import CancelOutcome
from tests.cli.conftest import Gate, Shell, on_a_terminal


def test_one_in_line_is_removed(shell: Shell, emulator: Emulator) -> None:
    emulator.limit = 0  # so that it waits
    request_id = shell.submit("emulator/echo")
    result = shell.run("cancel", "emulator/echo", request_id)
    assert json.loads(result.stdout) == {"request_id": request_id, "outcome": "removed"}
    assert (result.exit_code, len(emulator.ledger)) == (0, 0)


def test_a_running_one_is_told_to_stop(shell: Shell, emulator: Emulator, gate: Gate) -> None:
    request_id = shell.submit(gate.model)
    assert gate.running.wait(20)
    result = shell.run("cancel", gate.model, request_id)
    assert (result.exit_code, json.loads(result.stdout)["outcome"]) == (0, "signalled")
    assert emulator.queue.request(request_id).cancel_requested


def test_one_that_has_ended_is_past_stopping(shell: Shell, emulator: Emulator) -> None:
    request_id = shell.submit("emulator/echo")
    shell.run("result", "emulator/echo", request_id)
    result = shell.run("cancel", "emulator/echo", request_id)
    assert (result.exit_code, json.loads(result.stdout)["outcome"]) == (4, "too_late")


def test_one_that_fal_does_not_know_is_told_apart(shell: Shell, emulator: Emulator) -> None:
    result = shell.run("cancel", "emulator/echo", "no-such-one")
    assert (result.exit_code, json.loads(result.stdout)["outcome"]) == (4, "unknown")


def test_each_outcome_has_its_sentence() -> None:
    assert set(SENTENCES) == set(CancelOutcome)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_person_reads_the_sentence(shell: Shell, emulator: Emulator) -> None:
    emulator.limit = 0
    request_id = shell.submit("emulator/echo")
    shown = on_a_terminal(shell, "cancel", "emulator/echo", request_id)
    assert shown.strip() == SENTENCES[CancelOutcome.REMOVED]
