"""The arithmetic of one window, step by step."""

from __future__ import annotations

import pytest

from fal_async.policy.window import (
    BUSY,
    LONE,
    PAUSE_MOST,
    PROBE_GAP_FALLEN,
    PROBE_GAP_MOST,
    RUNGS,
    STIRS,
    STRIDE,
    UNLIMITED,
    Window,
    stride,
)

PATIENCE = 0.1


class Watched:
    """A window whose requests are counted: all of it is in use and somebody waits, always."""

    def __init__(self, window: Window | None = None) -> None:
        self.window = Window() if window is None else window
        self.number = self.window.size
        self.now = 0.0

    @property
    def size(self) -> int:
        return self.window.size

    def grow(self, *, after: float = 0.0, credit: float = 9.0, backlog: int = 0) -> bool:
        self.now += after
        return self.window.grow(
            now=self.now, patience=PATIENCE, last=self.number, backlog=backlog, credit=credit
        )

    def climb(self, *, credit: float = 9.0, backlog: int = 0) -> bool:
        """One step of a reach: found full, and once more after the patience."""
        before = self.size
        if not self.grow(credit=credit, backlog=backlog):
            busy = BUSY if self.size == RUNGS[-2] else 0.0
            later = PATIENCE + busy
            if not self.grow(after=later, credit=credit, backlog=backlog):  # the first of a probe
                self.grow(after=LONE * PATIENCE - later, credit=credit, backlog=backlog)
        self.number += max(0, self.size - before)
        return self.size > before

    def refuse(self, held: int, named: int | None = None) -> None:
        self.number += 1
        self.window.refused(last=self.number, held=held, named=named, now=self.now)

    def send(self) -> int:
        self.number += 1
        self.window.sent(self.number, self.now + PATIENCE)
        return self.number

    def answer(self, times: int) -> None:
        for _ in range(times):
            self.window.answered(self.number)

    def due(self, *, full: bool = True, credit: float = 9.0) -> float | None:
        return self.window.due(full=full, patience=PATIENCE, credit=credit)


def settled(size: int, *, held_for: int = 0) -> Watched:
    """A window that was refused at ``size``, and has had so many answers since."""
    watched = Watched()
    while watched.size <= size:
        watched.climb()
    watched.now = 0.0
    watched.refuse(size)
    watched.answer(held_for)
    return watched


# -- reaching up ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "backlog", "step"),
    [
        (1, 0, 1),
        (2, 0, 1),
        (3, 0, 2),
        (8, 0, 3),
        (10, 0, 1),
        (11, 0, 4),
        (20, 0, 1),
        (34, 0, 7),
        (40, 0, 1),
        (44, 0, 1),
        (45, 0, 15),
        (60, 0, STRIDE),
        (400, 0, STRIDE),
        (400, 1_600, STRIDE),
        (400, 10_000, 90),
        (45, 10_000, 15),
        (4_800, 0, 200),
    ],
)
def test_a_step_stays_small_against_the_size_and_the_calls_that_wait(
    size: int, backlog: int, step: int
) -> None:
    assert stride(size, backlog) == step


@pytest.mark.parametrize("limit", [2, 10, 20, 40])
def test_the_first_ramp_meets_the_limits_that_fal_hands_out_with_a_single_call_too_many(
    limit: int,
) -> None:
    assert limit + 1 in RUNGS


def test_the_first_ramp_goes_up_one_rung_for_every_patience_without_a_refusal() -> None:
    watched = Watched()
    sizes = [watched.size]
    while watched.climb() and watched.size <= 60:
        sizes.append(watched.size)
    assert sizes == [*RUNGS, 60]
    # a little longer where most of them are refused
    assert watched.now == pytest.approx(PATIENCE * len(sizes) + BUSY)


def test_ten_thousand_calls_at_once_without_a_limit_are_in_flight_after_a_hundred_and_a_few_steps() -> (
    None
):
    watched, steps = Watched(), 0
    while watched.size < 10_000:
        watched.climb(backlog=10_000 - watched.size)
        steps += 1
    assert steps < 110


def test_a_window_grows_only_when_it_was_full_for_the_whole_patience() -> None:
    watched = Watched()
    assert watched.due() is None
    assert not watched.grow()
    assert watched.due() == PATIENCE
    assert watched.due(full=False) is None
    assert not watched.grow(after=PATIENCE * 0.99)
    assert watched.grow(after=PATIENCE * 0.02)


def test_an_answer_to_what_was_sent_when_it_was_full_is_as_good_as_patience() -> None:
    watched = Watched()
    watched.grow()
    watched.window.answered(watched.number - 1)
    assert not watched.grow()
    watched.window.answered(watched.number)
    assert watched.grow()
    assert watched.size == RUNGS[1]


def test_a_window_never_grows_beyond_its_ceiling() -> None:
    watched = Watched(Window(ceiling=12))
    while watched.climb():
        pass
    assert watched.size == 12
    assert watched.due() is None
    assert Window(ceiling=1).size == 1


