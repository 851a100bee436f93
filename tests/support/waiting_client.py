"""A program that waits for a request, to be killed while it does.

``python -m tests.support.waiting_client URL MODEL`` prints the handle as JSON as soon as it has it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from fal_async import AsyncFal, Hosts, RequestHandle


def tell(handle: RequestHandle) -> None:
    sys.stdout.write(json.dumps(handle.to_dict()) + "\n")
    sys.stdout.flush()


async def main(url: str, model: str) -> None:
    async with AsyncFal("a-key:its-secret", hosts=Hosts.local(url)) as fal:
        output = await fal.run(model, {"prompt": "a cat"}, durable=True, on_submitted=tell)
        sys.stdout.write(json.dumps({"output": output}) + "\n")


if __name__ == "__main__":
    # A shell has what it starts in the background, the suite too, ignore Ctrl-C, and that is handed down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.run(main(*sys.argv[1:]))
