from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from fal_async.cli.running import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are something else there")


def test_a_coroutine_runs_to_its_end() -> None:
    async def work() -> int:
        return 7

    assert run(work()) == 7


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("sent", "ends", "code"),
    [
        ("SIGTERM", SystemExit, 143),
        ("SIGHUP", SystemExit, 143),
        ("SIGINT", KeyboardInterrupt, None),
    ],
)
def test_a_signal_lets_the_coroutine_clean_up(
    sent: str, ends: type[BaseException], code: int | None
) -> None:
    cleaned = []

    async def work() -> None:
        try:
            signal.raise_signal(signal.Signals[sent])
            await asyncio.Event().wait()
        finally:
            cleaned.append("up")

    with pytest.raises(ends) as ended:
        run(work())
    assert cleaned == ["up"]
    assert getattr(ended.value, "code", None) == code


def test_a_hangup_that_is_ignored_stays_so() -> None:
    async def work() -> str:
        signal.raise_signal(signal.SIGHUP)
        return "done"

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run(work()) == "done"
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_cancellation_of_another_kind_is_passed_on() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(work())


def test_a_second_signal_cuts_the_cleaning_up_short_in_every_task() -> None:
    cleaning = []

    async def reluctant() -> None:
        for _ in range(3):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cleaning.append("up")
        raise asyncio.CancelledError

    async def work() -> None:
        other = asyncio.create_task(reluctant())
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            signal.raise_signal(signal.SIGINT)
            await asyncio.wait({other})
            cleaning.append("never")

    with pytest.raises(KeyboardInterrupt):
        run(work())
    assert "never" not in cleaning
    assert cleaning
