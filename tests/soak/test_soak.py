"""A minute of everything at once, with faults, in a process of its own; more of it: ``benchmarks.soak``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="what a process holds is read from /proc"
)


def test_a_minute_of_mixed_load_with_faults_leaks_nothing_and_the_ledger_agrees_on_every_call() -> (
    None
):
    # Things begun in a second: so many that other tests have most of the processor.
    soak = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--minutes", "1", "--rate", "25", "--seed", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=115,  # less than what ends the whole run of the tests
    )
    assert soak.returncode == 0, f"{soak.stdout}\n{soak.stderr}"
