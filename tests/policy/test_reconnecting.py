"""When a lost connection is made again."""

from __future__ import annotations

from typing import Any

import pytest

from fal_async.errors import InputError
from fal_async.policy.reconnecting import check_reconnect, next_delay


def test_the_first_try_is_at_once_and_each_wait_is_longer_up_to_half_a_minute() -> None:
    assert [next_delay(tries, 1.0) for tries in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert next_delay(10_000, 1.0) == 30


def test_those_who_were_cut_off_together_do_not_come_together() -> None:
    assert [next_delay(3, chance) for chance in (0.0, 0.5, 1.0)] == [1.0, 1.5, 2.0]


def test_what_reconnect_may_be() -> None:
    assert check_reconnect(False) == 0
    assert check_reconnect(True) > 5
    assert [check_reconnect(number) for number in (0, 3)] == [0, 3]


@pytest.mark.parametrize("value", [-1, 1.5, "yes", None])
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(InputError):
        check_reconnect(value)
