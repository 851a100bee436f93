"""What the documentation shows is what happens."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture.sources import MODULES
from tests.docs.pages import CHECKOUT, PAGES, RUN, SHOWN, Page, languages


def name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


@pytest.mark.parametrize("path", PAGES, ids=name)
@pytest.mark.usefixtures("reader")
def test_every_block_of_a_page_runs(
    path: Path, monkeypatch: pytest.MonkeyPatch, node: Callable[[], str]
) -> None:
    Page(path, monkeypatch, node).run()


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_block_of_a_page_is_in_a_language_that_is_run(path: Path) -> None:
    assert {language.strip() for language in languages(path)} <= RUN | SHOWN


def test_every_example_in_a_docstring_holds() -> None:
    failed = {
        module: result.failed
        for module in MODULES
        if not module.endswith("__main__")
        and (result := doctest.testmod(importlib.import_module(module))).failed
    }
    assert failed == {}
