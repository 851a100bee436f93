"""The files of a batch's outputs: each saved once, under its name, and no failure is anybody else's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fal_async import AsyncFal, DownloadError, InputError
from fal_async.batch.naming import parse_template
from fal_async.batch.saving import Saver
from fal_async.emulator import Emulator
from tests.support.downloads import CONTENT, KEY, cut, downloader, files, served
from tests.support.fakes import VirtualClock
from tests.support.scripted_server import Script, message, say_and
from tests.support.virtual_time import turns

GONE = say_and(message(404, body=b""), "go_on")


async def save(saver: Saver, output: object, **more: Any) -> Any:
    values: dict[str, Any] = {"index": 3, "input": {"seed": 5}, "request_id": "r", "model": "a/b"}
    return await saver.save(output=output, **(values | more))


def urls(server: Script, *names: str) -> dict[str, Any]:
    return {"images": [{"url": f"{server.url}/{name}"} for name in names], "seed": 7}


async def test_every_file_of_an_output_is_saved_in_its_order(tmp_path: Path) -> None:
    template = f"{tmp_path}/new/{{index:03d}}-{{seed}}-{{n}}.{{ext}}"
    async with Script(served()) as server, downloader() as fetches:
        saved = await save(Saver(template, fetches), urls(server, "a.png", "b", "c.mp4"))
        assert all("authorization" not in request.headers for request in server.requests)
    assert [file.path.name for file in saved] == ["003-7-0.png", "003-7-1.png", "003-7-2.png"]
    assert {(file.size, file.content_type, file.error) for file in saved} == {
        (len(CONTENT), "image/png", None)
    }
    assert files(tmp_path / "new") == [file.path.name for file in saved]


async def test_an_output_without_files_saves_none_and_makes_no_folder(tmp_path: Path) -> None:
    async with downloader() as fetches:
        assert await save(Saver(tmp_path / "out", fetches), {"text": "hello"}) == ()
    assert files(tmp_path) == []


async def test_a_file_that_cannot_be_had_carries_its_error_and_the_others_are_saved(
    tmp_path: Path,
) -> None:
    async with Script(GONE, served()) as server, downloader() as fetches:
        saver = Saver(tmp_path / "out", fetches, concurrency=1)
        gone, there = await save(saver, urls(server, "a", "b"))
    assert isinstance(gone.error, DownloadError)
    assert (gone.path, gone.size, gone.error.status) == (None, None, 404)
    assert (there.path.name, there.error) == ("00003-1.png", None)


async def test_a_disk_that_fails_is_an_error_of_its_file_too(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    async with downloader() as fetches:
        [saved] = await save(Saver(f"{tmp_path}/out/", fetches), {"url": "data:image/png,x"})
    assert "what should be a folder is a file" in str(saved.error)
    assert "data:" not in repr(saved)


async def test_items_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    async with downloader() as fetches:
        saver = Saver(parse_template(f"{tmp_path}/{{seed}}.{{ext}}"), fetches)
        for content in ("a", "b", "c"):
            await save(saver, {"url": f"data:text/plain,{content}"})
    assert files(tmp_path) == ["5 (2).txt", "5 (3).txt", "5.txt"]


async def test_no_more_files_than_that_are_fetched_at_once(tmp_path: Path) -> None:
    most = 0

    async def count(wire: Any) -> bool:
        nonlocal most
        await wire.request()
        # All that may be under way are, before the first one is answered.
        await turns(50)
        most = max(most, server.begun - answered[0])
        answered[0] += 1
        await wire.say(message(body=b"x"))
        return True

    answered = [0]
    async with Script(count) as server, downloader() as fetches:
        saver = Saver(tmp_path, fetches, concurrency=3)
        await asyncio.gather(*(save(saver, urls(server, f"{i}", f"{i}b")) for i in range(5)))
    assert most == 3
    assert len(files(tmp_path)) == 10


async def test_who_cancels_finds_nothing_half_written(tmp_path: Path) -> None:
    async with Script(cut(600_000, "hold")) as server, downloader() as fetches:
        task = asyncio.create_task(save(Saver(f"{tmp_path}/", fetches), urls(server, "a", "b")))
        await server.arrival(2)
        while len(files(tmp_path)) < 2:
            await turns(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert files(tmp_path) == []


def test_what_is_no_template_is_refused_at_once() -> None:
    fetches: Any = None
    with pytest.raises(InputError, match="no field"):
        Saver("out/{}", fetches)
    with pytest.raises(InputError, match="whole number"):
        Saver("out", fetches, concurrency=0)


async def test_what_the_emulator_makes_is_saved_over_its_failures(tmp_path: Path) -> None:
    template = f"{tmp_path}/{{prompt}}.{{ext}}"
    async with (
        Emulator() as emu,
        downloader(VirtualClock()) as fetches,
        AsyncFal(KEY, hosts=emu.hosts) as fal,
    ):
        emu.faults.add("half_body", operation="download", nth=range(1, 12, 2))
        saver = Saver(template, fetches)
        prompt = {"prompt": "A cat!", "num_images": 2}
        output = await fal.run("fal-ai/fast-sdxl", prompt, expire="1h")
        for _ in range(2):
            assert all(file.error is None for file in await save(saver, output))
    assert files(tmp_path) == ["a-cat (2).jpg", "a-cat-1 (2).jpg", "a-cat-1.jpg", "a-cat.jpg"]
