"""The numbers that are shown are those that were measured: tables and plots belong to the kept results."""

from __future__ import annotations

import re

import pytest

from benchmarks.page import README, RESULTS, includes, readme_with
from benchmarks.plots import digest_in, digest_of
from benchmarks.results import HOME, read
from benchmarks.summary import Summary
from tests.docs.pages import CHECKOUT

PAGE = CHECKOUT / "docs" / "explanation" / "numbers.rst"
SAYS_HOW = "run: python -m benchmarks.page"
PARTS = read(RESULTS)


def test_the_readme_shows_the_kept_results() -> None:
    shown = README.read_text(encoding="utf-8")
    assert shown == readme_with(shown, PARTS), SAYS_HOW


@pytest.mark.parametrize("name", sorted(includes(PARTS)))
def test_the_page_shows_the_kept_results(name: str) -> None:
    assert (HOME / name).read_text(encoding="utf-8") == includes(PARTS)[name], SAYS_HOW


def test_the_plots_were_made_of_the_kept_results() -> None:
    plotted = Summary(PARTS).plotted()
    assert plotted is not None
    made_of = dict(zip(("throughput", "slots", "requests"), map(digest_of, plotted), strict=True))
    found = {path.name: digest_in(path.read_text(encoding="utf-8")) for path in HOME.glob("*.svg")}
    expected = {
        f"{name}-{theme}.svg": of for name, of in made_of.items() for theme in ("dark", "light")
    }
    assert found == expected, SAYS_HOW


def test_the_page_includes_all_that_is_made_and_nothing_else() -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"^\.\. (?:include|image):: \.\./_static/numbers/(\S+)$", page, re.MULTILINE)
    made = {path.name for path in HOME.iterdir()} - {RESULTS.name}
    assert sorted(shown) == sorted(made)
