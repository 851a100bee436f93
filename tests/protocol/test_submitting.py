"""The queue's own options: what is sent for them, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from fal_async.errors import InputError
from fal_async.protocol.submitting import SubmitOptions, build_submit_headers


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({}, {}),
        ({"priority": "normal"}, {"X-Fal-Queue-Priority": "normal"}),
        (
            {"priority": "low", "no_retry": True},
            {"X-Fal-Queue-Priority": "low", "X-Fal-No-Retry": "1"},
        ),
        (
            {"retry_config": {"server_error": 2, "timeout": 0}},
            {"X-Fal-Retry-Config": '{"server_error":{"retries":2},"timeout":{"retries":0}}'},
        ),
        ({"webhook_url": "https://h/x?cid=1", "max_queue_length": 0}, {}),
    ],
)
def test_each_option_is_said_in_its_header(
    options: dict[str, Any], headers: dict[str, str]
) -> None:
    assert build_submit_headers(SubmitOptions(**options)) == headers


@pytest.mark.parametrize(
    "options",
    [
        {"priority": "high"},
        {"no_retry": 1},
        {"retry_config": {"oom": 1}},
        {"retry_config": {"timeout": 10}},
        {"retry_config": {"timeout": True}},
        {"retry_config": {"timeout": {"retries": 1}}},
        {"retry_config": "timeout"},
        {"webhook_url": "example.com/hook"},
        {"webhook_url": "ftp://example.com"},
        {"webhook_url": "https://[x"},
        {"webhook_url": 5},
        {"max_queue_length": -1},
        {"max_queue_length": 1.5},
        {"max_queue_length": True},
    ],
    ids=str,
)
def test_what_fal_would_refuse_or_ignore_is_refused_here(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        SubmitOptions(**options)
