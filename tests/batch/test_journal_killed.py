"""What a journal has told anyone is on disk, whenever its process is killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fal_async.batch.journal.records import State
from tests.architecture.sources import CHECKOUT
from tests.batch.journaling import key, opened

#: Runs of 30 workers that say what they were told, and go on where the last one was killed.
PROGRAM = """
import asyncio, itertools, sys
from pathlib import Path
from tests.batch.journaling import answer, key, opened

def told(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()

async def work(journal, numbers):
    for n in numbers:
        ticket, record = await journal.claim(key(n), n)
        if record is not None:
            continue
        told("intended", n)
        if n % 7 == 0:
            journal.withdraw(ticket)
            continue
        if n % 2:
            await journal.queued(ticket, {"request_id": f"r{n}"})
            told("queued", n)
        if n % 5:
            await journal.ended(ticket, answer(b"body %d" % n + b"x" * (n % 11 * 100)))
            told("ended", n)

async def run():
    async with opened(Path(sys.argv[1])) as journal:
        numbers = itertools.count()
        await asyncio.gather(*(work(journal, numbers) for _ in range(30)))

asyncio.run(run())
"""
STATES = {"intended": State.INTENDED, "queued": State.QUEUED, "ended": State.SUCCEEDED}


def killed_after(lines: int, path: Path) -> list[str]:
    """What a run was told until it was killed, at some instant after so many lines."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(path)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=-1, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        said += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return [line for line in said if line.endswith("\n")]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing kills like SIGKILL")
def test_all_that_was_told_is_there_after_each_of_ten_kills(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    reached: dict[int, State] = {}
    for lines in (1, 2, 35, 100, 300, 31, 700, 1, 1500, 450):
        for line in killed_after(lines, path):
            word, n = line.split()
            reached[int(n)] = STATES[word]
        asyncio.run(all_is_there(path, reached))
    assert Counter(reached.values())[State.SUCCEEDED] > 300


async def all_is_there(path: Path, reached: dict[int, State]) -> None:
    async with opened(path) as journal:
        kept = [n for n in reached if n % 7]
        records = await journal.claim_many([key(n) for n in kept])
        for n, record in zip(kept, records, strict=True):
            assert record is not None, f"{n} is lost"
            assert record.state >= reached[n]
            assert record.index == n
            if record.state is State.QUEUED:
                assert record.handle == {"request_id": f"r{n}"}
            if record.answer is not None:
                assert record.answer.body.rstrip(b"x") == b"body %d" % n
        twice = await journal.claim_many([key(n) for n in kept])
        assert set(twice) <= {None}
