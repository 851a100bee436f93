"""Files up, down and into a call, against the emulated service as a user would."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import cattrs
import pytest

from fal_async import (
    AsyncFal,
    DownloadError,
    File,
    Image,
    ImageOutput,
    InitialAcl,
    InputError,
    SessionError,
    default_converter,
)
from fal_async.emulator import Emulator, Fault, StorageSettings
from fal_async.features.uploading import Uploader
from fal_async.policy.patience import Patience
from fal_async.transport.clock import LoopClock
from tests.support.downloads import CONTENT, cut, files, served
from tests.support.scripted_server import Script
from tests.support.scripted_server import answer as says

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)
PART = 1 << 20


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    strict = StorageSettings(sorted_parts=True, keyless_urls=True)
    async with Emulator(storage=strict) as emulator:
        yield emulator


@pytest.fixture
async def fal(emulator: Emulator) -> AsyncIterator[AsyncFal]:
    async with AsyncFal(hosts=emulator.hosts) as fal:
        yield fal


def in_small_parts(fal: AsyncFal) -> Uploader:
    """An uploader of the same session for which two megabytes are many."""
    stack = fal._stack
    return Uploader(
        stack.plain,
        stack.signed,
        stack.free,
        fal.hosts,
        LoopClock(),
        lambda: 0.0,
        part_size=PART,
        parts_above=2 * PART,
        patience=Patience(tries=5, budget=60.0, longest=0.001),
    )


LARGE = bytes(range(256)) * (5 * PART // 256) + b"end"


# --- up -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", PNG, LARGE], ids=["empty", "small", "large"])
async def test_what_went_up_comes_down_byte_for_byte(
    emulator: Emulator, fal: AsyncFal, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a cat.png").write_bytes(content)
    file = await in_small_parts(fal).upload(tmp_path / "a cat.png", expire="1h")
    assert await fal.read(file) == content
    stored = emulator.storage[file.url]
    assert stored.content_type == "image/png"
    assert file.file_size == len(content)
    assert emulator.storage.unfinished == ()


KINDS = {"ingress_503": 6, "reset_midway": 6, "token_expired": 1, "no_etag": 6}


@pytest.mark.parametrize("kind", KINDS)
async def test_faults_anywhere_in_the_storage_are_got_over(
    emulator: Emulator, fal: AsyncFal, kind: str
) -> None:
    emulator.faults.add(Fault(kind, operation="storage", probability=0.3, times=KINDS[kind]))
    uploads = in_small_parts(fal)
    for content in (PNG, LARGE):
        file = await uploads.upload(content)
        assert await fal.read(file) == content


async def test_without_the_cdn_files_go_by_presigned_urls(
    emulator: Emulator, fal: AsyncFal
) -> None:
    emulator.faults.add(Fault("ingress_503", operation="token"))
    uploads = in_small_parts(fal)
    for content in (PNG, LARGE):
        file = await uploads.upload(content)
        assert await fal.read(file) == content
    assert {"initiate", "put"} <= emulator.requests.keys()


# --- into a call ----------------------------------------------------------------------------------------


@attrs.frozen
class Edit:
    prompt: str
    image: File
    others: list[File] = attrs.field(factory=list)
    mask: File | None = None


async def test_a_file_in_an_input_is_its_url_wherever_it_stands(
    emulator: Emulator, fal: AsyncFal
) -> None:
    file = await fal.upload(PNG)
    image = Image(url="https://example.com/a.png", width=512)
    plain = {"image_url": file, "images": [file, image], "deep": {"x": (image,)}}
    sent = await fal.run("emulator/request", plain)
    assert sent["input"] == {
        "image_url": file.url,
        "images": [file.url, image.url],
        "deep": {"x": [image.url]},
    }
    sent = await fal.run("emulator/request", Edit("a cat", file, [image], image))
    assert sent["input"] == {
        "prompt": "a cat",
        "image": file.url,
        "others": [image.url],
        "mask": image.url,
    }


async def test_it_is_so_with_a_converter_of_the_callers_own() -> None:
    async with (
        Emulator() as emulator,
        AsyncFal(hosts=emulator.hosts, converter=cattrs.Converter()) as fal,
    ):
        sent = await fal.run("emulator/request", {"image": Image(url="https://a/b.png")})
    assert sent["input"] == {"image": "https://a/b.png"}
    assert default_converter().unstructure(File(url="https://a")) == "https://a"


# --- down -----------------------------------------------------------------------------------------------


async def test_a_file_is_fetched_however_it_is_named(
    emulator: Emulator, fal: AsyncFal, tmp_path: Path
) -> None:
    output = await fal.run("fal-ai/fast-sdxl", {"prompt": "a cat"})
    shown = output["images"][0]
    content = await fal.read(shown["url"])
    for number, one in enumerate([shown["url"], shown, File(url=shown["url"])]):
        done = await fal.download(one, tmp_path / f"{number}.jpg")
        assert done.path == tmp_path / f"{number}.jpg"
        assert done.path.read_bytes() == await fal.read(one) == content
    again = await fal.download(shown["url"], str(tmp_path / "0.jpg"))
    assert again.path == tmp_path / "0 (2).jpg"


async def test_into_a_folder_a_file_goes_under_its_own_name(fal: AsyncFal, tmp_path: Path) -> None:
    file = await fal.upload(PNG, file_name="../Kätzchen 猫.png")
    there = await fal.download(file, tmp_path)
    made = await fal.download(file, f"{tmp_path}/new/")
    assert (there.path.parent, made.path.parent) == (tmp_path, tmp_path / "new")
    assert there.path.name == "Kätzchen 猫.png"
    uri = "data:image/png;base64,AAEC"
    assert (await fal.download(uri, tmp_path)).path == tmp_path / "file.png"
    assert await fal.read(uri) == b"\0\1\2"


@pytest.mark.parametrize("result_type", [None, ImageOutput])
async def test_of_an_output_every_file_is_fetched(
    fal: AsyncFal, tmp_path: Path, result_type: Any
) -> None:
    three = {"prompt": "a cat", "num_images": 3}
    output = await fal.run("fal-ai/fast-sdxl", three, result_type=result_type)
    done = await fal.download(output, tmp_path / "out")
    assert len(done) == 3
    assert files(tmp_path / "out") == sorted(one.path.name for one in done)
    images = output["images"] if result_type is None else output.images
    assert len(await fal.download(images, tmp_path / "again")) == 3
    detailed = await fal.run_detailed("fal-ai/fast-sdxl", three)
    assert len(await fal.download(detailed, tmp_path / "third")) == 3  # type: ignore[arg-type]


async def test_one_file_that_fails_ends_the_fetching_of_the_others(tmp_path: Path) -> None:
    async with Script(says(404)) as server, AsyncFal(hosts=server.hosts) as fal:
        output = {"images": [{"url": f"{server.url}/{n}.png"} for n in range(3)]}
        with pytest.raises(DownloadError) as raised:
            await fal.download(output, tmp_path)
    assert raised.value.status == 404
    assert files(tmp_path) == []


async def test_what_holds_no_file_cannot_be_fetched(fal: AsyncFal, tmp_path: Path) -> None:
    for what in ({"text": "a cat"}, [], None, 7):
        with pytest.raises(InputError, match="no file in it"):
            await fal.download(what, tmp_path)
        with pytest.raises(InputError, match="read takes one file"):
            await fal.read(what)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one file"):
        await fal.download([], io.BytesIO())  # type: ignore[call-overload]
    with pytest.raises(InputError, match="to is a path"):
        await fal.download("https://a/b", 7)  # type: ignore[call-overload]
    with pytest.raises(DownloadError, match="only http"):
        await fal.download("cat.png", tmp_path)


@pytest.mark.parametrize(("acl", "status"), [("forbid", 403), ("hide", 404)])
async def test_what_is_not_for_everybody_is_told(
    fal: AsyncFal, tmp_path: Path, acl: Any, status: int
) -> None:
    file = await fal.upload(PNG, acl=InitialAcl(acl))
    with pytest.raises(DownloadError) as raised:
        await fal.download(file, tmp_path / "x.png")
    assert raised.value.status == status
    assert files(tmp_path) == []


async def test_what_has_expired_is_told(tmp_path: Path) -> None:
    async with Emulator(clock="virtual") as emulator, AsyncFal(hosts=emulator.hosts) as fal:
        file = await fal.upload(PNG, expire=60)
        assert await fal.read(file) == PNG
        await emulator.advance(60)
        with pytest.raises(DownloadError, match="expired"):
            await fal.download(file, tmp_path / "x.png")


async def test_neither_key_nor_token_goes_along_with_a_download(tmp_path: Path) -> None:
    async with Script(served()) as server, AsyncFal("id:secret", hosts=server.hosts) as fal:
        # Even under the prefix of a host that is given the key.
        await fal.download(f"{server.url}/fal.run/files/cat.png", tmp_path / "a.png")
        await fal.read(f"{server.url}/rest.fal.ai/x")
    assert all("authorization" not in asked.headers for asked in server.requests)


# --- into an open file ----------------------------------------------------------------------------------


async def test_a_file_is_written_to_an_open_one(tmp_path: Path) -> None:
    class Async(io.BytesIO):
        async def write(self, data: Any) -> None:  # type: ignore[override]
            super().write(data)

    class Reluctant(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(data[:1000])

    for kind in (io.BytesIO, Async, Reluctant):
        # Broken off once: gone on with, or begun again where the server does not give the rest.
        for first in (cut(300_000), cut(300_000, ETag="W/weak")):
            async with Script(first, served()) as server, AsyncFal(hosts=server.hosts) as fal:
                file = kind(b"before")
                file.seek(6)
                assert await fal.download(f"{server.url}/a", file) == len(CONTENT)
                assert file.getvalue() == b"before" + CONTENT
        async with AsyncFal(proxies=None) as fal:
            file = kind()
            assert await fal.download("data:,abc", file) == 3


async def test_what_cannot_be_taken_back_is_told() -> None:
    class Pipe:
        def write(self, data: Any) -> None: ...

    async with (
        Script(cut(300_000, ETag="W/weak"), served()) as server,
        AsyncFal(hosts=server.hosts) as fal,
    ):
        with pytest.raises(DownloadError, match="cannot be taken back"):
            await fal.download(f"{server.url}/a", Pipe())  # type: ignore[call-overload]


async def test_an_open_file_that_takes_nothing_is_told(tmp_path: Path) -> None:
    class Full:
        def write(self, data: Any) -> None:
            raise OSError(28, "No space left on device")

    async with Script(served()) as server, AsyncFal(hosts=server.hosts) as fal:
        with pytest.raises(DownloadError, match="the disk is full"):
            await fal.download(f"{server.url}/a", Full())  # type: ignore[call-overload]


# --- the session ----------------------------------------------------------------------------------------


async def test_closing_the_session_ends_downloads(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with Script(says(go=go)) as server, AsyncFal(hosts=server.hosts) as fal:
        download = asyncio.ensure_future(fal.download(f"{server.url}/a", tmp_path / "a"))
        await server.arrival()
        await fal.close()
        with pytest.raises(SessionError):
            await download
        assert files(tmp_path) == []
        with pytest.raises(SessionError):
            await fal.read("data:,x")
