"""Text to image without a GPU: real files, deterministic in model, prompt and seed (PROTOCOL 3, 16).

Inputs and outputs are those of the models of these names; the pictures are ``painting``'s. Streamed, they say
how far they are, as ``step`` of ``steps``, before the output: a shape of ours; fal's are each model's own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final

import attrs

from fal_async.emulator.answers import MadeFile
from fal_async.emulator.chance import digest
from fal_async.emulator.model import Call, Model
from fal_async.emulator.models.checking import Fields
from fal_async.emulator.models.pictures import PRESETS, encode_picture

__all__ = ["image_models"]

_SIDE_MAX: Final = 14_142  # PROTOCOL 16
_MEGAPIXEL: Final = 1_000_000


@attrs.frozen(kw_only=True)
class _Family:
    """What tells one text-to-image model from another."""

    id: str
    size: str
    most_images: int
    format_field: str


_FORMATS: Final = ("jpeg", "png")
#: fal's models make JPEG unless told otherwise; PNG shows what pictures these are.
_USUAL_FORMAT: Final = "jpeg"


def _size(fields: Fields, content: Mapping[str, Any], default: str) -> tuple[int, int]:
    value = content.get("image_size") or default
    if isinstance(value, str) and value in PRESETS:
        return PRESETS[value]
    if isinstance(value, Mapping):
        return _side(fields, value, "width"), _side(fields, value, "height")
    expected = " or ".join(repr(name) for name in PRESETS)
    fields.reject(
        "image_size", "literal_error", f"Input should be {expected}", given=value, expected=expected
    )
    return PRESETS[default]


def _side(fields: Fields, size: Mapping[str, Any], name: str) -> int:
    value, place = size.get(name, 512), f"image_size.{name}"
    if isinstance(value, bool) or not isinstance(value, int):
        fields.reject(place, "int_type", "Input should be a valid integer", given=value)
    elif value < 1:
        fields.reject(place, "greater_than", "Input should be greater than 0", given=value, gt=0)
    elif value > _SIDE_MAX:
        sentence = f"Input should be less than or equal to {_SIDE_MAX}"
        fields.reject(place, "less_than_equal", sentence, given=value, le=_SIDE_MAX)
    else:
        return value
    return 1


def _generate(family: _Family, content: Mapping[str, Any], call: Call) -> dict[str, Any]:
    fields = Fields(content)
    prompt = fields.text("prompt")
    width, height = _size(fields, content, family.size)
    number = fields.integer("num_images", 1, ge=1, le=family.most_images) or 1
    seed = fields.integer("seed", None)
    inline = fields.flag("sync_mode", default=False)
    form = fields.one_of(family.format_field, _FORMATS, _USUAL_FORMAT)
    fields.done()
    if seed is None:
        seed = call.chance
    images = [
        MadeFile(
            partial(encode_picture, form, digest(family.id, prompt, seed, index), width, height),
            f"image/{form}",
            form,
            fields={"width": width, "height": height},
            inline=inline,
        )
        for index in range(number)
    ]
    # The shape of the user's own example (PROTOCOL 3).
    return {
        "images": images,
        "timings": {"inference": _seconds_said(family.id, prompt, seed)},
        "seed": seed,
        "has_nsfw_concepts": [False] * number,
        "prompt": prompt,
    }


async def _progress(
    family: _Family, content: Mapping[str, Any], call: Call
) -> AsyncGenerator[dict[str, Any]]:
    output = _generate(family, content, call)
    for step in range(1, _STEPS):
        await call.sleep(call.seconds / _STEPS)
        yield {"step": step, "steps": _STEPS, "progress": step / _STEPS}
    await call.sleep(call.seconds / _STEPS)
    yield output


_STEPS: Final = 4


def _seconds_said(*labels: object) -> float:
    return 0.5 + 3 * int.from_bytes(digest("inference", *labels)[:6], "big") / 2**48


def _per_image(_: Any, output: Mapping[str, Any]) -> Decimal:
    return Decimal(len(output["images"]))


def _per_megapixel(_: Any, output: Mapping[str, Any]) -> Decimal:
    sides = ((image.fields["width"], image.fields["height"]) for image in output["images"])
    return Decimal(sum(width * height for width, height in sides)) / _MEGAPIXEL


def image_models() -> list[Model]:
    """``fal-ai/fast-sdxl``, ``fal-ai/flux/dev`` and ``fal-ai/flux/schnell``."""
    sdxl = _Family(id="fal-ai/fast-sdxl", size="square_hd", most_images=8, format_field="format")
    dev, schnell = (
        _Family(id=name, size="landscape_4_3", most_images=4, format_field="output_format")
        for name in ("fal-ai/flux/dev", "fal-ai/flux/schnell")
    )
    return [
        _model(sdxl, "image", _per_image),
        _model(dev, "megapixel", _per_megapixel),
        _model(schnell, "megapixel", _per_megapixel),
    ]


def _model(family: _Family, unit: str, units: Callable[[Any, Any], Decimal]) -> Model:
    return Model(
        id=family.id,
        function=partial(_generate, family),
        stream=partial(_progress, family),
        unit=unit,
        units=units,
    )
