"""``run --durable``: told of, watched, and left by Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from subprocess import Popen
from typing import Any, cast

import pytest

from fal_async.cli.durable import run_durably
from fal_async.cli.waiting import Waiting
from fal_async.emulator import Emulator
from fal_async.session import AsyncFal
from tests.cli.conftest import Gate, Shell, on_a_terminal
from tests.support.virtual_time import turns

signals = pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")

CANCELLING = "interrupted: the request is being cancelled; again to leave at once\n"


def told_id(process: Popen[str]) -> str:
    """The request's id, the first thing that is said."""
    assert process.stderr is not None
    word, request_id = process.stderr.readline().split()
    assert word == "request"
    return request_id


def test_the_id_is_told_before_the_waiting_and_the_answer_is_the_direct_one(
    shell: Shell, emulator: Emulator, gate: Gate
) -> None:
    with shell.start("run", gate.model, "a=1", "--durable", "--detailed") as process:
        request_id = told_id(process)
        gate.opened.set()
        answer, said = process.communicate(timeout=20)
    document = json.loads(answer)
    assert (process.returncode, said) == (0, "")
    assert document["output"] == {"a": 1}
    assert (document["request_id"], document["billable_units"]) == (request_id, "1")
    assert emulator.requests["run"] == 0


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("fal-ai/fast-sdxl", "num_images=99"), 4),
        (("fal-ai/nothing",), 4),
        (("nope",), 2),
    ],
)
def test_failures_are_those_of_a_direct_call(
    shell: Shell, emulator: Emulator, words: tuple[str, ...], status: int
) -> None:
    durable = shell.run("run", *words, "--durable")
    assert (durable.exit_code, durable.stdout) == (status, "")
    assert shell.run("run", *words).exit_code == status


def test_out_of_time_it_says_what_may_be_left_to_fetch(
    shell: Shell, emulator: Emulator, gate: Gate
) -> None:
    result = shell.run("run", gate.model, "--durable", "--timeout", "0.2")
    (job,) = emulator.queue
    assert (result.exit_code, result.stdout) == (6, "")
    assert f"fal-async result {gate.model} {job.request_id}" in result.stderr
    assert job.cancel_requested


@signals
def test_ctrl_c_takes_a_waiting_request_out_of_the_queue(shell: Shell, emulator: Emulator) -> None:
    emulator.limit = 0  # so that it waits
    with shell.start("run", "emulator/echo", "--durable") as process:
        request_id = told_id(process)
        process.send_signal(signal.SIGINT)
        answer, said = process.communicate(timeout=20)
    assert (process.returncode, answer) == (130, "")
    assert said == (
        f"{CANCELLING}interrupted: the request was still in the queue and is out of it: "
        f"not billed. Request {request_id}.\n"
    )
    assert emulator.requests["cancel"] == 1


@signals
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_cancels_and_says_what_may_still_run(
    shell: Shell, emulator: Emulator, gate: Gate, sent: signal.Signals, status: int
) -> None:
    with shell.start("run", gate.model, "--durable") as process:
        request_id = told_id(process)
        assert gate.running.wait(20)
        process.send_signal(sent)
        answer, said = process.communicate(timeout=20)
    assert (process.returncode, answer) == (status, "")
    assert said == (
        f"{CANCELLING}interrupted: the request may still be running, and be billed. "
        f"Request {request_id}.\n  fal-async status {gate.model} {request_id}\n"
    )
    assert emulator.queue.request(request_id).cancel_requested


@signals
def test_a_second_ctrl_c_leaves_at_once(shell: Shell, emulator: Emulator, gate: Gate) -> None:
    emulator.faults.add("stall", operation="cancel", ran=False)
    with shell.start("run", gate.model, "--durable") as process:
        request_id = told_id(process)
        assert gate.running.wait(20)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline() == CANCELLING
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=4)  # the cancel alone would be waited for longer
    assert process.returncode == 130
    assert f"may still be running, and be billed. Request {request_id}." in said
    assert "Traceback" not in said


@signals
def test_ctrl_c_within_the_submit_says_that_it_may_be_billed(
    shell: Shell, emulator: Emulator, gate: Gate
) -> None:
    emulator.faults.add("stall", operation="submit")
    with shell.start("run", gate.model, "--durable") as process:
        assert gate.running.wait(20)  # accepted, and nobody was told
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline() == CANCELLING
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=4)
    assert (process.returncode, "it may have been billed" in said) == (130, True)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_person_sees_how_it_gets_on_and_what_the_runner_writes(
    shell: Shell, emulator: Emulator
) -> None:
    shown = on_a_terminal(
        shell, "run", "emulator/work", "seconds=0.2", "steps=2", "--durable", stderr=True
    )
    (job,) = emulator.queue
    assert f"request {job.request_id}" in shown
    assert "emulator/work: running" in shown
    assert shown.index("INFO  step 1 of 2") < shown.index("INFO  step 2 of 2")
    assert '"worked"' in shown


class Answered:
    """A fal that has the answer at once, and whose log never ends."""

    request_id = "id-1"

    async def run_detailed(self, *_: Any, on_submitted: Any, **__: Any) -> str:
        on_submitted(self)
        return "the answer"

    async def updates(self, *, logs: bool) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield logs


async def test_interrupted_when_the_answer_is_there_it_is_given() -> None:
    waiting = Waiting("test/model")
    waiting.is_seen = True
    run = run_durably(cast(AsyncFal, Answered()), "test/model", {}, {}, waiting)
    running = asyncio.create_task(cast(Any, run))
    await turns()
    assert not running.done()
    running.cancel()
    assert await running == "the answer"


async def test_who_is_cancelled_knows_what_it_may_cost() -> None:
    async with Emulator(limit=0) as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        run = run_durably(fal, "emulator/echo", {}, {}, Waiting("emulator/echo"))
        running = asyncio.create_task(cast(Any, run))
        await emulator.until(lambda: emulator.requests["status_stream"] == 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await running
        (job,) = emulator.queue
    verdict = cancelled.value.verdict  # type: ignore[attr-defined]
    assert (verdict.billing, verdict.request_id) == ("not_billed", job.request_id)


class Reluctant(Answered):
    """A fal whose cancel is not answered."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()

    async def run_detailed(self, *_: Any, on_submitted: Any, **__: Any) -> str:
        on_submitted(self)
        try:
            await asyncio.Event().wait()
        finally:
            await self.answer.wait()
        return ""


async def test_who_is_cancelled_twice_knows_that_nothing_is_known() -> None:
    fal = Reluctant()
    run = run_durably(cast(AsyncFal, fal), "test/model", {}, {}, Waiting("test/model"))
    running = asyncio.create_task(cast(Any, run))
    await turns()
    running.cancel()
    await turns()
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await running
    verdict = cancelled.value.verdict  # type: ignore[attr-defined]
    assert (verdict.billing, verdict.handle) == ("unknown", fal)
    fal.answer.set()
    await turns()
