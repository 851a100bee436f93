"""Chance that can be repeated."""

from __future__ import annotations

import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from fal_async.emulator.chance import Chance, digest

labels = st.lists(st.text() | st.integers(), max_size=4)


@given(st.integers(), labels)
def test_a_draw_depends_on_seed_and_labels_only(seed: int, what: list[object]) -> None:
    assert Chance(seed).integer(*what) == Chance(seed).integer(*what)
    assert Chance(seed).integer(*what) != Chance(seed + 1).integer(*what)


@given(labels)
def test_draws_are_in_range(what: list[object]) -> None:
    chance = Chance()
    assert 0 <= chance.fraction(*what) < 1
    assert 0 <= chance.integer(*what) < 2**64


def test_a_lone_surrogate_in_a_label_is_a_label_like_another() -> None:
    assert digest("\ud800") != digest("\ud801")


def test_ids_have_the_form_of_random_uuids() -> None:
    assert uuid.UUID(Chance().uuid("request", 1)).version == 4


def test_files_are_named_after_an_animal_and_21_characters() -> None:
    name = Chance().file_name("file", 1)
    assert re.fullmatch(r"[a-z]+/[A-Za-z0-9_-]{21}", name)
    assert name != Chance().file_name("file", 2)
