"""Whose limit was it? Refusal by refusal."""

from __future__ import annotations

import pytest

from fal_async.policy.blame import ACCEPTED_PAST, Blame, Refusal
from fal_async.policy.lanes import Lane
from fal_async.policy.window import Window


class Court:
    """An account that has settled at 40, and three applications."""

    def __init__(self) -> None:
        self.number = 40
        self.now = 0.0
        self.account = Window()
        self.account.reach(41)
        self.blame = Blame(self.account)
        self.a, self.b, self.c = Lane("a/a"), Lane("b/b"), Lane("c/c")
        self.refuse(self.a, held=40, own=20, others_wait=False)

    def refuse(
        self,
        lane: Lane,
        *,
        held: int,
        own: int,
        named: int | None = None,
        in_flight: int | None = None,
        others_wait: bool = True,
    ) -> Window:
        self.number += 1
        refusal = Refusal(
            held=held,
            own=own,
            named=named,
            in_flight=held if in_flight is None else in_flight,
            last=self.number,
            now=self.now,
        )
        return self.blame.refused(lane, refusal, others_wait=others_wait)

    def accept(self) -> None:
        self.account.answered(self.number + 1)

    def own(self, lane: Lane) -> int | None:
        return None if lane.window is None else lane.window.size


@pytest.fixture
def court() -> Court:
    return Court()


@pytest.mark.parametrize(
    ("held", "own", "named", "account", "application"),
    [
        pytest.param(39, 20, 39, 39, None, id="the number fits the account"),
        pytest.param(39, 20, 20, 40, 20, id="the number fits the application"),
    ],
)
def test_a_number_that_fits_only_one_of_the_two_tells(
    court: Court, held: int, own: int, named: int, account: int, application: int | None
) -> None:
    court.refuse(court.a, held=held, own=own, named=named)
    assert (court.account.size, court.own(court.a)) == (account, application)


def test_a_number_that_was_the_accounts_before_is_the_accounts(court: Court) -> None:
    court.refuse(court.a, held=39, own=20, named=39)
    court.accept()
    court.refuse(court.b, held=35, own=15, named=39)  # a stranger holds the rest
    assert (court.account.size, court.own(court.b)) == (35, None)


def test_where_nobody_else_could_go_it_is_the_accounts(court: Court) -> None:
    court.refuse(court.a, held=39, own=20, others_wait=False)
    assert (court.account.size, court.own(court.a)) == (39, None)


def test_a_suspect_is_held_at_what_it_had_while_the_account_goes_on(court: Court) -> None:
    assert court.refuse(court.a, held=30, own=12) is court.a.window
    assert court.own(court.a) == 12
    assert (court.account.size, court.account.reaching) == (31, True)
    assert list(court.blame.braked) == [court.a]


def test_of_what_is_already_in_flight_nothing_is_taken_back(court: Court) -> None:
    court.refuse(court.a, held=30, own=12, in_flight=36)
    assert court.account.size == 36


def test_refused_where_the_suspect_was_another_clears_it(court: Court) -> None:
    court.refuse(court.a, held=30, own=12)
    assert court.refuse(court.b, held=30, own=18, others_wait=False) is court.account
    assert court.own(court.a) is None
    assert court.blame.released == [court.a]
    assert court.account.streak == 1  # nobody had reached up: it was a fall
    assert court.account.size == 30


def test_refused_only_further_up_another_convicts_it(court: Court) -> None:
    court.refuse(court.a, held=30, own=12)
    court.refuse(court.b, held=40, own=28, others_wait=False)
    assert court.own(court.a) == 12
    assert (court.account.size, court.account.streak) == (31, 0)


def test_several_accepted_past_it_convict_it_for_good(court: Court) -> None:
    court.refuse(court.a, held=30, own=12)
    court.blame.accepted(30 + ACCEPTED_PAST - 1)
    assert court.account.learned == 40
    court.blame.accepted(30 + ACCEPTED_PAST)
    assert court.account.learned is None
    court.refuse(court.b, held=30, own=18, others_wait=False)
    assert court.own(court.a) == 12


def test_two_may_be_suspects_and_a_third_refusal_clears_both(court: Court) -> None:
    court.refuse(court.a, held=30, own=12)
    court.refuse(court.b, held=30, own=10)
    assert (court.own(court.a), court.own(court.b)) == (12, 10)
    court.refuse(court.c, held=30, own=8)
    assert (court.own(court.a), court.own(court.b), court.own(court.c)) == (None, None, None)
    assert court.account.size == 30


def test_where_the_accounts_limit_is_known_nobody_is_suspected(court: Court) -> None:
    court.refuse(court.b, held=40, own=20, others_wait=False)  # a second one met it there
    court.account.reach(41)
    assert court.refuse(court.a, held=40, own=20) is court.account
    assert court.own(court.a) is None


def test_in_a_fall_nobody_is_suspected(court: Court) -> None:
    court.refuse(court.a, held=39, own=20, others_wait=False)
    assert court.account.streak == 1
    assert court.refuse(court.b, held=30, own=15) is court.account
    assert court.own(court.b) is None
    assert court.account.streak == 2


def test_a_braked_application_is_blamed_for_its_own_reaching_up(court: Court) -> None:
    court.refuse(court.a, held=30, own=12, named=12)
    assert court.a.window is not None
    court.a.window.reach(13)
    court.account.reach(41)
    assert court.refuse(court.a, held=35, own=12) is court.a.window


def test_the_account_is_blamed_for_its_reaching_up_by_a_braked_application_too(
    court: Court,
) -> None:
    court.refuse(court.a, held=30, own=12, named=12)
    court.account.reach(41)
    assert court.refuse(court.a, held=40, own=11) is court.account


@pytest.mark.parametrize(("named", "own"), [(40, False), (9, True)])
def test_a_number_tells_for_a_braked_application_as_well(
    court: Court, named: int, own: bool
) -> None:
    court.refuse(court.a, held=30, own=12, named=12)
    window = court.refuse(court.a, held=40, own=9, named=named)
    assert window is (court.a.window if own else court.account)


def test_the_only_one_that_met_the_limit_is_remembered_until_another_does(court: Court) -> None:
    assert court.blame.sole is court.a
    court.refuse(court.b, held=40, own=20, others_wait=False)
    court.accept()
    assert court.blame.sole is None


def test_another_that_meets_a_limit_much_further_up_has_met_another_limit(court: Court) -> None:
    court.account.reach(50)
    court.refuse(court.b, held=49, own=20, others_wait=False)
    assert court.blame.sole is court.b


def test_an_application_is_let_go_when_its_window_has_reached_the_accounts(court: Court) -> None:
    court.refuse(court.a, held=30, own=12, named=12)
    assert court.a.window is not None
    court.a.window.reach(39)
    court.blame.grown(court.a)
    assert court.own(court.a) == 39
    court.a.window.reach(40)
    court.blame.grown(court.a)
    assert court.own(court.a) is None
    assert not court.blame.braked


def test_while_the_accounts_limit_is_unknown_no_application_is_let_go(court: Court) -> None:
    court.refuse(court.a, held=30, own=12)
    court.blame.accepted(50)
    assert court.a.window is not None
    court.a.window.reach(60)
    court.blame.grown(court.a)
    assert court.own(court.a) == 60
