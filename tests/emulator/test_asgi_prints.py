"""What a mounted application prints is in the logs of the request that it works on (PROTOCOL 6.2)."""

# ruff: noqa: T201 - it is printing that is tested

from __future__ import annotations

import asyncio
import sys
from io import StringIO

import pytest

from fal_async.emulator import Emulator, asgi_model
from fal_async.session import AsyncFal
from tests.emulator.asgi_apps import ID, App, Gate, Given, call

pytestmark = pytest.mark.usefixtures("unheard")


async def logs(emu: Emulator, path: str = "") -> list[tuple[str, str | None]]:
    """Of a queued request, when it has ended."""
    async with AsyncFal(hosts=emu.hosts) as fal:
        handle = await fal.submit(f"{ID}{path}", {})
        await handle.result()
    return [(line.message, line.level) for line in emu.queue.request(handle.request_id).logs]


async def talk(given: Given) -> None:
    print("one", "two")
    print("half a line,", end=" ")
    await asyncio.to_thread(print, "and half from a thread", flush=True)
    print("ill", file=sys.stderr)
    sys.stdout.writelines(["a\n", "b\n"])
    print("never ended", end="")
    await given.answer(sys.stdout.isatty())


async def test_each_line_is_one_of_the_requests_and_is_printed_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with Emulator(models=[asgi_model(ID, App(root=talk), prints=True)]) as emu:
        assert await logs(emu) == [
            ("one two", "STDOUT"),
            ("half a line, and half from a thread", "STDOUT"),
            ("ill", "STDERR"),
            ("a", "STDOUT"),
            ("b", "STDOUT"),
        ]
    said = capsys.readouterr()
    assert said.out == "one two\nhalf a line, and half from a thread\na\nb\nnever ended"
    assert said.err == "ill\n"


async def test_calls_at_the_same_time_have_each_their_own() -> None:
    gates = {"/a": Gate(), "/b": Gate()}

    async def talk(given: Given) -> None:
        print("first of", given.path)
        await gates[given.path].wait()
        print("last of", given.path)
        await given.answer(1)

    async with Emulator(models=[asgi_model(ID, App(a=talk, b=talk), prints=True)]) as emu:
        waiting = [asyncio.ensure_future(logs(emu, path)) for path in gates]
        for gate in gates.values():
            await gate.reached()
        print("of nobody")
        for gate in gates.values():
            gate.open()
        for path, found in zip(gates, await asyncio.gather(*waiting), strict=True):
            assert [message for message, _ in found] == [f"first of {path}", f"last of {path}"]


async def test_without_being_asked_for_it_nothing_is_replaced() -> None:
    seen: list[object] = []

    async def look(given: Given) -> None:
        seen.append(sys.stdout)
        print("unheard")
        await given.answer(1)

    async with Emulator(models=[asgi_model(ID, App(root=look))]) as emu:
        assert await logs(emu) == []
    assert seen == [sys.stdout]


async def test_what_was_there_before_is_there_afterwards_unless_others_have_replaced_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = asgi_model(ID, App(root=talk), prints=True)
    before = sys.stdout
    async with Emulator(models=[model]) as emu:
        assert (await call(emu)).status == 200
        assert sys.stdout is not before
    assert sys.stdout is before
    async with Emulator(models=[model]) as emu:
        await call(emu)
        others = StringIO()
        monkeypatch.setattr(sys, "stdout", others)
        monkeypatch.setattr(sys, "stderr", None)
        assert await logs(emu) != []
        assert others.getvalue().startswith("one two")
        monkeypatch.undo()
        await call(emu)
    assert sys.stdout is before
