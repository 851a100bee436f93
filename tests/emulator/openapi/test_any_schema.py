"""Whatever the schema: what is made fits it, and what fits it is accepted; jsonschema judges."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fal_async.emulator.openapi.checking import fits, read
from fal_async.emulator.openapi.compiling import Compiler
from fal_async.emulator.openapi.making import make_output
from fal_async.emulator.openapi.shapes import OUT_OF_REACH, Shape, heights, resolve
from fal_async.emulator.raising import InvalidInputError
from tests.emulator.openapi.judge import judge, shown
from tests.emulator.openapi.schemas import COMPONENTS, JSON, SCHEMAS

DOCUMENT = {"components": {"schemas": COMPONENTS}}


def shape_of(schema: Any) -> Shape:
    shape = Compiler(DOCUMENT).shape(schema, "#")
    assert heights(shape)[id(resolve(shape))] < OUT_OF_REACH
    return shape


def made(shape: Shape, key: int, input: Any = None) -> Any:
    return make_output(
        shape, heights(shape), key=key.to_bytes(8, "big"), input=input, seed=key, about="x-to-image"
    )


@given(SCHEMAS, st.integers(0, 2**64 - 1), JSON)
def test_an_output_fits_its_schema(schema: Any, key: int, input: Any) -> None:
    shape = shape_of(schema)
    output = shown(made(shape, key, input))
    judge(schema, COMPONENTS).validate(output)
    assert fits(shape, output)


@settings(max_examples=20)
@given(SCHEMAS, st.integers(0, 2**64 - 1), JSON)
def test_an_output_is_the_same_for_the_same_key(schema: Any, key: int, input: Any) -> None:
    assert shown(made(shape_of(schema), key, input)) == shown(made(shape_of(schema), key, input))


@given(SCHEMAS, st.data())
def test_what_the_schema_allows_is_accepted_and_what_is_accepted_is_read_into_it(
    schema: Any, data: st.DataObject
) -> None:
    shape, judging = shape_of(schema), judge(schema, COMPONENTS)
    valid = shown(made(shape, data.draw(st.integers(0, 1000))))
    value = data.draw(st.just(valid) | JSON | altered(valid))
    if judging.is_valid(value):
        judging.validate(read(shape, value))
        return
    try:
        judging.validate(read(shape, value))  # such as "5" for a number
    except InvalidInputError as refused:
        entries = refused.entries
    else:
        return
    assert entries
    assert all(detail.loc[0] == "body" and detail.msg for detail, _ in entries)


def altered(value: Any) -> st.SearchStrategy[Any]:
    """Much like the value, with something put in the place of a part of it."""
    if isinstance(value, dict) and value:
        return st.sampled_from(sorted(value)).flatmap(
            lambda name: (
                st.just({k: v for k, v in value.items() if k != name})
                | altered(value[name]).map(lambda other: {**value, name: other})
            )
        )
    if isinstance(value, list) and value:
        return st.integers(0, len(value) - 1).flatmap(
            lambda index: (
                st.just([*value, value[index]])
                | altered(value[index]).map(
                    lambda other: [*value[:index], other, *value[index + 1 :]]
                )
            )
        )
    return JSON | st.just(str(value))
