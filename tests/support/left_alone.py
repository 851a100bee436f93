"""Programs that do not clean up after themselves. Run as ``python -m tests.support.left_alone NAME...``.

Each must end in silence, with every warning an error: nothing may remind the user of a session he never saw.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from fal_async import AsyncFal, SessionError
from fal_async.transport import owned
from tests.support.scripted_server import MODEL, Script, answer, silence
from tests.support.virtual_time import turns

KEPT: list[object] = []
PROGRAMS: dict[str, Callable[[], None]] = {}


def program(function: Callable[[], None]) -> Callable[[], None]:
    PROGRAMS[function.__name__] = function
    return function


async def one_call(fal: AsyncFal | None = None) -> AsyncFal:
    """A call whose connection stays in the pool; the server is gone when this returns."""
    async with Script(answer()) as server:
        return await call(server, fal)


async def call(server: Script, fal: AsyncFal | None = None) -> AsyncFal:
    fal = fal or AsyncFal(hosts=server.hosts)
    assert await fal.run(MODEL, {}) == {"ok": True}
    return fal


@program
def never_used() -> None:
    KEPT.append(AsyncFal())


@program
def forgotten_at_the_end_of_the_loop() -> None:
    async def main() -> None:
        KEPT.append(await one_call())

    asyncio.run(main())


@program
def entered_and_never_left() -> None:
    async def main() -> None:
        KEPT.append(await AsyncFal().__aenter__())

    asyncio.run(main())


@program
def collected_while_the_loop_runs() -> None:
    async def main() -> None:
        async with Script(answer()) as server:
            fal = await call(server)
            session = fal._pool.session()
            fal.me = fal  # type: ignore[attr-defined]  # in a circle
            del fal
            gc.collect()
            await turns()
            assert session.closed, "not closed when it was collected"

    asyncio.run(main())


@program
def collected_after_the_loop() -> None:
    fal = asyncio.run(one_call())
    del fal
    gc.collect()


def by_hand(main: Coroutine[Any, Any, Any]) -> None:
    """Run a loop and close it without asking its generators to end."""
    loop = asyncio.new_event_loop()
    KEPT.append(loop.run_until_complete(main))
    loop.close()


@program
def loop_closed_by_hand() -> None:
    by_hand(one_call())


@program
def loop_closed_by_hand_after_the_collection() -> None:
    loop = asyncio.new_event_loop()
    fal = loop.run_until_complete(one_call())
    del fal
    gc.collect()  # the loop is asked to close the session, and never runs again
    loop.close()


@program
def loops_closed_by_hand_while_connected() -> None:
    ready, done = threading.Event(), threading.Event()
    servers: list[Script] = []

    async def serve() -> None:
        async with Script(answer()) as server:
            servers.append(server)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    ready.wait()
    fal = AsyncFal(hosts=servers[0].hosts)
    for _ in range(3):
        by_hand(call(servers[0], fal))
    done.set()
    thread.join()


@program
def loop_closed_by_hand_and_collected() -> None:
    by_hand(one_call())
    KEPT.clear()
    gc.collect()


@program
def two_loops_one_after_the_other() -> None:
    async def main(fal: AsyncFal | None, port: int = 0) -> tuple[AsyncFal, int]:
        async with Script(answer(), port=port) as server:
            return await call(server, fal), server.port

    fal, port = asyncio.run(main(None))
    for _ in range(3):
        assert asyncio.run(main(fal, port))[0] is fal
    asyncio.run(fal.close())


@program
def a_call_in_flight_at_the_end_of_the_loop() -> None:
    async def main() -> None:
        server = Script(silence())
        await server.__aenter__()
        fal = AsyncFal(hosts=server.hosts)
        KEPT.append(asyncio.create_task(fal.run(MODEL, {})))
        await server.arrival()
        server._server.close()

    asyncio.run(main())


@program
def used_in_a_thread_meanwhile() -> None:
    async def other(fal: AsyncFal) -> None:
        try:
            await fal.run(MODEL, {})
        except SessionError as error:
            KEPT.append(str(error))

    async def main() -> None:
        async with Script(answer()) as server:
            fal = await call(server)
            thread = threading.Thread(target=lambda: asyncio.run(other(fal)))
            thread.start()
            await asyncio.to_thread(thread.join)
            await call(server, fal)
            await fal.close()

    asyncio.run(main())
    assert "another event loop" in str(KEPT[-1])


@program
def forked_after_its_loop() -> None:
    async def main(fal: AsyncFal | None, port: int = 0) -> tuple[AsyncFal, int]:
        async with Script(answer(), port=port) as server:
            return await call(server, fal), server.port

    fal, port = asyncio.run(main(None))
    in_a_child(lambda: asyncio.run(main(fal, port)))
    asyncio.run(main(fal, port))


@program
def forked_from_within_its_loop() -> None:
    """The child makes connections of its own, and the parent's survive."""

    async def main() -> None:
        async with Script(answer()) as server:
            fal = await call(server)

            def child() -> None:
                async def there() -> None:
                    async with Script(answer()) as other:
                        fal._direct._base = f"{other.url}/fal.run"
                        await fal.run(MODEL, {})
                        (still_open,) = owned._open
                        assert still_open.session is fal._pool.session()
                        await fal.close()

                asyncio.run(there())

            in_a_child(child)
            await call(server, fal)
            assert [request.connection for request in server.requests] == [1, 1]
            await fal.close()

    asyncio.run(main())


def in_a_child(work: Callable[[], object]) -> None:
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            sys.stderr.write(f"in the child: {error!r}\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        KEPT.append(argument)
        PROGRAMS[argument]()
