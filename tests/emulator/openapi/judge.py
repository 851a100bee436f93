"""The outside judge of what is checked and made: ``jsonschema``, which knows nothing of this package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from fal_async.emulator.answers import MadeFile

DOCUMENTS = Path(__file__).parent / "documents"


def document(name: str) -> Any:
    return json.loads((DOCUMENTS / f"{name}.json").read_text(encoding="utf-8"))


def judge(schema: Any, components: Any = None) -> Draft202012Validator:
    """A validator of the schema; what OpenAPI 3.0 alone knows is said in JSON Schema's words."""
    whole = {"allOf": [schema], "components": {"schemas": components or {}}}
    return Draft202012Validator(_translated(whole))


def _translated(node: Any) -> Any:
    if isinstance(node, list):
        return [_translated(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {word: _translated(value) for word, value in node.items()}
    for bound, word in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if node.get(word) is True:
            node[word] = node.pop(bound)
    if node.pop("nullable", False) is True:
        node = {"anyOf": [node, {"type": "null"}]}
    return node


def shown(output: Any) -> Any:
    """An output as a caller would see it, but for where its files are."""
    match output:
        case MadeFile():
            return f"https://v3.fal.media/files/lion/a.{output.extension}"
        case dict():
            return {name: shown(each) for name, each in output.items()}
        case list():
            return [shown(each) for each in output]
        case _:
            return output
