from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fal_async.cli.media import Media
from fal_async.cli.saving import Saver, SavingError, write_new
from tests.support.scripted_server import Act, Script, head, message, say_and

PIXELS = b"\x89PNG" + bytes(range(256)) * 2000


def picture(**headers: str) -> Act:
    return say_and(message(body=PIXELS, headers={"Content-Type": "image/png", **headers}), "go_on")


def redirect(location: str, status: int = 302) -> Act:
    return say_and(head(status, {"Location": location, "Content-Length": "0"}), "go_on")


def saver(folder: Path, *, local: bool = True) -> Saver:
    return Saver(folder, local=local, pauses=(0, 0))


def at(server: Script, path: str = "/files/lion/cat.png") -> Media:
    return Media(place="images[0]", url=server.url + path)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_file_is_saved_whole_under_its_own_name(tmp_path: Path) -> None:
    async with Script(picture()) as server, saver(tmp_path) as saves:
        saved = await saves.save(at(server))
    assert (saved.path, saved.size, saved.place) == (tmp_path / "cat.png", len(PIXELS), "images[0]")
    assert saved.path.read_bytes() == PIXELS
    assert files(tmp_path) == ["cat.png"]


async def test_no_key_and_no_cookie_goes_to_whoever_has_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_KEY", "an-id:a-secret")
    setting = picture(**{"Set-Cookie": "a=b"})
    async with Script(setting) as server, saver(tmp_path) as saves:
        await saves.save(at(server))
        await saves.save(at(server))
        sent = server.requests
    assert not any({"authorization", "cookie"} & set(request.headers) for request in sent)


async def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_text("mine")
    (tmp_path / "cat-2.png").symlink_to(tmp_path / "nowhere")
    async with Script(picture()) as server, saver(tmp_path) as saves:
        saved = await saves.save(at(server))
    assert saved.path.name == "cat-3.png"
    assert (tmp_path / "cat.png").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


async def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    media = "../../escaped.png", "/etc/escaped.png", "..\\escaped.png"
    async with Script(picture()) as server, saver(folder) as saves:
        for name in media:
            await saves.save(Media(place="x", url=f"{server.url}/a", file_name=name))
        await saves.save(at(server, "/%2e%2e%2fescaped.png"))
    assert files(folder) == ["escaped-2.png", "escaped-3.png", "escaped-4.png", "escaped.png"]
    assert files(tmp_path) == ["out"]


async def test_the_extension_is_what_is_served_where_the_name_has_none(tmp_path: Path) -> None:
    async with Script(picture()) as server, saver(tmp_path) as saves:
        assert (await saves.save(at(server, "/"))).path.name == "images-0.png"


async def test_data_uris_are_files_too(tmp_path: Path) -> None:
    async with saver(tmp_path) as saves:
        media = Media(place="images[0]", url="data:image/webp;base64,AAEC")
        saved = await saves.save(media)
        named = await saves.save(media, "01-a-cat")
    assert (saved.path.name, saved.path.read_bytes()) == ("images-0.webp", b"\x00\x01\x02")
    assert named.path.name == "01-a-cat.webp"


@pytest.mark.parametrize(
    "broken",
    [
        say_and(message(body=PIXELS)[:-1000], "finish"),
        say_and(message(body=PIXELS)[:-1000], "reset"),
        say_and(b"", "finish"),
        say_and(message(503), "go_on"),
        say_and(message(429), "go_on"),
        say_and(b"nonsense\r\n\r\n", "finish"),
    ],
    ids=["closed within", "reset within", "closed", "503", "429", "no http"],
)
async def test_a_passing_failure_is_got_over_and_leaves_nothing_behind(
    tmp_path: Path, broken: Act
) -> None:
    async with Script(broken, broken, picture()) as server, saver(tmp_path) as saves:
        saved = await saves.save(at(server))
    assert saved.path.read_bytes() == PIXELS
    assert files(tmp_path) == ["cat.png"]


async def test_a_lasting_failure_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    half = say_and(message(body=PIXELS)[:-1000], "finish")
    async with Script(half) as server, saver(tmp_path) as saves:
        with pytest.raises(SavingError, match=r"^images\[0\]: it broke off before its end$"):
            await saves.save(at(server))
        assert len(server.requests) == 3
    assert files(tmp_path) == []


@pytest.mark.parametrize(("status", "words"), [(404, "expired"), (403, "403"), (206, "206")])
async def test_a_refusal_is_not_asked_twice(tmp_path: Path, status: int, words: str) -> None:
    async with Script(say_and(message(status), "go_on")) as server, saver(tmp_path) as saves:
        with pytest.raises(SavingError, match=words):
            await saves.save(at(server))
        assert len(server.requests) == 1


async def test_redirects_are_followed_but_not_for_ever(tmp_path: Path) -> None:
    async with Script(redirect("/b.png"), picture()) as server, saver(tmp_path) as saves:
        saved = await saves.save(at(server))
        assert (saved.path.name, saved.path.read_bytes()) == ("cat.png", PIXELS)
    async with Script(redirect("/again")) as server, saver(tmp_path) as saves:
        with pytest.raises(SavingError, match="more than 5 times"):
            await saves.save(at(server))


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("file:///etc/passwd", "only http, https and data"),
        ("data:text/plain,x", "only http, https and data"),
        ("http://[broken", "something that is no URL"),
    ],
)
async def test_a_redirect_to_anything_but_http_is_not_followed(
    tmp_path: Path, location: str, words: str
) -> None:
    async with Script(redirect(location)) as server, saver(tmp_path) as saves:
        with pytest.raises(SavingError, match=words):
            await saves.save(at(server))
    assert files(tmp_path) == []


@pytest.mark.parametrize("url", ["https://[broken", "https:///a.png", "https://x.test:port/a"])
async def test_what_is_no_url_is_not_asked_for(tmp_path: Path, url: str) -> None:
    async with saver(tmp_path) as saves:
        with pytest.raises(SavingError, match="URL"):
            await saves.save(Media(place="images[0]", url=url))


async def test_an_output_of_the_real_fal_cannot_make_us_ask_this_machine(tmp_path: Path) -> None:
    async with Script(picture()) as server, saver(tmp_path, local=False) as saves:
        with pytest.raises(SavingError, match="points at this machine"):
            await saves.save(at(server))
        assert server.begun == 0


async def test_a_host_that_is_not_there_is_told_without_the_url(tmp_path: Path) -> None:
    async with Script(picture()) as server:
        gone = at(server, "/a?signature=secret")
    async with saver(tmp_path) as saves:
        with pytest.raises(SavingError, match="no connection to its host") as caught:
            await saves.save(gone)
    assert "secret" not in str(caught.value)


async def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    media = Media(place="images[0]", url="data:image/png;base64,AAEC")
    async with saver(tmp_path / "missing") as saves:
        with pytest.raises(SavingError, match="not written: No such file"):
            await saves.save(media)


def test_files_have_the_rights_that_new_files_have(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("rights are something else there")
    path = write_new(tmp_path, "a.bin", b"x")
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
