"""Files up: 1 GiB, and 500 small ones at once: ``python -m benchmarks.files``, two minutes.

Ours beside the official client and what one would write by hand over aiohttp, each in a process of its own on
one core, against a server on another that swallows bodies.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

import attrs

from benchmarks.figures import Target, ratio, table
from benchmarks.file_client import FILES, PEERS
from benchmarks.machine import cores
from benchmarks.processes import Child
from benchmarks.reporting import parser, say, tell

__all__ = ["Report", "measure"]

_GIB: Final = 1 << 30
_MIB: Final = 1 << 20
OURS, OFFICIAL, PLAIN = PEERS


@attrs.frozen
class Report:
    """Seconds, those of the processor, and peak bytes by peer: a figure for each round.

    :ivar size: bytes of the large file.
    """

    size: int
    large: dict[str, list[float]]
    cpu: dict[str, list[float]]
    peak: dict[str, list[int]]
    small: dict[str, list[float]]

    def text(self) -> str:
        rows = [
            [
                peer,
                f"{median(self.large[peer]):.2f} s",
                f"{median(self.cpu[peer]):.2f} s",
                f"{max(self.peak[peer]) / _MIB:,.0f} MiB",
                f"{median(self.small[peer]):.2f} s",
            ]
            for peer in PEERS
        ]
        by = ratio(self.large[OURS], self.large[PLAIN])
        few = ratio(self.small[OURS], self.small[PLAIN])
        return "\n".join(
            [
                table(
                    (
                        "files up",
                        f"{self.size / _GIB:g} GiB",
                        "CPU",
                        "peak memory",
                        f"{FILES} of 20 KB",
                    ),
                    rows,
                ),
                f"ours / plain aiohttp: the large one {by}, {FILES} small {few}",
            ]
        )

    def targets(self) -> list[Target]:
        large = ratio(self.large[OURS], self.large[OFFICIAL])
        small = ratio(self.small[OFFICIAL], self.small[OURS])
        peak = max(self.peak[OURS]) / 1e6
        return [
            Target("1 GiB up, time ours / fal-client", large.middle, most=0.6),
            Target("1 GiB up, peak memory of ours, MB", peak, most=150),
            Target(
                f"{FILES} files of 20 KB at once, time fal-client / ours", small.middle, least=25
            ),
        ]


def measure(*, rounds: int = 3, size: int = _GIB) -> Report:
    """Each peer in turn, round by round."""
    report = Report(size, *({peer: [] for peer in PEERS} for _ in range(4)))
    here, there = cores()
    with (
        tempfile.TemporaryDirectory() as folder,
        Child("benchmarks.file_server", core=there) as server,
    ):
        url = f"http://127.0.0.1:{int(server.read())}"
        file = Path(folder) / "large.bin"
        with file.open("wb") as opened:
            for _ in range(size // _MIB):
                opened.write(bytes(_MIB))
        for number in range(rounds):
            for peer in PEERS:
                say(f"round {number + 1} of {rounds}: {peer}")
                done = _run(peer, url, "--file", str(file), core=here)
                report.large[peer].append(done["seconds"])
                report.cpu[peer].append(done["cpu"])
                report.peak[peer].append(done["peak"] or 0)
                report.small[peer].append(_run(peer, url, core=here)["seconds"])
    return report


def _run(peer: str, url: str, *more: str, core: int | None) -> dict[str, Any]:
    with Child("benchmarks.file_client", peer, url, *more, core=core) as client:
        result: dict[str, Any] = json.loads(client.read())
        return result


if __name__ == "__main__":
    options = parser("Files up.", quick=True).parse_args()
    report = measure(rounds=1, size=_GIB // 8) if options.quick else measure()
    sys.exit(tell({"files": report}, as_json=options.json, quick=options.quick))
