"""Throughput against calls in flight: a bare socket, plain aiohttp, this package, and fal-client.

Closed loops as in ``benchmarks.throughput``, with the same server, in turns: each round measures every client
once at one number of calls in flight. fal-client is measured once for each number, up to where it answers no
more than a few dozen calls a second.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Final

import attrs

from benchmarks.figures import Target, table
from benchmarks.machine import cores, open_files
from benchmarks.peers import BARE, FAL_ASYNC, FAL_CLIENT, PLAIN
from benchmarks.processes import Client, Server
from benchmarks.reporting import parser, say, tell

__all__ = ["Point", "Report", "main", "measure"]

_IN_FLIGHT: Final = (1, 4, 16, 64, 256, 1000, 4000)
_IN_TURNS: Final = (BARE, PLAIN, FAL_ASYNC)
_BEARABLE: Final = 1000


@attrs.frozen(kw_only=True)
class Point:
    """Calls a second of each client, round by round, at one number in flight."""

    in_flight: int
    rates: dict[str, list[float]]


@attrs.frozen(kw_only=True)
class Report:
    """All numbers in flight."""

    points: list[Point]

    def text(self) -> str:
        headings = ("calls/s", *(f"{point.in_flight:,}" for point in self.points))
        rows = [
            [peer, *(_shown(point.rates.get(peer, [])) for point in self.points)]
            for peer in (*_IN_TURNS, FAL_CLIENT)
        ]
        return table(headings, rows)

    def targets(self) -> list[Target]:
        return []


def _shown(rates: Sequence[float]) -> str:
    return f"{median(rates):,.0f}" if rates else "-"


def measure(*, counts: Sequence[int] = _IN_FLIGHT, rounds: int = 3) -> Report:
    """Each client that many times at each number in flight; about two minutes."""
    client_core, server_core = cores()
    most = open_files() - 500
    points = []
    with Server(server_core) as server, ExitStack() as stack:
        clients = {
            peer: stack.enter_context(Client(peer, server.url, client_core)) for peer in _IN_TURNS
        }
        for in_flight in (count for count in counts if count <= most):
            say(f"sweep: {in_flight:,} in flight")
            points.append(_point(clients, in_flight, rounds))
            if in_flight <= _BEARABLE:
                with Client(FAL_CLIENT, server.url, client_core) as client:
                    seconds = 2 + 6 * in_flight / _BEARABLE
                    done = client.round(in_flight, warm=1.5, seconds=seconds, drain=False)
                    points[-1].rates[FAL_CLIENT] = [done["calls"] / done["seconds"]]
    return Report(points=points)


def _point(clients: dict[str, Client], in_flight: int, rounds: int) -> Point:
    rates: dict[str, list[float]] = {peer: [] for peer in clients}
    warm, seconds = 0.2 + in_flight / 2000, 0.4 + in_flight / 5000
    for client in clients.values():
        client.warm_up(in_flight)
    for number in range(rounds):
        for peer in list(clients)[:: 1 if number % 2 else -1]:
            done = clients[peer].round(in_flight, warm=warm, seconds=seconds)
            count, *first = done["failures"]
            if count:
                raise RuntimeError(f"{peer}: {count} failures, the first: {first[0]}")
            rates[peer].append(done["calls"] / done["seconds"])
    return Point(in_flight=in_flight, rates=rates)


def main() -> int:
    options = parser("Throughput against calls in flight.", quick=True).parse_args()
    report = measure(counts=(1, 16, 64, 256, 1000), rounds=1) if options.quick else measure()
    return tell({"sweep": report}, as_json=options.json, quick=options.quick)


if __name__ == "__main__":
    sys.exit(main())
