"""Text to image: inputs, outputs and prices of the models of these names."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fal_async.emulator import Call, InvalidInputError, MadeFile, Model
from fal_async.emulator.models.images import image_models
from tests.emulator.models.pngs import read_png

MODELS = {model.id: model for model in image_models()}
SDXL, DEV, SCHNELL = "fal-ai/fast-sdxl", "fal-ai/flux/dev", "fal-ai/flux/schnell"


def run(name: str, *, chance: int = 7, **content: Any) -> dict[str, Any]:
    output = MODELS[name].function(content, Call(request_id="r", model=name, chance=chance))
    assert isinstance(output, dict)
    return output


def file(name: str, **content: Any) -> bytes:
    [image] = run(name, **content)["images"]
    assert isinstance(image, MadeFile)
    assert callable(image.content)
    return image.content()


def units(model: Model, output: object) -> Decimal:
    assert callable(model.units)
    return model.units({}, output)


def test_there_are_three() -> None:
    assert set(MODELS) == {SDXL, DEV, SCHNELL}


def test_a_picture_depends_on_model_prompt_and_seed_and_nothing_else() -> None:
    small = {"width": 32, "height": 24}
    asked: dict[str, Any] = {"prompt": "a cat", "seed": 1, "image_size": small}
    first = file(SDXL, **asked)
    assert first == file(SDXL, **asked, guidance_scale=9)
    others = [
        file(DEV, **asked),
        file(SCHNELL, **asked),
        file(SDXL, **{**asked, "prompt": "a dog"}),
        file(SDXL, **{**asked, "seed": 2}),
    ]
    assert len({first, *others}) == 5
    png = read_png(file(SDXL, **asked, format="png"))
    assert (png.width, png.height) == (32, 24)


def test_the_pictures_of_one_call_differ() -> None:
    images = run(SDXL, prompt="a cat", num_images=4, image_size="square")["images"]
    assert len({image.content() for image in images}) == 4


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ("square_hd", (1024, 1024)),
        ("square", (512, 512)),
        ("portrait_4_3", (768, 1024)),
        ("portrait_16_9", (576, 1024)),
        ("landscape_4_3", (1024, 768)),
        ("landscape_16_9", (1024, 576)),
        ({"width": 100, "height": 50}, (100, 50)),
        ({"width": 100}, (100, 512)),
    ],
)
def test_sizes_have_names_or_are_given(size: object, sides: tuple[int, int]) -> None:
    [image] = run(DEV, prompt="a cat", image_size=size)["images"]
    assert (image.fields["width"], image.fields["height"]) == sides


@pytest.mark.parametrize(("name", "sides"), [(SDXL, (1024, 1024)), (DEV, (1024, 768))])
def test_each_model_has_its_usual_size(name: str, sides: tuple[int, int]) -> None:
    [image] = run(name, prompt="a cat")["images"]
    assert (image.fields["width"], image.fields["height"]) == sides


@pytest.mark.parametrize("seed", [0, 1, 2**63, 15860307465884635512, 2**64 - 1, 2**128])
def test_a_seed_is_given_back_to_the_last_digit(seed: int) -> None:
    assert run(SDXL, prompt="a cat", seed=seed)["seed"] == seed


def test_without_a_seed_chance_gives_one() -> None:
    assert run(SDXL, prompt="a cat", chance=99)["seed"] == 99
    assert run(SDXL, prompt="a cat", seed=None, chance=99)["seed"] == 99


def test_a_picture_costs_by_itself_or_by_its_size() -> None:
    assert units(MODELS[SDXL], run(SDXL, prompt="a cat", num_images=3)) == 3
    output = run(DEV, prompt="a cat", num_images=2)
    assert units(MODELS[DEV], output) == Decimal("1.572864")
    assert (MODELS[SDXL].unit, MODELS[DEV].unit) == ("image", "megapixel")


@pytest.mark.parametrize(("name", "field"), [(SDXL, "format"), (DEV, "output_format")])
@pytest.mark.parametrize(("form", "begins"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8\xff")])
def test_a_picture_has_the_format_it_was_asked_for(
    name: str, field: str, form: str, begins: bytes
) -> None:
    [image] = run(name, prompt="a cat", image_size="square", **{field: form})["images"]
    assert (image.content_type, image.extension) == (f"image/{form}", form)
    assert image.content().startswith(begins)


def test_sync_mode_asks_for_the_content_itself() -> None:
    [image] = run(SDXL, prompt="a cat", sync_mode=True)["images"]
    assert image.inline


@pytest.mark.parametrize(
    ("content", "loc", "error_type"),
    [
        ({}, "prompt", "missing"),
        ({"prompt": 7}, "prompt", "string_type"),
        ({"prompt": "a", "num_images": 0}, "num_images", "greater_than_equal"),
        ({"prompt": "a", "num_images": 9}, "num_images", "less_than_equal"),
        ({"prompt": "a", "num_images": "2"}, "num_images", "int_type"),
        ({"prompt": "a", "seed": 1.5}, "seed", "int_type"),
        ({"prompt": "a", "seed": True}, "seed", "int_type"),
        ({"prompt": "a", "sync_mode": "yes"}, "sync_mode", "bool_type"),
        ({"prompt": "a", "format": "gif"}, "format", "literal_error"),
        ({"prompt": "a", "image_size": "huge"}, "image_size", "literal_error"),
        ({"prompt": "a", "image_size": 512}, "image_size", "literal_error"),
        ({"prompt": "a", "image_size": {"width": 0}}, "image_size.width", "greater_than"),
        ({"prompt": "a", "image_size": {"height": 14143}}, "image_size.height", "less_than_equal"),
        ({"prompt": "a", "image_size": {"height": "9"}}, "image_size.height", "int_type"),
    ],
)
def test_what_is_wrong_with_an_input_is_told_with_its_place(
    content: dict[str, Any], loc: str, error_type: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        run(SDXL, **content)
    [(detail, _)] = caught.value.entries
    assert (detail.loc, detail.type) == (("body", *loc.split(".")), error_type)


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidInputError, match="3 things wrong"):
        run(SDXL, num_images=0, seed="x")
