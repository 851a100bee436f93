"""Waits for queued requests that nobody ends are ended with their event loop, and nothing is said of it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.left_waiting import PROGRAMS


def test_a_program_that_leaves_its_waits_is_not_told_so() -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.support.left_waiting", *PROGRAMS]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=True
    )
    assert ended.stdout == ""
