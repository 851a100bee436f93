"""Calls per second and memory, side by side: a bare socket, plain aiohttp, the official client, this package.

A bare server answers in a process of its own on a core of its own (``benchmarks.server``). Each client has a
process, too (``benchmarks.client``); all share the other core and take turns: every round measures each of
them once, in changing order, and only what was measured in the same round is divided by each other. So a
ratio is steadier than the rates it is made of.

* 64 and 1,000 calls in flight: a closed loop, each call answered at once. Calls per second of wall time.
* 10,000 calls that the server answers after a second, all begun at once, by fresh processes: the most that
  the server was answering at once, the time until all were answered, memory per call (what the process's
  resident memory grew by at its peak, divided by the calls).

fal-client is measured fewer times, since nothing near its figures depends on it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any, Final

import attrs

from benchmarks.figures import Ratio, Target, ratio, table
from benchmarks.machine import cores, open_files
from benchmarks.peers import BARE, FAL_ASYNC, FAL_CLIENT, PLAIN, TYPED, UNBRAKED
from benchmarks.processes import Client, Server
from benchmarks.reporting import parser, say, tell

__all__ = ["Report", "main", "measure"]

_IN_TURNS: Final = (BARE, PLAIN, FAL_ASYNC, TYPED)
_WAVE: Final = 10_000
_SETS: Final = 3
_ROUNDS: Final = 5


@attrs.frozen
class Loops:
    """A closed loop, all its rounds: calls per second and CPU seconds per call."""

    in_flight: int
    rates: dict[str, list[float]]
    cpu: dict[str, list[float]]

    def of(self, other: str, peer: str) -> Ratio | None:
        """The peer's rate by the other's; None where they were not measured in the same rounds."""
        rates, theirs = self.rates[peer], self.rates[other]
        return ratio(rates, theirs) if len(rates) == len(theirs) else None

    def of_plain(self, peer: str) -> Ratio | None:
        return self.of(PLAIN, peer)

    def of_fal_client(self, peer: str) -> float:
        return median(self.rates[peer]) / median(self.rates[FAL_CLIENT])

    def rows(self) -> list[list[str]]:
        shown = []
        for peer, rates in self.rates.items():
            shown.append(
                [
                    f"{self.in_flight:,} in flight: {peer}",
                    f"{median(rates):,.0f}",
                    f"{median(self.cpu[peer]) * 1e6:,.0f}",
                    self._shown(PLAIN, peer),
                    self._shown(BARE, peer),
                    f"{self.of_fal_client(peer):,.0f}",
                ]
            )
        return shown

    def _shown(self, other: str, peer: str) -> str:
        of_other = self.of(other, peer)
        if of_other is None:
            return f"{median(self.rates[peer]) / median(self.rates[other]):.3f}"
        return str(of_other)


def _lists() -> dict[str, list[Any]]:
    return {PLAIN: [], UNBRAKED: []}


@attrs.frozen
class Waves:
    """Many calls of a second at once, several times each."""

    calls: int
    seconds: dict[str, list[float]] = attrs.field(factory=_lists)
    cpu: dict[str, list[float]] = attrs.field(factory=_lists)
    peak: dict[str, list[int]] = attrs.field(factory=_lists)
    answered: dict[str, list[int]] = attrs.field(factory=_lists)
    bytes_per_call: dict[str, list[float]] = attrs.field(factory=_lists)

    def rows(self) -> list[list[str]]:
        return [
            [
                f"{self.calls:,} calls of 1 s: {peer}",
                f"{min(self.answered[peer]):,}",
                f"{min(self.peak[peer]):,}",
                f"{median(seconds):.2f}",
                f"{median(self.cpu[peer]):.2f}",
                f"{median(memory) / 1000:.1f}" if (memory := self.bytes_per_call[peer]) else "?",
            ]
            for peer, seconds in self.seconds.items()
        ]


@attrs.frozen
class Report:
    """All that was measured."""

    loops: list[Loops]
    waves: Waves

    def targets(self) -> list[Target]:
        found = []
        for loops, times, share in zip(self.loops, (20, 150), (1.0, 0.95), strict=True):
            where = f"{loops.in_flight:,} in flight"
            plain, typed = loops.of_plain(FAL_ASYNC), loops.of_plain(TYPED)
            assert plain is not None
            assert typed is not None
            found += [
                Target(f"{where}: times fal-client", loops.of_fal_client(FAL_ASYNC), least=times),
                Target(f"{where}: of plain aiohttp", plain.middle, least=share),
                Target(f"{where}: of plain aiohttp, result_type", typed.middle, least=0.9),
            ]
        waves, at_once = self.waves, f"{self.waves.calls:,} calls of 1 s"
        seconds = ratio(waves.seconds[UNBRAKED], waves.seconds[PLAIN])
        found += [
            Target(f"{at_once}: at once", min(waves.peak[UNBRAKED]), least=0.99 * waves.calls),
            Target(f"{at_once}: answered", min(waves.answered[UNBRAKED]), least=waves.calls),
            Target(f"{at_once}: plain aiohttp's time", seconds.middle, most=1.2),
        ]
        memory = waves.bytes_per_call
        if memory[UNBRAKED]:
            more = median(memory[UNBRAKED]) - median(memory[PLAIN])
            found.append(Target(f"{at_once}: more KB a call", more / 1000, most=5))
        return found

    def text(self) -> str:
        headings = (
            "",
            "calls/s",
            "CPU us/call",
            "of plain aiohttp",
            "of a bare socket",
            "times fal-client",
        )
        loops = table(headings, [row for loops in self.loops for row in loops.rows()])
        waves = table(("", "answered", "at once", "seconds", "CPU s", "KB/call"), self.waves.rows())
        return f"{loops}\n\n{waves}"


# --- measuring --------------------------------------------------------------------------------------


def _checked(result: dict[str, Any], peer: str) -> dict[str, Any]:
    count, *first = result["failures"]
    if count:
        raise RuntimeError(f"{count} calls of {peer} failed; the first: {first[0]}")
    return result


def _loops(in_flight: int, sets: int, rounds: int, *, warm: float, seconds: float) -> Loops:
    """Three sets of processes, since how fast one is depends a little on how its memory came to lie."""
    client_core, server_core = cores()
    rates: dict[str, list[float]] = {
        peer: [] for peer in (BARE, PLAIN, FAL_CLIENT, FAL_ASYNC, TYPED)
    }
    cpu: dict[str, list[float]] = {peer: [] for peer in rates}

    def note(peer: str, result: dict[str, Any]) -> None:
        result = _checked(result, peer)
        rates[peer].append(result["calls"] / result["seconds"])
        cpu[peer].append(result["cpu"] / max(result["calls"], 1))

    with Server(server_core) as server:
        for _ in range(sets):
            with ExitStack() as stack:
                clients = {
                    peer: stack.enter_context(Client(peer, server.url, client_core))
                    for peer in _IN_TURNS
                }
                for client in clients.values():
                    client.warm_up(in_flight)
                for number in range(rounds):
                    for peer in _turn(_IN_TURNS, number):
                        note(peer, clients[peer].round(in_flight, warm=warm, seconds=seconds))
        # At 1,000 in flight it takes half a minute to come to an end, so it does not get to.
        with Client(FAL_CLIENT, server.url, client_core) as client:
            note(FAL_CLIENT, client.round(in_flight, warm=2, seconds=8, drain=False))
    return Loops(in_flight, rates, cpu)


def _turn(peers: Sequence[str], number: int) -> Sequence[str]:
    return peers if number % 2 else peers[::-1]


def _waves(calls: int, rounds: int) -> Waves:
    client_core, server_core = cores()
    waves = Waves(calls)
    for number in range(rounds):
        for peer in _turn((PLAIN, UNBRAKED), number):
            # A server each: ports that the wave before has used up are of no consequence.
            with Server(server_core) as server, Client(peer, server.url, client_core) as client:
                result = _checked(client.wave(calls), peer)
                waves.seconds[peer].append(result["seconds"])
                waves.cpu[peer].append(result["cpu"])
                waves.answered[peer].append(result["calls"])
                waves.peak[peer].append(server.peak())
                if result["bytes_per_call"] is not None:
                    waves.bytes_per_call[peer].append(result["bytes_per_call"])
    return waves


def measure(*, quick: bool = False) -> Report:
    """Measure everything, each client five times in each of three processes; about four minutes."""
    sets, rounds = (1, 2) if quick else (_SETS, _ROUNDS)
    loops = []
    for in_flight, warm, seconds in ((64, 0.2, 0.4), (1000, 0.7, 0.6)):
        say(f"throughput: {in_flight:,} in flight, {sets} times {rounds} rounds")
        loops.append(_loops(in_flight, sets, rounds, warm=warm, seconds=seconds))
    # Each connection is an open file, at both ends.
    calls = min(_WAVE // 10 if quick else _WAVE, open_files() - 500)
    say(f"throughput: {calls:,} calls of a second at once")
    return Report(loops, _waves(calls, (rounds + 1) // 2))


def main() -> int:
    made = parser("Throughput beside a bare socket, plain aiohttp and fal-client.", quick=True)
    made.add_argument("--name", default="throughput", help="in FILE, such as throughput-3.13")
    options = made.parse_args()
    report = measure(quick=options.quick)
    return tell({options.name: report}, as_json=options.json, quick=options.quick)


if __name__ == "__main__":
    sys.exit(main())
