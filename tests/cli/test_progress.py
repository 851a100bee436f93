from __future__ import annotations

import pytest

from fal_async.cli.progress import log_lines, state_of, status_document
from fal_async.protocol.queue import Completed, InProgress, InQueue, LogLine, QueueStatus

ID = "id-1"


@pytest.mark.parametrize(
    ("update", "words"),
    [
        (InQueue(request_id=ID), "in the queue"),
        (InQueue(request_id=ID, queue_position=0), "in the queue, next"),
        (InQueue(request_id=ID, queue_position=3), "in the queue, 3 ahead"),
        (InProgress(request_id=ID), "running"),
        (Completed(request_id=ID), "completed"),
        (Completed(request_id=ID, inference_time=2.345), "completed after 2.35 s"),
        (Completed(request_id=ID, error="it\x1b broke"), "failed (it\ufffd broke)"),
        (
            Completed(request_id=ID, error="gone", error_type="runner_disconnected"),
            "failed (runner_disconnected: gone)",
        ),
    ],
    ids=repr,
)
def test_where_a_request_stands_is_a_few_words(update: QueueStatus, words: str) -> None:
    assert state_of(update) == words


def test_a_log_is_shown_line_by_line_and_commands_no_terminal() -> None:
    logs = LogLine(message="one\ntwo\x1b[2J", level="INFO"), LogLine(message="three\tfour")
    assert list(log_lines(InProgress(request_id=ID, logs=logs))) == [
        "  INFO  one",
        "  INFO  two\ufffd[2J",
        "  three\ufffdfour",
    ]


def test_a_document_says_what_is_known_and_the_log_if_it_was_asked_for() -> None:
    update = Completed(request_id=ID, error_type="x", logs=(LogLine(message="one"),))
    assert status_document(update, logs=False) == {
        "status": "COMPLETED",
        "request_id": ID,
        "error_type": "x",
    }
    assert status_document(update, logs=True)["logs"] == ({"message": "one"},)
