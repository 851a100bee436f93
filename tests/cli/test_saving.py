"""What the command line adds to downloading: names, and words."""

from __future__ import annotations

from pathlib import Path

import pytest

from fal_async.cli.saving import Saver, SavingError
from fal_async.protocol.media import Media
from tests.support.downloads import CONTENT, cut, files, served
from tests.support.fakes import VirtualClock
from tests.support.scripted_server import Script, message, say_and


def saver(folder: Path, *, local: bool = True) -> Saver:
    return Saver(folder, local=local, clock=VirtualClock())


def at(server: Script, path: str = "/files/lion/cat.png") -> Media:
    return Media(path="images[0]", url=server.url + path)


async def test_a_file_is_saved_whole_under_its_own_name_and_the_next_one_numbered(
    tmp_path: Path,
) -> None:
    async with Script(served()) as server, saver(tmp_path) as saves:
        saved = await saves.save(at(server))
        again = await saves.save(at(server))
    assert (saved.path, saved.size, saved.place) == (
        tmp_path / "cat.png",
        len(CONTENT),
        "images[0]",
    )
    assert saved.path.read_bytes() == CONTENT
    assert again.path.name == "cat (2).png"


async def test_no_key_and_no_cookie_goes_to_whoever_has_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_KEY", "an-id:a-secret")
    async with Script(served(Set_Cookie="a=b")) as server, saver(tmp_path) as saves:
        await saves.save(at(server))
        await saves.save(at(server))
        sent = server.requests
    assert not any({"authorization", "cookie"} & set(request.headers) for request in sent)


async def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    names = "../../escaped.png", "/etc/escaped.png", "..\\escaped.png"
    async with Script(served()) as server, saver(folder) as saves:
        for name in names:
            await saves.save(Media(path="x", url=f"{server.url}/a", file_name=name))
        await saves.save(at(server, "/%2e%2e%2fescaped.png"))
    assert files(folder) == [
        "escaped (2).png",
        "escaped (3).png",
        "escaped (4).png",
        "escaped.png",
    ]
    assert files(tmp_path) == ["out"]


async def test_the_extension_is_what_is_served_where_the_name_has_none(tmp_path: Path) -> None:
    async with Script(served()) as server, saver(tmp_path) as saves:
        assert (await saves.save(at(server, "/"))).path.name == "images-0.png"


async def test_data_uris_are_files_too(tmp_path: Path) -> None:
    media = Media(path="images[0]", url="data:image/webp;base64,AAEC")
    async with saver(tmp_path) as saves:
        saved = await saves.save(media)
        named = await saves.save(media, "01-a-cat")
    assert (saved.path.name, saved.path.read_bytes()) == ("images-0.webp", b"\x00\x01\x02")
    assert named.path.name == "01-a-cat.webp"


async def test_a_lasting_failure_is_told_with_its_place_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    async with Script(cut(1000)) as server, saver(tmp_path) as saves:
        with pytest.raises(SavingError, match=r"^images\[0\]: .*broke off$"):
            await saves.save(at(server))
        assert len(server.requests) == 3
    assert files(tmp_path) == []


async def test_a_refusal_is_not_asked_twice(tmp_path: Path) -> None:
    gone = say_and(message(404, body=b""), "go_on")
    async with Script(gone) as server, saver(tmp_path) as saves:
        with pytest.raises(SavingError, match="404: the file is hidden, expired"):
            await saves.save(at(server))
        assert len(server.requests) == 1


async def test_an_output_of_the_real_fal_cannot_make_us_ask_this_machine(tmp_path: Path) -> None:
    async with Script(served()) as server, saver(tmp_path, local=False) as saves:
        with pytest.raises(SavingError, match="points at this machine"):
            await saves.save(at(server))
        assert server.begun == 0


async def test_a_proxy_that_is_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "socks5://user:secret@x:1")
    media = Media(path="x", url="http://files.example/a.png")
    async with saver(tmp_path) as saves:
        with pytest.raises(SavingError, match="the environment's proxy for http") as raised:
            await saves.save(media)
    assert "secret" not in str(raised.value)


async def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    media = Media(path="images[0]", url="data:image/png;base64,AAEC")
    async with saver(tmp_path / "missing") as saves:
        with pytest.raises(SavingError, match="there is no such folder"):
            await saves.save(media)
