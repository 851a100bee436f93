"""What is sent again, row by row of the table "what a failure cost", and when."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async import errors
from fal_async.errors import Billing, FalError, InputError
from fal_async.policy.retry import Resend, RetryPolicy, kind_of, next_wait

NOT_BILLED, UNKNOWN, BILLED = Billing.NOT_BILLED, Billing.UNKNOWN, Billing.BILLED
HUGE = pytest.param(10**400, id="beyond floats")
EVERYTHING = RetryPolicy(resend=frozenset(Resend))


def made(
    kind: type[FalError], billing: Billing = NOT_BILLED, invited: bool | None = None
) -> FalError:
    error = kind("x", billing=billing)
    if invited is not None:
        assert isinstance(error, errors.StatusError)
        error.invited = invited
    return error


#: What happened; what kind of failure that is; whether it is sent again by default.
TABLE: list[tuple[str, FalError, Resend | None, bool]] = [
    ("nothing was written", made(errors.ConnectError), Resend.UNSENT, True),
    ("connecting took too long", made(errors.ConnectTimeoutError), Resend.UNSENT, True),
    ("429", made(errors.TooManyRequestsError), Resend.REFUSED, True),
    ("429 that was billed", made(errors.TooManyRequestsError, BILLED), None, False),
    ("401", made(errors.AuthenticationError), None, False),
    ("403", made(errors.AccessDeniedError), None, False),
    ("403, locked", made(errors.AccountLockedError), None, False),
    ("404", made(errors.NotFoundError), None, False),
    ("400", made(errors.BadRequestError), None, False),
    ("422", made(errors.ModelError, UNKNOWN), None, False),
    ("422, billed", made(errors.ModelError, BILLED), None, False),
    ("422 with a word for it", made(errors.ModelError, invited=True), None, False),
    ("499", made(errors.RequestCancelledError, UNKNOWN), None, False),
    ("3xx", made(errors.RedirectError, UNKNOWN), None, False),
    ("504, the caller's own", made(errors.StartTimeoutError), None, False),
    (
        "504, the caller's own, with a word for it",
        made(errors.StartTimeoutError, invited=True),
        None,
        False,
    ),
    ("5xx that asks for it", made(errors.ServerError, invited=True), Resend.INVITED, True),
    ("504 that asks for it", made(errors.ServerTimeoutError, invited=True), Resend.INVITED, True),
    ("5xx that says nothing", made(errors.ServerError), Resend.SERVER_ERROR, False),
    ("504 that says nothing", made(errors.ServerTimeoutError), Resend.SERVER_ERROR, False),
    ("5xx that forbids it", made(errors.ServerError, invited=False), None, False),
    ("5xx that was billed", made(errors.ServerError, BILLED, True), None, False),
    ("5xx of the ingress", made(errors.GatewayError, UNKNOWN), Resend.LOST, False),
    ("the same, asking for it", made(errors.GatewayError, UNKNOWN, True), Resend.LOST, False),
    ("the same, forbidding it", made(errors.GatewayError, UNKNOWN, False), None, False),
    ("the same, for nothing", made(errors.GatewayError), Resend.SERVER_ERROR, False),
    ("the same, billed", made(errors.GatewayError, BILLED), None, False),
    ("the connection was lost", made(errors.ConnectionLostError, UNKNOWN), Resend.LOST, False),
    ("the caller's timeout, unsent", made(errors.CallTimeoutError), None, False),
    ("the caller's timeout, sent", made(errors.CallTimeoutError, UNKNOWN), None, False),
    ("a success broke off", made(errors.BodyBrokenError, BILLED), None, False),
    ("a success too large", made(errors.BodyTooLargeError, BILLED), None, False),
    ("a success that does not decode", made(errors.DecodeError, BILLED), None, False),
    ("a success that does not fit", made(errors.StructureError, BILLED), None, False),
    ("a bad argument", made(errors.InputError), None, False),
    ("no key", made(errors.MissingKeyError), None, False),
    ("a closed session", made(errors.SessionError), None, False),
]
rows = pytest.mark.parametrize(
    ("error", "kind", "by_default"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)


def wait(policy: RetryPolicy, error: FalError, **given_: Any) -> float | None:
    known: dict[str, Any] = {"sends": 1, "waited": 0.0, "chance": 0.5, **given_}
    return next_wait(policy, error, **known)


@rows
def test_each_failure_is_of_one_kind(
    error: FalError, kind: Resend | None, by_default: bool
) -> None:
    assert kind_of(error) is kind


@rows
def test_by_default_only_what_cannot_have_been_billed_and_may_help_is_sent_again(
    error: FalError, kind: Resend | None, by_default: bool
) -> None:
    assert (wait(RetryPolicy(), error) is not None) is by_default
    assert not by_default or error.billing is NOT_BILLED


@rows
def test_never_means_never(error: FalError, kind: Resend | None, by_default: bool) -> None:
    assert RetryPolicy.never() == RetryPolicy(sends=1, budget=0, resend=[])
    assert wait(RetryPolicy.never(), error) is None


@rows
@pytest.mark.parametrize("asked", list(Resend), ids=str)
def test_what_is_asked_for_is_sent_again_and_nothing_else(
    asked: Resend, error: FalError, kind: Resend | None, by_default: bool
) -> None:
    assert (wait(RetryPolicy(resend=frozenset([asked])), error) is not None) is (kind is asked)


@rows
def test_what_was_billed_is_not_even_sent_again_when_all_is_asked_for(
    error: FalError, kind: Resend | None, by_default: bool
) -> None:
    if error.billing is BILLED:
        assert wait(EVERYTHING, error) is None


@rows
def test_where_repeating_costs_nothing_a_lost_answer_is_asked_for_again_whatever_it_cost(
    error: FalError, kind: Resend | None, by_default: bool
) -> None:
    lost = isinstance(error, (errors.ConnectionLostError, errors.BodyBrokenError))
    assert kind_of(error, free=True) is (Resend.LOST if lost else kind)
    asked = RetryPolicy(resend=[Resend.LOST])
    assert (wait(asked, error, free=True) is not None) is (lost or kind is Resend.LOST)


def test_what_may_pay_twice_is_not_among_the_defaults() -> None:
    assert RetryPolicy().resend == {Resend.UNSENT, Resend.REFUSED, Resend.INVITED}


def test_the_defaults_are_four_sends_and_twenty_seconds_of_backoff() -> None:
    policy = RetryPolicy()
    assert (policy.sends, policy.budget, policy.backoff, policy.backoff_max) == (4, 20.0, 0.5, 8.0)


@pytest.mark.parametrize(
    ("sends", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (10**9, 8.0)]
)
def test_the_longest_wait_doubles_from_send_to_send_up_to_its_end(
    sends: int, longest: float
) -> None:
    policy = RetryPolicy(sends=10**10)
    error = made(errors.ConnectError)
    assert wait(policy, error, sends=sends, chance=1.0) == longest
    assert wait(policy, error, sends=sends, chance=0.25) == longest / 4
    assert wait(policy, error, sends=sends, chance=0.0) == 0.0


def test_the_first_send_counts_among_the_sends() -> None:
    error = made(errors.ConnectError)
    policy = RetryPolicy(sends=3)
    assert [wait(policy, error, sends=n) is not None for n in (1, 2, 3, 4)] == [
        True,
        True,
        False,
        False,
    ]
    assert wait(RetryPolicy(sends=1), error) is None


def test_the_budget_bounds_all_waits_of_a_call_together() -> None:
    error = made(errors.ConnectError)
    policy = RetryPolicy(budget=2.0)
    assert wait(policy, error, waited=1.75, chance=0.5) == 0.25
    assert wait(policy, error, waited=1.76, chance=0.5) is None
    assert wait(RetryPolicy(budget=0.0), error, chance=0.0) == 0.0


def test_the_wait_is_never_shorter_than_fal_asked_for() -> None:
    error = made(errors.ServerError, invited=True)
    error.retry_after = 3.0
    assert wait(RetryPolicy(), error) == 3.0
    error.retry_after = 0.1
    assert wait(RetryPolicy(), error, chance=0.5) == 0.25
    error.retry_after = 0.0
    assert wait(RetryPolicy(), error, chance=0.0) == 0.0


def test_a_wait_that_fal_asks_for_and_the_budget_does_not_hold_ends_the_call() -> None:
    error = made(errors.ServerError, invited=True)
    error.retry_after = 20.0
    assert wait(RetryPolicy(), error, waited=0.0) == 20.0
    assert wait(RetryPolicy(), error, waited=0.1) is None


@given(
    policy=st.builds(
        RetryPolicy,
        sends=st.integers(1, 10),
        budget=st.floats(0, 100),
        backoff=st.floats(0, allow_nan=False, allow_infinity=False),
        backoff_max=st.floats(0, allow_nan=False, allow_infinity=False),
        resend=st.frozensets(st.sampled_from(list(Resend))),
    ),
    row=st.sampled_from(TABLE),
    chances=st.lists(st.floats(0, 1, exclude_max=True), min_size=12, max_size=12),
)
def test_no_call_is_sent_more_often_or_waits_longer_than_its_policy_says(
    policy: RetryPolicy, row: tuple[str, FalError, Resend | None, bool], chances: list[float]
) -> None:
    sends, waited = 1, 0.0
    for chance in chances:
        found = next_wait(policy, row[1], sends=sends, waited=waited, chance=chance)
        if found is None:
            break
        assert found >= 0
        sends, waited = sends + 1, waited + found
    assert sends <= policy.sends
    assert waited <= policy.budget
    if sends > 1:
        assert row[2] in policy.resend


@pytest.mark.parametrize("sends", [0, -1, 1.5, True, "4", None, math.nan, math.inf])
def test_sends_is_a_whole_number_of_at_least_one(sends: Any) -> None:
    with pytest.raises(InputError, match=r"RetryPolicy\.sends"):
        RetryPolicy(sends=sends)


@pytest.mark.parametrize("name", ["budget", "backoff", "backoff_max"])
@pytest.mark.parametrize("seconds", [-0.1, True, "4", None, math.nan, math.inf, HUGE])
def test_seconds_are_finite_and_not_negative(name: str, seconds: Any) -> None:
    with pytest.raises(InputError, match=rf"RetryPolicy\.{name} is a finite number of seconds"):
        RetryPolicy(**{name: seconds})
    assert getattr(RetryPolicy(**{name: 0}), name) == 0


@pytest.mark.parametrize("kinds", ["lost", ["often"], [3], None, 5, [[]]])
def test_an_unknown_kind_is_refused_and_all_kinds_are_named(kinds: Any) -> None:
    with pytest.raises(InputError, match="some of unsent, refused, invited, server_error, lost"):
        RetryPolicy(resend=kinds)


def test_a_kind_may_be_given_by_its_word() -> None:
    policy = RetryPolicy(resend=["lost", Resend.UNSENT])
    assert policy.resend == {Resend.LOST, Resend.UNSENT}


def test_a_policy_is_a_value_that_can_be_changed_by_halves() -> None:
    policy = attrs.evolve(RetryPolicy(), sends=2)
    assert policy == RetryPolicy(sends=2)
    assert hash(policy) == hash(RetryPolicy(sends=2))
