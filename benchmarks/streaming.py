"""``AsyncFal.stream``: how soon an event is with its consumer, and how many a second, against fal-client.

* 400 events, one every five milliseconds: from the moment the server writes one to the moment the consumer
  has it. The way through the kernel is in it.
* 200,000 events as fast as they are taken in: by fal-client's ``stream``, by ours and by ours with a
  ``result_type``, in turns, each in a process on one core, the server on the other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from statistics import median, quantiles
from typing import Final

import attrs

from benchmarks.figures import Target, ratio, table
from benchmarks.machine import cores
from benchmarks.peers import FAL_ASYNC, FAL_CLIENT, TYPED
from benchmarks.processes import Child
from benchmarks.reporting import parser, say, tell

__all__ = ["Report", "measure"]

_PEERS: Final = (FAL_CLIENT, FAL_ASYNC, TYPED)


@attrs.frozen(kw_only=True)
class Report:
    """Events a second of each turn, and milliseconds from writing to having."""

    rates: Mapping[str, list[float]]
    late: Mapping[str, list[float]]

    def text(self) -> str:
        """The figures, for people."""
        theirs = self.rates[FAL_CLIENT]
        fast = [
            [name, f"{median(rates):,.0f}", "" if rates is theirs else str(ratio(rates, theirs))]
            for name, rates in self.rates.items()
        ]
        paced = [
            [name, f"{median(late):.2f}", f"{quantiles(late, n=100)[98]:.2f}"]
            for name, late in self.late.items()
        ]
        return "\n\n".join(
            (
                table(("fast stream", "events/s", "by fal-client's"), fast),
                table(("from writing to having", "median ms", "99 % ms"), paced),
            )
        )

    def targets(self) -> list[Target]:
        """What is to be reached, and what was."""
        faster = ratio(self.rates[FAL_ASYNC], self.rates[FAL_CLIENT]).middle
        return [
            Target("events a second, by fal-client's", faster, least=2),
            Target("an event is passed on, median ms", median(self.late[FAL_ASYNC]), most=2),
        ]


def measure(turns: int = 7) -> Report:
    """All of it."""
    ours, servers = cores()
    rates: dict[str, list[float]] = {name: [] for name in _PEERS}
    late: dict[str, list[float]] = {name: [] for name in (FAL_CLIENT, FAL_ASYNC)}
    with ExitStack() as stack:
        server = stack.enter_context(Child("benchmarks.event_server", core=servers))
        url = f"http://127.0.0.1:{int(server.read())}"
        clients = {}
        for name in _PEERS:
            clients[name] = stack.enter_context(
                Child("benchmarks.event_client", name, url, core=ours)
            )
            clients[name].read()
        for turn in range(turns):
            say(f"streaming: turn {turn + 1} of {turns}")
            for name, client in clients.items():
                client.write("fast")
                done = json.loads(client.read())
                rates[name].append(done["events"] / done["seconds"])
        for name in late:
            clients[name].write("paced")
            late[name] = json.loads(clients[name].read())["late"]
    return Report(rates=rates, late=late)


if __name__ == "__main__":
    options = parser("Streams of events.", quick=True).parse_args()
    report = measure(turns=1) if options.quick else measure()
    sys.exit(tell({"streaming": report}, as_json=options.json, quick=options.quick))
