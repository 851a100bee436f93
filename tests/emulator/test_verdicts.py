"""What an application's answer says to the platform: of its runner, and what callers do not see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fal_async.emulator import Answer, AppError, Emulator, Fault, RefusedError, RunnerSettings
from tests.emulator.raw import Heard, ask, post

COLD = RunnerSettings(count=1, cold_start=3)
STOP, RETRY = "x-fal-stop-runner", "x-fal-needs-retry"


async def call(emu: Emulator) -> Heard:
    return await ask(emu, post("/fal.run/me/model", b"{}"))


def ends_as(outcome: Answer | Exception) -> Callable[[object], Answer]:
    def function(_: object) -> Answer:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return function


async def in_time(emu: Emulator, seconds: float) -> Heard:
    running = asyncio.create_task(call(emu))
    await emu.advance(seconds)
    return await running


async def runners_of_two_calls(emu: Emulator) -> list[int]:
    for _ in range(2):
        await in_time(emu, 20)
    return [execution.runner for execution in emu.ledger]


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [
        (Answer(status=503), False),
        (AppError(503, "no"), False),
        (RefusedError("internal_server_error", status=503), False),
        (Answer(status=500), True),
        (AppError(504, "no"), True),
        (AppError(422, "no"), True),
        (Answer(headers={STOP: "1"}), False),
        (Answer(headers={"X-Fal-Stop-Runner": "true"}), False),
        (Answer(status=503, headers={STOP: "0"}), True),
        (Answer(status=503, headers={STOP: "perhaps"}), False),
    ],
)
async def test_a_runner_is_stopped_by_a_503_or_by_the_applications_word(
    outcome: Answer | Exception, kept: bool
) -> None:
    """PROTOCOL 5.4."""
    async with Emulator(clock="virtual", runners=COLD) as emu:
        emu.model("me/model")(ends_as(outcome))
        assert await runners_of_two_calls(emu) == ([1, 1] if kept else [1, 2])


async def test_a_runner_is_stopped_that_took_too_long() -> None:
    """PROTOCOL 5.4: the platform cuts the connection, and its runner is stopped."""
    async with Emulator(clock="virtual", runners=COLD) as emu:
        emu.model("me/model", run_time=9, request_timeout=5)(dict)
        assert await runners_of_two_calls(emu) == [1, 2]


async def test_so_is_one_of_which_a_fault_says_it() -> None:
    async with Emulator(clock="virtual", runners=COLD) as emu:
        emu.model("me/model")(dict)
        emu.faults.add(Fault("request_timeout", nth=1))
        assert await runners_of_two_calls(emu) == [1, 2]


@pytest.mark.parametrize(
    ("status", "seen"), [(200, None), (422, None), (429, "1"), (500, "1"), (503, "1")]
)
async def test_a_word_to_the_platform_is_not_the_callers_to_see(
    status: int, seen: str | None
) -> None:
    """PROTOCOL 3.1, 5.4: the verdict on a retry goes on with a 5xx and a 429 only, the other one never."""
    async with Emulator() as emu:
        said = {"X-Fal-Needs-Retry": "1", "X-Fal-Stop-Runner": "0", "X-More": "a"}
        emu.model("me/model")(lambda _: Answer(status=status, headers=said))
        heard = await call(emu)
        assert (heard.status, heard.header(RETRY), heard.header(STOP)) == (status, seen, None)
        assert heard.header("x-more") == "a"


async def test_an_answer_has_one_content_type_however_its_model_spells_it() -> None:
    async with Emulator() as emu:
        emu.model("me/model")(lambda _: Answer(headers={"content-TYPE": "image/gif"}))
        assert (await call(emu)).header("content-type") == "image/gif"
