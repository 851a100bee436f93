"""Bugs of a user's own model are answered as fal would, and told to whoever runs it."""

from __future__ import annotations

import pytest

from fal_async.emulator import Emulator
from tests.emulator.raw import ask, post


async def test_an_exception_is_a_500_that_is_not_charged_and_is_logged(
    emu: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    @emu.model("me/broken")
    def broken(content: object) -> object:
        return 1 / 0

    heard = await ask(emu, post("/fal.run/me/broken"))
    assert (heard.status, heard.json) == (500, {"detail": "Internal Server Error"})
    assert emu.ledger.billed() == 0
    [record] = caplog.records
    assert record.name == "fal_async.emulator"
    assert record.getMessage() == "model me/broken failed"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("output", [object(), {"when": {1, object()}}])
async def test_so_is_an_output_that_json_cannot_say(emu: Emulator, output: object) -> None:
    emu.model("me/odd")(lambda content: output)
    heard = await ask(emu, post("/fal.run/me/odd"))
    assert heard.status == 500
    assert emu.ledger.billed() == 0


async def test_so_is_a_price_that_cannot_be_told(emu: Emulator) -> None:
    emu.model("me/priceless", units=lambda content, output: output["price"])(lambda content: {})
    assert (await ask(emu, post("/fal.run/me/priceless"))).status == 500


async def test_a_bug_of_the_emulators_own_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    async with Emulator(latency="long") as emu:  # type: ignore[arg-type]
        assert (await ask(emu)).status == 500
    assert [record.getMessage() for record in caplog.records] == ["the emulator failed"]
