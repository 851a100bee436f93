"""The README's two commands set up all that they need; CI runs the second word for word."""

from __future__ import annotations

from tests.docs.pages import CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def test_the_readme_holds_one_line_for_the_demo_and_one_for_the_tests() -> None:
    from_nothing = [line for line in README.splitlines() if line.startswith("python3 -m venv ")]
    assert [line.rpartition("&& ")[2] for line in from_nothing] == [
        ".venv/bin/fal-async demo",
        ".venv/bin/python -m pytest",
    ]
