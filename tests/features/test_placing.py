"""Files inside an input go up by themselves, each once, and their URLs take their places."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import attrs
import pytest

from fal_async import AsyncFal, Billing, File, InDoubtError, InputError
from fal_async.emulator import Emulator, Fault, Model
from fal_async.features.placing import Placing
from fal_async.features.spotting import has_files

MODEL = "owner/app"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture
async def emu() -> Any:
    async with Emulator() as emulator:
        emulator.register(Model(id=MODEL, function=lambda content: content))
        yield emulator


@pytest.fixture
async def fal(emu: Emulator) -> Any:
    async with AsyncFal(hosts=emu.hosts) as session:
        yield session


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    return path


@attrs.frozen
class Input:
    image_url: Any
    strength: float = 0.5


@dataclasses.dataclass
class Data:
    images: list[Any]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": 1, "b": [None, "x.png", 2.5, True]}, False),
        ({"a": Path("x")}, True),
        ({"a": [{"b": (1, Path("x"))}]}, True),
        ({"a": File.local(b"x")}, True),
        (Input(Path("x")), True),
        (Input("x"), False),
        (Data([Path("x")]), True),
        ({"a": Input(Path("x"))}, True),
        ({"a": File(url="https://x.test/y")}, False),
        ({"a": object()}, False),
        (Path("x"), True),
        (3, False),
    ],
)
def test_a_file_is_found_wherever_it_stands_and_a_string_is_none(value: Any, found: bool) -> None:
    assert has_files(value) is found


async def test_a_path_anywhere_in_an_input_is_uploaded_and_replaced(
    emu: Emulator, fal: AsyncFal, photo: Path
) -> None:
    other = photo.with_name("other.png")
    other.write_bytes(PNG + b"!")
    given = {"image_url": photo, "more": [{"url": other}, (photo,)], "name": "photo.png"}
    output = await fal.run(MODEL, given)
    assert output["name"] == "photo.png"
    assert output["image_url"] == output["more"][1][0]
    assert await fal.read(output["image_url"]) == PNG
    assert await fal.read(output["more"][0]["url"]) == PNG + b"!"
    assert given["image_url"] is photo  # the caller's own is left alone


async def test_it_goes_up_from_the_callers_own_types_too(fal: AsyncFal, photo: Path) -> None:
    for given in (Input(photo), {"image_url": File.local(PNG, content_type="image/png")}):
        assert await fal.read((await fal.run(MODEL, given))["image_url"]) == PNG
    assert await fal.read((await fal.run(MODEL, Data([photo])))["images"][0]) == PNG


async def test_every_way_to_call_takes_files(emu: Emulator, fal: AsyncFal, photo: Path) -> None:
    given = {"image_url": photo}
    detailed = await fal.run_detailed(MODEL, given)
    handle = await fal.submit(MODEL, given)
    outputs = [
        detailed.output,
        await handle.result(),
        await fal.subscribe(MODEL, given),
        await fal.run(MODEL, given, durable=True),
        *[outcome.output for outcome in await fal.map(MODEL, [given, given]).collect()],  # type: ignore[union-attr]
    ]
    assert len({output["image_url"] for output in outputs}) == 1
    assert emu.requests["upload"] == 1


async def test_a_stream_takes_files_as_well(emu: Emulator, fal: AsyncFal, photo: Path) -> None:
    async with fal.stream("fal-ai/any-llm", {"prompt": "look", "image_url": photo}) as events:
        assert [event async for event in events]
    assert emu.requests["upload"] == 1
    with pytest.raises(InputError, match="model"):
        fal.stream("no model id", {"image_url": photo})


async def test_the_same_bytes_go_up_once_a_session_however_many_want_them(
    emu: Emulator, fal: AsyncFal, photo: Path
) -> None:
    copy = photo.with_name("copy.png")
    copy.write_bytes(PNG)
    same = [photo, photo, File.local(PNG, file_name="photo.png", content_type="image/png")]
    outputs = await asyncio.gather(*(fal.run(MODEL, {"image_url": one}) for one in same * 5))
    assert len({output["image_url"] for output in outputs}) == 1
    assert emu.requests["upload"] == 1
    await fal.run(MODEL, {"image_url": copy})  # it is called something else
    assert emu.requests["upload"] == 2


async def test_small_files_go_along_by_value_if_asked_for(
    emu: Emulator, fal: AsyncFal, photo: Path
) -> None:
    output = await fal.run(MODEL, {"image_url": photo}, inline_below=1000)
    assert output["image_url"].startswith("data:image/png;base64,")
    assert await fal.read(output["image_url"]) == PNG
    assert emu.requests["upload"] == 0
    await fal.run(MODEL, {"image_url": photo}, inline_below=len(PNG))
    assert emu.requests["upload"] == 1
    for wrong in (-1, 11 * 1024 * 1024, True, "1k"):
        with pytest.raises(InputError, match="inline_below"):
            await fal.run(MODEL, {"image_url": photo}, inline_below=wrong)  # type: ignore[arg-type]


async def test_a_call_that_is_sent_again_uploads_nothing_again(
    emu: Emulator, fal: AsyncFal, photo: Path
) -> None:
    emu.faults.add(Fault(kind="too_many_requests", times=1))
    await fal.run(MODEL, {"image_url": photo})
    assert emu.received >= 2
    assert emu.requests["upload"] == 1


@pytest.mark.parametrize("name", ["missing.png", "."])
async def test_a_file_that_is_not_there_is_told_before_anything_is_sent(
    emu: Emulator, fal: AsyncFal, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError):
        await fal.run(MODEL, {"image_url": tmp_path / name, "prompt": "a cat"})
    assert emu.received == 0


async def test_a_failed_upload_is_tried_again_by_the_next_call(
    emu: Emulator, fal: AsyncFal, photo: Path
) -> None:
    missing = photo.with_name("later.png")
    with pytest.raises(InputError):
        await fal.run(MODEL, {"image_url": missing})
    missing.write_bytes(PNG)
    assert await fal.read((await fal.run(MODEL, {"image_url": missing}))["image_url"]) == PNG


async def test_a_stream_comes_only_once_and_is_refused(fal: AsyncFal) -> None:
    async def pieces() -> Any:
        yield b"x"

    with pytest.raises(InputError, match="only once"):
        await fal.run(MODEL, {"image_url": File.local(pieces())})


# --- in a map -------------------------------------------------------------------------------------------


async def test_a_journal_knows_a_file_by_its_bytes(
    emu: Emulator, tmp_path: Path, photo: Path
) -> None:
    elsewhere = tmp_path / "moved"
    elsewhere.mkdir()
    for run, path in enumerate((photo, elsewhere / "photo.png")):
        path.write_bytes(PNG)
        async with AsyncFal(hosts=emu.hosts) as fal:
            (outcome,) = await fal.map(
                MODEL, [{"image_url": path}], journal=tmp_path / "run.sqlite"
            ).collect()
        assert outcome.ok
        assert outcome.replayed is bool(run)
    assert emu.requests["upload"] == 1
    assert emu.received == 1


async def test_a_file_that_cannot_be_read_fails_its_own_input_alone(
    emu: Emulator, fal: AsyncFal, tmp_path: Path, photo: Path
) -> None:
    inputs = [{"image_url": photo}, {"image_url": tmp_path / "none"}, {"n": 1}]
    for options in ({}, {"journal": tmp_path / "run.sqlite"}):
        results = await fal.map(MODEL, inputs, **options).collect()  # type: ignore[arg-type]
        assert [outcome.ok for outcome in results] == [True, False, True]
        assert results[1].billing is Billing.NOT_BILLED
        assert not isinstance(results[1].error, InDoubtError)  # type: ignore[union-attr]


async def test_the_last_files_are_known_again_and_the_first_forgotten() -> None:
    class Uploads:
        """What goes up."""

        def __init__(self) -> None:
            self.names: list[str | None] = []

        async def upload(self, data: Any, *, file_name: str | None, **_: Any) -> File:
            self.names.append(file_name)
            return File(url=f"https://x.test/{file_name}")

    def file(name: str) -> Any:
        return File.local(name.encode(), file_name=name)

    uploads = Uploads()
    placing = Placing(uploads, remembered=2)  # type: ignore[arg-type]
    for name in "abacab":
        await placing.placed({"image": file(name)})
    assert uploads.names == ["a", "b", "c", "b"]  # b was used longest ago when c came
