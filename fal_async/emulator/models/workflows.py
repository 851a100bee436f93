"""A workflow (PROTOCOL 13): a model made of models, called like any other. Ours, not fal's.

``workflows/emulator/described-picture`` has two nodes: ``words`` elaborates on the prompt, and ``picture``
paints what came out. Streamed, it tells of each; a node that fails is its last event.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from fal_async.emulator.model import Call, Model
from fal_async.emulator.models.checking import Fields
from fal_async.emulator.models.images import image_models
from fal_async.emulator.models.language import language_models
from fal_async.emulator.raising import ModelFailure
from fal_async.emulator.settling import settle_failure
from fal_async.protocol.workflow import (
    WorkflowCompletion,
    WorkflowEvent,
    WorkflowFailure,
    WorkflowOutput,
    WorkflowSubmit,
    build_workflow_event,
)

__all__ = ["workflow_models"]

_ID: Final = "workflows/emulator/described-picture"


def _nodes(content: Mapping[str, Any], call: Call) -> Iterator[WorkflowEvent]:
    """What happens, one thing after the other; raises what a node raises."""
    fields = Fields(content)
    prompt = fields.text("prompt")
    fields.done()
    [llm, *_], [sdxl, *_] = language_models(), image_models()
    begun = partial(WorkflowSubmit, request_id=call.request_id)
    yield begun(node_id="words", app_id=llm.id)
    words: Any = llm.function({"prompt": prompt})
    call.log("words: completed")
    yield WorkflowCompletion(node_id="words", app_id=llm.id, output=words)
    yield begun(node_id="picture", app_id=sdxl.id)
    elaborate = f"{prompt}. {words['output']}"
    picture: Any = sdxl.function({**content, "prompt": elaborate}, call)
    call.log("picture: completed")
    yield WorkflowCompletion(node_id="picture", app_id=sdxl.id, output=picture)
    shown = {name: picture[name] for name in ("images", "prompt", "seed")}
    yield WorkflowOutput(output=shown)


def _described_picture(content: Mapping[str, Any], call: Call) -> Any:
    *_, last = _nodes(content, call)
    assert isinstance(last, WorkflowOutput)  # noqa: S101  # it ends so, or raises
    return last.output


async def _told(content: Mapping[str, Any], call: Call) -> AsyncGenerator[dict[str, Any]]:
    node = ""
    try:
        for event in _nodes(content, call):
            node = event.node_id or node
            if not isinstance(event, WorkflowSubmit):
                await call.sleep(call.seconds / _STEPS)
            yield build_workflow_event(event)
    except ModelFailure as failure:
        if not node:  # the input of the workflow itself
            raise
        response = settle_failure(_model(), failure).response
        body = msgspec.json.decode(response.body)
        sentence = f"{node} failed with {response.status}"
        yield build_workflow_event(
            WorkflowFailure(node_id=node, message=sentence, status=response.status, body=body)
        )


#: Completions and the output, which share the time that the run takes.
_STEPS: Final = 3


def _model() -> Model:
    return Model(id=_ID, function=_described_picture, stream=_told)


def workflow_models() -> list[Model]:
    """The one above."""
    return [_model()]
