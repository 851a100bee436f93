"""A file has one subject, and a name that says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.sources import CHECKOUT, FILES, PACKAGE

LINES = 400
SLACK = 20
SAYS_NOTHING = {"base_utils", "common", "helper", "helpers", "manager", "misc", "util", "utils"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_file_is_far_above_four_hundred_lines(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LINES + SLACK, f"{lines} lines: two subjects?"


def test_no_module_is_named_after_nothing() -> None:
    assert not {path.stem for path in FILES} & SAYS_NOTHING


def test_every_folder_of_sources_is_a_package() -> None:
    folders = {path.parent for path in FILES}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
    assert (PACKAGE / "py.typed").exists()
