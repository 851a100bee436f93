"""A workflow's events: what each says, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from fal_async.errors import Billing, GatewayError, ModelError, ServerError
from fal_async.protocol.messages import HttpRequest
from fal_async.protocol.workflow import (
    WorkflowCompletion,
    WorkflowEvent,
    WorkflowFailure,
    WorkflowOutput,
    WorkflowSubmit,
    build_workflow_event,
    error_from_failure,
    parse_workflow_event,
)

REQUEST = HttpRequest(method="POST", url="https://fal.run/workflows/me/mine/stream")
DETAIL = {"detail": [{"loc": ["body", "prompt"], "msg": "no", "type": "missing"}]}

TABLE: list[tuple[dict[str, Any], WorkflowEvent]] = [
    (
        {"type": "submit", "node_id": "a", "app_id": "o/b", "request_id": "r"},
        WorkflowSubmit(node_id="a", app_id="o/b", request_id="r"),
    ),
    (
        {"type": "completion", "node_id": "a", "output": {"x": 1}, "app_id": "o/b"},
        WorkflowCompletion(node_id="a", app_id="o/b", output={"x": 1}),
    ),
    (
        {"type": "completion", "node_id": "a", "output": 1},
        WorkflowCompletion(node_id="a", output=1),
    ),
    ({"type": "output", "output": {"x": 1}}, WorkflowOutput(output={"x": 1})),
    ({"type": "output", "output": 1, "node_id": "z"}, WorkflowOutput(output=1, node_id="z")),
    (
        {
            "type": "error",
            "node_id": "a",
            "message": "broken",
            "error": {"status": 422, "body": DETAIL},
        },
        WorkflowFailure(node_id="a", message="broken", status=422, body=DETAIL),
    ),
]


@pytest.mark.parametrize(("payload", "event"), TABLE)
def test_each_event_is_read_and_written(payload: dict[str, Any], event: WorkflowEvent) -> None:
    assert parse_workflow_event(payload) == event
    assert build_workflow_event(event) == payload
    assert parse_workflow_event({**payload, "more": 1}) == event


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        ({"type": "submit", "node_id": "a"}, WorkflowSubmit(node_id="a")),
        ({"type": "error", "node_id": "a"}, WorkflowFailure(node_id="a")),
        (
            {"type": "error", "node_id": "a", "message": 5, "error": "broken"},
            WorkflowFailure(node_id="a", body="broken"),
        ),
        (
            {"type": "error", "node_id": "a", "error": {"status": "x"}},
            WorkflowFailure(node_id="a"),
        ),
    ],
)
def test_what_is_missing_is_left_out(payload: dict[str, Any], event: WorkflowEvent) -> None:
    assert parse_workflow_event(payload) == event


@pytest.mark.parametrize(
    "payload",
    [
        1,
        [],
        {},
        {"type": "submit"},
        {"type": "output"},
        {"type": "completion", "node_id": "a"},
        {"type": "progress", "node_id": "a"},
        {"type": ["submit"], "node_id": "a"},
    ],
)
def test_what_is_no_event_that_is_known_stays_as_it_is(payload: Any) -> None:
    assert parse_workflow_event(payload) is payload


@pytest.mark.parametrize(
    ("status", "kind"),
    [(422, ModelError), (503, ServerError), (None, ServerError), (200, ServerError)],
)
def test_a_failure_is_the_error_of_its_node(status: int | None, kind: type[Exception]) -> None:
    failure = WorkflowFailure(node_id="a", status=status, body=DETAIL)
    error = error_from_failure(failure, REQUEST, "r-1")
    assert type(error) is kind
    assert (error.billing, error.request_id) == (Billing.UNKNOWN, "r-1")
    assert error.details[0].path == "body.prompt"
    assert "the workflow's node a failed: fal answered" in str(error)


def test_without_an_id_it_is_nobodys() -> None:
    error = error_from_failure(WorkflowFailure(node_id="a", status=502), REQUEST, None)
    assert type(error) is GatewayError


def test_what_was_made_or_said_stays_out_of_a_repr() -> None:
    failure = WorkflowFailure(node_id="a", message="secret", body="secret")
    for event in (failure, WorkflowOutput(output="secret")):
        assert "secret" not in repr(event)
