"""The program that is killed: ``python -m tests.support.killing.program``. Spoken with in lines of JSON.

Each order is carried out in a fork of this process, which has imported all by then: a run begins within
milliseconds, and a kill may meet it anywhere. It has one loop, one session and one map, as any program
that was started by hand.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import select
import sys
import traceback
from typing import Any

from fal_async import AsyncFal, Failed, Hosts, Outcome, Reconcile


def say(word: str, **facts: Any) -> None:
    """One write, which is with the parent before anything else happens here. Short ones are taken whole."""
    line = json.dumps({"say": word, **facts}).encode() + b"\n"
    assert len(line) <= select.PIPE_BUF
    os.write(1, line)


def told(outcome: Outcome[Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "index": outcome.index,
        "request_id": outcome.request_id,
        "billing": outcome.billing.value,
        "replayed": outcome.replayed,
    }
    if isinstance(outcome, Failed):
        return {**facts, "error": type(outcome.error).__name__, "what": str(outcome.error)[:100]}
    text = json.dumps(outcome.output, sort_keys=True)
    return {**facts, "output": hashlib.sha256(text.encode()).hexdigest()}


async def run(order: dict[str, Any]) -> None:
    """One run over the journal.

    :param order: ``url``, ``model``, ``inputs``, ``options`` of the map; ``leave_after`` so many outcomes
        that are new, or null; ``reconcile`` for ``in_doubt``, or null.
    """
    options = order["options"]
    if order["reconcile"] is not None:
        options["in_doubt"] = Reconcile(**order["reconcile"])
    left = order["leave_after"]
    say("opening")
    async with (
        AsyncFal(hosts=Hosts.local(order["url"]), limit=order["limit"]) as fal,
        fal.map(order["model"], order["inputs"], **options) as outcomes,
    ):
        say("open")
        async for outcome in outcomes:
            say("outcome", **told(outcome))
            if left is not None and not outcome.replayed:
                left -= 1
                if left <= 0:
                    say("closing", whole=False)
                    break
        else:
            say("closing", whole=True)
    say("closed")


def carry_out(order: dict[str, Any]) -> int:
    """In the fork: the run, and its exit status."""
    try:
        asyncio.run(run(order))
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """Carry out orders, until there are no more. A run that has ended stays to be killed until told."""
    say("ready")
    while line := sys.stdin.readline():
        order = json.loads(line)
        child = os.fork()
        if not child:
            status = carry_out(order)
            sys.stderr.flush()
            os._exit(status)
        say("begun", pid=child)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        say(
            "over"
        )  # its number is its own until it is waited for: nobody else is killed by mistake
        sys.stdin.readline()
        _, status = os.waitpid(child, 0)
        say("ended", status=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
