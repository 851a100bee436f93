"""The outputs that come with the package: what fits them, and what their reprs keep to themselves."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from fal_async import types
from fal_async.protocol.codec import decode_json
from fal_async.protocol.misfit import Misfit
from fal_async.protocol.structuring import structure
from fal_async.types import (
    Audio,
    AudioOutput,
    File,
    Image,
    ImageOutput,
    TextOutput,
    Video,
    VideoOutput,
)

FILES = [File, Image, Video, Audio]

#: The example on the user's own page (PROTOCOL 3).
EXAMPLE = b"""{"images":[{"url":"https://v3.fal.media/files/rabbit/YYbm6L3DaXYHDL1_A4OaL.jpeg","width":1024,
"height":1024,"content_type":"image/jpeg"}],"timings":{"inference":2.507048434985336},
"seed":15860307465884635512,"has_nsfw_concepts":[false],"prompt":"a cat"}"""


def test_the_example_of_the_pages_fits_an_image_output_to_the_last_digit() -> None:
    assert structure(decode_json(EXAMPLE), ImageOutput, None) == ImageOutput(
        images=[
            Image(
                url="https://v3.fal.media/files/rabbit/YYbm6L3DaXYHDL1_A4OaL.jpeg",
                width=1024,
                height=1024,
                content_type="image/jpeg",
            )
        ],
        timings={"inference": 2.507048434985336},
        seed=15860307465884635512,
        has_nsfw_concepts=[False],
        prompt="a cat",
    )


LEAST: list[tuple[type, dict[str, Any]]] = [
    (File, {"url": "u"}),
    (Image, {"url": "u"}),
    (Video, {"url": "u"}),
    (Audio, {"url": "u"}),
    (ImageOutput, {"images": []}),
    (VideoOutput, {"video": {"url": "u"}}),
    (AudioOutput, {"audio": {"url": "u"}}),
    (TextOutput, {"output": "hello"}),
]


def test_the_table_of_least_answers_knows_every_type() -> None:
    outputs = set(types.__all__) - {"LocalFile"}  # which only ever goes in
    assert sorted(kind.__name__ for kind, _ in LEAST) == sorted(outputs)


@pytest.mark.parametrize(("kind", "answer"), LEAST, ids=lambda x: getattr(x, "__name__", ""))
def test_every_field_may_be_absent_or_null_but_the_one_a_class_is_about(
    kind: type, answer: dict[str, Any]
) -> None:
    least = structure(answer, kind, None)
    nulls = {field.name: None for field in attrs.fields(kind)} | answer
    assert structure(nulls, kind, None) == least
    for name in answer:
        with pytest.raises(Misfit, match=f"^{name}: missing$"):
            structure({}, kind, None)


@pytest.mark.parametrize(("kind", "answer"), LEAST, ids=lambda x: getattr(x, "__name__", ""))
def test_a_field_nobody_has_heard_of_is_dropped(kind: type, answer: dict[str, Any]) -> None:
    assert structure({**answer, "new": {"a": 1}}, kind, None) == structure(answer, kind, None)


def test_a_whole_number_of_seconds_fits_a_duration() -> None:
    video = structure({"url": "u", "duration": 5, "fps": 24, "num_frames": 120}, Video, None)
    assert (video.duration, video.fps, video.num_frames) == (5.0, 24.0, 120)
    assert structure({"url": "u", "duration": 5}, Audio, None).duration == 5.0


@pytest.mark.parametrize("kind", FILES)
def test_a_file_reads_as_its_url(kind: type[File]) -> None:
    assert (
        str(kind(url="https://v3.fal.media/files/a/b.png")) == "https://v3.fal.media/files/a/b.png"
    )


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("scheme", ["data:image/png;base64", "DATA:image/png;base64"])
def test_a_repr_shows_no_file_that_came_by_value(kind: type[File], scheme: str) -> None:
    shown = repr(kind(url=f"{scheme},iVBORw0KGgo="))
    assert "iVBOR" not in shown
    assert "image/png" in shown


def test_a_repr_shows_a_url_of_usual_length_whole_and_a_longer_one_cut() -> None:
    usual = "https://v3.fal.media/" + "a" * 179
    assert repr(File(url=usual)).startswith(f"File(url={usual!r},")
    assert f"{usual}…'" in repr(File(url=usual + "bcd"))
    assert len(repr(File(url="data:" + "A" * 5000))) < 200


def test_a_repr_shows_neither_prompt_nor_text() -> None:
    assert "secret" not in repr(ImageOutput(images=[], prompt="secret"))
    assert "secret" not in repr(TextOutput(output="secret", reasoning="secret"))


def test_types_are_values() -> None:
    one, other = (structure(json.loads(EXAMPLE), ImageOutput, None) for _ in range(2))
    assert one == other
    assert len({File(url="u"), File(url="u"), File(url="v")}) == 2
