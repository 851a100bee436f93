from __future__ import annotations

import pytest

from fal_async.cli.naming import safe_stem


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("cat.png", "cat"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system32", "system32"),
        ("/absolute/a b.png", "a-b"),
        ("...", "file"),
        (".hidden", "hidden"),
        ("", "file"),
        ("a\x00b\n.png", "a-b"),
        ("CON.png", "_CON"),
        ("com1", "_com1"),
        ("кот.png", "file"),
        ("-rf.png", "rf"),
        ("x" * 300 + ".png", "x" * 80),
    ],
)
def test_a_name_is_safe_in_any_folder(name: str, stem: str) -> None:
    assert safe_stem(name, "file") == stem
