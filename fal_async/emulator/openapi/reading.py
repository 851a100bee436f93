"""OpenAPI documents read from files: which endpoints there are, what goes in and comes out (PROTOCOL 14).

Three kinds are known: fal's document of a model, whose paths are those of the queue; the list of models of
the platform API with such documents in it (``expand=openapi-3.0``); and the document of an application, whose
paths are called directly, as FastAPI writes it. Nothing that a document refers to is fetched.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from fal_async.emulator.openapi.compiling import Compiler
from fal_async.emulator.openapi.keywords import DocumentError, escaped
from fal_async.emulator.openapi.shapes import (
    OUT_OF_REACH,
    Anything,
    Shape,
    heights,
    is_circular,
    resolve,
)
from fal_async.errors import InputError
from fal_async.protocol import wire
from fal_async.protocol.model import parse_model_id
from fal_async.protocol.routes import match_queue, result_url

__all__ = ["Endpoint", "read_documents"]

_JSON: Final = re.compile(r"application/(.+\+)?json|\*/\*")
_STREAM: Final = f"/{wire.STREAM}"


@attrs.frozen(kw_only=True)
class Endpoint:
    """What a document says of one endpoint.

    :ivar about: its category, such as ``text-to-image``; of an application, its own path.
    :ivar event: what an event of its stream is; None if it does not stream.
    :ivar direct: whether it is called at all, besides streaming.
    """

    id: str
    input: Shape = attrs.field(repr=False)
    output: Shape = attrs.field(repr=False)
    about: str = ""
    event: Shape | None = attrs.field(repr=False, default=None)
    direct: bool = True


def read_documents(place: str | os.PathLike[str], *, id: str | None = None) -> list[Endpoint]:
    """The endpoints of a document, or of each ``*.json`` in a folder and its subfolders, by name.

    :param id: ``owner/app`` of a document that does not say whose it is.
    :raises ValueError: if there is none, or one is not what it should be; it names the file and the place.
    """
    path = Path(place)
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"no documents in {path}: no JSON files")
    return [endpoint for file in files for endpoint in _read(file, id)]


def _read(file: Path, id: str | None) -> list[Endpoint]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{file}: there is no such file or folder") from None
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: this is no JSON: {error}") from error
    try:
        found = list(_endpoints_of(content, id))
    except DocumentError as error:
        raise ValueError(f"{file}: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{file}: this is nested too deeply") from error
    return found


def _endpoints_of(content: Any, id: str | None) -> Iterator[Endpoint]:
    if isinstance(content, dict) and isinstance(content.get("models"), list):
        for index, entry in enumerate(content["models"]):
            yield from _listed(entry, f"#/models/{index}")
        return
    yield from _Document(content, "#", id).endpoints()


def _listed(entry: Any, place: str) -> Iterator[Endpoint]:
    """One model of the platform API's list."""
    document = entry.get("openapi") if isinstance(entry, dict) else None
    if not isinstance(document, dict) or "error" in document:
        raise DocumentError(
            place, "this model comes without its document: ask for expand=openapi-3.0"
        )
    metadata = entry.get("metadata")
    streams = isinstance(metadata, dict) and bool(metadata.get("stream_url"))
    for endpoint in _Document(document, f"{place}/openapi", None).endpoints():
        streaming = streams and endpoint.id == entry.get("endpoint_id")
        yield attrs.evolve(endpoint, event=endpoint.output) if streaming else endpoint


