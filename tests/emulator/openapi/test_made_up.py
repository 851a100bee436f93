"""Strings and numbers that are made up keep to what is asked of them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fal_async.emulator.chance import digest
from fal_async.emulator.openapi.compiling import Compiler
from fal_async.emulator.openapi.making import make_output
from fal_async.emulator.openapi.patterns import write_match
from fal_async.emulator.openapi.shapes import heights
from tests.emulator.openapi.judge import judge, shown

#: What schemas are written with, and something of each thing that is known.
PATTERNS = [
    r"",
    r"^[a-z0-9_-]{3,16}$",
    r"^#(?:[0-9a-fA-F]{3}){1,2}$",
    r"^\d{4}-\d{2}-\d{2}$",
    r"^(?P<hours>[01]\d|2[0-3]):[0-5]\d$",
    r"^https?://\S+\.(png|jpe?g)$",
    r"^[^aeiou\s]+$",
    r"^[]^-]x\W\D\S.$",
    r"^a*?b+?c{2,}d{3}e?$",
    r"\.{3}\t\n",
    r"^(a|b|)\Z",
    r"{x}",
    r"\bword\b",
    r"^(?i:x)[\d.]+$",
    r"^[a\-z][\]\\]$",
    r"^[\x41-\x5A\u00e4]\x2D[\x00-\b]$",
]


def drawing(numbers: list[int]) -> Any:
    counting = iter(numbers * 200)
    return lambda below: next(counting) % below


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_is_written_for_a_pattern_matches_it(pattern: str) -> None:
    for key in range(100):
        text = write_match(pattern, drawing(list(digest(key))))
        assert re.search(pattern, text), text


def test_what_a_pattern_looks_ahead_for_is_left_out() -> None:
    assert write_match(r"(?=x)(?!y)(?<=z)ab", drawing([0])) == "ab"


def test_a_pattern_that_breaks_off_is_written_as_far_as_it_goes() -> None:
    assert write_match("a[b", drawing([0])) == "ab"
    assert write_match("(?P<a", drawing([0])) == ""
    assert write_match("a)b", drawing([0])) == "a"


def made(schema: Any, key: int = 0, input: Any = None, *, name: str = "field") -> Any:
    whole = {"type": "object", "properties": {name: schema}, "required": [name]}
    shape = Compiler({}).shape(whole, "#")
    output = make_output(
        shape, heights(shape), key=key.to_bytes(8, "big"), input=input, seed=2**63, about=""
    )
    judge(whole).validate(shown(output))
    return output[name]


def test_an_output_may_itself_be_one_of_several_that_overlap() -> None:
    schema = {"oneOf": [{"type": "string"}, {"type": "string", "minLength": 200}]}
    shape = Compiler({}).shape(schema, "#")
    for key in range(5):
        output = make_output(shape, heights(shape), key=bytes([key]), input={}, seed=1)
        judge(schema).validate(output)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": r"^[a-z]+$", "minLength": 20, "maxLength": 22},
        {"type": "string", "minLength": 500},
        {"type": "string", "maxLength": 0},
        {"type": "number", "minimum": 0.1, "maximum": 0.1},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-300},
        {"type": "number", "exclusiveMinimum": 1e17, "maximum": 1.0000000000000003e17},
        {"type": "number", "minimum": -1e308, "maximum": 1e308},
        {"type": "number", "maximum": -5},
        {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1.0000000000000004},
        {"type": "number", "multipleOf": 0.1, "exclusiveMinimum": 0},
        {"type": "number", "multipleOf": 1e308},
        {"type": "number", "multipleOf": 1e308, "exclusiveMinimum": 0},
        {"type": "integer", "multipleOf": 1e308, "maximum": 0},
        {"type": "integer", "multipleOf": -5, "minimum": 1},
        {"type": "number", "multipleOf": 2.5, "exclusiveMinimum": 5, "exclusiveMaximum": 10},
        {"type": "integer", "minimum": 0.5, "maximum": 1.5},
        {"type": "integer", "multipleOf": 2.5, "minimum": 1},
        {"type": "integer", "exclusiveMinimum": 8, "exclusiveMaximum": 24, "multipleOf": 8},
        {"type": "integer", "maximum": -5},
        {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 2},
        {"type": "array", "items": {"type": "integer"}, "minItems": 7},
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
        {
            "properties": {
                "error": {"items": {"type": "boolean"}, "uniqueItems": True, "minItems": 2}
            }
        },
        {"type": "array", "prefixItems": [{"type": "null"}, {"type": "string"}]},
        {"type": "array", "prefixItems": [{"type": "null"}], "items": False},
        {"type": "array", "maxItems": 0},
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
        {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 0},
        {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "maxProperties": 1},
        {"properties": {"timings": {"additionalProperties": {"type": "string"}}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "minProperties": 2},
        {"oneOf": [{"type": "integer"}, {"type": "number"}]},
        {"oneOf": [{"type": "string", "maxLength": 3}, {"type": "string", "minLength": 2}]},
        {"anyOf": [{"type": "null"}]},
        {"enum": [None]},
        {"enum": [None, {"a": 1}]},
        {"type": "string", "default": 5, "examples": [None, "fits"]},
    ],
)
def test_narrow_bounds_are_kept(schema: Any) -> None:
    for key in range(30):
        made(schema, key)


@pytest.mark.parametrize("form", ["date-time", "date", "time", "email", "uuid", "byte", "other"])
def test_formats_are_written_as_they_are(form: str) -> None:
    text = made({"type": "string", "format": form})
    assert re.fullmatch(
        {
            "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
            "date": r"\d{4}-\d\d-\d\d",
            "time": r"\d\d:\d\d:\d\dZ",
            "email": r"\w+@example\.com",
            "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
            "byte": r"[A-Za-z0-9+/]+=*",
            "other": r"[A-Z].*\.",
        }[form],
        text,
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 10**12},
        {"type": "string", "pattern": "^a{100000000}$"},
        {"type": "string", "pattern": "^.{0,1000000000}$"},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 10**12},
    ],
)
def test_what_is_far_too_long_is_not_waited_for(schema: Any) -> None:
    shape = Compiler({}).shape(schema, "#")
    output = make_output(shape, heights(shape), key=digest(1), input={}, seed=1)
    assert len(output) <= 1 << 21


def test_a_web_address_that_must_match_a_pattern_is_no_file() -> None:
    schema = {"type": "string", "format": "uri", "pattern": "^https://a\\.b/[a-z]+$"}
    assert made(schema, name="image_url").startswith("https://a.b/")
    assert made({"type": "string", "format": "uri", "maxLength": 60}).startswith("https://")


def test_what_the_input_says_of_the_same_name_is_said_again_if_it_fits() -> None:
    assert made({"type": "string"}, input={"voice": "ada"}, name="voice") == "ada"
    assert made({"type": "integer"}, input={"voice": "ada"}, name="voice") != "ada"
    assert made({"type": "string"}, input={"image_url": "x"}, name="image_url") != "x"


def test_a_seed_that_is_too_large_for_its_field_is_folded() -> None:
    seed = {"type": "integer", "maximum": 2**32}
    assert made({"type": "integer"}, name="seed") == 2**63
    assert made(seed, name="seed") == 0


def test_defaults_come_before_examples_and_both_before_what_is_made_up() -> None:
    assert made({"type": "string", "default": "d", "examples": ["e"]}) == "d"
    assert made({"type": "string", "examples": ["e", "f"]}) in {"e", "f"}
    assert made({"type": "string", "example": "g"}) == "g"


def test_an_output_tells_of_nothing_bad() -> None:
    nullable = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    for key in range(40):
        assert made(nullable, key, name="error") is None
        assert made({"type": "boolean"}, key, name="partial") is False


def test_what_may_be_absent_is_so_now_and_then() -> None:
    shape = Compiler({}).shape({"properties": {"note": {"type": "string"}}}, "#")
    drawn = [
        make_output(shape, {id(shape): 1}, key=bytes((key,)), input=None, seed=0)
        for key in range(100)
    ]
    assert 3 < drawn.count({}) < 30
    nulls = [made({"type": ["string", "null"]}, key) is None for key in range(100)]
    assert 3 < nulls.count(True) < 30
