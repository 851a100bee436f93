from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.batch.grid import grid
from fal_async.errors import InputError

AXES = st.dictionaries(
    st.text(st.characters(categories=["Ll"]), min_size=1, max_size=6),
    st.lists(st.integers(), max_size=4),
    max_size=4,
)


@given(AXES)
def test_a_grid_is_the_product_in_the_order_of_the_names(axes: dict[str, list[int]]) -> None:
    expected = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    made = grid(**axes)
    assert list(made) == list(made) == expected  # and once more
    assert [made[place] for place in range(len(made))] == expected
    assert len(made) == len(expected)
    assert made[1:3] == expected[1:3]
    assert [list(item) for item in made] == [list(axes)] * len(made)


def test_the_last_named_varies_fastest() -> None:
    assert list(grid(prompt=["a", "b"], seed=range(2))) == [
        {"prompt": "a", "seed": 0},
        {"prompt": "a", "seed": 1},
        {"prompt": "b", "seed": 0},
        {"prompt": "b", "seed": 1},
    ]


@pytest.mark.parametrize("value", ["abc", b"bytes", 7, 1.5, None, True, {"width": 1}, object()])
def test_a_text_a_scalar_and_a_mapping_are_one_value(value: Any) -> None:
    assert list(grid(field=value, seed=[1, 2])) == [
        {"field": value, "seed": 1},
        {"field": value, "seed": 2},
    ]


def test_a_list_within_a_list_is_one_value() -> None:
    assert list(grid(size=[[512, 512]])) == [{"size": [512, 512]}]


def test_a_generator_is_read_once_and_the_grid_goes_on_from_what_it_gave() -> None:
    made = grid(seed=(seed * seed for seed in range(3)))
    assert [item["seed"] for item in made] == [item["seed"] for item in made] == [0, 1, 4]


def test_a_list_that_changes_later_does_not_change_the_grid() -> None:
    seeds = [1, 2]
    made = grid(seed=seeds)
    seeds.clear()
    assert len(made) == len(list(made)) == 2


def test_an_empty_list_leaves_nothing() -> None:
    made = grid(prompt=["a", "b"], seed=[])
    assert (len(made), list(made), bool(made)) == (0, [], False)
    with pytest.raises(IndexError):
        made[0]


def test_no_field_is_one_input_without_any() -> None:
    assert list(grid()) == [{}]


def test_an_iterator_without_end_is_refused() -> None:
    with pytest.raises(InputError, match="seed has more than 1,000,000 values"):
        grid(seed=count())


def test_a_grid_is_made_as_it_is_asked_for() -> None:
    made = grid(prompt="x", seed=range(10**12), more=range(10**3))
    assert len(made) == 10**15
    inputs: Iterator[dict[str, Any]] = iter(made)
    assert next(inputs) == {"prompt": "x", "seed": 0, "more": 0}
    assert made[-1] == {"prompt": "x", "seed": 10**12 - 1, "more": 999}
    assert made[math.prod([5, 1000]) + 7] == {"prompt": "x", "seed": 5, "more": 7}
    with pytest.raises(IndexError):
        made[10**15]


def test_each_input_is_a_dict_of_its_own() -> None:
    made = grid(seed=[1, 2])
    made[0]["seed"] = 5
    next(iter(made))["seed"] = 6
    assert list(made) == [{"seed": 1}, {"seed": 2}]


def test_its_repr_shows_no_value() -> None:
    assert repr(grid(prompt=["a secret"], seed=range(3))) == "<Grid prompt:1 x seed:3>"


def test_a_grid_may_vary_over_the_inputs_of_another() -> None:
    made = grid(image_size=grid(width=[1, 2], height=[3]))
    assert [item["image_size"]["width"] for item in made] == [1, 2]
