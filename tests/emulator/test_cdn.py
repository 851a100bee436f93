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


FILE = bytes(range(100))


@pytest.fixture
async def file(emu: Emulator) -> str:
    @emu.model("me/file")
    def make(_: object) -> object:
        return MadeFile(FILE, "audio/wav", "wav")

    url: str = (await ask(emu, post("/fal.run/me/file"))).json["url"]
    return url


async def part(emu: Emulator, url: str, *asked: str) -> Heard:
    headers = dict(zip(("Range", "If-Range"), asked, strict=False))
    target = url.removeprefix("http://127.0.0.1")
    return await ask(emu, post(target, b"", method="GET", headers=headers))


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-", 0, 99),
        ("bytes=10-19", 10, 19),
        ("bytes=90-500", 90, 99),
        ("bytes=-7", 93, 99),
        ("bytes=-700", 0, 99),
    ],
)
async def test_a_part_of_a_file_can_be_asked_for(
    emu: Emulator, file: str, asked: str, start: int, end: int
) -> None:
    heard = await part(emu, file, asked)
    assert (heard.status, heard.body) == (206, FILE[start : end + 1])
    assert heard.header("content-range") == f"bytes {start}-{end}/100"
    assert heard.header("content-length") == str(end - start + 1)


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=-0"])
async def test_a_part_that_is_not_there_is_refused(emu: Emulator, file: str, asked: str) -> None:
    heard = await part(emu, file, asked)
    assert (heard.status, heard.header("content-range")) == (416, "bytes */100")


@pytest.mark.parametrize("asked", ["bytes=9-3", "lines=1-2", "bytes=1-2,4-5", "bytes=x", ""])
async def test_what_asks_for_no_single_part_gets_the_whole_file(
    emu: Emulator, file: str, asked: str
) -> None:
    heard = await part(emu, file, asked)
    assert (heard.status, heard.body) == (200, FILE)
    assert heard.header("accept-ranges") == "bytes"


async def test_the_rest_is_given_only_of_the_same_version_of_a_file(
    emu: Emulator, file: str
) -> None:
    etag = (await part(emu, file)).header("etag") or ""
    assert (await part(emu, file, "bytes=50-", etag)).body == FILE[50:]
    assert (await part(emu, file, "bytes=50-", '"another"')).body == FILE


async def test_a_fault_of_downloads_is_one_of_downloads_only(emu: Emulator, file: str) -> None:
    emu.faults.add("ingress_503", operation="any", nth=2)
    fault = emu.faults.add("half_body", operation="download", model="files/*.wav", times=1)
    emu.faults.add("ingress_503", operation="download", model="files/*.png")
    assert (await part(emu, file)).body == FILE[:50]
    assert (await part(emu, file)).body == FILE
    assert (emu.faults.fired(), emu.faults.fired(fault), emu.requests["download"]) == (1, 1, 2)


async def test_large_files_are_looked_at_in_a_thread(emu: Emulator) -> None:
    @emu.model("me/large")
    def large(_: object) -> object:
        return MadeFile(FILE * 20_000, "audio/wav", "wav")

    url = (await ask(emu, post("/fal.run/me/large"))).json["url"]
    assert (await part(emu, url, "bytes=1999990-")).body == FILE[-10:]
