"""Reading a model's input as the application framework does (PROTOCOL 3, 5.1). Pure.

The texts are those of FastAPI and Pydantic, on which the framework stands: an inference.
"""

from __future__ import annotations

from typing import Any

from fal_async.emulator.model import Model
from fal_async.emulator.raising import InvalidInputError
from fal_async.errors import ErrorDetail
from fal_async.protocol import codec

__all__ = ["read_input"]


def read_input(model: Model, method: str, body: bytes) -> Any:
    """The value of a request's body, whatever its content type says.

    :raises InvalidInputError: if it is missing, no JSON, or no object.
    """
    if not body:
        if method != "POST":
            return {}
        raise _invalid("missing", "Field required", None)
    try:
        content = codec.decode_json(body)
    except codec.Undecodable as error:
        raise _invalid("json_invalid", "JSON decode error", {}, error=str(error)) from None
    if not model.takes_any and not isinstance(content, dict):
        sentence = "Input should be a valid dictionary or object to extract fields from"
        raise _invalid("model_attributes_type", sentence, content)
    return content


def _invalid(kind: str, msg: str, given: Any, **ctx: object) -> InvalidInputError:
    return InvalidInputError([(ErrorDetail(loc=("body",), msg=msg, type=kind, ctx=ctx), given)])
