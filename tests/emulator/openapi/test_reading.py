"""Which documents are served, as what, and what is said of those that are not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fal_async.emulator import Call, Model
from fal_async.emulator.openapi import models_from_openapi
from tests.emulator.openapi.judge import DOCUMENTS, document


def written(folder: Path, content: Any, name: str = "doc.json") -> Path:
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def ids(models: list[Model]) -> list[str]:
    return [model.id for model in models]


def queue(input: Any, output: Any = None, **schemas: Any) -> dict[str, Any]:
    """A small document of a model of the queue."""
    given = {"content": {"application/json": {"schema": output or {"type": "object"}}}}
    return {
        "openapi": "3.0.4",
        "paths": {
            "/you/app": {
                "post": {"requestBody": {"content": {"application/json": {"schema": input}}}}
            },
            "/you/app/requests/{request_id}": {"get": {"responses": {"200": given}}},
        },
        "components": {"schemas": schemas},
    }


def test_a_document_of_fals_is_one_model_under_its_path() -> None:
    assert ids(models_from_openapi(DOCUMENTS / "text_to_image.json")) == [
        "atelier/brush/text-to-image"
    ]


def test_several_documents_are_as_many_models_and_settings_are_those_of_each() -> None:
    two = (DOCUMENTS / "llm.json", DOCUMENTS / "speech.json")
    models = models_from_openapi(*two, run_time=2.5, unit="word")
    assert ids(models) == ["letters/any-llm", "voices/narrator/tts"]
    assert {(model.run_time, model.unit) for model in models} == {(2.5, "word")}


def test_a_folder_is_all_the_documents_in_it_by_name(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name, place in (("speech", tmp_path / "inner"), ("llm", tmp_path)):
        written(place, document(name), f"{name}.json")
    assert ids(models_from_openapi(tmp_path)) == ["voices/narrator/tts", "letters/any-llm"]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no documents in .*: no JSON files"):
        models_from_openapi(tmp_path)


def test_an_application_has_a_model_for_each_path_that_is_posted_to() -> None:
    models = models_from_openapi(DOCUMENTS / "application.json", id="you/app")
    assert ids(models) == ["you/app", "you/app/speak", "you/app/shape"]
    assert all(model.stream is not None for model in models)


def test_whose_application_it_is_may_stand_in_the_document(tmp_path: Path) -> None:
    content = document("application")
    content["info"]["x-fal-metadata"] = {"endpointId": "you/app"}
    assert ids(models_from_openapi(written(tmp_path, content)))[0] == "you/app"
    content["paths"] = {f"/you/app{path}": item for path, item in content["paths"].items()}
    assert ids(models_from_openapi(written(tmp_path, content)))[1] == "you/app/speak"


def test_a_list_of_the_platform_api_is_all_models_in_it_and_says_which_stream(
    tmp_path: Path,
) -> None:
    entries = [
        {
            "endpoint_id": "letters/any-llm",
            "openapi": document("llm"),
            "metadata": {"stream_url": "x"},
        },
        {"endpoint_id": "voices/narrator/tts", "openapi": document("speech"), "metadata": {}},
    ]
    models = models_from_openapi(written(tmp_path, {"models": entries, "has_more": False}))
    assert [(model.id, model.stream is not None) for model in models] == [
        ("letters/any-llm", True),
        ("voices/narrator/tts", False),
    ]


LOOP = {"$ref": "#/components/schemas/Loop"}
SELF = {"type": "object", "properties": {"next": LOOP}, "required": ["next"]}
#: One that nothing fits, within another one within it.
NOTHING = {
    "properties": {"inner": {"$ref": "#/components/schemas/Inner"}},
    "minProperties": 5,
    "maxProperties": 1,
}
INNER = {"properties": {"outer": {"$ref": "#/components/schemas/Nothing"}}}
EITHER = {
    "anyOf": [{"$ref": "#/components/schemas/Nothing"}, {"$ref": "#/components/schemas/Inner"}]
}

WRONG = [
    ("{", "this is no JSON"),
    ("[" * 100_000, "this is no JSON"),
    ([], '#: this is no OpenAPI document: it has no "openapi"'),
    ({"swagger": "2.0"}, '#: this is no OpenAPI document: it has no "openapi"'),
    ({"openapi": "2.0", "paths": {"/": {}}}, "#/openapi: 2.0 is not 3.0 or 3.1"),
    ({"openapi": "3.0.4"}, "#/paths: there are no paths"),
    ({"openapi": "3.0.4", "paths": {}}, "#/paths: there are no paths"),
    ({"openapi": "3.0.4", "paths": {"/a/b": {"get": {}}}}, "#/paths: no path is called with POST"),
    ({"openapi": "3.0.4", "paths": {"/a/b": 5}}, "#/paths/~1a~1b: this should be an object"),
    ({"openapi": "3.0.4", "paths": {"/a/b": {"post": 5}}}, "#/paths/~1a~1b/post: this should be"),
    ({"openapi": "3.1.0", "paths": {"/run": {"post": {}}}}, "#/paths/~1run: whose application"),
    ({"models": [{"endpoint_id": "a/b"}]}, "#/models/0: this model comes without its document"),
    (queue({"$ref": "#/components/schemas/Lost"}), '$ref "#/components/schemas/Lost" leads nowhere'),
    (queue({"$ref": "https://fal.ai/x.json#/a"}), "is not in this document, and nothing is fetched"),
    (queue({"$ref": "other.json"}), "is not in this document, and nothing is fetched"),
    (queue({"allOf": [LOOP]}, Loop={"allOf": [LOOP]}), "this refers to itself and nothing else"),
    (queue({"anyOf": [False]}), "nothing fits a schema that is false"),
    ({"openapi": "3.0.4", "paths": {"/a/b": {"post": {"requestBody": 5}}}}, "/requestBody: this should"),
    ({"openapi": "3.0.4", "paths": {"/a/b": {"$ref": "#/paths/~1a~1b"}}}, "refers to itself"),
    (queue({"$ref": 5}), "$ref should be a string, and is 5"),
    (queue(LOOP, Loop=LOOP), "this refers to itself and nothing else"),
    (queue(LOOP, Loop={"anyOf": [LOOP, {}]}), "no input is possible: it contains itself without"),
    (queue({}, LOOP, Loop={"anyOf": [LOOP]}), "no output is possible: it contains itself without"),
    (queue({}, LOOP, Loop=SELF), "no output is possible: it contains itself without end"),
    (queue({"type": "text"}), '/schema/type: "text" is no type'),
    (queue({"properties": []}), "/schema/properties: this cannot be []"),
    (queue({"properties": {"a": 5}}), "/schema/properties/a: this should be a schema, and is 5"),
    (queue({"properties": {"a": False}}), "nothing fits a schema that is false"),
    (queue({"required": [["a"]]}), '/schema/required: this cannot be [["a"]]'),
    (queue({"type": [{}], "const": 1}), "/schema/type: this cannot be [{}]"),
    (queue({"type": "object", "x-fal-order-properties": 5}), "-order-properties: this cannot be 5"),
    (queue({"minimum": "1"}), '/schema/minimum: this cannot be "1"'),
    (queue({"minimum": 3, "maximum": 2}), "nothing fits: no number is from 3 to 2"),
    (queue({"multipleOf": True}), "/schema/multipleOf: this cannot be true"),
    (queue({"type": "integer", "maximum": math.inf}), "/schema/maximum: this cannot be Infinity"),
    (queue({"minItems": math.nan}), "/schema/minItems: this cannot be NaN"),
    (queue({"minimum": 10**400}), "/schema/minimum: this cannot be 1"),
    (queue({"minimum": 1, "maximum": 2, "multipleOf": 5}), "no multiple of 5 is from 1 to 2"),
    (queue({"exclusiveMinimum": 0, "maximum": 2, "multipleOf": 3}), "no multiple of 3 is from 0 to 2"),
    (queue({"exclusiveMaximum": 3, "minimum": 1, "multipleOf": 3}), "no multiple of 3 is from 1 to 3"),
    (queue({"minimum": 1.5e308, "multipleOf": 1e308}), "no multiple of 1e+308 is from 1.5e+308 to inf"),
    (queue({"type": "integer", "minimum": 0.4, "maximum": 0.6}), "no whole number is from 0.4 to 0.6"),
    (queue({"allOf": [{"multipleOf": 1e308}, {"multipleOf": 7e-300}]}), "no number is a multiple of 1e+308"),
    (queue({"minLength": 3, "maxLength": 2}), "nothing fits: minLength is 3, maxLength is 2"),
    (queue(EITHER, Nothing=NOTHING, Inner=INNER), "nothing fits: minProperties is 5, maxProperties is 1"),
    (queue({"anyOf": []}), "/schema/anyOf: nothing fits an empty list"),
    (queue({"type": "string", "enum": [1]}), "none of the values is of the type"),
    (queue({"allOf": [{"type": "string"}, {"type": "array"}]}), "nothing is string and array"),
    (queue({"allOf": [{"const": 1}, {"const": 2}]}), "nothing is 1 and 2"),
    (queue({"allOf": [{"enum": [1]}, {"enum": [2]}]}), "nothing is one of [1] and one of [2]"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_with_a_document_is_told_with_file_and_place(
    tmp_path: Path, content: Any, sentence: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ValueError) as told:  # noqa: PT011  # it is looked at below
        models_from_openapi(path)
    assert str(told.value).startswith(f"{path}: ")
    assert sentence in str(told.value)


def test_a_place_is_told_as_a_json_pointer(tmp_path: Path) -> None:
    content = queue({"properties": {"a/b": {"items": {"$ref": "#/nowhere"}}}})
    with pytest.raises(ValueError, match="leads nowhere") as told:
        models_from_openapi(written(tmp_path, content))
    assert (
        "#/paths/~1you~1app/post/requestBody/content/application~1json/schema/properties/a~1b/items: "
        in str(told.value)
    )


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.json: there is no such file or folder"):
        models_from_openapi(tmp_path / "gone.json")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bytes.json"
    path.write_bytes(b'{"openapi": "\xff\xfe"}')
    with pytest.raises(ValueError, match="this is no JSON"):
        models_from_openapi(path)


def test_a_body_that_is_no_json_is_refused(tmp_path: Path) -> None:
    content = queue({})
    body = {"content": {"multipart/form-data": {"schema": {}}}}
    content["paths"]["/you/app"]["post"]["requestBody"] = body
    with pytest.raises(ValueError, match="only JSON is served, and this is multipart/form-data"):
        models_from_openapi(written(tmp_path, content))


def test_a_folder_that_ends_in_json_is_read_as_one_and_a_schema_nested_too_deeply_is_told(
    tmp_path: Path,
) -> None:
    schema: Any = {}
    for _ in range(400):
        schema = {"items": schema}
    folder = tmp_path / "all.json"
    folder.mkdir()
    written(folder, queue(schema))
    with pytest.raises(ValueError, match=r"doc\.json: this is nested too deeply"):
        models_from_openapi(folder)


def test_an_endpoint_without_a_body_takes_anything(tmp_path: Path) -> None:
    content = queue({})
    del content["paths"]["/you/app"]["post"]["requestBody"]
    [model] = models_from_openapi(written(tmp_path, content))
    assert model.function([1], Call(request_id="", model=model.id)) == {}


def test_an_application_that_says_nothing_of_its_answers_gives_an_empty_object(
    tmp_path: Path,
) -> None:
    paths: dict[str, Any] = {
        "/a": {"post": {}},
        "/b": {"post": {"responses": {"422": {}}}},
        "/c": {"post": {"responses": {"200": {"description": "Nothing"}}}},
        "/d": {"post": {"responses": {"200": {"content": {"text/plain": {}}}}}},
    }
    content = {"openapi": "3.1.0", "paths": paths}
    for model in models_from_openapi(written(tmp_path, content), id="you/app"):
        assert model.function({}, Call(request_id="", model=model.id)) == {}


def test_an_id_that_is_none_is_told(tmp_path: Path) -> None:
    content = {"openapi": "3.1.0", "paths": {"/": {"post": {}}}}
    with pytest.raises(ValueError, match=r"#/paths/~1: .*app"):
        models_from_openapi(written(tmp_path, content), id="app")


def test_a_queue_that_does_not_say_what_its_model_gives_is_refused(tmp_path: Path) -> None:
    content = queue({})
    del content["paths"]["/you/app/requests/{request_id}"]["get"]
    with pytest.raises(ValueError, match=r"no GET /you/app/requests/\{request_id\}"):
        models_from_openapi(written(tmp_path, content))


def test_what_a_document_refers_to_may_stand_anywhere_in_it(tmp_path: Path) -> None:
    content = queue({"$ref": "#/components/schemas/In"}, In={"$ref": "#/$defs/a~1b/0"})
    content["$defs"] = {"a/b": [{"type": "object"}]}
    content["paths"]["/you/app"]["post"]["requestBody"] = {"$ref": "#/components/bodies/In"}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/In"}}}}
    content["components"]["bodies"] = {"In": body}
    assert ids(models_from_openapi(written(tmp_path, content))) == ["you/app"]
