"""The exception tree: what every error promises, whatever made it."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import attrs
import pytest

from fal_async import errors
from fal_async.errors import Billing, ErrorDetail, FalError, Verdict
from fal_async.protocol.messages import Headers


def below(root: type[FalError]) -> list[type[FalError]]:
    return [
        root,
        *(
            c
            for kind in root.__subclasses__()
            if kind.__module__ == root.__module__
            for c in below(kind)
        ),
    ]


EVERY = below(FalError)
every_error = pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
every_billing = pytest.mark.parametrize("billing", list(Billing), ids=str)


def drawn_tree() -> dict[str, tuple[str, set[str]]]:
    """The tree of the module's docstring: name to the class it hangs from and the bases named beside it."""
    drawn: dict[str, tuple[str, set[str]]] = {}
    above: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        found = re.match(r"( {4})([ │├└─]*)(\w+Error)\b(?: \(([\w, ]+)\))?", line)
        if found:
            depth = len(found[2]) // 4
            above[depth:] = [found[3]]
            beside = set((found[4] or "").split(", ")) - {""}
            drawn[found[3]] = (above[depth - 1] if depth else "", beside)
    return drawn


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    classes = {
        kind.__name__: (
            "" if kind is FalError else next(b for b in kind.__bases__ if b in EVERY).__name__,
            {base.__name__ for base in kind.__bases__ if base not in EVERY} - {"Exception"},
        )
        for kind in EVERY
    }
    assert drawn_tree() == classes


def test_every_error_is_a_public_name_of_its_module() -> None:
    assert {kind.__name__ for kind in EVERY} <= set(errors.__all__)


def test_what_is_a_timeout_to_python_is_a_timeout_error() -> None:
    timeouts = {kind.__name__ for kind in EVERY if issubclass(kind, TimeoutError)}
    assert timeouts == {
        "CallTimeoutError",
        "ConnectTimeoutError",
        "ServerTimeoutError",
        "StartTimeoutError",
    }


def test_a_bad_argument_is_a_value_error() -> None:
    assert [kind.__name__ for kind in EVERY if issubclass(kind, ValueError)] == ["InputError"]


def full(kind: type[FalError], billing: Billing = Billing.UNKNOWN) -> FalError:
    error = kind(
        "it went wrong",
        billing=billing,
        retryable=True,
        request_id="req-1",
        status=503,
        error_type="runner_disconnected",
        details=[ErrorDetail(loc=("body", 0), msg="no", type="missing", ctx={"a": 1}, url="u")],
        retry_after=1.5,
        attempts=3,
        headers=Headers({"X-Fal-Request-Id": "req-1"}),
        body=b"{}",
    )
    error.first = FalError("before it", attempts=1)
    return error


@every_error
def test_every_error_survives_pickle_and_copy_with_all_its_facts(kind: type[FalError]) -> None:
    error = full(kind)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is kind
        assert str(again) == str(error)
        facts, before = vars(again), vars(error)
        assert str(facts.pop("first")) == str(before["first"])
        assert facts == {name: value for name, value in before.items() if name != "first"}
        assert again.headers["x-fal-request-id"] == "req-1"
    assert vars(copy.copy(error)) == vars(error)


def test_the_facts_of_single_classes_survive_pickle_too() -> None:
    locked = errors.AccountLockedError("locked")
    locked.reason = "no money"
    many = errors.TooManyRequestsError("many")
    many.limit, many.invited = 10, True
    moved = errors.RedirectError("moved")
    moved.location = "https://elsewhere"
    misfit = errors.StructureError("misfit")
    misfit.value, misfit.path = {"images": [None]}, "images[0]"
    for error in (locked, many, moved, misfit):
        assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


@every_error
def test_every_error_can_be_hashed_and_is_equal_to_itself_only(kind: type[FalError]) -> None:
    one, other = full(kind), full(kind)
    assert len({one, one, other}) == 2


@every_error
@every_billing
def test_every_text_tells_what_happened_what_it_cost_and_what_may_be_done(
    kind: type[FalError], billing: Billing
) -> None:
    error = full(kind, billing)
    cost = {
        Billing.NOT_BILLED: "Not billed.",
        Billing.UNKNOWN: "It may have been billed.",
        Billing.BILLED: "It was billed.",
    }[billing]
    assert str(error) == f"it went wrong. {cost} {error.advice} Request req-1."
    assert error.advice.endswith(".")


