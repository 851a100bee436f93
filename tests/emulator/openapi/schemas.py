"""Schemas as an application's framework writes them, by Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from(
    [
        "image",
        "audio_url",
        "seed",
        "text",
        "error",
        "items",
        "timings",
        "id",
        "url",
        "width",
        "note",
    ]
)
PATTERNS = [
    r"^[a-z]{2,5}$",
    r"^\d+(px|em)$",
    r"[A-F0-9]+",
    r"^(red|green|blue)-\d{1,3}$",
    r"^\w+@\w+\.com$",
]
COUNTS = st.integers(0, 3)


def _said(**keywords: Any) -> dict[str, Any]:
    return {word: value for word, value in keywords.items() if value is not None}


@st.composite
def texts(draw: st.DrawFn) -> dict[str, Any]:
    how = draw(st.sampled_from(["plain", "length", "pattern", "format"]))
    if how == "pattern":
        return {"type": "string", "pattern": draw(st.sampled_from(PATTERNS))}
    if how == "format":
        formats = ["date-time", "date", "uuid", "email", "binary"]
        return {"type": "string", "format": draw(st.sampled_from(formats))}
    if how == "plain":
        return {"type": "string"}
    shortest = draw(st.integers(0, 30))
    longest = draw(st.none() | st.integers(shortest, 60))
    return _said(type="string", minLength=shortest, maxLength=longest)


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["integer", "number"]))
    low = draw(st.none() | st.integers(-50, 50))
    high = draw(
        st.none() | st.integers(low + 40, low + 200) if low is not None else st.integers(-50, 50)
    )
    least = "minimum" if draw(st.booleans()) else "exclusiveMinimum"
    most = "maximum" if draw(st.booleans()) else "exclusiveMaximum"
    multiple = draw(
        st.none() | st.sampled_from([1, 2, 8] if kind == "integer" else [0.5, 0.25, 0.1, 5])
    )
    as_float = float if draw(st.booleans()) else int  # FastAPI writes 1.0
    bounds = {least: low, most: high}
    told = {word: as_float(bound) for word, bound in bounds.items() if bound is not None}
    return {"type": kind, **told, **_said(multipleOf=multiple)}


def values() -> st.SearchStrategy[dict[str, Any]]:
    words = st.lists(st.sampled_from(["a", "b", "auto", "16:9"]), min_size=1, unique=True)
    return words.map(lambda each: {"type": "string", "enum": each}) | st.sampled_from(
        [{"const": "only", "type": "string"}, {"enum": [1, 2, 3], "type": "integer"}]
    )


FLAT = (
    texts()
    | numbers()
    | values()
    | st.just({"type": "boolean"})
    | st.just({"$ref": "#/components/schemas/Colour"})
)


@st.composite
def listings(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    if draw(st.integers(0, 4)) == 0:
        first = draw(st.lists(inner, min_size=1, max_size=3))
        return {
            "type": "array",
            "prefixItems": first,
            "minItems": len(first),
            "maxItems": len(first),
        }
    fewest = draw(st.none() | COUNTS)
    most = draw(st.none() | st.integers(fewest or 0, 4))
    return _said(type="array", items=draw(inner), minItems=fewest, maxItems=most)


@st.composite
def records(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    required = [name for name in properties if draw(st.booleans())]
    if not properties:
        return {"type": "object", "additionalProperties": draw(st.just(True) | inner)}
    closed = draw(st.sampled_from([None, None, False]))
    return _said(
        type="object", properties=properties, required=required, additionalProperties=closed
    )


#: Of which no value is two; but 3 is an integer and a number.
_APART = {
    "integer": {"type": "integer", "minimum": 3},
    "number": {"type": "number", "exclusiveMaximum": 3},
    "string": {"type": "string"},
    "array": {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 2},
    "object": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
}


@st.composite
def choices(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    options = draw(st.lists(inner, min_size=1, max_size=3))
    how = draw(st.sampled_from(["null", "any", "nullable", "all", "one", "types"]))
    match how:
        case "one":
            kinds = draw(st.lists(st.sampled_from(list(_APART)), min_size=1, unique=True))
            return {"oneOf": [_APART[kind] for kind in kinds]}
        case "types":
            kinds = draw(st.lists(st.sampled_from(["string", "boolean", "null"]), min_size=1))
            return {"type": list(dict.fromkeys(kinds))}
        case "null":
            return {"anyOf": [*options, {"type": "null"}]}
        case "any":
            return {"anyOf": options}
        case "nullable":
            return {"allOf": options[:1], "nullable": True}
        case _:
            return {"allOf": options[:1], "title": "Titled"}


NESTED = st.recursive(
    FLAT, lambda inner: listings(inner) | records(inner) | choices(inner), max_leaves=8
)

COMPONENTS = {
    "Colour": {"type": "string", "enum": ["red", "green"], "title": "Colour"},
    "File": {
        "type": "object",
        "properties": {"url": {"type": "string"}, "content_type": {"type": "string"}},
        "required": ["url"],
    },
    "Tree": {
        "type": "object",
        "properties": {
            "image": {"$ref": "#/components/schemas/File"},
            "branches": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
            "next": {"anyOf": [{"$ref": "#/components/schemas/Tree"}, {"type": "null"}]},
        },
        "required": ["image", "branches", "next"],
    },
}
SCHEMAS = NESTED | st.sampled_from(
    [{"$ref": f"#/components/schemas/{name}"} for name in COMPONENTS]
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.floats(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
