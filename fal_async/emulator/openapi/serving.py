"""Models made of OpenAPI documents: they check what comes in, and make up what goes out."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from typing import Any, Final

from fal_async.emulator.chance import digest
from fal_async.emulator.model import Call, Model
from fal_async.emulator.openapi.checking import read
from fal_async.emulator.openapi.making import make_output
from fal_async.emulator.openapi.reading import Endpoint, read_documents
from fal_async.emulator.openapi.shapes import Shape, heights
from fal_async.emulator.raising import AppError

__all__ = ["models_from_openapi"]

_EVENTS: Final = 3


def models_from_openapi(
    *documents: str | os.PathLike[str], id: str | None = None, **settings: Any
) -> list[Model]:
    """Models that behave as their OpenAPI documents say (PROTOCOL 14), to be registered.

    An input is validated as fal's framework does it: all that is wrong with it is told at once, as 422. An
    output is made to fit the document, the same for the same input and seed; where a file belongs, there is a
    real small one. Images have the size and the number that the input asks for.

    :param documents: JSON files: fal's document of a model, a list of models with such documents, or the one
        of an application (FastAPI writes them). Or folders of such files.
    :param id: ``owner/app`` of an application whose document does not say it.
    :param settings: of each :class:`Model`, such as ``run_time`` or ``units``.
    :raises ValueError: for a document that no model can be made of. It names the file and the place in it.
    """
    return [
        _Served(endpoint).model(**settings)
        for document in documents
        for endpoint in read_documents(document, id=id)
    ]


class _Served:
    """One endpoint at work."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._heights = heights(endpoint.output)
        self._event_heights = heights(endpoint.event or endpoint.output)

    def model(self, **settings: Any) -> Model:
        endpoint = self._endpoint
        if endpoint.event is not None:
            settings = {"stream": self._stream, **settings}
        return Model(id=endpoint.id, function=self._run, **{"takes_any": True, **settings})

    def _run(self, content: Any, call: Call) -> Any:
        if not self._endpoint.direct:
            raise AppError(404, f"Path {self._path} not found")
        return self._make(self._endpoint.output, read(self._endpoint.input, content), call)

    async def _stream(self, content: Any, call: Call) -> AsyncGenerator[Any]:
        """A few events, each as the document says; the last one is the output."""
        given = read(self._endpoint.input, content)
        shape = self._endpoint.event or self._endpoint.output
        for number in range(1, _EVENTS):
            await call.sleep(call.seconds / _EVENTS)
            yield self._make(shape, given, call, number)
        await call.sleep(call.seconds / _EVENTS)
        yield self._make(shape, given, call)

    @property
    def _path(self) -> str:
        return f"/{self._endpoint.id.partition('/')[2].partition('/')[2]}"

    def _make(self, shape: Shape, input: Any, call: Call, *labels: object) -> Any:
        told = dict(input) if isinstance(input, dict) else {"": input}
        seed = told.pop("seed", None)
        if not isinstance(seed, int) or isinstance(seed, bool):
            seed = call.chance
        canonical = json.dumps(told, sort_keys=True)
        return make_output(
            shape,
            self._heights if shape is self._endpoint.output else self._event_heights,
            key=digest(self._endpoint.id, canonical, seed, *labels),
            input=input,
            seed=seed,
            about=self._endpoint.about,
        )