# -- refused while reaching up ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "named", "size"),
    [
        pytest.param(10, None, 10, id="what was held is the limit"),
        pytest.param(10, 10, 10, id="and so it is named"),
        pytest.param(10, 7, 7, id="it just fell to what is named"),
        pytest.param(10, 20, 10, id="a stranger holds the rest"),
        pytest.param(30, None, 11, id="never up by a refusal"),
    ],
)
def test_refused_while_reaching_up_the_window_is_what_was_held(
    held: int, named: int | None, size: int
) -> None:
    watched = Watched()
    while watched.size < 11:
        watched.climb()
    watched.refuse(held, named)
    assert (watched.size, watched.window.learned) == (size, size)
    assert not watched.window.reaching
    assert watched.window.allowance == size
    assert watched.window.cut == watched.number


def test_nothing_is_learned_before_the_first_refusal() -> None:
    watched = Watched()
    watched.climb()
    assert watched.window.learned is None


def test_a_probe_is_one_more_and_comes_ever_rarer_while_it_is_refused() -> None:
    watched = settled(40)
    gaps = []
    for _ in range(6):
        before = watched.now
        due = watched.due()
        assert due is not None
        assert not watched.grow(after=(due - before) * 0.99)
        assert watched.grow(after=(due - before) * 0.02)
        assert watched.size == 41
        gaps.append(due - before)
        watched.refuse(40)
    assert gaps == pytest.approx([1, 1.6, 2.56, 4.096, 6, 6], rel=0.05)


def test_a_probe_needs_credit() -> None:
    watched = settled(40)
    assert watched.due(credit=0.99) is None
    assert not watched.grow(after=60, credit=0.99)
    assert watched.grow(credit=1)


def test_after_a_probe_a_survivor_proves_nothing_and_several_prove_more_and_more() -> None:
    watched = settled(10)
    watched.grow(after=1)
    sizes, learned = [watched.size], [watched.window.learned]
    while watched.size < 27:
        watched.climb()
        sizes.append(watched.size)
        learned.append(watched.window.learned)
    assert sizes == [11, 12, 13, 14, 15, 17, 20, 21, 26, 27]
    assert learned == [10, 10, 10, 10, 14, 15, 17, 20, 21, 26]


def watched_again(watched: Watched) -> float:
    """An answer comes, which was sent before the probe; how long it takes then until the next step."""
    watched.window.answered(1)
    assert not watched.grow()
    began = watched.now
    while not watched.grow(after=0.01):
        pass
    return watched.now - began


def test_an_answer_close_upon_a_probe_may_have_made_room_for_it_and_so_it_is_watched_anew() -> None:
    watched = settled(10)
    watched.grow(after=1)
    assert not watched.grow()
    assert not watched.grow(after=LONE * PATIENCE * 0.9)
    assert watched_again(watched) == pytest.approx(LONE * PATIENCE, abs=0.011)
    assert watched.size == 12


def test_but_not_for_ever_and_not_where_several_have_survived() -> None:
    watched = settled(10)
    watched.grow(after=1)
    for _ in range(STIRS):
        assert not watched.grow()
        watched.window.answered(1)
        watched.now += LONE * PATIENCE
    assert not watched.grow()
    watched.window.answered(1)
    assert watched.grow(after=LONE * PATIENCE)
    assert not watched.grow()
    watched.window.answered(1)
    assert watched.grow(after=PATIENCE)
    assert watched.size == 13


# -- refused without having reached up -----------------------------------------------------------------


