"""What a workflow tells while it runs (PROTOCOL 13): its events, both directions. Pure."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import attrs
import msgspec

from fal_async.errors import Billing, StatusError
from fal_async.protocol import wire
from fal_async.protocol.messages import Headers, HttpRequest, HttpResponse
from fal_async.protocol.outcome import error_from_response

__all__ = [
    "WorkflowCompletion",
    "WorkflowEvent",
    "WorkflowFailure",
    "WorkflowOutput",
    "WorkflowSubmit",
    "build_workflow_event",
    "error_from_failure",
    "parse_workflow_event",
]


@attrs.frozen(kw_only=True)
class WorkflowSubmit:
    """A node was begun: a request of the application ``app_id``."""

    node_id: str
    app_id: str = ""
    request_id: str = ""


@attrs.frozen(kw_only=True)
class WorkflowCompletion:
    """A node is done; ``output`` is what it made."""

    node_id: str
    output: Any = attrs.field(repr=False)
    app_id: str | None = None


@attrs.frozen(kw_only=True)
class WorkflowOutput:
    """The workflow is done; ``output`` is its result."""

    output: Any = attrs.field(repr=False)
    node_id: str | None = None


@attrs.frozen(kw_only=True)
class WorkflowFailure:
    """A node failed, as a call of its model would have: with ``status`` and ``body``."""

    node_id: str
    message: str = attrs.field(default="", repr=False)
    status: int | None = None
    body: Any = attrs.field(default=None, repr=False)


WorkflowEvent: TypeAlias = WorkflowSubmit | WorkflowCompletion | WorkflowOutput | WorkflowFailure


def parse_workflow_event(value: Any) -> Any:
    """The event that a payload says; the payload itself, if it says none that is known."""
    if not isinstance(value, dict):
        return value
    node, kind = value.get("node_id"), value.get("type")
    if kind == _OUTPUT and "output" in value:
        return WorkflowOutput(output=value["output"], node_id=_text(node))
    if not isinstance(node, str):
        return value
    app = _text(value.get("app_id"))
    if kind == _SUBMIT:
        request_id = _text(value.get("request_id"))
        return WorkflowSubmit(node_id=node, app_id=app or "", request_id=request_id or "")
    if kind == _COMPLETION and "output" in value:
        return WorkflowCompletion(node_id=node, output=value["output"], app_id=app)
    if kind == _ERROR:
        error = value.get("error")
        told = error if isinstance(error, dict) else {"body": error}
        status = told.get("status")
        return WorkflowFailure(
            node_id=node,
            message=_text(value.get("message")) or "",
            status=status if type(status) is int else None,
            body=told.get("body"),
        )
    return value


_SUBMIT: Final = "submit"
_COMPLETION: Final = "completion"
_OUTPUT: Final = "output"
_ERROR: Final = "error"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def build_workflow_event(event: WorkflowEvent) -> dict[str, Any]:
    """The payload that says this event."""
    match event:
        case WorkflowSubmit():
            return {"type": _SUBMIT, **attrs.asdict(event, recurse=False)}
        case WorkflowCompletion():
            return {"type": _COMPLETION, **_known(event)}
        case WorkflowOutput():
            return {"type": _OUTPUT, **_known(event)}
        case _:
            return {
                "type": _ERROR,
                "node_id": event.node_id,
                "message": event.message,
                "error": {"status": event.status, "body": event.body},
            }


def _known(event: WorkflowEvent) -> dict[str, Any]:
    return attrs.asdict(event, recurse=False, filter=lambda _, value: value is not None)


def error_from_failure(
    failure: WorkflowFailure, request: HttpRequest, request_id: str | None
) -> StatusError:
    """The error that a call of the node would have raised, but that other nodes may have been billed."""
    status = failure.status if failure.status is not None and failure.status >= 400 else 500
    headers = {} if request_id is None else {wire.REQUEST_ID: request_id}
    body = msgspec.json.encode(failure.body)
    error = error_from_response(HttpResponse(status, Headers(headers), body), request)
    error.args = (f"the workflow's node {failure.node_id} failed: {error.what}",)
    error.billing = Billing.UNKNOWN
    return error
