"""The files in an output are what their names and types say."""

from __future__ import annotations

import io
import json
import struct
import wave
from collections.abc import Iterator
from typing import Any

import pytest

from fal_async.emulator.answers import MadeFile
from fal_async.emulator.openapi.compiling import Compiler
from fal_async.emulator.openapi.films import _unit, encode_mp4
from fal_async.emulator.openapi.making import make_output
from fal_async.emulator.openapi.media import Wishes, kind_of, make_file
from fal_async.emulator.openapi.shapes import heights
from fal_async.emulator.openapi.sounds import encode_mp3, encode_wav

KEY = bytes(range(32))
FILE = {"properties": {"url": {"type": "string"}, "content_type": {"type": "string"}}}


def made(schema: Any, input: Any = None, about: str = "", key: bytes = KEY) -> Any:
    shape = Compiler({}).shape(schema, "#")
    return make_output(shape, heights(shape), key=key, input=input, seed=1, about=about)


def like_a_file(**fields: Any) -> Any:
    return {"properties": {"take": {"properties": {**FILE["properties"], **fields}}}}


def content(file: MadeFile) -> bytes:
    return file.content if isinstance(file.content, bytes) else file.content()


def boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    while data:
        size, kind = struct.unpack(">I4s", data[:8])
        yield kind.decode(), data[8:size]
        data = data[size:]


def box(data: bytes, *path: str) -> bytes:
    for kind in path:
        data = dict(boxes(data))[kind]
    return data


def test_a_film_has_its_frames_where_it_says_and_each_is_a_unit_of_h264() -> None:
    film = encode_mp4(KEY, 4, 3, 2.0)
    assert [kind for kind, _ in boxes(film)] == ["ftyp", "moov", "mdat"]
    table = box(film, "moov", "trak", "mdia", "minf", "stbl")
    _, _, count, *sizes = struct.unpack(f">III{16}I", box(table, "stsz"))
    _, _, offset = struct.unpack(">III", box(table, "stco"))
    assert count == len(sizes) == 16
    assert film[offset:] == box(film, "mdat")
    kinds = []
    for size in sizes:
        (length,) = struct.unpack(">I", film[offset : offset + 4])
        assert length == size - 4
        kinds.append(film[offset + 4] & 31)
        offset += size
    assert offset == len(film)
    assert kinds == [5] + [1] * 15  # a picture, and that it stays
    _, _, _, scale, duration = struct.unpack(">5I", box(film, "moov", "mvhd")[:20])
    assert duration / scale == 2.0


def test_within_a_film_nothing_looks_like_the_beginning_of_a_unit() -> None:
    for number in range(20):
        film = encode_mp4(bytes((number,)) * 32, 2, 2, 30.0)
        frames, count = box(film, "mdat"), 0
        while frames:
            (length,) = struct.unpack(">I", frames[:4])
            unit, frames, count = frames[4 : 4 + length], frames[4 + length :], count + 1
            assert not any(bytes((0, 0, low)) in unit for low in (0, 1, 2))
        assert count == 240


def test_what_looks_like_the_beginning_of_a_unit_is_broken_up() -> None:
    assert _unit(1, bytes((0, 0, 1, 0, 0, 0, 0, 9))) == b"\x61\0\0\3\1\0\0\3\0\0\x09"


def test_a_note_is_a_wav_as_long_as_it_says() -> None:
    with wave.open(io.BytesIO(encode_wav(12, 0.5))) as sound:
        assert sound.getnframes() / sound.getframerate() == 0.5
        assert len(set(sound.readframes(400))) > 50
    assert encode_wav(0, 0.1) != encode_wav(1, 0.1)


def test_silence_is_a_row_of_mpeg_frames() -> None:
    data, seconds = encode_mp3(0.1)
    assert seconds == pytest.approx(0.12)
    assert len(data) == 5 * 24
    assert {data[i : i + 2] for i in range(0, len(data), 24)} == {b"\xff\xf3"}


def test_a_mesh_is_a_binary_gltf() -> None:
    file, facts = make_file("mesh", KEY, Wishes())
    data = content(file)
    magic, version, length, size, _ = struct.unpack("<4s4I", data[:20])
    assert (magic, version, length, size) == (b"glTF", 2, len(data), len(data) - 20)
    assert json.loads(data[20:])["asset"]["version"] == "2.0"
    assert facts["file_size"] == len(data)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["Image", "video"], "image"),
        (["", "thumbnail", "video"], "image"),
        (["File", "video"], "video"),
        (["AudioFile"], "audio"),
        (["File", "model_glb"], "mesh"),
        (["File", "output", "", "speech"], "audio"),
        (["File", "weights"], "data"),
    ],
)
def test_of_what_kind_a_file_is_the_first_telling_name_says(names: list[str], kind: str) -> None:
    assert kind_of(names) == kind


