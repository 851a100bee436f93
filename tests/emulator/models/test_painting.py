"""Pictures, and the files they become."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fal_async.emulator.models.painting import paint
from fal_async.emulator.models.png import encode_png
from tests.emulator.models.pngs import read_png


def png(key: bytes, width: int, height: int) -> bytes:
    picture = paint(key, width, height)
    return encode_png(width, height, picture.palette, picture.rows)


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(1, 70), st.integers(1, 70))
def test_a_picture_of_any_size_reads_back_pixel_by_pixel(
    key: bytes, width: int, height: int
) -> None:
    picture = paint(key, width, height)
    read = read_png(encode_png(width, height, picture.palette, picture.rows))
    assert (read.width, read.height) == (width, height)
    colours = [b"".join(picture.palette[3 * i : 3 * i + 3] for i in row) for row in picture.rows]
    assert read.rows == colours


def test_the_same_key_paints_the_same_picture_and_another_key_another() -> None:
    assert png(b"a cat", 64, 64) == png(b"a cat", 64, 64)
    assert len({png(key.encode(), 64, 64) for key in "abcdefgh"}) == 8


@pytest.mark.parametrize("key", [b"a cat", b"a dog", b"", b"0"])
def test_a_picture_has_more_than_a_few_colours_and_no_noise(key: bytes) -> None:
    read = read_png(png(key, 200, 120))
    pixels = {row[i : i + 3] for row in read.rows for i in range(0, len(row), 3)}
    assert len(pixels) > 10
    edges = sum(
        row[i : i + 3] != row[i + 3 : i + 6] for row in read.rows for i in range(0, 3 * 199, 3)
    )
    assert edges < 0.3 * 200 * 120


def test_neighbours_are_near_each_other_in_height_so_that_nothing_ran_over() -> None:
    # A sum that runs over into the next pixel's bytes would show as a jump to the other end.
    picture = paint(b"smooth", 300, 200)
    for above, below in zip(picture.rows, picture.rows[1:], strict=False):
        assert max(abs(a - b) for a, b in zip(above, below, strict=True)) < 20


def test_a_large_picture_is_a_small_file() -> None:
    assert len(png(b"a cat", 1024, 1024)) < 200_000
