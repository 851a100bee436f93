"""What models made is served as long as it lives, to those who may read it (PROTOCOL 4, 11)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from fal_async.emulator import Emulator, MadeFile
from tests.emulator.raw import MODEL, Heard, ask, post

pytestmark = pytest.mark.usefixtures("silent", "unheard")


async def made(emu: Emulator, preference: object = None, **content: object) -> Any:
    body = json.dumps({"prompt": "a cat", "image_size": "square"} | content).encode()
    headers = {}
    if preference is not None:
        headers["X-Fal-Object-Lifecycle-Preference"] = json.dumps(preference)
    return (await ask(emu, post(f"/fal.run/{MODEL}", body, headers=headers))).json["images"]


async def fetch(emu: Emulator, url: str, method: str = "GET") -> Heard:
    return await ask(emu, post(url.removeprefix("http://127.0.0.1"), b"", method=method))


async def test_an_image_is_a_file_and_the_same_each_time(emu: Emulator) -> None:
    [image] = await made(emu)
    first, second = await fetch(emu, image["url"]), await fetch(emu, image["url"])
    assert first.status == 200
    assert first.header("content-type") == "image/jpeg"
    assert first.body.startswith(b"\xff\xd8\xff")
    assert first.body == second.body


async def test_its_size_can_be_asked_for_alone(emu: Emulator) -> None:
    [image] = await made(emu)
    head = await fetch(emu, image["url"], "HEAD")
    assert head.body == b""
    assert int(head.header("content-length") or 0) > 1000
    assert (await fetch(emu, image["url"], "DELETE")).status == 405


async def test_what_nobody_made_is_not_there(emu: Emulator) -> None:
    heard = await fetch(emu, "/v3.fal.media/files/rabbit/nothing.png")
    assert (heard.status, heard.json) == (404, {"detail": "File not found"})


async def test_an_object_answers_until_it_expires_and_then_not(frozen: Emulator) -> None:
    [image] = await made(frozen, {"expiration_duration_seconds": 60})
    [kept] = await made(frozen)
    await frozen.advance(59.9)
    assert (await fetch(frozen, image["url"])).status == 200
    await frozen.advance(0.1)
    assert (await fetch(frozen, image["url"])).status == 404
    assert (await fetch(frozen, kept["url"])).status == 200


@pytest.mark.parametrize("seconds", [0, None])
async def test_no_seconds_are_for_ever(frozen: Emulator, seconds: int | None) -> None:
    [image] = await made(frozen, {"expiration_duration_seconds": seconds})
    await frozen.advance(1e9)
    assert (await fetch(frozen, image["url"])).status == 200


@pytest.mark.parametrize(("default", "status"), [("allow", 200), ("forbid", 403), ("hide", 404)])
async def test_a_stranger_gets_what_the_access_list_says(
    emu: Emulator, default: str, status: int
) -> None:
    rules = [{"user": "friend", "decision": "allow"}]
    [image] = await made(emu, {"initial_acl": {"default": default, "rules": rules}})
    assert (await fetch(emu, image["url"])).status == status


async def test_in_sync_mode_a_file_comes_as_its_content(emu: Emulator) -> None:
    [linked] = await made(emu, seed=1)
    [inline] = await made(emu, seed=1, sync_mode=True)
    head, _, content = inline["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(content) == (await fetch(emu, linked["url"])).body


async def test_a_users_model_makes_files_of_any_kind(emu: Emulator) -> None:
    @emu.model("me/files")
    def files(content: object) -> object:
        return {
            "whole": MadeFile(b"abc", "text/plain", "txt", fields={"file_name": "a.txt"}),
            "inline": MadeFile(b"abc", "text/plain", "txt", inline=True),
        }

    output = (await ask(emu, post("/fal.run/me/files"))).json
    assert output["whole"]["file_name"] == "a.txt"
    assert output["whole"]["url"].endswith(".txt")
    assert (await fetch(emu, output["whole"]["url"])).body == b"abc"
    assert output["inline"]["url"] == "data:text/plain;base64,YWJj"
