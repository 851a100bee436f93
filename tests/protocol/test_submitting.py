"""The queue's own options: what is sent for them, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from fal_async.errors import InputError
from fal_async.protocol.messages import Headers
from fal_async.protocol.submitting import (
    SubmitOptions,
    build_submit_headers,
    parse_low_priority,
    parse_retries,
)


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
    read = Headers(headers)
    assert parse_low_priority(read) is (options.get("priority") == "low")
    none = dict.fromkeys(("server_error", "timeout", "connection_error"), 0)
    limits = none if options.get("no_retry") else options.get("retry_config", {})
    assert parse_retries(read, own=True) == limits
    assert parse_retries(read, own=False) == (none if options.get("no_retry") else {})


@pytest.mark.parametrize("word", ["1", "true", "YES"])
def test_no_retry_is_said_in_three_words_and_wins(word: str) -> None:
    headers = Headers({"X-Fal-No-Retry": word, "X-Fal-Retry-Config": '{"timeout":{"retries":5}}'})
    assert set(parse_retries(headers, own=True).values()) == {0}


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{oops",
        "5",
        "[]",
        '{"oom":{"retries":1}}',
        '{"timeout":3}',
        '{"timeout":{"tries":3}}',
        '{"timeout":{"retries":-1}}',
        '{"timeout":{"retries":1.5}}',
        '{"timeout":{"retries":true}}',
    ],
)
def test_what_cannot_be_read_is_ignored(config: str) -> None:
    said = {"X-Fal-Retry-Config": config, "X-Fal-No-Retry": "0", "X-Fal-Queue-Priority": "urgent"}
    assert parse_retries(Headers(said), own=True) == {}
    assert not parse_low_priority(Headers(said))


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
