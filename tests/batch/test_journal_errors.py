"""An error that is written into a journal is the same error when it comes out of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async import errors
from fal_async.batch.journal.facts import pack_answer, unpack_answer
from fal_async.batch.journal.freezing import freeze_error, thaw_error
from fal_async.batch.journal.records import Answer
from fal_async.errors import Billing, ErrorDetail, FalError
from tests.test_errors import EVERY, full


def bare(kind: type[FalError]) -> FalError:
    return kind("it went wrong")


def facts_of_the_class(kind: type[FalError]) -> list[str]:
    """What its docstring calls ``ivar``, those of the root apart: on the instance, where known."""
    told = [name for c in kind.__mro__ for name in getattr(c, "__annotations__", {})]
    return [name for name in told if not name.startswith("_") and name != "value"]


def loaded(kind: type[FalError]) -> FalError:
    error = full(kind)
    for name in facts_of_the_class(kind):
        setattr(error, name, f"the {name}")
    error.body = b"\x00\xff{"
    return error


def facts_of(error: FalError) -> dict[str, object]:
    facts = vars(error) | {"class": type(error), "text": str(error), "headers": dict(error.headers)}
    return facts | {"first": None if error.first is None else facts_of(error.first)}


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("make", [bare, loaded])
@pytest.mark.parametrize("billing", list(Billing), ids=str)
def test_every_error_comes_back_with_its_class_and_all_its_facts(
    make: object, kind: type[FalError], billing: Billing
) -> None:
    error = make(kind)  # type: ignore[operator]
    error.billing = billing
    again = thaw_error(json.loads(json.dumps(freeze_error(error))))
    assert facts_of(again) == facts_of(error)
    assert not error.headers or again.headers["x-fal-request-id"] == "req-1"


def test_what_belongs_to_a_session_and_what_the_body_tells_again_stay_behind() -> None:
    error = errors.StructureError("misfit", billing=Billing.BILLED, body=b"{}")
    error.value, error.handle = {"images": object()}, object()
    again = thaw_error(freeze_error(error))
    assert isinstance(again, errors.StructureError)
    assert (again.value, again.handle, again.body) == (None, None, b"{}")


@pytest.mark.parametrize("name", ["WithdrawnError", "Billing", "annotations", "__doc__"])
def test_a_class_that_is_not_known_any_more_comes_back_as_the_root(name: str) -> None:
    again = thaw_error({**freeze_error(FalError("lost", billing=Billing.BILLED)), "class": name})
    assert type(again) is FalError
    assert (again.what, again.billing) == ("lost", Billing.BILLED)


def test_an_error_that_is_its_own_first_comes_to_an_end() -> None:
    error = FalError("round")
    error.first = error
    assert json.dumps(freeze_error(error)).count("round") < 10


def test_the_facts_of_single_classes_are_among_those() -> None:
    assert facts_of_the_class(errors.TooManyRequestsError) == ["limit", "invited"]
    assert facts_of_the_class(errors.StructureError) == ["path"]


def test_a_wait_of_zero_seconds_is_told_apart_from_none() -> None:
    again = thaw_error(freeze_error(errors.TooManyRequestsError("many", retry_after=0.0)))
    assert again.retry_after == 0.0


@given(
    st.builds(
        Answer,
        succeeded=st.booleans(),
        status=st.none() | st.integers(100, 599),
        headers=st.dictionaries(
            st.text(st.characters(max_codepoint=127), min_size=1).map(str.lower),
            st.text(st.characters(categories=None)),  # lone surrogates too
        ),
        body=st.binary(),
        request_id=st.none() | st.text(),
        attempts=st.integers(0, 99),
        elapsed=st.floats(0, 1e9),
        billing=st.sampled_from(Billing),
        billable_units=st.none() | st.text(),
        error=st.none()
        | st.dictionaries(
            st.text(), st.floats(allow_nan=False) | st.integers() | st.text(), max_size=3
        ),
    )
)
def test_an_answer_comes_back_as_it_was(answer: Answer) -> None:
    text = pack_answer(answer).decode()
    again = unpack_answer(text, answer.body, succeeded=answer.succeeded, files=())
    assert again == answer


def test_numbers_of_an_error_that_are_no_json_come_back() -> None:
    detail = ErrorDetail(loc=("body",), type="t", ctx={"a": float("inf"), "b": 10**40})
    error = freeze_error(errors.ModelError("no", details=[detail]))
    answer = Answer(succeeded=False, error=error)
    again = unpack_answer(pack_answer(answer).decode(), b"", succeeded=False, files=())
    assert again.error is not None
    assert thaw_error(again.error).details == (detail,)
