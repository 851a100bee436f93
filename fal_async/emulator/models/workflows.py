"""A workflow (PROTOCOL 13): a model made of models, called like any other. Ours, not fal's.

``workflows/emulator/described-picture`` has two nodes: ``words`` elaborates on the prompt, and ``picture``
paints what came out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fal_async.emulator.model import Call, Model
from fal_async.emulator.models.checking import Fields
from fal_async.emulator.models.images import image_models
from fal_async.emulator.models.language import language_models

__all__ = ["workflow_models"]


def _described_picture(content: Mapping[str, Any], call: Call) -> dict[str, Any]:
    fields = Fields(content)
    prompt = fields.text("prompt")
    fields.done()
    [llm, *_], [sdxl, *_] = language_models(), image_models()
    words: Any = llm.function({"prompt": prompt})
    call.log("words: completed")
    elaborate = f"{prompt}. {words['output']}"
    picture: Any = sdxl.function({**content, "prompt": elaborate}, call)
    call.log("picture: completed")
    return {"images": picture["images"], "prompt": picture["prompt"], "seed": picture["seed"]}


def workflow_models() -> list[Model]:
    """The one above."""
    return [Model(id="workflows/emulator/described-picture", function=_described_picture)]
