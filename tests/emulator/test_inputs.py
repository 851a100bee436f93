"""Bodies are read as JSON whatever they say they are, and refused in the framework's words."""

from __future__ import annotations

from typing import Any

import pytest

from fal_async.emulator.inputs import read_input
from fal_async.emulator.model import Model
from fal_async.emulator.raising import InvalidInputError

OBJECT = Model(id="a/object", function=dict)
ANY = Model(id="a/any", function=dict, takes_any=True)


@pytest.mark.parametrize(
    ("model", "body", "value"),
    [
        (OBJECT, b'{"prompt": "a cat"}', {"prompt": "a cat"}),
        (OBJECT, b"\xef\xbb\xbf{}", {}),
        (ANY, b"[1, 2]", [1, 2]),
        (ANY, b"null", None),
    ],
)
def test_a_body_is_its_value(model: Model, body: bytes, value: Any) -> None:
    assert read_input(model, "POST", body) == value


def test_a_call_without_a_body_has_no_fields_if_its_method_has_none() -> None:
    assert read_input(OBJECT, "GET", b"") == {}


@pytest.mark.parametrize(
    ("model", "body", "error_type"),
    [
        (OBJECT, b"", "missing"),
        (OBJECT, b"{", "json_invalid"),
        (ANY, b"prompt=a+cat", "json_invalid"),
        (OBJECT, b"[1]", "model_attributes_type"),
        (OBJECT, b"\xff", "json_invalid"),
    ],
)
def test_anything_else_is_refused(model: Model, body: bytes, error_type: str) -> None:
    with pytest.raises(InvalidInputError, match="1 things wrong") as caught:
        read_input(model, "POST", body)
    [(detail, _)] = caught.value.entries
    assert (detail.type, detail.loc) == (error_type, ("body",))