@pytest.mark.parametrize(
    ("schema", "about", "types"),
    [
        ({"properties": {"video": FILE}}, "", ["video/mp4"]),
        ({"properties": {"output": FILE}}, "text-to-video", ["video/mp4"]),
        ({"properties": {"file": FILE}}, "image-to-3d", ["model/gltf-binary"]),
        ({"properties": {"lora_file": FILE}}, "training", ["application/octet-stream"]),
        ({"properties": {"audio_url": {"type": "string"}}}, "", ["audio/wav"]),
        ({"properties": {"file_url": {"type": "string"}}}, "", ["application/octet-stream"]),
        ({"properties": {"image_urls": {"items": {"type": "string"}}}}, "", ["image/jpeg"] * 2),
        ({"properties": {"x": {"type": "string", "format": "uri"}}}, "x-to-image", ["image/jpeg"]),
        (like_a_file(fps={}), "", ["video/mp4"]),
        (like_a_file(channels={}), "", ["audio/wav"]),
    ],
)
def test_where_a_file_belongs_one_of_its_kind_stands(
    schema: Any, about: str, types: list[str]
) -> None:
    output = made(schema, {"num_images": 2}, about)
    found: list[MadeFile] = []

    def look(value: Any) -> None:
        match value:
            case MadeFile():
                found.append(value)
            case dict():
                for each in value.values():
                    look(each)
            case list():
                for each in value:
                    look(each)

    look(output)
    assert [file.content_type for file in found] == types
    assert all(file.bare for file in found)
    assert all(content(file) for file in found)


def test_an_object_with_a_url_that_is_no_file_gets_an_address_of_nowhere() -> None:
    source = {"properties": {"url": {"type": "string"}, "title": {"type": "string"}}}
    output = made({"properties": {"sources": {"type": "array", "items": source}}})
    assert output["sources"][0]["url"].startswith("https://example.com/")


@pytest.mark.parametrize(
    ("input", "size"),
    [
        ({}, (1024, 1024)),
        (None, (1024, 1024)),
        ({"image_size": "landscape_16_9"}, (1024, 576)),
        ({"image_size": "640x480"}, (640, 480)),
        ({"image_size": "auto_4K"}, (1024, 1024)),
        ({"image_size": {"width": 10, "height": 20.0}}, (10, 20)),
        ({"width": 100_000, "height": 0}, (14_142, 1)),
        ({"width": "wide", "height": 30}, (1024, 30)),
        ({"aspect_ratio": "16:9"}, (1360, 768)),
        ({"aspect_ratio": "1:0"}, (1024, 1024)),
        ({"aspect_ratio": "1:1000"}, (320, 3232)),
    ],
)
def test_the_input_says_how_large_pictures_are(input: Any, size: tuple[int, int]) -> None:
    wishes = Wishes.of(input)
    assert (wishes.width, wishes.height) == size


@pytest.mark.parametrize(
    ("input", "form", "seconds"),
    [
        ({"output_format": "PNG"}, "png", 2.0),
        ({"output_format": "jpg", "duration": 4}, "jpeg", 4.0),
        ({"response_format": "mp3_44100", "duration": "8s"}, "mp3", 8.0),
        ({"output_format": 5, "audio_length": 600}, "", 30.0),
    ],
)
def test_the_input_says_of_what_form_and_length_files_are(
    input: Any, form: str, seconds: float
) -> None:
    wishes = Wishes.of(input)
    assert (wishes.form, wishes.seconds) == (form, seconds)


def test_a_form_that_cannot_be_made_is_one_that_can_and_says_so() -> None:
    file, facts = make_file("image", KEY, Wishes(form="webp", width=8, height=8), ["image/png"])
    assert (file.extension, facts["content_type"]) == ("png", "image/png")
    file, _ = make_file("audio", KEY, Wishes(form="flac"), ["image/png"])
    assert file.content_type == "audio/wav"


def test_a_side_that_the_schema_does_not_allow_is_one_that_it_does() -> None:
    side = {"type": "integer", "maximum": 300, "multipleOf": 7}
    image = {"properties": {**FILE["properties"], "width": side, "height": {"enum": [64, 128]}}}
    output = made({"properties": {"image": image}}, {"width": 500, "height": 128})
    picture = output["image"]
    assert picture["width"] % 7 == 0
    assert picture["width"] <= 300
    assert picture["height"] == 128


@pytest.mark.parametrize("facts", [("width", "height"), ("width",)])
def test_an_object_with_a_url_and_what_only_a_file_has_is_one(facts: tuple[str, ...]) -> None:
    """Hand-written documents leave out the content type: what else is said of the file is true of it."""
    properties = {"url": {"type": "string"}, **{name: {"type": "integer"} for name in facts}}
    schema = {"properties": {"image": {"properties": properties}}}
    output = made(schema, {"width": 64, "height": 32})
    picture = output["image"]
    assert picture["url"].content_type == "image/jpeg"
    sides = {"width": 64, "height": 32}
    assert {name: picture[name] for name in facts} == {name: sides[name] for name in facts}


def test_what_a_file_has_besides_is_made_up() -> None:
    schema = {
        "properties": {"image": {"properties": {**FILE["properties"], "mood": {"const": "x"}}}}
    }
    assert made({**schema, "required": ["image"]})["image"]["mood"] == "x"


def test_a_size_that_is_required_is_the_true_one() -> None:
    properties = {**FILE["properties"], "file_size": {"type": "integer"}}
    schema = {"properties": {"image": {"properties": properties, "required": ["file_size"]}}}
    output = made(schema, {"width": 16, "height": 16})
    assert output["image"]["file_size"] == len(content(output["image"]["url"]))


def test_a_url_that_must_be_short_holds_no_file() -> None:
    short = {"type": "string", "maxLength": 2083, "format": "uri"}
    image = {"properties": {"url": {"anyOf": [short, {"type": "null"}]}, "file_name": {}}}
    output = made(
        {"properties": {"image": image, "image_url": {"type": "string"}}}, {"sync_mode": True}
    )
    assert not output["image"]["url"].inline
    assert output["image_url"].inline
