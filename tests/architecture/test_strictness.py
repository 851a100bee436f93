"""The suite's own net holds what falls into it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import CHECKOUT

LEAVING_THINGS_BEHIND = """
import asyncio, socket, warnings

kept = []

async def test_task():
    kept.append(asyncio.create_task(asyncio.Event().wait()))

def test_socket():
    in_a_circle = [socket.socket()]
    in_a_circle.append(in_a_circle)

def test_socket_for_others():
    in_a_circle = [socket.socket()]
    in_a_circle.append(in_a_circle)
    kept.append(in_a_circle)

def test_forgetting_it():
    kept.pop()

def test_warning():
    warnings.warn("old", DeprecationWarning)

async def test_nothing():
    pass
"""


def test_a_test_that_leaves_a_task_or_a_socket_or_warns_fails(tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "setup.cfg", tmp_path)
    shutil.copy(CHECKOUT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_leaving.py").write_text(LEAVING_THINGS_BEHIND)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        ".",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout
    assert "ERROR test_leaving.py::test_task" in said
    assert "ERROR test_leaving.py::test_socket" in said
    assert "FAILED test_leaving.py::test_warning" in said
    assert "ERROR test_leaving.py::test_nothing" in said  # the last, which looks at all there is
    assert "1 failed, 5 passed, 3 errors" in said
