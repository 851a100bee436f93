"""From JSON Schema, as OpenAPI documents hold it, to shapes. Pure: no file is read, and nothing is fetched.

Both dialects are read as one: ``nullable`` and boolean bounds of OpenAPI 3.0 beside the lists of types and
the ``null`` of 3.1; fal's documents say 3.0 and mix them. Keywords that the framework of fal's applications
does not write (``not``, ``if``, ``contains``, ``dependentRequired``, ``patternProperties``,
``propertyNames``, ``unevaluatedProperties``) are not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from fal_async.emulator.openapi.keywords import (
    DocumentError,
    ImpossibleError,
    bounds,
    check,
    constraints,
    escaped,
    number_shape,
    of_this_dialect,
    shown,
    text_shape,
    told,
)
from fal_async.emulator.openapi.merging import CLASS, ContradictionError, merge
from fal_async.emulator.openapi.shapes import (
    Anything,
    Choice,
    Field,
    Flag,
    Listing,
    Null,
    Record,
    Reference,
    Shape,
    Values,
)
from fal_async.protocol import wire
from fal_async.unset import UNSET

__all__ = ["Compiler"]

#: By which keyword a schema without a type tells what it is of.
_TELLING: Final = {
    "properties": "object",
    "additionalProperties": "object",
    "required": "object",
    "minProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "maxItems": "array",
    "pattern": "string",
    "minLength": "string",
    "maxLength": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}

_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}


class Compiler:
    """Reads the schemas of one document.

    :param says_null: whether the document says of what may be null that it may. Those of OpenAPI 3.0, fal's
        among them, leave that out of fields that are null by default.
    """

    def __init__(self, document: Any, *, says_null: bool = True) -> None:
        self._document = document
        self._says_null = says_null
        self._known: dict[str, Shape] = {}

    def shape(self, schema: Any, place: str) -> Shape:
        """What a schema says.

        :param place: where it stands in the document, for what is told of it.
        :raises DocumentError: if it is no schema, refers to what is not in the document, or nothing fits.
        """
        key = json.dumps(schema, sort_keys=True)
        if key in self._known:
            return self._known[key]
        before = len(self._known)
        reference = self._known[key] = Reference()
        try:
            made = self._made(self._flat(schema, place, ()), place)
        except ContradictionError as error:
            self._forget(before)
            raise ImpossibleError(place, str(error)) from None
        except ImpossibleError:
            self._forget(before)
            raise
        if made is reference:
            raise DocumentError(place, "this refers to itself and nothing else")
        reference.target.append(made)
        self._known[key] = made
        return made

    def _forget(self, before: int) -> None:
        """All since then: what was read within a shape that is none may refer to it."""
        for key in list(self._known)[before:]:
            del self._known[key]

    def follow(self, node: Any, place: str) -> tuple[Any, str]:
        """What stands where ``node`` refers to, and where that is; itself, if it refers to nothing."""
        seen: list[str] = []
        while isinstance(node, dict) and "$ref" in node:
            target = node["$ref"]
            node, place = self._target(target, place), str(target)
            if target in seen:
                raise DocumentError(place, "this refers to itself and nothing else")
            seen.append(target)
        return node, place

    # --- one schema of several ----------------------------------------------------------------------

    def _flat(self, schema: Any, place: str, seen: tuple[str, ...]) -> dict[str, Any]:
        """A schema with all that it refers to and all of which it is put together."""
        if schema is True:
            return {}
        if schema is False:
            raise ImpossibleError(place, "nothing fits a schema that is false")
        if not isinstance(schema, dict):
            raise DocumentError(place, f"this should be a schema, and is {shown(schema)}")
        check(schema, place)
        parts: list[Mapping[str, Any]] = []
        if "$ref" in schema:
            parts.append(self._referred(schema["$ref"], place, seen))
        for index, part in enumerate(schema.get("allOf", ())):
            parts.append(self._flat(part, f"{place}/allOf/{index}", seen))
        rest = {word: schema[word] for word in schema if word not in {"$ref", "allOf"}}
        return merge([*parts, of_this_dialect(rest)])

    def _referred(self, target: Any, place: str, seen: tuple[str, ...]) -> dict[str, Any]:
        if target in seen:
            raise DocumentError(place, "this refers to itself and nothing else")
        found = self._target(target, place)
        flat = self._flat(found, target, (*seen, target))
        name = str(flat.get("title") or target.rpartition("/")[2])
        return {CLASS: name, **flat} if target.startswith(_COMPONENTS) else flat

    def _target(self, target: Any, place: str) -> Any:
        if not isinstance(target, str):
            raise DocumentError(place, f"$ref should be a string, and is {shown(target)}")
        if not target.startswith("#"):
            raise DocumentError(
                place, f"$ref {shown(target)} is not in this document, and nothing is fetched"
            )
        node = self._document
        for part in target[1:].split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and name in node:
                node = node[name]
            elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            else:
                raise DocumentError(place, f"$ref {shown(target)} leads nowhere")
        return node

    # --- its shape ----------------------------------------------------------------------------------

    def _made(self, flat: Mapping[str, Any], place: str) -> Shape:
        about = told(flat)
        if flat.get("nullable") is True:
            return self._nullable(flat, place, about)
        for word in ("anyOf", "oneOf"):
            if word in flat:
                return self._choice(flat, word, place, about)
        if "const" in flat or "enum" in flat:
            return self._values(flat, place, about)
        kinds = flat.get("type")
        if isinstance(kinds, list):
            options = [{**constraints(flat), "type": each} for each in kinds]
            return self._choice({"anyOf": options}, "anyOf", place, about)
        telling = (_TELLING[word] for word in flat if word in _TELLING)
        kind = next(telling, None) if kinds is None else kinds
        return Anything(**about) if kind is None else self._of_kind(kind, flat, place, about)

    def _of_kind(
        self, kind: str, flat: Mapping[str, Any], place: str, about: dict[str, Any]
    ) -> Shape:
        match kind:
            case "string":
                return text_shape(flat, place, about)
            case "integer" | "number":
                return number_shape(flat, place, about)
            case "boolean":
                return Flag(**about)
            case "null":
                return Null(**about)
            case "array":
                return self._listing(flat, place, about)
            case "object":
                return self._record(flat, place, about)
            case _:
                raise DocumentError(f"{place}/type", f"{shown(kind)} is no type")

    def _nullable(self, flat: Mapping[str, Any], place: str, about: dict[str, Any]) -> Shape:
        rest = {word: flat[word] for word in flat if word != "nullable"}
        if "enum" in rest:
            rest["enum"] = [value for value in rest["enum"] if value is not None]
        inner = self._made({word: rest[word] for word in rest if word not in _OF_THE_FIELD}, place)
        return Choice(options=(inner, Null()), **{**about, "name": ""})

    def _choice(
        self, flat: Mapping[str, Any], word: str, place: str, about: dict[str, Any]
    ) -> Shape:
        base = {k: v for k, v in constraints(flat).items() if k not in {word, "discriminator"}}
        branches = flat[word]
        if not branches:
            raise DocumentError(f"{place}/{word}", "nothing fits an empty list")
        options: list[Shape] = []
        impossible: list[ImpossibleError] = []
        for index, branch in enumerate(branches):
            whole = {"allOf": [base, branch]} if base else branch
            try:
                options.append(self.shape(whole, f"{place}/{word}/{index}"))
            except ImpossibleError as error:
                impossible.append(error)
        if not options:
            raise impossible[0]
        by, tags = self._tags(flat, branches, place)
        return Choice(options=tuple(options), by=by, tags=tags, one=word == "oneOf", **about)

    def _tags(
        self, flat: Mapping[str, Any], branches: list[Any], place: str
    ) -> tuple[str, dict[str, Shape]]:
        tagging = flat.get("discriminator")
        if not isinstance(tagging, dict) or not isinstance(tagging.get("propertyName"), str):
            return "", {}
        mapping = tagging.get("mapping")
        if not isinstance(mapping, dict):
            targets = [b["$ref"] for b in branches if isinstance(b, dict) and "$ref" in b]
            mapping = {str(target).rpartition("/")[2]: target for target in targets}
        place = f"{place}/discriminator/mapping"
        return tagging["propertyName"], {
            tag: self.shape({"$ref": target}, f"{place}/{escaped(tag)}")
            for tag, target in mapping.items()
        }

    def _values(self, flat: Mapping[str, Any], place: str, about: dict[str, Any]) -> Shape:
        kinds = flat.get("type", list(_KINDS))
        kinds = kinds if isinstance(kinds, list) else [kinds]
        values = [flat["const"]] if "const" in flat else flat["enum"]
        values = [v for v in values if any(_KINDS[kind](v) for kind in kinds if kind in _KINDS)]
        if "const" in flat and "enum" in flat:
            values = [value for value in values if value in flat["enum"]]
        if not values:
            raise ImpossibleError(place, "none of the values is of the type")
        return Values(values=tuple(values), **about)

    def _listing(self, flat: Mapping[str, Any], place: str, about: dict[str, Any]) -> Shape:
        fewest, most = bounds(flat, "Items", place)
        first = tuple(
            self.shape(each, f"{place}/prefixItems/{index}")
            for index, each in enumerate(flat.get("prefixItems", ()))
        )
        items = flat.get("items", True)
        closed = items is False or (first and most is not None and most <= len(first))
        return Listing(
            first=first,
            items=None if closed else self.shape(items, f"{place}/items"),
            fewest=fewest,
            most=len(first) if closed and most is None else most,
            unique=flat.get("uniqueItems") is True,
            **about,
        )

    def _field(self, schema: Any, required: bool, place: str) -> Field:  # noqa: FBT001
        shape = self.shape(schema, place)
        ignores = not (self._says_null or required) and shape.default is UNSET
        return Field(shape=shape, required=required, ignores_null=ignores)

    def _record(self, flat: Mapping[str, Any], place: str, about: dict[str, Any]) -> Shape:
        properties, required = flat.get("properties", {}), flat.get("required", ())
        order = [name for name in flat.get(wire.OPENAPI_ORDER) or () if name in properties]
        names = dict.fromkeys((*order, *properties))
        fields = {
            name: self._field(
                properties[name], name in required, f"{place}/properties/{escaped(name)}"
            )
            for name in names
        }
        fields |= {name: _ANY_FIELD for name in required if name not in fields}
        more = flat.get("additionalProperties", True)
        fewest, most = bounds(flat, "Properties", place)
        return Record(
            fields=fields,
            more=None if more is False else self.shape(more, f"{place}/additionalProperties"),
            ignores="additionalProperties" not in flat and bool(fields),
            fewest=fewest,
            most=most,
            **about,
        )


_COMPONENTS: Final = "#/components/schemas/"
_ANY_FIELD: Final = Field(shape=Anything(), required=True)
_OF_THE_FIELD: Final = frozenset(("default", "example", "examples"))
