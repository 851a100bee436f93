"""What fal calls things stands in the protocol package, and there once."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import CHECKOUT, FILES, PACKAGE

PROTOCOL = PACKAGE / "protocol"
WIRE = PROTOCOL / "wire.py"

#: A header, a host, a query parameter, a variable of the environment or a path, as fal has named it.
FALS_OWN = re.compile(
    r"""^x-(app-)?fal-[\w-]*$
    | ^(https?://|wss?://)? ([\w.]+\.)? (fal\.(run|ai|media)|falrun\.com) (/\S*)?$
    | ^(?-i:FAL_[A-Z_]+|fal_(webhook|max_queue_length))$
    | ^/?(v1|storage|tokens|requests)/\S*$
    """,
    re.VERBOSE | re.IGNORECASE,
)


def values(path: Path) -> Iterator[str]:
    """Every text in a file that is a value: no docstring, no part of an f-string."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unused = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr | ast.JoinedStr)
        for part in ast.iter_child_nodes(node)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in unused
        ):
            yield node.value


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path != WIRE],
    ids=lambda path: str(path.relative_to(CHECKOUT)),
)
def test_no_module_but_the_wire_spells_a_name_of_fals(path: Path) -> None:
    assert [value for value in values(path) if FALS_OWN.match(value)] == []


def test_the_wire_spells_each_of_them_once() -> None:
    spelled = Counter(value.lower() for value in values(WIRE) if FALS_OWN.match(value))
    assert len(spelled) > 30, "the pattern finds them"
    assert {value for value, times in spelled.items() if times > 1} == set()
