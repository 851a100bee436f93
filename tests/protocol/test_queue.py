"""The queue's messages, read as tolerantly as they have to be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.protocol.queue import (
    CancelOutcome,
    Completed,
    InProgress,
    InQueue,
    LogLine,
    Submission,
    build_cancel,
    build_status,
    build_submission,
    read_cancel,
    read_status,
    read_submission,
)

ID = "an-id"

STATUSES: list[tuple[dict[str, Any], Any]] = [
    ({"status": "IN_QUEUE", "queue_position": 3}, InQueue(request_id=ID, queue_position=3)),
    ({"status": "IN_QUEUE"}, InQueue(request_id=ID)),
    (
        {"status": "IN_QUEUE", "queue_position": None, "logs": None, "metrics": {}},
        InQueue(request_id=ID),
    ),
    ({"status": "IN_QUEUE", "queue_position": -1}, InQueue(request_id=ID)),
    ({"status": "IN_QUEUE", "queue_position": True}, InQueue(request_id=ID)),
    ({"status": "IN_PROGRESS", "request_id": "other", "new": 1}, InProgress(request_id="other")),
    ({"status": "SOMETHING_NEW"}, InProgress(request_id=ID)),
    (
        {
            "status": "IN_PROGRESS",
            "logs": [{"message": "m", "timestamp": "t", "level": "INFO"}, 1, {}],
        },
        InProgress(
            request_id=ID,
            logs=(LogLine(message="m", timestamp="t", level="INFO"), LogLine(message="")),
        ),
    ),
    ({"status": "COMPLETED"}, Completed(request_id=ID)),
    ({"status": "COMPLETED", "metrics": None, "logs": []}, Completed(request_id=ID)),
    (
        {"status": "COMPLETED", "metrics": {"inference_time": 2}, "error": "e", "error_type": "t"},
        Completed(request_id=ID, inference_time=2.0, error="e", error_type="t"),
    ),
    ({"status": "COMPLETED", "metrics": {"inference_time": None}}, Completed(request_id=ID)),
]


@pytest.mark.parametrize(("content", "status"), STATUSES)
def test_a_status_is_read_whatever_else_is_or_is_not_in_it(
    content: dict[str, Any], status: Any
) -> None:
    assert read_status(content, ID) == status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "status",
        "request_id",
        "queue_position",
        "logs",
        "metrics",
        "error",
        "error_type",
        "status_url",
    ]
)


@given(JSON | st.dictionaries(FIELDS, JSON))
def test_nothing_that_comes_back_makes_a_reader_raise(content: Any) -> None:
    read_status(content, ID)
    read_submission(content)
    read_cancel(200, content)


@pytest.mark.parametrize(
    ("content", "submission"),
    [
        ({"request_id": ID}, Submission(request_id=ID)),
        (
            {
                "status": "IN_QUEUE",
                "request_id": ID,
                "response_url": "r",
                "status_url": "s",
                "cancel_url": "c",
                "queue_position": 0,
                "gateway_request_id": "g",
            },
            Submission(
                request_id=ID, response_url="r", status_url="s", cancel_url="c", queue_position=0
            ),
        ),
        ({"request_id": ID, "status_url": None}, Submission(request_id=ID)),
        ({"request_id": 5}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_submission_needs_a_request_id_and_nothing_else(content: Any, submission: Any) -> None:
    assert read_submission(content) == submission


@pytest.mark.parametrize(
    ("status", "content", "outcome"),
    [
        (200, {"status": "OK"}, CancelOutcome.REMOVED),
        (202, {"status": "CANCELLATION_REQUESTED"}, CancelOutcome.SIGNALLED),
        (400, {"status": "ALREADY_COMPLETED"}, CancelOutcome.TOO_LATE),
        (404, {"status": "NOT_FOUND"}, CancelOutcome.UNKNOWN),
        (202, None, CancelOutcome.SIGNALLED),
        (200, {"success": True}, CancelOutcome.SIGNALLED),
        (400, {"detail": "no"}, CancelOutcome.TOO_LATE),
        (404, b"", CancelOutcome.UNKNOWN),
        (403, {"detail": "no"}, None),
    ],
)
def test_a_cancel_tells_what_it_found(
    status: int, content: Any, outcome: CancelOutcome | None
) -> None:
    assert read_cancel(status, content) is outcome


def test_log_lines_and_errors_stay_out_of_reprs() -> None:
    line = LogLine(message="secret")
    assert "secret" not in repr(InProgress(request_id=ID, logs=(line,)))
    assert "secret" not in repr(Completed(request_id=ID, error="secret"))


URLS = Submission(request_id=ID, response_url="r", status_url="s", cancel_url="c", queue_position=4)
LINE = LogLine(message="m", timestamp="t", level="INFO", source="USER")

BUILT: list[tuple[Any, dict[str, Any]]] = [
    (
        InQueue(request_id=ID, queue_position=3),
        {"status": "IN_QUEUE", "logs": None, "metrics": {}, "queue_position": 3},
    ),
    (
        InProgress(request_id=ID, logs=(LINE, LogLine(message="n"))),
        {
            "status": "IN_PROGRESS",
            "logs": [
                {"message": "m", "timestamp": "t", "level": "INFO", "source": "USER"},
                {"message": "n"},
            ],
            "metrics": {},
        },
    ),
    (
        Completed(request_id=ID, logs=(LINE,), inference_time=2.5),
        {
            "status": "COMPLETED",
            "logs": [{"message": "m", "timestamp": "t", "level": "INFO", "source": "USER"}],
            "metrics": {"inference_time": 2.5},
        },
    ),
    (
        Completed(request_id=ID, error="e", error_type="t"),
        {
            "status": "COMPLETED",
            "logs": [],
            "metrics": {"inference_time": None},
            "error": "e",
            "error_type": "t",
        },
    ),
]


@pytest.mark.parametrize(("status", "content"), BUILT)
def test_a_status_is_written_with_every_key_and_read_again(
    status: Any, content: dict[str, Any]
) -> None:
    urls = {"request_id": ID, "response_url": "r", "status_url": "s", "cancel_url": "c"}
    assert build_status(status, URLS, logs=True) == content | urls
    assert read_status(build_status(status, URLS, logs=True), "other") == status
    assert build_status(status, URLS, logs=False) == content | urls | {"logs": None}


def test_a_submission_is_written_and_read_again() -> None:
    assert build_submission(URLS)["status"] == "IN_QUEUE"
    assert read_submission(build_submission(URLS)) == URLS


@pytest.mark.parametrize("outcome", CancelOutcome)
def test_what_a_cancel_found_is_written_and_read_again(outcome: CancelOutcome) -> None:
    status, content = build_cancel(outcome)
    assert read_cancel(status, content) is outcome
    assert read_cancel(status, None) in {outcome, CancelOutcome.SIGNALLED}
