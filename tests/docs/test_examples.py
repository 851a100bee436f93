"""Each example is a program that runs as it stands, and leaves nothing open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import CHECKOUT

EXAMPLES = sorted((CHECKOUT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_runs_without_a_warning(path: Path, reader: Path) -> None:
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(
        command, cwd=reader, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
