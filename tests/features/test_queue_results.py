"""A result that was paid for is had, however often it has to be asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fal_async import (
    AccessDeniedError,
    AsyncFal,
    Billing,
    FalError,
    GatewayError,
    ModelError,
    NotFoundError,
    RedirectError,
    RequestCancelledError,
    ResultGoneError,
    ServerError,
    TooManyRequestsError,
)
from tests.support.queue_script import DONE, FAILED, streamed
from tests.support.scripted_server import (
    MODEL,
    REQUEST_ID,
    Act,
    Script,
    answer,
    message,
    say_and,
)
from tests.support.virtual_time import in_virtual_time

OUTPUT = {"ok": True}
MAYBE, YES, NOT = Billing.UNKNOWN, Billing.BILLED, Billing.NOT_BILLED
NGINX = answer(504, body=b"<center>nginx</center>", request_id=None)


class Fetched:
    """What came of fetching a result, after so many questions and seconds."""

    def __init__(self, outcome: Any, questions: int, seconds: float) -> None:
        self.outcome, self.questions, self.seconds = outcome, questions, seconds


async def fetched(*acts: Act, status: Any = DONE) -> Fetched:
    async with Script(streamed(status), *acts) as server, AsyncFal(hosts=server.hosts) as fal:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            outcome: Any = await fal.handle(MODEL, REQUEST_ID).result()
        except FalError as error:
            outcome = error
        return Fetched(outcome, server.begun - 1, loop.time() - begun)


async def fetch_error(*acts: Act, status: Any = DONE) -> tuple[Any, int]:
    fetch = await fetched(*acts, status=status)
    assert isinstance(fetch.outcome, FalError)
    assert fetch.outcome.handle.request_id == REQUEST_ID
    return fetch.outcome, fetch.questions


@pytest.mark.parametrize("status", [DONE, FAILED], ids=["done", "failed"])
@in_virtual_time
async def test_a_load_balancer_that_answers_for_minutes_does_not_lose_it(status: Any) -> None:
    fetch = await fetched(*[NGINX] * 40, answer(), status=status)
    assert fetch.outcome == OUTPUT
    assert fetch.questions == 41
    assert fetch.seconds > 200


@in_virtual_time
async def test_it_is_asked_for_less_and_less_often() -> None:
    fetch = await fetched(*[NGINX] * 200)
    assert isinstance(fetch.outcome, GatewayError)
    assert 580 < fetch.seconds < 620
    assert 75 < fetch.questions < 160
    assert fetch.outcome.attempts == fetch.questions
    assert fetch.outcome.billing is MAYBE


@in_virtual_time
async def test_each_trouble_has_a_patience_of_its_own() -> None:
    """A minute of one does not use up the patience with another."""
    platform = answer(503, {"detail": "x"})
    troubles = [*[platform] * 6, *[NGINX] * 60, *[platform] * 6]
    fetch = await fetched(*troubles, answer())
    assert fetch.outcome == OUTPUT


@in_virtual_time
async def test_a_wait_that_fal_asks_for_is_kept() -> None:
    fetch = await fetched(answer(503, headers={"Retry-After": "30"}), answer())
    assert fetch.outcome == OUTPUT
    assert 30 <= fetch.seconds < 31


@in_virtual_time
async def test_a_request_that_is_completed_and_still_in_progress_is_waited_for() -> None:
    """A COMPLETED that lied: many minutes are no error, and cost a question every ten seconds."""
    not_yet = answer(400, {"detail": "Request is still in progress"})
    fetch = await fetched(*[not_yet] * 100, answer())
    assert fetch.outcome == OUTPUT
    assert fetch.seconds > 650


PASSING: dict[str, Act] = {
    "the platform's 500": answer(500, {"detail": "x"}),
    "the platform's 504": answer(504, {"detail": "x", "error_type": "startup_timeout"}),
    "too many requests": answer(429),
    "client_disconnected": say_and(message().replace(b"200 OK", b"499 X"), "go_on"),
    "a bad request": answer(400, {"detail": "Bad request", "error_type": "bad_request"}),
    "a time limit": answer(408),
}


@pytest.mark.parametrize("what", PASSING)
@in_virtual_time
async def test_a_failure_that_the_status_knows_nothing_of_may_pass(what: str) -> None:
    fetch = await fetched(*[PASSING[what]] * 4, answer())
    assert fetch.outcome == OUTPUT
    fetch = await fetched(*[PASSING[what]] * 300)
    assert isinstance(fetch.outcome, FalError)
    assert fetch.seconds < (650 if what == "too many requests" else 60)


NEVER_STARTED = answer(503, headers={"X-Fal-Error-Type": "runner_scheduling_failure"})
NOT_IN_TIME = answer(504, headers={"X-Fal-Request-Timeout-Type": "user"})
OF_THE_MODEL = {**DONE, "error": "Invalid status code: 422"}
OF_THE_PLATFORM = {**DONE, "error": "x", "error_type": "runner_disconnected"}
CONTRADICTIONS: dict[str, tuple[Any, Act]] = {
    "done, and it failed": (DONE, answer(500, {"detail": "x"})),
    "done, and it never started": (DONE, NEVER_STARTED),
    "done, and it did not start in time": (DONE, NOT_IN_TIME),
    "the model refused, and it never started": (OF_THE_MODEL, NEVER_STARTED),
    "the model refused, and failed": (OF_THE_MODEL, answer(503, {"detail": "x"})),
    "the model refused, and the request was bad": (
        OF_THE_MODEL,
        answer(400, {"detail": "x"}, headers={"X-Fal-Error-Type": "bad_request"}),
    ),
    "the runner was lost, and it never started": (OF_THE_PLATFORM, NEVER_STARTED),
    "the runner was lost, and the model failed": (OF_THE_PLATFORM, answer(500)),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
@in_virtual_time
async def test_where_status_and_result_contradict_each_other_it_may_have_been_billed(
    what: str,
) -> None:
    status, result = CONTRADICTIONS[what]
    error, _ = await fetch_error(*[result] * 20, status=status)
    assert error.billing is MAYBE


LAST_WORDS: dict[str, tuple[Act, type[FalError], Billing]] = {
    "500": (answer(500, {"detail": "x"}), ServerError, NOT),
    "503, invited": (answer(503, headers={"X-Fal-Needs-Retry": "1"}), ServerError, NOT),
    "503, never started": (
        answer(503, {"detail": "x", "error_type": "runner_scheduling_failure"}),
        ServerError,
        NOT,
    ),
    "422": (answer(422, {"detail": []}), ModelError, MAYBE),
    "422, billed": (answer(422, headers={"x-fal-billable-units": "1"}), ModelError, YES),
    "400": (answer(400, {"detail": "still in progress of thought"}), ModelError, MAYBE),
    "404": (answer(404, {"detail": "no such style"}), NotFoundError, NOT),
    "403": (answer(403, {"detail": "not this"}), AccessDeniedError, NOT),
    "499": (
        say_and(message().replace(b"200 OK", b"499 X"), "go_on"),
        RequestCancelledError,
        MAYBE,
    ),
}


@pytest.mark.parametrize("what", LAST_WORDS)
@in_virtual_time
async def test_a_failed_request_s_answer_is_its_last_word(what: str) -> None:
    act, kind, billing = LAST_WORDS[what]
    error, questions = await fetch_error(act, answer(), status={**DONE, "error": "it failed"})
    assert type(error) is kind
    assert (error.billing, questions) == (billing, 1)


@in_virtual_time
async def test_too_many_questions_about_a_failed_request_are_waited_out_for_a_while() -> None:
    fetch = await fetched(answer(429), answer(500), status=FAILED)
    assert type(fetch.outcome) is ServerError
    error, questions = await fetch_error(answer(429), status=FAILED)
    assert type(error) is TooManyRequestsError
    assert questions == 8


NO_ANSWERS: dict[str, tuple[Act, type[FalError]]] = {
    "401": (answer(401), FalError),
    "403": (answer(403), AccessDeniedError),
    "a redirect": (answer(307, headers={"Location": "https://other.example"}), RedirectError),
}


@pytest.mark.parametrize("what", NO_ANSWERS)
@in_virtual_time
async def test_who_may_not_fetch_a_result_does_not_know_what_it_cost(what: str) -> None:
    act, kind = NO_ANSWERS[what]
    error, questions = await fetch_error(act, answer())
    assert isinstance(error, kind)
    assert (error.billing, questions) == (MAYBE, 1)


GONE = {
    "in fal's word": answer(404, {"status": "NOT_FOUND"}),
    "in other words": answer(404, {"detail": "Request not found"}),
    "in none": answer(404, body=b""),
}


@pytest.mark.parametrize("how", GONE)
@in_virtual_time
async def test_a_result_that_is_gone_is_looked_for_twice_more_and_may_have_been_billed(
    how: str,
) -> None:
    error, questions = await fetch_error(GONE[how])
    assert type(error) is ResultGoneError
    assert (error.billing, error.attempts, questions) == (MAYBE, 3, 3)
    # It has just been announced: where it is asked for, it may not be known yet.
    assert (await fetched(GONE[how], answer())).outcome == OUTPUT


@in_virtual_time
async def test_the_first_failure_is_kept_where_the_last_is_another() -> None:
    error, _ = await fetch_error(answer(503), answer(422))
    assert type(error) is ModelError
    assert type(error.first) is ServerError
    error, _ = await fetch_error(answer(422))
    assert error.first is None


@in_virtual_time
async def test_a_model_s_own_404_says_what_it_cost() -> None:
    own = answer(404, {"detail": "Path /x not found"}, headers={"x-fal-billable-units": "0"})
    error, _ = await fetch_error(own)
    assert type(error) is NotFoundError
    assert error.billing is NOT


@in_virtual_time
async def test_half_a_body_and_resets_are_no_end_however_many() -> None:
    half = say_and(message()[:-4], "finish")
    reset = say_and(message()[:-4], "reset")
    fetch = await fetched(*[half, reset] * 10, answer())
    assert fetch.outcome == OUTPUT


@in_virtual_time
async def test_a_body_that_never_comes_whole_was_billed_all_the_same() -> None:
    error, _ = await fetch_error(say_and(message()[:-4], "finish"))
    assert error.billing is YES
    assert error.body == message()[:-4].split(b"\r\n\r\n")[1]