class _Document:
    def __init__(self, content: Any, place: str, id: str | None) -> None:
        if not isinstance(content, dict) or not isinstance(content.get("openapi"), str):
            raise DocumentError(place, 'this is no OpenAPI document: it has no "openapi"')
        if not content["openapi"].startswith("3."):
            raise DocumentError(f"{place}/openapi", f"{content['openapi']} is not 3.0 or 3.1")
        paths = content.get("paths")
        if not isinstance(paths, dict) or not paths:
            raise DocumentError(f"{place}/paths", "there are no paths")
        self._paths: dict[str, Any] = paths
        self._place = place
        self._compiler = Compiler(content, says_null=not content["openapi"].startswith("3.0"))
        info = content.get("info")
        metadata = info.get(wire.OPENAPI_METADATA) if isinstance(info, dict) else None
        self._metadata: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
        named = self._metadata.get("endpointId")
        self._id = id or (named if isinstance(named, str) else None)
        # The queue's paths behind a model's own (PROTOCOL 6).
        self._requests = {path: match_queue(path) for path in paths if match_queue(path).request_id}

    def endpoints(self) -> Iterator[Endpoint]:
        called = {
            path.rstrip("/"): path
            for path in self._paths
            if path not in self._requests and self._operation(path, "post") is not None
        }
        if not called:
            raise DocumentError(f"{self._place}/paths", "no path is called with POST")
        for base, path in called.items():
            if not base.endswith(_STREAM):
                yield self._endpoint(base, path, called.get(f"{base}{_STREAM}", ""))
            elif base.removesuffix(_STREAM) not in called:
                yield self._endpoint(base.removesuffix(_STREAM), path, path)

    def _endpoint(self, base: str, path: str, stream: str) -> Endpoint:
        place = f"{self._place}/paths/{escaped(path)}"
        output = self._output(path)
        event = self._events(stream or path) or (self._given(stream) if stream else None)
        endpoint = Endpoint(
            id=self._named(base, place),
            input=self._input(path),
            output=output,
            about=str(self._metadata.get("category") or base.rpartition("/")[2]),
            event=output if event is not None and isinstance(resolve(event), Anything) else event,
            direct=path != stream,
        )
        parts = {"input": endpoint.input, "output": output, "event": endpoint.event or output}
        for what, shape in parts.items():
            if is_circular(shape) or heights(shape)[id(resolve(shape))] == OUT_OF_REACH:
                raise DocumentError(place, f"no {what} is possible: it contains itself without end")
        return endpoint

    def _named(self, path: str, place: str) -> str:
        """The id of a model: the path itself, or what comes behind the application's id."""
        path = path.strip("/")
        if self._id and not self._requests and not f"{path}/".startswith(f"{self._id}/"):
            path = f"{self._id}/{path}".rstrip("/")
        try:
            return str(parse_model_id(path))
        except InputError as error:
            if self._id:
                raise DocumentError(place, str(error)) from None
            raise DocumentError(
                place, "whose application this is is not said: name it, as owner/app"
            ) from None

    # --- its parts ----------------------------------------------------------------------------------

    def _operation(self, path: str, method: str) -> dict[str, Any] | None:
        place = f"{self._place}/paths/{escaped(path)}"
        item, place = self._compiler.follow(self._paths[path], place)
        if not isinstance(item, dict):
            raise DocumentError(place, "this should be an object")
        operation = item.get(method)
        if operation is not None and not isinstance(operation, dict):
            raise DocumentError(f"{place}/{method}", "this should be an object")
        return operation

    def _input(self, path: str) -> Shape:
        place = f"{self._place}/paths/{escaped(path)}/post/requestBody"
        body = (self._operation(path, "post") or {}).get("requestBody")
        if body is None:
            return Anything()
        body, place = self._compiler.follow(body, place)
        content = body.get("content") if isinstance(body, dict) else None
        if not isinstance(content, dict):
            raise DocumentError(place, "this should be an object with content")
        shape = self._schema(content, _JSON, f"{place}/content")
        if shape is None:
            raise DocumentError(
                f"{place}/content", f"only JSON is served, and this is {', '.join(content)}"
            )
        return shape

    def _output(self, path: str) -> Shape:
        if not self._requests:
            return self._given(path) or self._events(path) or Anything()
        results = (
            result
            for result, route in self._requests.items()
            if route.operation == "result" and route.target == path.strip("/")
        )
        result = next(results, None)
        shape = self._given(result, "get") if result else None
        if shape is None:
            wanted = result_url("", path.strip("/"), "{request_id}")
            raise DocumentError(
                f"{self._place}/paths", f"what the model gives is not said: no GET {wanted}"
            )
        return shape

    def _given(self, path: str, method: str = "post") -> Shape | None:
        """What stands in a path's successful answer, if it is JSON."""
        found = self._answers(path, method)
        return self._schema(found[0], _JSON, found[1]) if found else None

    def _events(self, path: str) -> Shape | None:
        """What an event is, if a path's answers are said to be streams."""
        found = self._answers(path, "post")
        if not found or wire.EVENT_STREAM not in found[0]:
            return None
        return (
            self._schema(found[0], re.compile(re.escape(wire.EVENT_STREAM)), found[1]) or Anything()
        )

    def _answers(self, path: str, method: str) -> tuple[dict[str, Any], str] | None:
        responses = (self._operation(path, method) or {}).get("responses")
        place = f"{self._place}/paths/{escaped(path)}/{method}/responses"
        if not isinstance(responses, dict):
            return None
        status = next((code for code in responses if re.fullmatch("2..|default", code)), None)
        if status is None:
            return None
        answer, place = self._compiler.follow(responses[status], f"{place}/{status}")
        content = answer.get("content") if isinstance(answer, dict) else None
        return (content, f"{place}/content") if isinstance(content, dict) else None

    def _schema(self, content: dict[str, Any], wanted: re.Pattern[str], place: str) -> Shape | None:
        for name, media in content.items():
            if wanted.fullmatch(name.partition(";")[0].strip()):
                schema = media.get("schema", {}) if isinstance(media, dict) else media
                return self._compiler.shape(schema, f"{place}/{escaped(name)}/schema")
        return None
