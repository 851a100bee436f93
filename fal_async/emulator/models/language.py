"""Text to text without a GPU: ``fal-ai/any-llm``, whose answers are babble, the same for the same prompt.

Inputs and outputs are those of the model of this name. Streamed, each event holds all of the text so far.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from fal_async.emulator.chance import digest
from fal_async.emulator.model import Call, Model
from fal_async.emulator.models.checking import Fields

__all__ = ["language_models"]

_OPENINGS: Final = ("Perhaps", "Certainly", "In short,", "As ever,", "Consider that", "Often")
_SUBJECTS: Final = ("the answer", "a quiet model", "every question", "the long way", "a good guess")
_VERBS: Final = ("rests on", "outlives", "resembles", "begins with", "forgives", "measures")
_OBJECTS: Final = ("its own echo", "patience", "two small steps", "the weather", "a kept promise")
_DEFAULT_MODEL: Final = "google/gemini-2.5-flash-lite"


def sentences(*labels: object) -> Iterator[str]:
    """Two to five sentences that depend on the labels and mean nothing."""
    dice = digest("babble", *labels)
    for i in range(2 + dice[0] % 4):
        opening, subject, verb, thing = dice[4 * i + 1 : 4 * i + 5]
        yield " ".join(
            (
                _OPENINGS[opening % len(_OPENINGS)],
                _SUBJECTS[subject % len(_SUBJECTS)],
                _VERBS[verb % len(_VERBS)],
                _OBJECTS[thing % len(_OBJECTS)] + ".",
            )
        )


def _answer(content: Mapping[str, Any]) -> dict[str, Any]:
    fields = Fields(content)
    prompt = fields.text("prompt")
    system = fields.text("system_prompt", "")
    model = fields.text("model", _DEFAULT_MODEL)
    thinks = fields.flag("reasoning", default=False)
    fields.done()
    reasoning = next(sentences("reasoning", model, system, prompt)) if thinks else None
    return {
        "output": " ".join(sentences(model, system, prompt)),
        "reasoning": reasoning,
        "partial": False,
        "error": None,
    }


async def _tokens(content: Mapping[str, Any], call: Call) -> AsyncGenerator[dict[str, Any]]:
    answer = _answer(content)
    tokens = _TOKEN.findall(answer["output"])
    said = ""
    for token in tokens[:-1]:
        await call.sleep(call.seconds / len(tokens))
        said += token
        yield {**answer, "output": said, "partial": True}
    await call.sleep(call.seconds / len(tokens))
    yield answer


#: A word and the space before it: what a token looks like to a reader.
_TOKEN: Final = re.compile(r"\s*\S+")


def language_models() -> list[Model]:
    """``fal-ai/any-llm``."""
    return [
        Model(
            id="fal-ai/any-llm",
            function=_answer,
            stream=_tokens,
            unit="request",
            units=Decimal("0.001"),
        )
    ]
