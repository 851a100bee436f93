"""What ``map`` makes of the words of its command line, and of the rows it is given."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from fal_async.batch.grid import grid
from fal_async.batch.rows import BadRow, Row
from fal_async.cli.batch.budget import Budget
from fal_async.cli.batch.inputs import Planned, Recipe, parse_grid, survey
from fal_async.cli.batch.source import Arriving, RowSource
from tests.support.virtual_time import turns

# --- --grid ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("seed=1..4", [1, 2, 3, 4]),
        ("seed=-2..0", [-2, -1, 0]),
        ("seed=7..7", [7]),
        ("seed=1..3,10,20..21", [1, 2, 3, 10, 20, 21]),
        ("guidance=2,4", [2, 4]),
        ("guidance=3.5", [3.5]),
        ("style=ink,oil painting", ["ink", "oil painting"]),
        ('style=["ink, black", "oil"]', ["ink, black", "oil"]),
        ("hd=true,false", [True, False]),
        ('size={"width": 1}', None),
        ("seed=18446744073709551615", [2**64 - 1]),
    ],
)
def test_a_grid_is_a_range_a_list_or_json(word: str, values: list[Any] | None) -> None:
    found = [next(iter(item.values())) for item in parse_grid([word])]
    assert found == ([{"width": 1}] if values is None else values)


def test_several_grids_are_combined_and_the_last_varies_fastest() -> None:
    assert [tuple(item.values()) for item in parse_grid(["a=1,2", "b=x,y"])] == [
        (1, "x"),
        (1, "y"),
        (2, "x"),
        (2, "y"),
    ]


def test_no_grid_is_every_row_once() -> None:
    assert list(parse_grid([])) == [{}]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["seed"], "NAME=VALUES"),
        (["=1,2"], "NAME=VALUES"),
        (["seed="], "seed has no values"),
        (["seed=[]"], "seed has no values"),
        (["seed=1", "seed=2"], "seed is given twice"),
        (["seed=4..1"], "counts upwards: 1..4"),
        (["seed=1..99999999"], "more than 1,000,000 values"),
    ],
)
def test_what_is_no_grid_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(click.UsageError, match=says):
        parse_grid(words)


# --- rows and what is made of them ----------------------------------------------------------------------


def test_every_row_is_sent_with_all_of_the_grid_and_wins_over_what_is_fixed() -> None:
    recipe = Recipe(fixed={"steps": 4, "hd": True}, varied=grid(seed=[1, 2]))
    rows = [Row(line=1, input={"prompt": "a"}), Row(line=3, input={"prompt": "b", "hd": False})]
    assert list(recipe.inputs(rows)) == [
        Planned(line=1, input={"steps": 4, "hd": True, "prompt": "a", "seed": 1}),
        Planned(line=1, input={"steps": 4, "hd": True, "prompt": "a", "seed": 2}),
        Planned(line=3, input={"steps": 4, "hd": False, "prompt": "b", "seed": 1}),
        Planned(line=3, input={"steps": 4, "hd": False, "prompt": "b", "seed": 2}),
    ]


def test_a_row_that_gives_what_the_grid_gives_is_a_bad_one() -> None:
    recipe = Recipe(fixed={}, varied=grid(seed=[1, 2]))
    rows = [Row(line=5, input={"seed": 7}), BadRow(line=6, reason="broken")]
    assert list(recipe.inputs(rows)) == [
        BadRow(line=5, reason="seed is also given by --grid"),
        BadRow(line=6, reason="broken"),
    ]


def test_a_param_that_the_grid_gives_too_is_refused() -> None:
    with pytest.raises(click.UsageError, match="seed is given by --param and by --grid"):
        Recipe(fixed={"seed": 1}, varied=grid(seed=[1, 2]))


def test_a_survey_counts_what_it_need_not_make() -> None:
    recipe = Recipe(fixed={}, varied=grid(seed=range(10**12)))
    rows = [Row(line=n, input={"prompt": "x"}) for n in range(1, 4)]
    found = survey(recipe, [*rows, BadRow(line=4, reason="broken")])
    assert (found.calls, found.bad) == (3 * 10**12, 1)
    assert [item.input["seed"] for item in found.first] == [0, 1, 2]
    assert found.first_bad == (BadRow(line=4, reason="broken"),)


def test_a_survey_of_what_has_no_end_ends_when_it_has_enough() -> None:
    def endless() -> Iterator[Row | BadRow]:
        while True:
            yield BadRow(line=1, reason="broken")
            yield Row(line=2, input={})

    found = survey(Recipe(fixed={}, varied=grid()), endless(), most=50)
    assert (found.calls, len(found.first), len(found.first_bad)) == (50, 3, 10)


# --- where rows come from -------------------------------------------------------------------------------


def test_a_pipe_is_read_as_it_arrives() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb"):
        source = RowSource(Path(f"/dev/fd/{ours}"))
        assert not source.is_regular
        with os.fdopen(theirs, "wb", buffering=0) as pipe, source.rows() as rows:
            pipe.write(b'\n{"a": 1}\n{"a"')
            assert next(rows) == Row(line=2, input={"a": 1})
            pipe.write(b': 2}\n{"a": 3}')
            assert next(rows) == Row(line=3, input={"a": 2})
            pipe.close()
            assert list(rows) == [Row(line=4, input={"a": 3})]


@pytest.mark.parametrize(
    ("content", "first"),
    [
        (b"prompt,seed\nx,1\n", {"prompt": "x", "seed": 1}),
        (b'\n{"a": 1}\n', {"a": 1}),
        (b"a cat\n", {"prompt": "a cat"}),
    ],
)
def test_a_file_whose_name_tells_nothing_is_told_by_its_first_line(
    tmp_path: Path, content: bytes, first: dict[str, Any]
) -> None:
    (tmp_path / "rows").write_bytes(content)
    with RowSource(tmp_path / "rows").rows() as rows:
        row = next(rows)
        assert isinstance(row, Row)
        assert row.input == first
        assert list(rows) == []


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="gone"), RowSource(tmp_path / "gone").rows():
        pass


def test_a_file_of_blank_lines_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"\n\n \n")
    with RowSource(tmp_path / "rows").rows() as rows:
        assert list(rows) == []


async def test_what_blocks_is_waited_for_in_a_thread() -> None:
    allowed, thread = threading.Semaphore(0), threading.current_thread()
    ran_in: list[threading.Thread] = []

    def slow() -> Iterator[int]:
        for number in range(3):
            assert allowed.acquire(timeout=20)
            ran_in.append(threading.current_thread())
            yield number

    async with Arriving(slow) as items:
        for number in range(3):
            waiting = asyncio.ensure_future(anext(items))
            await turns()
            assert not waiting.done()  # and yet the loop goes on
            allowed.release()
            assert await waiting == number
        with pytest.raises(StopAsyncIteration):
            await anext(items)
    assert thread not in ran_in


async def test_no_more_is_read_ahead_than_there_is_room_for() -> None:
    read, left = 0, threading.Event()

    def endless() -> Iterator[int]:
        nonlocal read
        try:
            while True:
                read += 1
                yield read
        finally:
            left.set()

    async with Arriving(endless) as items:
        for number in range(1, 2000):
            assert await anext(items) == number
        assert read < 2000 + 600
    assert await asyncio.to_thread(left.wait, 20)


async def test_what_goes_wrong_in_the_thread_is_raised_where_it_is_waited_for() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise click.UsageError("no table")

    async with Arriving(broken) as items:
        assert await anext(items) == 1
        with pytest.raises(click.UsageError, match="no table"):
            await anext(items)


# --- --max-calls ----------------------------------------------------------------------------------------


async def test_a_budget_is_spent_by_calls_alone() -> None:
    budget = Budget(2)
    assert await budget.take()
    budget.landed(called=False)  # it came from the journal
    assert await budget.take()
    assert await budget.take()
    third = asyncio.create_task(budget.take())
    await turns()
    assert not third.done()  # one of the two may turn out to be no call
    budget.landed(called=True)
    await turns()
    assert not third.done()
    budget.landed(called=False)
    assert await third
    budget.landed(called=True)
    assert not await budget.take()


async def test_without_a_number_a_budget_has_no_end() -> None:
    budget = Budget(None)
    assert all([await budget.take() for _ in range(100)])
    budget.landed(called=True)
