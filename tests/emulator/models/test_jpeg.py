"""Soft pictures as JPEG, read back by the book."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fal_async.emulator.models.jpeg import encode_jpeg
from fal_async.emulator.models.painting import paint_softly
from tests.emulator.models.jpegs import read_jpeg


def jpeg(key: bytes, width: int, height: int) -> bytes:
    picture = paint_softly(key, width, height)
    return encode_jpeg(width, height, picture.luma, picture.blue, picture.red)


@pytest.mark.parametrize("key", [b"a cat", b"a dog", b""])
def test_each_block_has_the_mean_it_was_given(key: bytes) -> None:
    picture, read = paint_softly(key, 48, 32), read_jpeg(jpeg(key, 48, 32))
    for plane, given_means, side in zip(
        read.planes, (picture.luma, picture.blue, picture.red), (8, 16, 16), strict=True
    ):
        for y in range(32 // side):
            for x in range(48 // side):
                rows = plane[y * side : (y + 1) * side]
                total = sum(sum(row[x * side : (x + 1) * side]) for row in rows)
                assert total / side**2 == pytest.approx(given_means[y + 1][x + 1], abs=0.01)


def test_blocks_meet_without_a_seam() -> None:
    read, means = read_jpeg(jpeg(b"a cat", 192, 128)), paint_softly(b"a cat", 192, 128).luma
    at_seams = max(abs(row[x] - row[x + 1]) for row in read.planes[0] for x in range(7, 191, 8))
    between_means = max(abs(a - b) for row in means for a, b in pairwise(row))
    assert at_seams < between_means / 3  # without slopes, all of it would be at the seam


@settings(deadline=None, max_examples=25)
@given(st.binary(max_size=20), st.integers(1, 40), st.integers(1, 40))
def test_a_picture_of_any_size_can_be_read(key: bytes, width: int, height: int) -> None:
    read = read_jpeg(jpeg(key, width, height))
    assert (read.width, read.height) == (width, height)
    assert len(read.planes[0]) == height
    assert {len(row) for row in read.planes[0]} == {width}


def test_the_steepest_slopes_can_be_told() -> None:
    luma = [bytes((0, 0, 255, 255)), bytes((0, 0, 255, 255))] * 2
    blue = [bytes(3), bytes(3), b"\xff" * 3]
    red = [b"\xff" * 3, bytes(3), bytes(3)]
    read = read_jpeg(encode_jpeg(16, 16, luma, blue, red))
    for plane, rises in zip(read.planes, (0, 1, -1), strict=True):
        assert (plane[15][0] - plane[0][0]) * rises >= 0
        assert abs(plane[15][0] - plane[0][0]) >= 100 * abs(rises)


def test_the_same_key_makes_the_same_file_and_another_another() -> None:
    assert jpeg(b"a cat", 64, 64) == jpeg(b"a cat", 64, 64)
    assert len({jpeg(key.encode(), 64, 64) for key in "abcdefgh"}) == 8


def test_a_picture_is_in_colour() -> None:
    read = read_jpeg(jpeg(b"a cat", 64, 64))
    spread = {max(read.rgb(x, y)) - min(read.rgb(x, y)) for x in range(64) for y in range(64)}
    assert max(spread) > 40
