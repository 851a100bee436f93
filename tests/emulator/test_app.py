"""One port for all of fal's hosts."""

from __future__ import annotations

import pytest

from fal_async.emulator import Emulator
from tests.emulator.raw import INPUT, ask, post

pytestmark = pytest.mark.usefixtures("silent", "unheard")


@pytest.mark.parametrize("host", ["fal.run", "FAL.RUN:443", "falrun.com"])
async def test_a_service_is_known_by_the_host_a_caller_names(emu: Emulator, host: str) -> None:
    heard = await ask(emu, post("/fal-ai/fast-sdxl", headers={"Host": host}))
    url = heard.json["images"][0]["url"]
    assert url.startswith("https://v3.fal.media/files/")
    path = url.removeprefix("https://v3.fal.media")
    for cdn in ("v3.fal.media", "v3b.fal.media"):
        assert (await ask(emu, post(path, method="GET", headers={"Host": cdn}))).status == 200


@pytest.mark.parametrize("prefix", ["fal.run", "falrun.com"])
async def test_or_by_a_prefix_that_is_its_name(emu: Emulator, prefix: str) -> None:
    heard = await ask(emu, post(f"/{prefix}/fal-ai/fast-sdxl", headers={"Host": "here:1234"}))
    url = heard.json["images"][0]["url"]
    assert url.startswith("http://here:1234/v3.fal.media/files/")
    path = url.removeprefix("http://here:1234")
    assert (await ask(emu, post(path, method="GET"))).status == 200


async def test_a_query_is_no_part_of_a_model_id(emu: Emulator) -> None:
    assert (await ask(emu, post("/fal.run/emulator/echo?a=b"))).json == INPUT


@pytest.mark.parametrize("target", ["/nothing/here", "/api.fal.ai/v1/nothing", "/fal.runaway/a/b"])
async def test_everything_else_is_not_found(emu: Emulator, target: str) -> None:
    assert (await ask(emu, post(target))).status == 404


async def test_its_own_page_says_what_it_is(emu: Emulator) -> None:
    await ask(emu)
    facts = (await ask(emu, post("/", method="GET"))).json
    assert facts["service"] == "fal-async emulator"
    assert (facts["limit"], facts["received"], facts["executed"], facts["billed"]) == (
        None,
        1,
        1,
        1,
    )
    assert "fal-ai/fast-sdxl" in facts["models"]


async def test_a_browser_gets_a_page(emu: Emulator) -> None:
    heard = await ask(emu, post("/", method="GET", headers={"Accept": "text/html"}))
    assert (heard.header("content-type") or "").startswith("text/html")
    assert b"<h1>A local fal</h1>" in heard.body


async def test_what_is_no_http_is_refused_without_a_word_in_the_log(emu: Emulator) -> None:
    assert (await ask(emu, b"\x16\x03\x01 not HTTP\r\n\r\n")).status == 400
    assert emu.received == 0


async def test_a_body_in_another_encoding_than_it_says_is_refused(emu: Emulator) -> None:
    heard = await ask(emu, post(headers={"Content-Encoding": "gzip"}))
    assert (heard.status, list(heard.json)) == (400, ["detail"])