@every_error
def test_no_text_calls_it_safe_to_send_again_what_may_have_been_billed(
    kind: type[FalError],
) -> None:
    assert "Safe" not in full(kind, Billing.UNKNOWN).advice
    assert "Safe" not in full(kind, Billing.BILLED).advice


@pytest.mark.parametrize(
    ("billing", "advice"),
    [
        (Billing.NOT_BILLED, "Safe to send again."),
        (Billing.UNKNOWN, "Sending it again may pay twice."),
        (Billing.BILLED, "Sending it again pays again."),
    ],
)
def test_advice_on_sending_again_follows_from_the_cost(billing: Billing, advice: str) -> None:
    for kind in (
        errors.ConnectError,
        errors.ConnectionLostError,
        errors.CallTimeoutError,
        errors.GatewayError,
        errors.ServerError,
        errors.StartTimeoutError,
        errors.RequestCancelledError,
        errors.TooManyRequestsError,
    ):
        assert kind("x", billing=billing).advice == advice


def test_a_refused_input_is_said_to_fail_again_unless_fal_calls_it_retryable() -> None:
    assert errors.ModelError("x").advice == "The same input will fail again."
    assert errors.ModelError("x", retryable=True).advice == "Safe to send again."


def test_the_text_is_made_anew_when_a_later_layer_learns_more() -> None:
    error = errors.ConnectError("no route")
    assert str(error) == "no route. Not billed. Safe to send again."
    error.billing, error.request_id = Billing.UNKNOWN, "r"
    assert str(error) == (
        "no route. It may have been billed. Sending it again may pay twice. Request r."
    )


@pytest.mark.parametrize("text", ["Done.", "Done!", "Done?"])
def test_a_sentence_that_ends_keeps_its_end(text: str) -> None:
    assert str(FalError(text)).startswith(f"{text} Not billed.")


def test_the_repr_of_an_error_is_its_sentence_and_no_fact_beside_it() -> None:
    error = full(errors.ModelError)
    error.body = b"a prompt"
    assert repr(error) == "ModelError('it went wrong')"


def test_without_facts_an_error_has_cost_nothing_and_holds_nothing() -> None:
    error = FalError("x")
    assert vars(error) == {
        "billing": Billing.NOT_BILLED,
        "retryable": False,
        "request_id": None,
        "status": None,
        "error_type": None,
        "details": (),
        "retry_after": None,
        "attempts": 0,
        "headers": {},
        "body": None,
        "first": None,
        "handle": None,
    }


@pytest.mark.parametrize(
    ("one", "other", "worse"),
    [
        ("not_billed", "not_billed", "not_billed"),
        ("not_billed", "unknown", "unknown"),
        ("not_billed", "billed", "billed"),
        ("unknown", "unknown", "unknown"),
        ("unknown", "billed", "billed"),
        ("billed", "billed", "billed"),
    ],
)
def test_the_worse_of_two_verdicts_is_the_dearer_one(one: str, other: str, worse: str) -> None:
    assert Billing(one).worse(Billing(other)) is Billing(worse)
    assert Billing(other).worse(Billing(one)) is Billing(worse)


def test_billing_equals_its_word() -> None:
    assert Billing.UNKNOWN == "unknown"
    assert f"{Billing.NOT_BILLED}" == "not_billed"


@pytest.mark.parametrize(
    ("loc", "path"),
    [
        ((), ""),
        (("body",), "body"),
        (("body", "images", 0, "url"), "body.images[0].url"),
        ((0, "url"), "[0].url"),
        (("body", 1, 2), "body[1][2]"),
    ],
)
def test_the_place_of_a_detail_reads_as_people_write_it(
    loc: tuple[str | int, ...], path: str
) -> None:
    assert ErrorDetail(loc=loc).path == path


def test_a_detail_can_be_hashed_and_does_not_show_what_may_echo_the_input() -> None:
    detail = ErrorDetail(loc=("body",), msg="a prompt", type="missing", ctx={"given": "a prompt"})
    assert len({detail, attrs.evolve(detail)}) == 1
    assert "a prompt" not in repr(detail)


def test_a_verdict_is_a_value() -> None:
    assert Verdict(billing=Billing.UNKNOWN) == Verdict(billing=Billing.UNKNOWN, attempts=0)
    assert (
        pickle.loads(pickle.dumps(Verdict(billing=Billing.BILLED, request_id="r"))).request_id
        == "r"
    )
