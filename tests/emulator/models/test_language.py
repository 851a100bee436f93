"""Babble, but always the same."""

from __future__ import annotations

from typing import Any

import pytest

from fal_async.emulator import InvalidInputError
from fal_async.emulator.models.language import language_models

[MODEL] = language_models()


def answer(**content: Any) -> dict[str, Any]:
    output = MODEL.function(content)
    assert isinstance(output, dict)
    return output


def test_the_same_prompt_has_the_same_answer_in_sentences() -> None:
    first = answer(prompt="why?")
    assert first == answer(prompt="why?")
    assert first["output"].endswith(".")
    assert (first["reasoning"], first["partial"], first["error"]) == (None, False, None)


@pytest.mark.parametrize(
    "other", [{"prompt": "how?"}, {"system_prompt": "be brief"}, {"model": "another/model"}]
)
def test_another_prompt_system_or_model_has_another(other: dict[str, str]) -> None:
    assert answer(**({"prompt": "why?"} | other))["output"] != answer(prompt="why?")["output"]


def test_reasoning_is_told_if_asked_for() -> None:
    assert answer(prompt="why?", reasoning=True)["reasoning"]


def test_a_prompt_is_needed() -> None:
    with pytest.raises(InvalidInputError):
        answer()
