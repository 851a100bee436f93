"""What is free is asked again as long as there may be an answer, and not for one moment longer."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import (
    AccessDeniedError,
    AnswerError,
    AuthenticationError,
    BodyBrokenError,
    BodyTooLargeError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    FalError,
    GatewayError,
    InputError,
    MissingKeyError,
    ModelError,
    NotFoundError,
    RedirectError,
    RequestCancelledError,
    ServerError,
    ServerTimeoutError,
    SessionError,
    StartTimeoutError,
    StructureError,
    TooManyRequestsError,
)
from fal_async.policy.patience import (
    AT_ONCE,
    DAMAGED,
    HARD,
    HOPEFUL,
    UNFINISHED,
    Patience,
    is_unfinished,
    patience_with_question,
    patience_with_result,
)

NAMES = {
    AT_ONCE: "at once",
    DAMAGED: "damaged",
    HARD: "hard",
    HOPEFUL: "hopeful",
    UNFINISHED: "unfinished",
}


def error(kind: type[FalError], status: int | None = None, what: str = "x") -> FalError:
    return kind(what, status=status)


def waits(patience: Patience, chance: float = 0.0, retry_after: float | None = None) -> list[float]:
    """All waits until it gives up, if it does within a thousand."""
    got: list[float] = []
    while len(got) < 1000:
        wait = patience.next_wait(
            tries=len(got) + 1, waited=sum(got), chance=chance, retry_after=retry_after
        )
        if wait is None:
            break
        got.append(wait)
    return got


# --- how long -------------------------------------------------------------------------------------------


def test_an_answer_is_an_answer() -> None:
    assert waits(AT_ONCE) == []


@pytest.mark.parametrize("chance", [0.0, 0.999])
def test_waits_double_from_half_a_second_to_eight(chance: float) -> None:
    some = waits(HARD, chance)[:8]
    part = 0.5 + chance / 2
    assert some == pytest.approx([part * s for s in (0.5, 1, 2, 4, 8, 8, 8, 8)])


def test_ten_minutes_of_waiting_are_hard_enough() -> None:
    assert 590 < sum(waits(HARD)) <= 600
    assert 75 < len(waits(HARD, 0.999)) < 160


def test_hope_ends_after_seven_waits() -> None:
    assert len(waits(HOPEFUL, 0.999)) == 7
    assert sum(waits(HOPEFUL, 0.999)) < 32


def test_a_damaged_answer_gets_two_more_chances() -> None:
    assert len(waits(DAMAGED, 0.999)) == 2


def test_what_is_not_finished_is_waited_for_for_ever() -> None:
    assert len(waits(UNFINISHED)) == 1000
    assert max(waits(UNFINISHED, 0.999)) < 10
    assert UNFINISHED.next_wait(tries=10**9, waited=inf, chance=0.5) == 7.5


def test_a_wait_that_fal_asks_for_is_kept_if_there_is_time_for_it() -> None:
    assert waits(HARD, retry_after=100.0) == [100.0] * 6
    assert waits(HARD, retry_after=601.0) == []
    assert waits(HARD, retry_after=0.0) == waits(HARD)


@given(
    st.sampled_from(list(NAMES)),
    st.integers(1, 10_000),
    st.floats(0, 1000),
    st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_never_nothing_and_never_beyond_the_budget(
    patience: Patience, tries: int, waited: float, chance: float
) -> None:
    wait = patience.next_wait(tries=tries, waited=waited, chance=chance)
    if wait is not None:
        assert 0.25 <= wait <= patience.longest
        assert waited + wait <= patience.budget
        assert tries < patience.tries


# --- with a question ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "patience"),
    [
        (error(ConnectError), HARD),
        (error(ConnectionLostError), HARD),
        (error(BodyBrokenError, 200), HARD),
        (error(AnswerError, 200), HARD),
        (error(GatewayError, 502), HARD),
        (error(ServerError, 500), HARD),
        (error(ServerTimeoutError, 504), HARD),
        (error(StartTimeoutError, 504), HARD),
        (error(TooManyRequestsError, 429), HARD),
        (error(RequestCancelledError, 499), HARD),
        (error(ModelError, 408), HARD),
        (error(ModelError, 425), HARD),
        (error(ModelError, 400), HOPEFUL),
        (error(BodyTooLargeError, 200), AT_ONCE),
        (error(AuthenticationError, 401), AT_ONCE),
        (error(AccessDeniedError, 403), AT_ONCE),
        (error(NotFoundError, 404), AT_ONCE),
        (error(ModelError, 422), AT_ONCE),
        (error(RedirectError, 307), AT_ONCE),
        (error(MissingKeyError), AT_ONCE),
        (error(InputError), AT_ONCE),
        (error(SessionError), AT_ONCE),
    ],
)
def test_a_question_is_put_again_unless_the_caller_is_at_fault(
    failure: FalError, patience: Patience
) -> None:
    assert NAMES[patience_with_question(failure)] == NAMES[patience]


# --- with a result --------------------------------------------------------------------------------------

NOT_YET = error(ModelError, 400, "fal answered 400: Request is still in progress")


@pytest.mark.parametrize(
    ("failure", "if_done", "if_failed"),
    [
        (error(ConnectError), HARD, HARD),
        (error(ConnectionLostError), HARD, HARD),
        (error(BodyBrokenError, 200), HARD, HARD),
        (error(GatewayError, 504), HARD, HARD),
        (error(TooManyRequestsError, 429), HARD, HOPEFUL),
        (error(DecodeError, 200), DAMAGED, DAMAGED),
        (error(ServerError, 500), HOPEFUL, AT_ONCE),
        (error(ServerTimeoutError, 504), HOPEFUL, AT_ONCE),
        (error(RequestCancelledError, 499), HOPEFUL, AT_ONCE),
        (error(ModelError, 400), HOPEFUL, AT_ONCE),
        (error(ModelError, 408), HOPEFUL, AT_ONCE),
        (NOT_YET, UNFINISHED, AT_ONCE),
        (error(ModelError, 422), AT_ONCE, AT_ONCE),
        (error(NotFoundError, 404), DAMAGED, AT_ONCE),
        (error(StartTimeoutError, 504), AT_ONCE, AT_ONCE),
        (error(AuthenticationError, 401), AT_ONCE, AT_ONCE),
        (error(StructureError, 200), AT_ONCE, AT_ONCE),
        (error(BodyTooLargeError, 200), AT_ONCE, AT_ONCE),
        (error(SessionError), AT_ONCE, AT_ONCE),
    ],
)
def test_a_result_is_asked_for_again_unless_this_is_the_model_s_last_word(
    failure: FalError, if_done: Patience, if_failed: Patience
) -> None:
    assert NAMES[patience_with_result(failure, failed=False)] == NAMES[if_done]
    assert NAMES[patience_with_result(failure, failed=True)] == NAMES[if_failed]


@pytest.mark.parametrize(
    ("failure", "unfinished"),
    [
        (NOT_YET, True),
        (error(ModelError, 400, "fal answered 400: Still In Progress"), True),
        (error(ModelError, 400, "fal answered 400: no such style"), False),
        (error(ModelError, 422, "fal answered 422: in progress"), False),
        (error(ConnectionLostError, None, "in progress"), False),
    ],
)
def test_fal_says_with_a_400_that_a_result_is_not_there_yet(
    failure: FalError, unfinished: bool
) -> None:
    assert is_unfinished(failure) is unfinished