def test_in_a_fall_the_window_goes_ever_further_below_what_is_held() -> None:
    watched = settled(40)
    sizes = []
    for held in (39, 38, 36, 32, 24):
        watched.refuse(held)
        sizes.append(watched.size)
    assert sizes == [39, 38 - 3, 36 - 15, 32 // 2, 24 // 2]


@pytest.mark.parametrize(("named", "size"), [(10, 10), (60, 39)])
def test_a_fall_to_a_named_limit_is_believed_and_a_stranger_told_apart(
    named: int, size: int
) -> None:
    watched = settled(40)
    watched.refuse(39, named)
    assert watched.size == size


def test_in_a_fall_one_scout_is_sent_at_a_time() -> None:
    watched = settled(40)
    watched.refuse(39)
    assert watched.window.allowance == 0
    assert watched.window.admits(38)
    assert not watched.window.admits(39)
    assert watched.due() is None
    scout = watched.send()
    assert not watched.window.admits(30)
    assert watched.due() == PATIENCE
    assert not watched.grow(after=60)
    watched.window.gone(scout - 1)
    assert not watched.window.admits(30)
    watched.window.gone(scout)
    assert watched.window.admits(30)


def test_a_scout_that_is_not_refused_in_time_ends_the_fall() -> None:
    watched = settled(40)
    watched.refuse(39)
    watched.send()
    watched.window.tick(PATIENCE * 0.99)
    assert watched.window.streak
    watched.window.tick(PATIENCE)
    assert (watched.window.streak, watched.window.allowance) == (0, 39)
    assert not watched.window.reaching


def test_an_answer_ends_the_fall_if_it_is_to_a_request_sent_after_the_cut() -> None:
    watched = settled(40)
    watched.refuse(39)
    watched.window.answered(watched.window.cut)
    assert watched.window.streak == 1
    watched.window.answered(watched.window.cut + 1)
    assert watched.window.streak == 0


def test_after_a_guess_the_window_reaches_up_at_once_and_no_further_than_where_it_was_refused() -> (
    None
):
    watched = settled(40)
    for held in (39, 38, 36, 32, 24):
        watched.refuse(held)
    watched.window.answered(watched.send())
    assert watched.window.reaching
    while watched.climb(credit=0):
        pass
    assert (watched.size, watched.window.learned) == (24, 24)
    assert not watched.window.reaching


def test_the_end_of_a_guess_leaves_the_next_reach_unbounded() -> None:
    watched = settled(40)
    for held in (39, 38, 36, 32, 24):
        watched.refuse(held)
    watched.window.answered(watched.send())
    while watched.climb():
        pass
    watched.grow(after=10)
    while watched.size < 40:
        assert watched.climb()


def test_with_nothing_of_ours_in_flight_a_refused_call_waits_for_time_and_ever_longer() -> None:
    watched = Watched()
    pauses = []
    for _ in range(6):
        watched.refuse(0)
        assert watched.size == 1
        assert not watched.window.admits(0)
        due = watched.due()
        assert due is not None
        pauses.append(due - watched.now)
        watched.window.tick(due - 0.01)
        assert not watched.window.admits(0)
        watched.now = due
        watched.window.tick(due)
        assert watched.window.admits(0)
    assert pauses == [0.25, 0.5, 1, 2, PAUSE_MOST, PAUSE_MOST]


def test_a_limit_of_nothing_is_waited_out_as_well() -> None:
    watched = Watched()
    watched.refuse(2, named=0)
    assert (watched.size, watched.window.allowance) == (1, 0)
    assert watched.due() == 0.25


def test_once_something_is_accepted_again_the_window_reaches_up_and_pauses_start_anew() -> None:
    watched = settled(40)
    watched.refuse(0)
    watched.window.tick(1)
    watched.now = 1
    watched.window.answered(watched.send())
    assert watched.window.reaching
    while watched.size <= 40:
        assert watched.climb()
    watched.window.refused(last=watched.number, held=0, named=None, now=watched.now)
    assert watched.due() == watched.now + 0.25


def test_a_pause_lasts_as_long_as_the_longest_one_asked_for() -> None:
    watched = Watched()
    watched.window.pause(5)
    watched.window.pause(3)
    assert watched.due() == 5
    assert watched.window.allowance == 0
    assert not watched.grow(after=4)
    watched.window.tick(5)
    assert watched.window.allowance == watched.size


# -- a deep fall --------------------------------------------------------------------------------------


def test_after_a_deep_fall_probes_need_no_credit_but_rounds_of_answers() -> None:
    watched = settled(40, held_for=100)
    watched.refuse(39, named=10)
    watched.window.answered(watched.send())
    assert watched.window.has_fallen
    assert watched.due(credit=-9) == PROBE_GAP_FALLEN
    for _ in range(4):
        assert watched.grow(after=1, credit=-9)
        watched.refuse(10)
        watched.answer(19)
        assert watched.due(credit=-9) is None
        assert not watched.grow(after=1, credit=9)
        watched.answer(1)
        assert watched.due(credit=-9) is not None


def test_after_a_deep_fall_probes_are_not_closer_than_half_a_second_however_short_calls_are() -> (
    None
):
    watched = settled(40, held_for=100)
    watched.refuse(39, named=10)
    watched.window.answered(watched.send())
    watched.answer(1_000)
    assert watched.due() == PROBE_GAP_FALLEN
    assert not watched.grow(after=0.4)
    assert watched.grow(after=0.1)
    watched.refuse(10)
    watched.answer(1_000)
    assert watched.due() == watched.now + PROBE_GAP_FALLEN


def test_a_former_limit_is_found_again_and_then_nothing_is_missing() -> None:
    watched = settled(40, held_for=100)
    watched.refuse(39, named=10)
    watched.window.answered(watched.send())
    watched.answer(30)
    assert watched.grow(after=1, credit=0)
    while watched.size < 40:
        assert watched.climb(credit=0)
    watched.refuse(40)
    assert not watched.window.has_fallen
    assert watched.due(credit=0) is None
    due = watched.due(credit=1)
    assert due == watched.now + PROBE_GAP_MOST  # what it once was is not soon passed


def test_unlimited_is_more_than_anybody_sends() -> None:
    assert Window().ceiling == UNLIMITED > 10**9
