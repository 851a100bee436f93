"""Batches with a journal, killed with SIGKILL at random instants and resumed, in every mode there is.

Each batch runs in a process of its own against an emulator in this one, is killed again and again, and is let
be in the end. Then every input must have its one result, the emulator's ledger must show nothing paid for
twice but calls that the journal had reported as in doubt and was told to retry, and all that was ever handed
out must be handed out again. This is more of what ``tests/batch/test_map_killed.py`` does: three minutes.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from benchmarks.figures import Target, table
from benchmarks.reporting import parser, say, tell
from fal_async.emulator.chance import Chance
from tests.support.killing.batches import killed_batches
from tests.support.killing.judging import Verdict
from tests.support.killing.nursery import Nursery
from tests.support.killing.sitting import MODES, Mode

__all__ = ["Report", "main", "measure"]

_KILLS: Final = 200
_KILLS_OF_A_BATCH: Final = 12
_INPUTS: Final = 240
#: Modes at once: those that reconcile wait most of the time.
_TOGETHER: Final = 2


@attrs.frozen(kw_only=True)
class Killed:
    """All batches of one mode."""

    mode: str
    wanted: int
    batches: int
    kills: int
    inputs: int
    in_doubt: int
    retried: int
    explained: int
    unexplained: int
    cancelled: int
    lost: int
    wrong: tuple[str, ...]
    seconds: float

    def row(self) -> list[str]:
        return [
            self.mode,
            f"{self.kills:,}",
            f"{self.inputs:,}",
            f"{self.in_doubt:,}",
            f"{self.retried:,}",
            f"{self.explained:,} / {self.unexplained:,}",
            f"{self.cancelled:,}",
            f"{self.lost:,}",
            f"{self.seconds:.0f}",
        ]


@attrs.frozen(kw_only=True)
class Report:
    """All modes, side by side."""

    modes: tuple[Killed, ...]

    def targets(self) -> list[Target]:
        return [
            target
            for killed in self.modes
            for target in (
                Target(f"kills, {killed.mode}", killed.kills, least=killed.wanted),
                Target(f"anything wrong, {killed.mode}", len(killed.wrong), most=0),
            )
        ]

    def text(self) -> str:
        headings = (
            "mode",
            "kills",
            "inputs",
            "in doubt",
            "called again",
            "billed twice, explained / not",
            "cancelled on leaving",
            "lost results",
            "seconds",
        )
        wrong = [f"{killed.mode}: {what}" for killed in self.modes for what in killed.wrong]
        return "\n".join([table(headings, [killed.row() for killed in self.modes]), *wrong])


def _summed(mode: Mode, verdicts: Sequence[Verdict], wanted: int, seconds: float) -> Killed:
    return Killed(
        mode=mode.name,
        wanted=wanted,
        batches=len(verdicts),
        kills=sum(verdict.kills for verdict in verdicts),
        inputs=sum(verdict.inputs for verdict in verdicts),
        in_doubt=sum(verdict.in_doubt for verdict in verdicts),
        retried=sum(verdict.retried for verdict in verdicts),
        explained=sum(verdict.explained for verdict in verdicts),
        unexplained=sum(verdict.unexplained for verdict in verdicts),
        cancelled=sum(verdict.cancelled for verdict in verdicts),
        lost=sum(verdict.lost for verdict in verdicts),
        wrong=tuple(what for verdict in verdicts for what in verdict.wrong),
        seconds=seconds,
    )


async def _killed(
    mode: Mode, folder: Path, room: asyncio.Semaphore, kills: int, seed: int
) -> Killed:
    async with room, Nursery() as nursery:
        say(f"kill: {mode.name}, {kills} kills")
        began = time.monotonic()
        verdicts = [
            verdict
            async for verdict in killed_batches(
                mode,
                nursery,
                folder,
                Chance(seed),
                inputs=_INPUTS,
                kills=kills,
                each=_KILLS_OF_A_BATCH,
            )
        ]
        return _summed(mode, verdicts, kills, time.monotonic() - began)


async def _all(modes: Sequence[Mode], folder: Path, kills: int, seed: int) -> Report:
    room = asyncio.Semaphore(_TOGETHER)
    return Report(
        modes=tuple(
            await asyncio.gather(*(_killed(mode, folder, room, kills, seed) for mode in modes))
        )
    )


def measure(
    modes: Sequence[Mode] = tuple(MODES.values()), *, kills: int = _KILLS, seed: int = 0
) -> Report:
    """So many kills of each mode. Where anything is wrong, the journals are kept, and it is said where."""
    folder = Path(tempfile.mkdtemp(prefix="killed-"))
    report = asyncio.run(_all(modes, folder, kills, seed))
    if any(killed.wrong for killed in report.modes):
        say(f"kill: the journals are in {folder}")
    else:
        shutil.rmtree(folder)
    return report


def main() -> int:
    arguments = parser("Kill batches with a journal, resume them, and look what is paid for.")
    arguments.add_argument("--kills", type=int, default=_KILLS, help="of each mode, at least")
    arguments.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    arguments.add_argument("--seed", type=int, default=0, help="of the instants")
    options = arguments.parse_args()
    modes = [MODES[name] for name in options.modes]
    report = measure(modes, kills=options.kills, seed=options.seed)
    return tell({"kill": report}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
