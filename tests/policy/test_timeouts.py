"""How long we wait, and for what."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fal_async.errors import InputError
from fal_async.policy.timeouts import check_timeout, connect_budget

HUGE = pytest.param(10**400, id="beyond floats")


def test_a_connection_has_ten_seconds_and_five_where_a_backup_domain_stands_by() -> None:
    assert connect_budget(has_backup=False) == 10.0
    assert connect_budget(has_backup=True) == 5.0


@pytest.mark.parametrize("value", [1, 0.001, 3600, 1e300])
def test_a_timeout_is_seconds_above_zero_as_a_float(value: float) -> None:
    checked = check_timeout(value)
    assert checked == value
    assert type(checked) is float


def test_none_is_no_limit() -> None:
    assert check_timeout(None) is None


@pytest.mark.parametrize("value", [0, 0.0, -1, math.nan, math.inf, -math.inf, HUGE])
def test_no_other_number_is_a_timeout(value: float) -> None:
    with pytest.raises(InputError, match="more than 0 seconds; None means no limit"):
        check_timeout(value)


@pytest.mark.parametrize("value", ["30", True, b"1", [1], object()])
def test_what_is_no_number_is_no_timeout_and_its_type_is_named(value: Any) -> None:
    with pytest.raises(InputError, match=f"not {type(value).__name__}"):
        check_timeout(value)


@given(st.floats() | st.integers())
def test_a_number_is_either_taken_as_it_is_or_a_bad_argument(value: float) -> None:
    try:
        assert check_timeout(value) == float(value) > 0
    except InputError:
        assert not 0 < value < math.inf
