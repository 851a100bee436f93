"""The soak's judge: what it takes for agreement, and what not."""

from __future__ import annotations

import pytest

from benchmarks.soaking.agreeing import Execution, disagreements
from benchmarks.soaking.story import End, Story


def story(end: End, billing: str | None = None, **more: object) -> Story:
    told = Story(marker="m", kind="run", detail="", began=0.0, **more)  # type: ignore[arg-type]
    told.end, told.billing, told.ended = end, billing, 1.0
    return told


def execution(*, billed: bool, marker: str = "m", request_id: str = "r") -> Execution:
    return Execution(
        marker=marker,
        request_id=request_id,
        model="soak/plain",
        started=0.0,
        ended=1.0,
        status=200,
        billed=billed,
        fault=None,
        attempt=1,
    )


#: What was said → how often it may have been charged for.
MAY: list[tuple[Story, set[int]]] = [
    (story("succeeded"), {1}),
    (story("succeeded", most=3), {1, 2, 3}),
    (story("succeeded", before=1), {1, 2}),
    (story("failed", "not_billed"), {0}),
    (story("failed", "not_billed", before=1), {0, 1}),
    (story("failed", "unknown"), {0, 1}),
    (story("failed", "billed"), {1}),
    (story("left", "billed", most=2), {1, 2}),
    (story("dropped"), {0, 1}),
    (story("open"), set()),
]


@pytest.mark.parametrize(("told", "may"), MAY, ids=lambda value: getattr(value, "end", None))
def test_a_call_is_charged_for_as_often_as_was_said(told: Story, may: set[int]) -> None:
    for charges in range(4):
        ran = [execution(billed=True)] * charges + [execution(billed=False)]
        found = list(disagreements({"m": told}, ran))
        assert bool(found) == (charges not in may), charges


def test_what_nobody_called_for_is_told_whether_or_not_it_was_charged_for() -> None:
    assert len(list(disagreements({}, [execution(billed=False), execution(billed=True)]))) == 1


def test_an_answer_is_of_a_request_that_ran() -> None:
    told = story("succeeded", request_id="another")
    (found,) = disagreements({"m": told}, [execution(billed=True)])
    assert "never ran" in found


def test_a_disagreement_has_the_whole_story() -> None:
    told = story("failed", "not_billed")
    told.error = "ServerError: it failed"
    (found,) = disagreements({"m": told}, [execution(billed=True, request_id="r1")])
    assert all(word in found for word in ("m run", "not_billed", "it failed", "r1", "billed"))
