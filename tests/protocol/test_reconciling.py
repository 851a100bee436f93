"""What the history says of calls in doubt: above all, that none is called again that has run or may yet."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fal_async.protocol.history import HistoryItem
from fal_async.protocol.likeness import Lookalikes, exact_form
from fal_async.protocol.reconciling import (
    Decision,
    Doubt,
    Doubtful,
    Found,
    NotFound,
    Reading,
    Terms,
    Unknown,
    certain_at,
    match_in_doubt,
    read_from,
)

#: Certain 10 + 30 + 60 seconds after the journal was taken over.
TERMS = Terms(skew=5, delivery=10, listed_within=60)
INTENDED, LEFT_BY, CERTAIN = 1000.0, 1100.0, 1200.0
CAT = b'{"prompt": "a cat"}'
WITNESS = HistoryItem(request_id="known", sent_at=1001.0, status_code=200, input=b"{}")


def doubtful(key: Any = "a", input: bytes = CAT, **facts: Any) -> Doubtful:
    usual = {"intended_at": INTENDED, "left_by": LEFT_BY, "start_timeout": 30.0}
    return Doubtful(key=key, input=input, **(usual | facts))


def item(request_id: str = "r-1", sent_at: float | None = 1050.0, **facts: Any) -> HistoryItem:
    usual: dict[str, Any] = {"input": CAT, "status_code": 200, "ended_at": 1060.0}
    return HistoryItem(request_id=request_id, sent_at=sent_at, **(usual | facts))


def reading(*items: HistoryItem, **facts: Any) -> Reading:
    usual: dict[str, Any] = {"since": 900.0, "begun": CERTAIN, "complete": True}
    return Reading(items=(WITNESS, *items), **(usual | facts))


def decide(
    some: Doubtful | list[Doubtful], read: Reading, terms: Terms = TERMS, known: Any = ("known",)
) -> list[Decision]:
    return match_in_doubt(
        some if isinstance(some, list) else [some], read, known=known, terms=terms
    )


def said(decision: Decision) -> str:
    """The id that was found, the doubt, or ``not found``."""
    match decision:
        case Found():
            return decision.item.request_id
        case NotFound():
            return "not found"
        case Unknown():
            return str(decision.doubt)


def verdict(one: Doubtful, read: Reading, terms: Terms = TERMS, known: Any = ("known",)) -> str:
    (decision,) = decide(one, read, terms, known)
    assert decision.doubtful is one
    return said(decision)


# --- found


@pytest.mark.parametrize("begun", [LEFT_BY, CERTAIN])
def test_a_request_with_the_same_input_from_that_time_is_it_and_at_once(begun: float) -> None:
    assert verdict(doubtful(), reading(item(), begun=begun)) == "r-1"


def test_one_that_still_runs_is_found() -> None:
    running = item(status_code=None, ended_at=None)
    assert verdict(doubtful(), reading(running, begun=LEFT_BY)) == "r-1"


@pytest.mark.parametrize(
    ("sent_at", "expected"),
    [
        (994.9, "not found"),
        (995.0, "r-1"),  # the skew
        (1115.0, "r-1"),  # taken over at 1100, delivered by 1110, and the skew
        (1115.1, "not found"),
        (None, "r-1"),  # whoever does not tell may be meant
    ],
)
def test_a_request_of_another_time_is_another(sent_at: float | None, expected: str) -> None:
    assert verdict(doubtful(), reading(item(sent_at=sent_at))) == expected


def test_clocks_that_were_seen_to_differ_are_allowed_for() -> None:
    assert verdict(doubtful(), reading(item(sent_at=950.0), drift=45.0)) == "r-1"
    assert verdict(doubtful(), reading(item(sent_at=1160.0), drift=45.0)) == "r-1"
    assert verdict(doubtful(), reading(since=950.1, drift=45.0)) == "incomplete"


def test_a_clock_that_was_set_back_meanwhile_widens_the_time() -> None:
    one = doubtful(intended_at=LEFT_BY, left_by=INTENDED)
    assert verdict(one, reading(item(sent_at=995.0))) == "r-1"
    assert verdict(one, reading(item(sent_at=1115.0))) == "r-1"
    assert certain_at(one, TERMS) == CERTAIN


def test_a_request_that_is_known_is_nobodys() -> None:
    known = {"known", "r-1"}
    assert verdict(doubtful(), reading(item()), known=known) == "not found"


def test_equal_inputs_pair_in_order_of_time_and_what_is_missing_is_not_found() -> None:
    some = [doubtful(n, intended_at=INTENDED + n) for n in (2, 0, 1)]
    found = decide(some, reading(item("late", 1040.0), item("early", 1020.0)))
    assert [(d.doubtful.key, said(d)) for d in found] == [
        (2, "not found"),
        (0, "early"),
        (1, "late"),
    ]


def test_as_many_as_can_be_are_paired() -> None:
    # Of the time of both, the request must go to the one that no other could be.
    early = doubtful("early", intended_at=1000, left_by=1010)
    long = doubtful("long", intended_at=990, left_by=1100)
    some = decide([long, early], reading(item("both", 1015.0), item("long's", 1080.0)))
    assert [said(d) for d in some] == ["long's", "both"]


def test_one_whose_time_has_passed_may_still_be_a_request_that_tells_no_time() -> None:
    some = [doubtful("x", left_by=1001), doubtful("y")]
    found = decide(some, reading(item("r-1", 1090.0), item("r-2", None), item("r-3", None)))
    assert [said(d) for d in found] == ["r-2", "r-1"]


def test_of_equal_inputs_none_is_missing_while_one_is_not_clear() -> None:
    # The request may be either's: if it is the certain one's, the other may yet run.
    some = [doubtful("certain"), doubtful("endless", start_timeout=None)]
    assert [said(d) for d in decide(some, reading(item()))] == ["r-1", "no_limit"]
    some = [doubtful("endless", start_timeout=None), doubtful("certain")]
    assert [said(d) for d in decide(some, reading(item()))] == ["r-1", "no_limit"]
    (_, decision) = decide([doubtful(start_timeout=50.0), doubtful()], reading(item()))
    assert decision == Unknown(doubtful(), Doubt.TOO_EARLY, CERTAIN + 20)


def test_what_is_not_stored_is_not_paired() -> None:
    one = doubtful(stored=False)
    assert verdict(one, reading(item())) == "not_stored"


def test_nothing_in_doubt_is_nothing_decided() -> None:
    assert decide([], reading()) == []


# --- a failure that cost nothing


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_free_failure_may_not_have_been_the_last_attempt(status: int) -> None:
    failed = item("failed", 1040.0, status_code=status)
    assert verdict(doubtful(), reading(failed, begun=CERTAIN - 1)) == "too_early"
    assert verdict(doubtful(), reading(failed, complete=False)) == "incomplete"
    assert verdict(doubtful(), reading(failed)) == "failed"
    assert verdict(doubtful(), reading(failed, item("again", 1050.0))) == "again"


def test_a_free_failure_shows_that_the_history_is_the_right_one() -> None:
    failed = item("failed", 1040.0, status_code=503)
    some = [doubtful("x"), doubtful("y", b'{"prompt": "a dog"}')]
    assert [said(d) for d in decide(some, reading(failed), known=())] == ["failed", "not found"]


def test_free_failures_of_others_are_in_nobodys_way() -> None:
    blind = item("blind", input=None, status_code=503)
    assert verdict(doubtful(), reading(blind)) == "not found"


# --- what must be so before anything is called again


def test_what_is_certain_to_be_listed_and_is_not_never_ran() -> None:
    assert verdict(doubtful(), reading()) == "not found"


def test_before_that_it_is_unknown_and_says_until_when() -> None:
    (decision,) = decide(doubtful(), reading(begun=CERTAIN - 0.1))
    assert decision == Unknown(doubtful(), Doubt.TOO_EARLY, CERTAIN)


def test_without_a_start_timeout_it_may_start_at_any_time() -> None:
    one = doubtful(start_timeout=None)
    (decision,) = decide(one, reading(begun=1e9))
    assert said(decision) == "not_stored"  # after 30 days
    (decision,) = decide(one, reading(begun=1e6))
    assert decision == Unknown(one, Doubt.NO_LIMIT, None)
    assert verdict(one, reading(item())) == "r-1"


def test_the_callers_own_word_may_stand_in_for_it() -> None:
    terms = attrs.evolve(TERMS, settled_after=20.0)
    for one in (doubtful(), doubtful(start_timeout=None)):
        assert verdict(one, reading(begun=LEFT_BY + 19.9), terms) == "too_early"
        assert verdict(one, reading(begun=LEFT_BY + 20), terms) == "not found"


def test_by_itself_an_hour_of_running_is_waited_for() -> None:
    assert certain_at(doubtful(), Terms()) == LEFT_BY + 120 + 30 + 3900


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"complete": False}, "incomplete"),
        ({"since": 995.1}, "incomplete"),
        ({"since": 995.0}, "not found"),
        ({"begun": 995.0 + 30 * 86_400}, "not found"),
        ({"begun": 996.0 + 30 * 86_400}, "not_stored"),
    ],
)
def test_a_history_that_need_not_show_it_says_nothing(facts: dict[str, Any], expected: str) -> None:
    assert verdict(doubtful(), reading(**facts)) == expected


@pytest.mark.parametrize("input", [b"", b"{", b"[" * 10**5 + b"]" * 10**5])
def test_an_input_that_cannot_be_read_stays_in_doubt(input: bytes) -> None:
    assert verdict(doubtful(input=input), reading(item())) == "unreadable"


@pytest.mark.parametrize(
    "facts",
    [{"input": None}, {"input": b"{"}, {"input": b"[1]"}, {"input": b"[" * 600 + b"]" * 600}],
)
def test_a_request_that_hides_its_input_could_be_it(facts: dict[str, Any]) -> None:
    assert verdict(doubtful(), reading(item(**facts))) == "lookalike"
    assert verdict(doubtful(), reading(item(sent_at=None, **facts))) == "lookalike"
    assert verdict(doubtful(), reading(item(sent_at=900.0, **facts))) == "not found"
    assert verdict(doubtful(), reading(item(**facts)), known=("known", "r-1")) == "not found"


@pytest.mark.parametrize(
    ("sent", "listed", "alike"),
    [
        ('{"a": 1}', '{"a": 1.0}', True),
        ('{"a": -0.0}', '{"a": 0}', True),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": 15860307465884635512}', '{"a": 15860307465884635000}', True),  # through a double
        ('{"a": 1%s}' % ("0" * 400), '{"a": 2%s}' % ("0" * 400), True),
        ('{"a": 1}', '{"a": 1, "steps": 28}', True),  # defaults filled in
        ('{"a": 1, "b": null}', '{"a": 1}', True),
        ('{"a": 1, "b": 2}', '{"a": 1}', False),
        ('{"a": [1, {"b": 2}]}', '{"a": [1.0, {"b": 2}]}', True),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ('{"a": "x", "i": "data:image/png;base64,AA"}', '{"a": "x", "i": "https://v3.fal.media/1"}', True),
        ('{"a": "x", "i": ["data:,AA"]}', '{"a": "y", "i": ["data:,AA"]}', False),
        ('{"a": "x", "i": {"u": "data:,A"}}', '{"a": "x"}', True),
        ('{"a": "%s"}' % ("x" * 3000), '{"a": "xx…"}', True),
        ('{"a": "x"}', '{"a": "y"}', False),
        ("{}", '{"a": "y"}', True),
    ],
)  # fmt: skip
def test_a_request_whose_input_may_have_become_that_could_be_it(
    sent: str, listed: str, *, alike: bool
) -> None:
    read = reading(item(input=listed.encode()))
    expected = "lookalike" if alike else "not found"
    assert verdict(doubtful(input=sent.encode()), read) == expected


def test_without_a_witness_it_may_be_another_accounts_history() -> None:
    assert verdict(doubtful(), reading(), known=()) == "no_witness"
    blind = attrs.evolve(WITNESS, input=None)
    read = attrs.evolve(reading(), items=(blind,))
    assert verdict(doubtful(), read) == "no_witness"
    assert verdict(doubtful(), read, attrs.evolve(TERMS, witness=False)) == "not found"


def test_one_that_is_found_is_a_witness_for_the_others() -> None:
    some = [doubtful("x"), doubtful("y", b'{"prompt": "a dog"}')]
    assert [said(d) for d in decide(some, reading(item()), known=())] == ["r-1", "not found"]


# --- comparing


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a": 1, "b": [2]}', ' {"b":[2],"a":1}', True),
        ('{"a": 1}', '{"a": 1.0}', False),
        ('{"a": 1}', '{"a": true}', False),
        ('{"a": 0}', '{"a": false}', False),
        ('{"a": 1.0}', '{"a": 1e0}', True),
        ('{"a": 0.0}', '{"a": -0.0}', False),
        ('{"a": 15860307465884635512}', '{"a": 15860307465884635513}', False),
        ('{"a": 1%s}' % ("0" * 5000), '{"a": 1%s1}' % ("0" * 4999), False),
        ('{"a": null}', "{}", False),
        ('{"a": "\\u00e9"}', '{"a": "é"}', True),
        ('{"a": []}', '{"a": {}}', False),
        ('{"a": "x"}', '{"a": ["x"]}', False),
    ],
)  # fmt: skip
def test_inputs_are_equal_as_values(one: str, other: str, *, same: bool) -> None:
    assert (exact_form(one.encode()) == exact_form(other.encode())) is same


def test_what_cannot_be_compared_equals_nothing() -> None:
    assert exact_form(None) is exact_form(b"{") is exact_form(b'{"a":' * 900 + b"1" + b"}" * 900)


def test_a_lookalike_must_have_every_member() -> None:
    items = [
        item(str(n), input=json.dumps({"prompt": "a cat", "seed": n, "size": n % 2}).encode())
        for n in range(6)
    ]
    alike = Lookalikes(items)
    found = [i.request_id for i in alike.of(b'{"prompt": "a cat", "size": 1}')]
    assert found == ["1", "3", "5"]
    assert list(alike.of(b'{"prompt": "a cat", "size": 2}')) == []


# --- readings


def test_an_item_that_only_an_earlier_reading_saw_is_kept() -> None:
    before = reading(item("moved"), item("seen", status_code=None), drift=3.0)
    after = Reading(items=(item("seen"),), since=950.0, begun=1300.0, complete=True)
    both = after.with_earlier(before)
    assert {i.request_id: i.status_code for i in both.items} == {
        "known": 200,
        "moved": 200,
        "seen": 200,
    }
    assert (both.since, both.begun, both.drift) == (950.0, 1300.0, 3.0)
    assert after.with_earlier(None) is after


def test_it_is_read_from_before_the_first_intent() -> None:
    some = [doubtful(intended_at=1050.0), doubtful(intended_at=1020.0)]
    assert read_from(some, TERMS) == 1015.0
    assert read_from(some, TERMS, 100.0) == 915.0


def test_no_text_of_it_shows_an_input() -> None:
    assert "cat" not in repr(decide(doubtful(), reading(item())))


# --- whatever happens


@attrs.frozen
class Truth:
    """A call in doubt, and what really became of it."""

    doubtful: Doubtful
    listed: tuple[HistoryItem, ...]
    ran: bool


@st.composite
def truths(draw: st.DrawFn, key: int) -> Truth:
    """One that keeps to the terms: what they promise is so, and nothing more."""
    text = draw(st.sampled_from([b'{"a":1}', b'{"a":1.0}', b'{"a":2}', b'{"a":1,"b":null}']))
    intended = draw(st.floats(1000, 1100))
    timeout = draw(st.sampled_from([None, 5.0, 30.0]))
    one = doubtful(key, text, intended_at=intended, left_by=1100.0, start_timeout=timeout)
    attempts: list[tuple[float, float, int | None]] = []
    for _ in range(draw(st.integers(0, 2))):  # free failures before the last attempt
        sent = draw(st.floats(intended, 1110))
        attempts.append((sent, sent, draw(st.sampled_from([429, 503]))))
    ran = draw(st.booleans())
    if ran:
        sent = draw(st.floats(intended, 1110))
        start = sent + draw(st.floats(0, 500 if timeout is None else timeout))
        attempts.append((sent, start, draw(st.sampled_from([None, 200, 422]))))
    skew = draw(st.floats(-5, 5))
    spelling = draw(st.sampled_from(["same", "more", "hidden"]))
    told = {"same": text, "more": text[:-1] + b',"more":0}', "hidden": None}[spelling]
    items = []
    for n, (sent, start, status) in enumerate(attempts):
        listed_from = start + draw(st.floats(0, 60))
        seen = HistoryItem(
            request_id=f"{key}-{n}", sent_at=sent + skew, started_at=listed_from, status_code=status,
            input=told,
        )  # fmt: skip
        items.append(seen)
    return Truth(one, tuple(items), ran)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Truth], Reading]:
    all_of = [draw(truths(key)) for key in range(draw(st.integers(1, 6)))]
    begun = draw(st.floats(1100, 1900))
    others = [
        item(f"other-{n}", draw(st.floats(900, 1300)), input=draw(st.sampled_from([b'{"a":1}', b'{"a":3}'])))
        for n in range(draw(st.integers(0, 2)))
    ]  # fmt: skip
    shown = [i for truth in all_of for i in truth.listed if (i.started_at or 0) <= begun]
    mixed = draw(st.permutations([*shown, *others]))
    return all_of, reading(*mixed, begun=begun, complete=draw(st.sampled_from([True, True, False])))


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_of_no_input_more_are_called_again_than_never_ran(
    world: tuple[list[Truth], Reading],
) -> None:
    all_of, read = world
    decisions = decide([truth.doubtful for truth in all_of], read)
    assert [d.doubtful for d in decisions] == [truth.doubtful for truth in all_of]
    used = [d.item.request_id for d in decisions if isinstance(d, Found)]
    assert len(used) == len(set(used))
    for form in {exact_form(truth.doubtful.input) for truth in all_of}:
        again = sum(
            isinstance(d, NotFound) or (isinstance(d, Found) and d.item.is_unbilled)
            for d in decisions
            if exact_form(d.doubtful.input) == form
        )
        never = sum(not t.ran for t in all_of if exact_form(t.doubtful.input) == form)
        assert again <= never


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_in_the_end_all_is_clear_where_nothing_is_hidden(
    world: tuple[list[Truth], Reading],
) -> None:
    some = [
        attrs.evolve(truth, doubtful=attrs.evolve(truth.doubtful, start_timeout=600.0))
        for truth in world[0]
        if all(i.input == truth.doubtful.input for i in truth.listed)
    ]
    inputs = [attrs.evolve(t.doubtful, input=b'{"n":%d}' % n) for n, t in enumerate(some)]
    items = [attrs.evolve(i, input=b'{"n":%d}' % n) for n, t in enumerate(some) for i in t.listed]
    decisions = decide(inputs, reading(*items, begun=2000.0))
    for truth, decision in zip(some, decisions, strict=True):
        if truth.ran:
            assert said(decision) == truth.listed[-1].request_id
        else:
            assert isinstance(decision, (Found, NotFound))
