"""Which answers are worth another attempt, and how a result is read and told (PROTOCOL 5.4, 6.6)."""

from __future__ import annotations

from collections import Counter

import pytest

from fal_async.emulator.queueing.job import Result, result_of
from fal_async.emulator.queueing.requeueing import RequeueSettings, condition_of, may_retry
from fal_async.protocol import failures, wire
from fal_async.protocol.messages import Headers, HttpResponse


def answer(status: int, **headers: str) -> HttpResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, Headers(named), b"{}")


@pytest.mark.parametrize(
    ("response", "condition"),
    [
        (answer(200), None),
        (answer(307), None),
        (answer(422), None),
        (answer(429), None),
        (answer(499), None),
        (answer(500), None),
        (answer(502), None),
        (answer(503), "server_error"),
        (answer(504), "server_error"),
        # the application's verdict, on 5xx and 429 only
        (answer(500, x_fal_needs_retry="1"), "server_error"),
        (answer(429, x_fal_needs_retry="true"), "server_error"),
        (answer(503, x_fal_needs_retry="0"), None),
        (answer(504, x_fal_needs_retry="False"), None),
        (answer(422, x_fal_needs_retry="1"), None),
        (answer(503, x_fal_needs_retry="maybe"), "server_error"),
        # the platform's own
        (failures.request_error(wire.REQUEST_TIMEOUT), "timeout"),
        (failures.request_error(wire.RUNNER_CONNECTION_REFUSED), "connection_error"),
        (failures.request_error(wire.RUNNER_INCOMPLETE_RESPONSE), "server_error"),
        (failures.request_error(wire.RUNNER_DISCONNECTED, needs_retry=False), None),
        (failures.request_error(wire.BAD_REQUEST), None),
        (failures.request_error(wire.CLIENT_CANCELLED), None),
    ],
)
def test_an_answer_is_tried_again_under_a_condition_or_not(
    response: HttpResponse, condition: str | None
) -> None:
    assert condition_of(response) == condition


@pytest.mark.parametrize(
    ("met", "budget", "again"),
    [
        ({"timeout": 1}, {}, True),
        ({"timeout": 9}, {}, True),
        ({"timeout": 10}, {}, False),
        ({"timeout": 1, "server_error": 9}, {}, False),
        ({"timeout": 1}, {"timeout": 0}, False),
        ({"timeout": 2}, {"timeout": 2}, True),
        ({"timeout": 3}, {"timeout": 2}, False),
        ({"timeout": 1, "server_error": 2}, {"server_error": 2}, True),  # budgets are independent
    ],
)
def test_attempts_are_bounded_in_all_and_by_condition(
    met: dict[str, int], budget: dict[str, int], again: bool
) -> None:
    assert may_retry("timeout", Counter(met), RequeueSettings(), budget) is again


def test_pauses_grow_up_to_a_bound() -> None:
    settings = RequeueSettings(pause=0.5, longest_pause=3)
    assert [settings.pause_after(n) for n in range(1, 6)] == [0.5, 1, 2, 3, 3]
    with pytest.raises(ValueError, match="attempts"):
        RequeueSettings(attempts=0)


@pytest.mark.parametrize(
    ("response", "error", "error_type"),
    [
        (answer(200), None, None),
        (answer(302), None, None),
        (answer(422), "Invalid status code: 422", None),
        (failures.start_timed_out(), "Request did not start in time", wire.REQUEST_TIMEOUT),
        (answer(500, x_fal_error_type="t"), "Invalid status code: 500", "t"),
        (
            HttpResponse(500, Headers({wire.ERROR_TYPE: "t"}), b"no json"),
            "Invalid status code: 500",
            "t",
        ),
        (
            HttpResponse(500, Headers({wire.ERROR_TYPE: "t"}), b"[1]"),
            "Invalid status code: 500",
            "t",
        ),
    ],
)
def test_a_failed_result_has_words_for_its_status(
    response: HttpResponse, error: str | None, error_type: str | None
) -> None:
    assert result_of(response) == Result(response, error, error_type)
