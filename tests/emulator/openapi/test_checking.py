"""Inputs are refused in the words of fal's framework: what FastAPI 0.165 with Pydantic 2.14 says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fal_async.emulator.openapi.checking import read
from fal_async.emulator.openapi.compiling import Compiler
from fal_async.emulator.raising import InvalidInputError
from fal_async.protocol import failures

NULL = {"type": "null"}
TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
REAL = {"type": "number"}
SIZE = {"$ref": "#/components/schemas/Size"}
COLOUR = {"$ref": "#/components/schemas/Colour"}
PET = {
    "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}],
    "discriminator": {
        "propertyName": "kind",
        "mapping": {"cat": "#/components/schemas/Cat", "dog": "#/components/schemas/Dog"},
    },
}


def model(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


SCHEMAS = {
    "Size": {
        "type": "object",
        "title": "Size",
        "properties": {
            "width": {**WHOLE, "exclusiveMinimum": 0.0, "maximum": 14142.0, "default": 512},
            "height": {**WHOLE, "exclusiveMinimum": 0.0, "maximum": 14142.0, "default": 512},
        },
    },
    "Colour": {"type": "string", "enum": ["a", "b", "c"], "title": "Colour"},
    "Cat": model(kind={"const": "cat"}, lives=WHOLE),
    "Dog": model(kind={"const": "dog"}, name=TEXT),
}


def compiled(schema: Any, *, says_null: bool = True) -> Any:
    return Compiler({"components": {"schemas": SCHEMAS}}, says_null=says_null).shape(schema, "#")


def refused(schema: Any, value: Any) -> list[dict[str, Any]]:
    """The entries of the answer, as they travel."""
    with pytest.raises(InvalidInputError) as error:
        read(compiled(schema), value)
    body: dict[str, list[dict[str, Any]]] = json.loads(
        failures.invalid_input(error.value.entries).body
    )
    return body["detail"]


NO_OBJECT = "Input should be a valid dictionary or object to extract fields from"

ENTRIES: list[tuple[Any, Any, list[tuple[list[str | int], str, str, dict[str, Any]]]]] = [
    (TEXT, 5, [([], "string_type", "Input should be a valid string", {})]),
    (
        {**TEXT, "minLength": 3},
        "a",
        [([], "string_too_short", "String should have at least 3 characters", {"min_length": 3})],
    ),
    (
        {**TEXT, "maxLength": 1},
        "ab",
        [([], "string_too_long", "String should have at most 1 character", {"max_length": 1})],
    ),
    (
        {**TEXT, "pattern": "^[a-c]+$"},
        "x",
        [
            (
                [],
                "string_pattern_mismatch",
                "String should match pattern '^[a-c]+$'",
                {"pattern": "^[a-c]+$"},
            )
        ],
    ),
    (
        {**TEXT, "format": "uri"},
        "abc",
        [
            (
                [],
                "url_parsing",
                "Input should be a valid URL, relative URL without a base",
                {"error": "relative URL without a base"},
            )
        ],
    ),
    (
        {**TEXT, "format": "uri"},
        "",
        [
            (
                [],
                "url_parsing",
                "Input should be a valid URL, input is empty",
                {"error": "input is empty"},
            )
        ],
    ),
    (
        {**TEXT, "format": "uri"},
        "http://",
        [([], "url_parsing", "Input should be a valid URL, empty host", {"error": "empty host"})],
    ),
    ({**TEXT, "format": "uri"}, 5, [([], "url_type", "URL input should be a string or URL", {})]),
    (WHOLE, [], [([], "int_type", "Input should be a valid integer", {})]),
    (
        WHOLE,
        "1e3",
        [
            (
                [],
                "int_parsing",
                "Input should be a valid integer, unable to parse string as an integer",
                {},
            )
        ],
    ),
    (
        WHOLE,
        1.5,
        [
            (
                [],
                "int_from_float",
                "Input should be a valid integer, got a number with a fractional part",
                {},
            )
        ],
    ),
    (
        {**WHOLE, "minimum": 1.0},
        0,
        [([], "greater_than_equal", "Input should be greater than or equal to 1", {"ge": 1})],
    ),
    (
        {**WHOLE, "maximum": 4},
        5,
        [([], "less_than_equal", "Input should be less than or equal to 4", {"le": 4})],
    ),
    (
        {**WHOLE, "multipleOf": 8.0},
        9,
        [([], "multiple_of", "Input should be a multiple of 8", {"multiple_of": 8})],
    ),
    (REAL, [], [([], "float_type", "Input should be a valid number", {})]),
    (
        REAL,
        "x",
        [
            (
                [],
                "float_parsing",
                "Input should be a valid number, unable to parse string as a number",
                {},
            )
        ],
    ),
    (
        {**REAL, "minimum": 0.0},
        -1,
        [([], "greater_than_equal", "Input should be greater than or equal to 0", {"ge": 0.0})],
    ),
    (
        {**REAL, "exclusiveMaximum": 1.5},
        2,
        [([], "less_than", "Input should be less than 1.5", {"lt": 1.5})],
    ),
    (
        {**REAL, "exclusiveMinimum": 0},
        0,
        [([], "greater_than", "Input should be greater than 0", {"gt": 0})],
    ),
    (
        {**REAL, "multipleOf": 0.5},
        0.3,
        [([], "multiple_of", "Input should be a multiple of 0.5", {"multiple_of": 0.5})],
    ),
    ({"type": "boolean"}, 1.5, [([], "bool_type", "Input should be a valid boolean", {})]),
    (
        {"type": "boolean"},
        2,
        [([], "bool_parsing", "Input should be a valid boolean, unable to interpret input", {})],
    ),
    (NULL, 1, [([], "none_required", "Input should be None", {})]),
    (
        {"enum": ["x", "y", "z"]},
        "q",
        [
            (
                [],
                "literal_error",
                "Input should be 'x', 'y' or 'z'",
                {"expected": "'x', 'y' or 'z'"},
            )
        ],
    ),
    (
        {"enum": [1, 2], **WHOLE},
        "1",
        [([], "literal_error", "Input should be 1 or 2", {"expected": "1 or 2"})],
    ),
    (
        {"const": "only"},
        5,
        [([], "literal_error", "Input should be 'only'", {"expected": "'only'"})],
    ),
    (
        COLOUR,
        5,
        [([], "enum", "Input should be 'a', 'b' or 'c'", {"expected": "'a', 'b' or 'c'"})],
    ),
    (
        {"type": "array", "items": TEXT},
        "a",
        [([], "list_type", "Input should be a valid list", {})],
    ),
    (
        {"type": "array", "items": TEXT},
        [1, "a", None],
        [
            ([0], "string_type", "Input should be a valid string", {}),
            ([2], "string_type", "Input should be a valid string", {}),
        ],
    ),
    (
        {"type": "array", "items": TEXT, "minItems": 1},
        [],
        [
            (
                [],
                "too_short",
                "List should have at least 1 item after validation, not 0",
                {"field_type": "List", "min_length": 1, "actual_length": 0},
            )
        ],
    ),
    (
        {"type": "array", "items": TEXT, "maxItems": 2},
        [1, 2, 3],
        [
            (
                [],
                "too_long",
                "List should have at most 2 items after validation, not 3",
                {"field_type": "List", "max_length": 2, "actual_length": 3},
            )
        ],
    ),
    (
        {"type": "array", "uniqueItems": True},
        5,
        [([], "set_type", "Input should be a valid set", {})],
    ),
    (
        {"type": "array", "prefixItems": [WHOLE, TEXT], "minItems": 2, "maxItems": 2},
        ["x"],
        [
            (
                [0],
                "int_parsing",
                "Input should be a valid integer, unable to parse string as an integer",
                {},
            ),
            ([1], "missing", "Field required", {}),
        ],
    ),
    (
        {"type": "array", "prefixItems": [WHOLE], "items": False},
        [1, 2],
        [
            (
                [],
                "too_long",
                "Tuple should have at most 1 item after validation, not 2",
                {"field_type": "Tuple", "max_length": 1, "actual_length": 2},
            )
        ],
    ),
    (
        {"type": "object", "additionalProperties": WHOLE},
        [],
        [([], "dict_type", "Input should be a valid dictionary", {})],
    ),
    (
        {"type": "object", "additionalProperties": WHOLE},
        {"a": []},
        [(["a"], "int_type", "Input should be a valid integer", {})],
    ),
    (
        {"type": "object", "minProperties": 1},
        {},
        [
            (
                [],
                "too_short",
                "Dictionary should have at least 1 item after validation, not 0",
                {"field_type": "Dictionary", "min_length": 1, "actual_length": 0},
            )
        ],
    ),
    (
        {"type": "object", "maxProperties": 0},
        {"a": 1},
        [
            (
                [],
                "too_long",
                "Dictionary should have at most 0 items after validation, not 1",
                {"field_type": "Dictionary", "max_length": 0, "actual_length": 1},
            )
        ],
    ),
    (model(a=TEXT), 5, [([], "model_attributes_type", NO_OBJECT, {})]),
    (
        model(a=TEXT, b=model(c=TEXT)),
        {"b": {}},
        [(["a"], "missing", "Field required", {}), (["b", "c"], "missing", "Field required", {})],
    ),
    (
        {**model(a=TEXT), "additionalProperties": False},
        {"a": "", "z": 2},
        [(["z"], "extra_forbidden", "Extra inputs are not permitted", {})],
    ),
    (
        {"anyOf": [SIZE, {"type": "string", "enum": ["square"]}]},
        {"width": 0},
        [
            (["Size", "width"], "greater_than", "Input should be greater than 0", {"gt": 0}),
            (
                ["literal['square']"],
                "literal_error",
                "Input should be 'square'",
                {"expected": "'square'"},
            ),
        ],
    ),
    ({"anyOf": [WHOLE, NULL]}, [], [([], "int_type", "Input should be a valid integer", {})]),
    (
        {
            "anyOf": [
                {**WHOLE, "minimum": 3},
                {**TEXT, "format": "uri"},
                {"type": "array", "items": {**TEXT, "minLength": 1}},
                {"type": "array", "items": COLOUR, "uniqueItems": True},
                {"type": "array", "prefixItems": [REAL, {}], "items": False},
                {"type": "object", "additionalProperties": {"anyOf": [TEXT, REAL]}},
                {"type": "boolean"},
                NULL,
            ]
        },
        1.5,
        [
            (
                ["constrained-int"],
                "int_from_float",
                "Input should be a valid integer, got a number with a fractional part",
                {},
            ),
            (["url"], "url_type", "URL input should be a string or URL", {}),
            (["list[constrained-str]"], "list_type", "Input should be a valid list", {}),
            (["set[str-enum[Colour]]"], "set_type", "Input should be a valid set", {}),
            (["tuple[float,any]"], "tuple_type", "Input should be a valid tuple", {}),
            (["dict[str,union[str,float]]"], "dict_type", "Input should be a valid dictionary", {}),
            (["bool"], "bool_type", "Input should be a valid boolean", {}),
        ],
    ),
    (
        PET,
        {"kind": "cow"},
        [
            (
                [],
                "union_tag_invalid",
                "Input tag 'cow' found using 'kind' does not match any of the expected tags: 'cat', 'dog'",
                {"discriminator": "'kind'", "tag": "cow", "expected_tags": "'cat', 'dog'"},
            )
        ],
    ),
    (
        PET,
        {},
        [
            (
                [],
                "union_tag_not_found",
                "Unable to extract tag using discriminator 'kind'",
                {"discriminator": "'kind'"},
            )
        ],
    ),
    (PET, {"kind": "dog"}, [(["dog", "name"], "missing", "Field required", {})]),
    (PET, 5, [([], "model_attributes_type", NO_OBJECT, {})]),
]


@pytest.mark.parametrize(("schema", "value", "entries"), ENTRIES, ids=range(len(ENTRIES)))
def test_all_that_is_wrong_is_told_in_the_frameworks_words(
    schema: Any, value: Any, entries: list[tuple[list[str | int], str, str, dict[str, Any]]]
) -> None:
    told = refused(model(field=schema), {"field": value})
    assert [(e["loc"], e["type"], e["msg"], e.get("ctx", {})) for e in told] == [
        (["body", "field", *place], kind, msg, ctx) for place, kind, msg, ctx in entries
    ]


def test_each_entry_shows_the_part_of_the_input_that_is_wrong() -> None:
    schema = model(a=TEXT, b={"type": "array", "items": WHOLE})
    missing, third = refused(schema, {"b": [1, 2, "x"]})
    assert missing["input"] == {"b": [1, 2, "x"]}
    assert third["input"] == "x"


@pytest.mark.parametrize(
    ("schema", "value", "found"),
    [
        (WHOLE, " 1_000 ", 1000),
        (WHOLE, "5.0", 5),
        (WHOLE, 1.0, 1),
        (WHOLE, True, 1),
        (WHOLE, 2**70, 2**70),
        (REAL, "1e3", 1000.0),
        (REAL, True, 1.0),
        ({"type": "boolean"}, "ON", True),
        ({"type": "boolean"}, 0.0, False),
        ({"enum": [1, 2]}, 1.0, 1),
        ({"anyOf": [WHOLE, TEXT]}, "5", "5"),
        ({"anyOf": [WHOLE, {"type": "boolean"}]}, True, True),
        ({"anyOf": [WHOLE, {"type": "array"}]}, "5", 5),
        ({"anyOf": [model(a=TEXT), model(a=TEXT, b=TEXT)]}, {"a": "", "b": ""}, {"a": "", "b": ""}),
        ({"type": "array", "uniqueItems": True, "items": WHOLE}, [1, "1", 2], [1, 2]),
        ({"type": "array", "prefixItems": [WHOLE]}, ["1", "x"], [1, "x"]),
        ({"type": "object"}, {"a": [1]}, {"a": [1]}),
        ({"type": "object", "additionalProperties": WHOLE}, {"a": "1"}, {"a": 1}),
        ({**model(a=WHOLE), "additionalProperties": True}, {"a": "1", "b": 2}, {"a": 1, "b": 2}),
        (model(a=WHOLE), {"a": 1, "unknown": 2}, {"a": 1}),
        (SIZE, {"width": 3}, {"width": 3, "height": 512}),
        (PET, {"kind": "cat", "lives": "9"}, {"kind": "cat", "lives": 9}),
        ({"type": "string", "pattern": r"\p{L}+"}, "ä", "ä"),  # Rust knows it, Python does not
        ({"multipleOf": 0.1, **REAL}, 0.3, 0.3),
        ({"multipleOf": 0.1, **REAL}, "inf", float("inf")),
        ({"allOf": [REAL, WHOLE]}, "3", 3),
        ({}, {"a": None}, {"a": None}),
    ],
)
def test_what_the_framework_reads_leniently_is_read_so(schema: Any, value: Any, found: Any) -> None:
    got = read(compiled(schema), value)
    assert got == found
    assert type(got) is type(found)


def test_a_null_is_as_good_as_nothing_where_the_document_is_of_openapi_3_0() -> None:
    schema = {"properties": {"seed": WHOLE, "steps": {**WHOLE, "default": 28}}}
    told = compiled(schema, says_null=False)
    assert read(told, {"seed": None}) == {"steps": 28}
    with pytest.raises(InvalidInputError):
        read(told, {"steps": None})
    with pytest.raises(InvalidInputError):
        read(compiled(schema), {"seed": None})
    nullable = {"properties": {"seed": {"anyOf": [WHOLE, NULL]}}}
    assert read(compiled(nullable, says_null=False), {"seed": None}) == {"seed": None}


@pytest.mark.parametrize(
    ("schema", "fitting", "other"),
    [
        ({"minimum": 1, "exclusiveMinimum": True}, 1.1, 1),
        ({"maximum": 1, "exclusiveMaximum": True, **WHOLE}, 0, 1),
        ({"maximum": 1, "exclusiveMaximum": False, **WHOLE}, 1, 2),
        ({"exclusiveMinimum": True, **WHOLE}, -5, "x"),
        ({**TEXT, "nullable": True}, None, 5),
        ({"nullable": True, "enum": ["a", None]}, None, "b"),
        ({"type": ["string", "null"], "minLength": 2}, None, "a"),
        ({"type": ["integer"]}, 1, "a"),
        ({"allOf": [SIZE], "title": "Titled", "nullable": True}, None, 5),
        ({**SIZE, "description": "beside a reference"}, {}, 5),
        ({"allOf": [{"minimum": 1, **REAL}, {"minimum": 2, **WHOLE}]}, 2, 1),
        ({"allOf": [{"type": ["string", "null"]}, {"type": ["null", "array"]}]}, None, "a"),
        ({"anyOf": [{"type": "array", "uniqueItems": True, "maxItems": 1}, NULL]}, ["a"], [1, 2]),
        ({"allOf": [{"enum": ["a", "b"]}, {"enum": ["b", "c"]}]}, "b", "a"),
        ({"allOf": [model(a=TEXT), model(a={"minLength": 2}, b=TEXT)]}, {"a": "ab", "b": ""}, {}),
        ({"allOf": [{"anyOf": [TEXT, WHOLE]}, {"anyOf": [WHOLE, NULL]}]}, 1, "a"),
        ({"allOf": [{"items": TEXT}, {"items": {"maxLength": 1}}]}, ["a"], ["ab"]),
        ({"allOf": [{"multipleOf": 4, **WHOLE}, {"multipleOf": 6}]}, 12, 4),
        ({"allOf": [{"multipleOf": 0.5, **REAL}, {"multipleOf": 0.2}]}, 1.0, 0.5),
        ({"type": "object", "anyOf": [model(a=TEXT), model(b=TEXT)]}, {"b": ""}, {}),
        ({"enum": ["a", "b"], "const": "a"}, "a", "b"),
        ({"required": ["a"]}, {"a": 1}, {}),
        ({"minLength": 1}, "a", ""),
    ],
)
def test_both_dialects_of_openapi_are_known(schema: Any, fitting: Any, other: Any) -> None:
    read(compiled(schema), fitting)
    assert refused(schema, other)
